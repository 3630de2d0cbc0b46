//! What a scrape shows of parked pairs, beside what they carry.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::counts::{REASONS, UNFIT};
use super::engine::{Engine, Kind};

/// The engine's numbers, looked up when someone asks.
#[derive(Debug)]
pub struct Collected(pub Arc<Engine>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let engine = &self.0;
        engine.look_up();
        let gauge = MetricType::Gauge;
        let help = "1 for an engine that was loaded at start and passed its trial";
        let mut engines = encoder.encode_descriptor("splice_engine_loaded", help, None, gauge)?;
        for kind in Kind::ALL {
            let is_there = ConstGauge::new(u64::from(engine.has(kind)));
            is_there.encode(engines.encode_family(&[("engine", kind.name())])?)?;
        }
        let help = "Pairs of connections that the kernel has now";
        let mut pairs = encoder.encode_descriptor("splice_pairs", help, None, gauge)?;
        for kind in engine.there() {
            let count = ConstGauge::new(engine.counts.parked_now(kind));
            count.encode(pairs.encode_family(&[("engine", kind.name())])?)?;
        }
        let help = "Pairs of connections that the kernel may have";
        let most = encoder.encode_descriptor("splice_pairs_max", help, None, gauge)?;
        ConstGauge::new(engine.pairs_max()).encode(most)?;
        let counter = MetricType::Counter;
        let help = "Times that a pair was parked";
        let parked = encoder.encode_descriptor("splice_parked", help, None, counter)?;
        ConstCounter::new(engine.counts.all_parked()).encode(parked)?;
        let help = "Carried requests that are not in the access log, for the kernel's buffer was full";
        let lost = encoder.encode_descriptor("splice_log_lost", help, None, counter)?;
        ConstCounter::new(engine.program.lost()).encode(lost)?;
        let help = "Times that a pair could not be parked, by reason";
        let mut unfit = encoder.encode_descriptor("splice_unfit", help, None, counter)?;
        for (reason, count) in UNFIT.into_iter().zip(engine.counts.all_unfit()) {
            ConstCounter::new(count).encode(unfit.encode_family(&[("reason", reason)])?)?;
        }
        let help = "Times that a pair was userspace's again, by reason";
        let mut unparked = encoder.encode_descriptor("splice_unparked", help, None, counter)?;
        for (reason, name) in REASONS {
            let count = ConstCounter::new(engine.counts.of(reason));
            count.encode(unparked.encode_family(&[("reason", name)])?)?;
        }
        Ok(())
    }
}
