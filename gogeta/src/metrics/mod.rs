//! What is counted. Each worker counts for itself, without a shared cache line; a scrape adds them up.

mod totals;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::clock::unix_seconds;

pub use totals::{Latencies, Totals};

/// What kind of domain a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// None that is known.
    None,
    /// A service.
    Service,
    /// A fixed URI.
    Uri,
}

const CLASSES: [(Class, &str); 3] = [(Class::None, "none"), (Class::Service, "service"), (Class::Uri, "uri")];

/// Upper bounds of the latency histogram's buckets, in microseconds.
const BOUNDS: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// Names under which errors are counted, so that a counter needs no map.
const ERRORS: [&str; 31] = [
    "too_many",
    "circle",
    "line",
    "field",
    "framing",
    "chunk",
    "size",
    "expectation",
    "host",
    "method",
    "not_allowed",
    "target",
    "client_body",
    "client_stalled",
    "client_timeout",
    "client_parse",
    "client_closed",
    "unknown_domain",
    "no_service",
    "not_started",
    "no_routes",
    "connect",
    "connect_timeout",
    "broken",
    "response_timeout",
    "switched",
    "bad_response",
    "cut",
    "stalled",
    "accept",
    "other",
];

/// One worker's counters.
#[derive(Debug)]
pub struct WorkerMetrics {
    requests: [Box<[AtomicU64]>; CLASSES.len()],
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
    errors: [AtomicU64; ERRORS.len()],
    upstream_errors: [AtomicU64; ERRORS.len()],
    retries: AtomicU64,
    retries_refused: AtomicU64,
    connections: AtomicU64,
    idle_upstreams: AtomicU64,
    bytes: AtomicU64,
}

/// Statuses that are counted one by one: 100 to 599.
const STATUSES: usize = 500;

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

