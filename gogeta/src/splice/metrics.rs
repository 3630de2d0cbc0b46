//! What a scrape shows of parked pairs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::counts::{REASONS, UNFIT};
use super::engine::Engine;

/// The engine's numbers, looked up when someone asks.
#[derive(Debug)]
pub struct Collected(pub Arc<Engine>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EngineLabels {
    engine: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: &'static str,
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let engine = &self.0;
        let [up, down, requests] = engine.carried();
        let pairs = ConstGauge::new(i64::try_from(engine.parked()).unwrap_or(i64::MAX));
        pairs.encode(encoder.encode_descriptor(
            "splice_pairs",
            "Pairs of connections that the kernel has now",
            None,
            pairs.metric_type(),
        )?)?;
        let help = "Engines that were loaded at start and passed their trial";
        let mut engines = encoder.encode_descriptor("splice_engine", help, None, MetricType::Gauge)?;
        for engine in engine.names() {
            ConstGauge::new(1_i64).encode(engines.encode_family(&EngineLabels { engine })?)?;
        }
        let help_of_lost =
            "Carried requests that are not in the access log, for the kernel's buffer was full";
        let counters: [(&str, &str, u64); 3] = [
            ("splice_log_lost", help_of_lost, engine.program.lost()),
            ("splice_parked", "Times that a pair was parked", engine.counts.parked.load(Ordering::Relaxed)),
            ("splice_requests", "Requests that the kernel carried", requests),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let help = "Bytes that the kernel carried, to clients and to upstreams";
        let mut bytes = encoder.encode_descriptor("splice_bytes", help, None, MetricType::Counter)?;
        for (direction, value) in [("to_client", down), ("to_upstream", up)] {
            ConstCounter::new(value).encode(bytes.encode_family(&DirectionLabels { direction })?)?;
        }
        let help = "Times that a pair could not be parked, by reason";
        let mut unfit = encoder.encode_descriptor("splice_unfit", help, None, MetricType::Counter)?;
        for (reason, count) in UNFIT.into_iter().zip(engine.counts.all_unfit()) {
            ConstCounter::new(count).encode(unfit.encode_family(&ReasonLabels { reason })?)?;
        }
        let help = "Times that a pair was userspace's again, by reason";
        let mut unparked = encoder.encode_descriptor("splice_unparked", help, None, MetricType::Counter)?;
        for (reason, name) in REASONS {
            let labels = ReasonLabels { reason: name };
            ConstCounter::new(engine.counts.of(reason)).encode(unparked.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
