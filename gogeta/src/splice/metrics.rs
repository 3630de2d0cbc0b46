//! What a scrape shows of parked pairs, beside what they carry.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::counts::{REASONS, UNFIT};
use super::engine::{Engine, Kind};
use crate::metrics::Writer;

/// The engine's numbers, looked up when someone asks.
#[derive(Debug)]
pub struct Collected(pub Arc<Engine>);

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (engine, mut writer) = (&self.0, Writer(encoder));
        engine.look_up();
        let of = |kind: Kind, value| ([("engine", kind.name())], value);
        writer.gauges(
            "splice_engine_loaded",
            "1 for an engine that was loaded at start and passed its trial",
            Kind::ALL.map(|kind| of(kind, engine.has(kind).into())),
        )?;
        writer.gauges(
            "splice_pairs",
            "Pairs of connections that the kernel has now",
            engine.there().map(|kind| of(kind, engine.counts.parked_now(kind))),
        )?;
        writer.gauge(
            "splice_pairs_max",
            "Pairs of connections that the kernel may have",
            engine.pairs_max().into(),
        )?;
        writer.counter("splice_parked", "Times that a pair was parked", engine.counts.all_parked())?;
        writer.counter(
            "splice_log_lost",
            "Carried requests that are not in the access log, for the kernel's buffer was full",
            engine.program.lost(),
        )?;
        let by = |reason, count| ([("reason", reason)], count);
        writer.counters(
            ("splice_unfit", None),
            "Times that a pair could not be parked, by reason",
            UNFIT.into_iter().zip(engine.counts.all_unfit()).map(|(reason, count)| by(reason, count)),
        )?;
        writer.counters(
            ("splice_unparked", None),
            "Times that a pair was userspace's again, by reason",
            REASONS.map(|(reason, name)| by(name, engine.counts.of(reason))),
        )
    }
}
