//! What is counted. Each worker counts for itself, without a shared cache line; whoever asks adds them up.
//!
//! - `worker`: one worker's counters
//! - [`services`]: what is counted of each service
//! - [`resting`]: instances that could not be connected to
//! - [`scrape`]: all of it, for Prometheus; `process` and `text` are parts of that, [`Writer`] writes it
//!
//! docs/metrics.md lists every metric, and a test compares.

mod process;
pub mod resting;
pub mod scrape;
pub mod services;
mod text;
mod worker;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gogeta_common::latency::CLASSES;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::clock::unix_seconds;
use crate::routes::census::Counts;
use crate::routes::model::{Service, ServiceName};
use crate::routes::series::Series;
use crate::trace::SpanCounts;

pub use services::Totals;
pub use worker::{Answered, WorkerMetrics};
pub use writer::Writer;

use resting::Resting;
use services::Services;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Nothing that is known.
    None,
    /// A service.
    Service,
    /// A fixed URI.
    Uri,
}

impl Target {
    /// All of them, and what they are called.
    const ALL: [(Self, &'static str); 3] =
        [(Self::None, "none"), (Self::Service, "service"), (Self::Uri, "uri")];
}

fn add(cell: &AtomicU64, count: u64) {
    // Only this worker writes it, so no read-modify-write is needed.
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    workers: Vec<Arc<WorkerMetrics>>,
    services: Arc<Services>,
    counts: Mutex<Counts>,
    /// Messages for the store that did not fit its queue.
    pub feedback_dropped: Counter,
    /// Changes applied.
    pub changes: Counter,
    /// The store's revision that is served.
    pub revision: Gauge,
    /// Keys whose value is wrong.
    pub problems: Gauge,
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
    /// Who rests.
    pub resting: Resting,
    /// What is traced.
    pub spans: Arc<SpanCounts>,
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
    /// Counters for so many workers, and for so many services one by one, where they are to be counted at all.
    pub fn new(workers: usize, services: Option<usize>) -> Self {
        let services = Arc::new(Services::new(services));
        Self {
            workers: (0..workers).map(|_| Arc::new(WorkerMetrics::new(services.clone()))).collect(),
            services,
            counts: Mutex::default(),
            feedback_dropped: Counter::default(),
            changes: Counter::default(),
            revision: Gauge::default(),
            problems: Gauge::default(),
            store_connected: Gauge::default(),
            store_lost: Counter::default(),
            resyncs: Family::default(),
            doubts: Counter::default(),
            drift: Counter::default(),
            age: Age::default(),
            resting: Resting::default(),
            spans: Arc::default(),
        }
    }

    /// The counters of one worker.
    pub fn worker(&self, index: usize) -> Arc<WorkerMetrics> {
        self.workers[index].clone()
    }

    /// How many domains, services and instances there are in each state.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// They are these from now on.
    pub fn set_counts(&self, counts: Counts) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// What each service's requests came to since the start, userspace's and the kernel's; of those beyond
    /// `--metrics-max-services` together, under [`services::OTHER`]. Nothing where services are not counted. The
    /// kernel's share is up to a second old.
    pub fn services(&self) -> Vec<(ServiceName, Totals)> {
        self.services.all(&self.workers)
    }

    /// The same of one service; none where it is not counted by itself.
    pub fn service(&self, name: &str) -> Option<Totals> {
        self.services.one(name, &self.workers)
    }

    /// What all requests came to that userspace has answered; what the kernel has is
    /// [`Engine::totals`](crate::splice::Engine::totals).
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for worker in &self.workers {
            let classes: [u64; CLASSES] =
                std::array::from_fn(|at| worker.durations.classes[at].load(Ordering::Relaxed));
            let mut codes = [0; 5];
            for counts in &worker.requests {
                for (code, counts) in codes.iter_mut().zip(counts.chunks(100)) {
                    *code += counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
                }
            }
            let micros = worker.durations.micros.load(Ordering::Relaxed);
            totals.add(&Totals { codes, classes, micros, ..Totals::default() });
        }
        totals
    }

    /// Bytes that userspace has read from clients, and written to them.
    pub fn bytes(&self) -> (u64, u64) {
        (self.sum(|worker| &worker.received), self.sum(|worker| &worker.sent))
    }

    /// Requests that were sent once more.
    pub fn retries(&self) -> u64 {
        self.sum(|worker| &worker.retries)
    }

    /// Idle connections to upstreams.
    pub fn idle_upstreams(&self) -> u64 {
        self.sum(|worker| &worker.idle_upstreams)
    }

    /// A service is there, one of so many.
    pub fn admit(&self, service: &Service, services: usize) {
        self.services.admit(service, services);
    }

    /// The kernel has answered requests of a service.
    pub fn carried(&self, series: &Series, more: &Totals) {
        self.services.carried(series, more);
    }

    fn sum(&self, of: impl Fn(&WorkerMetrics) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|worker| of(worker).load(Ordering::Relaxed)).sum()
    }
}