fn add(cell: &AtomicU64, count: u64) {
    // Only this worker writes it, so no read-modify-write is needed.
    cell.store(cell.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

impl WorkerMetrics {
    fn new() -> Self {
        Self {
            requests: std::array::from_fn(|_| (0..STATUSES).map(|_| AtomicU64::new(0)).collect()),
            buckets: zeros(),
            micros: AtomicU64::new(0),
            errors: zeros(),
            upstream_errors: zeros(),
            retries: AtomicU64::new(0),
            retries_refused: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            idle_upstreams: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// A request was answered.
    pub fn request(&self, class: Class, status: u16, took: Duration) {
        let status = usize::from(status).saturating_sub(100).min(STATUSES - 1);
        add(&self.requests[class as usize][status], 1);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        add(&self.buckets[bucket], 1);
        add(&self.micros, micros);
    }

    /// A request was answered by gogeta itself, for that reason.
    pub fn error(&self, name: &str) {
        add(&self.errors[index_of(name)], 1);
    }

    /// A connection ended with an error of hyper's.
    pub fn client_error(&self, error: &hyper::Error) {
        self.error(if error.is_parse() { "client_parse" } else { "client_closed" });
    }

    /// An upstream failed, in that way.
    pub fn upstream_error(&self, name: &str) {
        add(&self.upstream_errors[index_of(name)], 1);
    }

    /// A request was sent once more.
    pub fn upstream_retry(&self) {
        add(&self.retries, 1);
    }

    /// A request was not sent once more, since too many were.
    pub fn retry_refused(&self) {
        add(&self.retries_refused, 1);
    }

    /// A client's connection was accepted.
    pub fn connection(&self) {
        add(&self.connections, 1);
    }

    /// So many bytes of a body or of a tunnel were carried, in whichever direction.
    pub fn carried(&self, bytes: u64) {
        add(&self.bytes, bytes);
    }

    /// So many connections to upstreams are idle.
    pub fn set_idle_upstreams(&self, count: usize) {
        self.idle_upstreams.store(count as u64, Ordering::Relaxed);
    }
}

fn index_of(name: &str) -> usize {
    ERRORS.iter().position(|known| *known == name).unwrap_or(ERRORS.len() - 1)
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    workers: Vec<Arc<WorkerMetrics>>,
    /// Messages for the store that did not fit its queue.
    pub feedback_dropped: Counter,
    /// Changes applied.
    pub changes: Counter,
    /// The store's revision that is served.
    pub revision: Gauge,
    /// Keys whose value is wrong.
    pub problems: Gauge,
    /// Domains, pending ones too.
    pub domains: Gauge,
    /// Services.
    pub services: Gauge,
    /// Whether the store can be reached: 1 or 0.
    pub store_connected: Gauge,
    /// How often the connection to the store was lost.
    pub store_lost: Counter,
    /// How often everything was read anew, by reason.
    pub resyncs: Family<ReasonLabels, Counter>,
    /// How often such a reading was doubted, and done twice.
    pub doubts: Counter,
    /// Domains and services that a comparison found to be other than in the store.
    pub drift: Counter,
    /// How old the routes are.
    pub age: Age,
}

/// Why something was done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// The reason's name.
    pub reason: &'static str,
}

/// When the routes were last known to be what the store has.
#[derive(Debug)]
pub struct Age {
    /// In seconds since 1970; `NOW` while they are, `NEVER` before there are any.
    since: AtomicU64,
    from_disk: AtomicBool,
}

const NOW: u64 = 0;
const NEVER: u64 = u64::MAX;

impl Default for Age {
    fn default() -> Self {
        Self { since: AtomicU64::new(NEVER), from_disk: AtomicBool::new(false) }
    }
}

impl Age {
    /// They are what the store has.
    pub fn current(&self) {
        self.since.store(NOW, Ordering::Relaxed);
        self.from_disk.store(false, Ordering::Relaxed);
    }

    /// From now on nobody knows.
    pub fn unknown(&self) {
        let _ = self.since.compare_exchange(NOW, unix_seconds().max(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// They come from disk, and were current at that time, in seconds since 1970.
    pub fn kept(&self, at: u64) {
        self.since.store(at.clamp(1, NEVER - 1), Ordering::Relaxed);
        self.from_disk.store(true, Ordering::Relaxed);
    }

    /// Seconds since they were last known to be current; none before there are any.
    pub fn seconds(&self) -> Option<u64> {
        match self.since.load(Ordering::Relaxed) {
            NEVER => None,
            NOW => Some(0),
            since => Some(unix_seconds().saturating_sub(since)),
        }
    }

    /// Whether they come from disk, and the store has not confirmed them yet.
    pub fn is_from_disk(&self) -> bool {
        self.from_disk.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// Counters for so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Arc::new(WorkerMetrics::new())).collect(),
            feedback_dropped: Counter::default(),
            changes: Counter::default(),
            revision: Gauge::default(),
            problems: Gauge::default(),
            domains: Gauge::default(),
            services: Gauge::default(),
            store_connected: Gauge::default(),
            store_lost: Counter::default(),
            resyncs: Family::default(),
            doubts: Counter::default(),
            drift: Counter::default(),
            age: Age::default(),
        }
    }

    /// The counters of one worker.
    pub fn worker(&self, index: usize) -> Arc<WorkerMetrics> {
        self.workers[index].clone()
    }

    /// A registry that shows them all under `gogeta_`, with what is `live`.
    pub fn registry(self: &Arc<Self>, live: Live) -> Registry {
        let mut registry = Registry::with_prefix("gogeta");
        registry.register(
            "feedback_dropped",
            "Messages for the store that did not fit its queue",
            self.feedback_dropped.clone(),
        );
        registry.register("config_changes", "Changes of the routes that were applied", self.changes.clone());
        registry.register("config_revision", "The store's revision that is served", self.revision.clone());
        registry.register("config_problems", "Keys whose value is wrong", self.problems.clone());
        registry.register("domains", "Domains, pending ones too", self.domains.clone());
        registry.register("services", "Services", self.services.clone());
        registry.register(
            "store_connected",
            "1 while the store can be reached",
            self.store_connected.clone(),
        );
        registry.register(
            "store_lost",
            "How often the connection to the store was lost",
            self.store_lost.clone(),
        );
        registry.register(
            "store_resyncs",
            "How often everything was read anew from the store, by reason",
            self.resyncs.clone(),
        );
        registry.register(
            "store_doubts",
            "Readings of the store that took away too much, and were done twice",
            self.doubts.clone(),
        );
        registry.register(
            "store_drift",
            "Domains and services that a comparison found to be other than in the store",
            self.drift.clone(),
        );
        registry.register_collector(Box::new(Sum { metrics: self.clone(), live }));
        registry
    }

    fn sum(&self, of: impl Fn(&WorkerMetrics) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|worker| of(worker).load(Ordering::Relaxed)).sum()
    }
}

/// What is not counted, but looked at when someone asks.
pub struct Live {
    /// Clients' connections open.
    pub open: Box<dyn Fn() -> usize + Send + Sync>,
    /// Instances that rest.
    pub resting: Box<dyn Fn() -> usize + Send + Sync>,
}

/// Adds the workers' counters up when someone asks.
struct Sum {
    metrics: Arc<Metrics>,
    live: Live,
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sum").finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    class: &'static str,
    code: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

impl Collector for Sum {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = &self.metrics;
        let counter = |value| ConstCounter::new(value);

        let family = counter(0_u64);
        let mut requests = encoder.encode_descriptor(
            "requests",
            "Requests answered, by kind of domain and status",
            None,
            family.metric_type(),
        )?;
        for (class, name) in CLASSES {
            for status in 0..STATUSES {
                let count = metrics.sum(|worker| &worker.requests[class as usize][status]);
                if count > 0 {
                    let labels = RequestLabels { class: name, code: status as u64 + 100 };
                    counter(count).encode(requests.encode_family(&labels)?)?;
                }
            }
        }

        type OfKind = fn(&WorkerMetrics, usize) -> &AtomicU64;
        let kinds: [(&str, &str, OfKind); 2] = [
            (
                "errors",
                "Requests that gogeta answered itself, and connections that it ended, by reason",
                |w, i| &w.errors[i],
            ),
            ("upstream_errors", "Failures of upstreams, by kind", |w, i| &w.upstream_errors[i]),
        ];
        for (name, help, of) in kinds {
            let mut errors = encoder.encode_descriptor(name, help, None, family.metric_type())?;
            for (index, kind) in ERRORS.into_iter().enumerate() {
                let count = metrics.sum(|worker| of(worker, index));
                if count > 0 {
                    counter(count).encode(errors.encode_family(&KindLabels { kind })?)?;
                }
            }
        }

        let single: [(&str, &str, u64); 3] = [
            ("upstream_retries", "Requests that were sent once more", metrics.sum(|worker| &worker.retries)),
            (
                "retry_budget_exhausted",
                "Requests that were not sent once more, since too many were",
                metrics.sum(|worker| &worker.retries_refused),
            ),
            (
                "connections_accepted",
                "Clients' connections accepted",
                metrics.sum(|worker| &worker.connections),
            ),
        ];
        for (name, help, value) in single {
            let metric = counter(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }
        let gauges: [(&str, &str, u64); 3] = [
            ("connections_open", "Clients' connections open", (self.live.open)() as u64),
            (
                "instances_resting",
                "Instances that could not be connected to and are left alone for a while",
                (self.live.resting)() as u64,
            ),
            (
                "upstream_connections_idle",
                "Idle connections to upstreams",
                metrics.sum(|worker| &worker.idle_upstreams),
            ),
        ];
        for (name, help, value) in gauges {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)?;
        }

        if let Some(seconds) = metrics.age.seconds() {
            let metric = ConstGauge::new(i64::try_from(seconds).unwrap_or(i64::MAX));
            let help = "Seconds since the routes were last known to be current";
            metric.encode(encoder.encode_descriptor(
                "config_age_seconds",
                help,
                None,
                metric.metric_type(),
            )?)?;
        }

        let mut buckets: Vec<(f64, u64)> = Vec::new();
        let mut total = 0;
        for (index, bound) in
            BOUNDS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]).enumerate()
        {
            let count = metrics.sum(|worker| &worker.buckets[index]);
            total += count;
            buckets.push((bound, count));
        }
        let seconds = metrics.sum(|worker| &worker.micros) as f64 / 1e6;
        let mut histogram = encoder.encode_descriptor(
            "request_duration_seconds",
            "From a request's head to the last byte of its answer",
            None,
            prometheus_client::metrics::MetricType::Histogram,
        )?;
        histogram.encode_histogram::<KindLabels>(seconds, total, &buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scrape_shows() {
        let metrics = Arc::new(Metrics::new(2));
        metrics.worker(0).request(Class::Service, 200, Duration::from_micros(300));
        metrics.worker(1).request(Class::Service, 200, Duration::from_secs(60));
        metrics.worker(1).request(Class::None, 404, Duration::from_micros(1));
        metrics.worker(0).error("unknown_domain");
        metrics.worker(0).upstream_error("connect");
        metrics.revision.set(7);
        let live = Live { open: Box::new(|| 3), resting: Box::new(|| 2) };
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry(live)).expect("it encodes");
        for line in [
            "gogeta_requests_total{class=\"service\",code=\"200\"} 2",
            "gogeta_requests_total{class=\"none\",code=\"404\"} 1",
            "gogeta_errors_total{kind=\"unknown_domain\"} 1",
            "gogeta_upstream_errors_total{kind=\"connect\"} 1",
            "gogeta_connections_open 3",
            "gogeta_instances_resting 2",
            "gogeta_config_revision 7",
            "gogeta_request_duration_seconds_count 3",
            "gogeta_request_duration_seconds_bucket{le=\"0.0005\"} 2",
            "gogeta_request_duration_seconds_bucket{le=\"+Inf\"} 3",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_error_has_a_counter() {
        assert_eq!(index_of("no such name"), ERRORS.len() - 1);
        assert_eq!(ERRORS[index_of("connect")], "connect");
    }
}
