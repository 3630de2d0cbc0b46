//! What Prometheus gets to see.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gogeta_common::latency::{BOUNDS, CLASSES};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;
use super::services::{OTHER, Totals};
use super::text::plain;
use super::worker::{Durations, ERRORS, STATUSES, WorkerMetrics};
use super::{Metrics, Target, Writer};
use crate::routes::census::{DOMAIN_STATES, STATES};
use crate::routes::model::ServiceName;
use crate::routes::table::RouteTable;
use crate::splice::Engine;
use crate::splice::metrics::Collected;

pub use super::text::Format;

/// The classes that are told of each service end at these of the [`BOUNDS`]: 1, 5, 25, 100 and 250 ms, 1 and 5 s.
const OF_SERVICE: [usize; 7] = [2, 4, 6, 8, 9, 11, 12];

const CODES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What is not counted, but looked at when someone asks.
#[derive(Debug)]
pub struct Now {
    /// Clients' connections open.
    pub open: usize,
    /// How many there may be.
    pub most: usize,
    /// Whether it takes requests: it has routes, and is not on its way out.
    pub is_ready: bool,
    /// The current routes.
    pub table: Arc<RouteTable>,
}

/// Everything that can be scraped.
#[derive(Debug)]
pub struct Scrape(Registry);

impl Scrape {
    /// Of these counters, of the engine where there is one, and of what is `now`.
    pub fn new(
        metrics: Arc<Metrics>,
        engine: Option<Arc<Engine>>,
        now: impl Fn() -> Now + Send + Sync + 'static,
    ) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let ours = registry.sub_registry_with_prefix("gogeta");
        if let Some(engine) = &engine {
            // First of all: what the kernel has carried is looked up for all that follow.
            ours.register_collector(Box::new(Collected(engine.clone())));
        }
        ours.register_collector(Box::new(Sum { metrics, engine, now: Box::new(now) }));
        Self(registry)
    }

    /// All of it, in that format.
    ///
    /// # Errors
    ///
    /// None that are known: writing to memory does not fail.
    pub fn text(&self, format: Format) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0)?;
        Ok(match format {
            Format::OpenMetrics => text,
            Format::Plain => plain(&text),
        })
    }
}

/// Adds the workers' counters up when someone asks.
struct Sum {
    metrics: Arc<Metrics>,
    engine: Option<Arc<Engine>>,
    now: Box<dyn Fn() -> Now + Send + Sync>,
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sum").finish_non_exhaustive()
    }
}

impl Collector for Sum {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sum =
            Families { metrics: &self.metrics, engine: self.engine.as_deref(), writer: Writer(encoder) };
        let now = (self.now)();
        sum.about(&now)?;
        sum.requests()?;
        sum.upstreams()?;
        sum.routes(&now.table)?;
        sum.store()?;
        sum.traces()?;
        sum.services(&now.table)
    }
}

/// Writes one family after the other.
struct Families<'a, 'e> {
    metrics: &'a Metrics,
    engine: Option<&'a Engine>,
    writer: Writer<'e>,
}

impl Families<'_, '_> {
    /// What it is, and whether it is well.
    fn about(&mut self, now: &Now) -> fmt::Result {
        let kind = MetricType::Gauge;
        let help = "Always 1; the labels tell what is running";
        let mut info = self.writer.0.encode_descriptor("build_info", help, None, kind)?;
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("commit", option_env!("GOGETA_COMMIT").unwrap_or_default()),
            ("profile", profile),
            ("arch", std::env::consts::ARCH),
            ("os", std::env::consts::OS),
        ];
        ConstGauge::new(1_u64).encode(info.encode_family(&labels)?)?;
        self.writer.gauge(
            "ready",
            "1 while requests are taken: there are routes, and no shutdown has begun",
            now.is_ready.into(),
        )?;
        self.writer.gauge("threads", "Threads that serve requests", self.metrics.workers.len() as u64)?;
        self.writer.gauge("connections_open", "Clients' connections open", now.open as u64)?;
        self.writer.gauge(
            "connections_max",
            "Clients' connections that may be open; beyond, new ones wait",
            now.most as u64,
        )?;
        let accepted = self.metrics.sum(|worker| &worker.connections);
        self.writer.counter("connections_accepted", "Clients' connections accepted", accepted)
    }

    /// What clients asked for, and what they got.
    fn requests(&mut self) -> fmt::Result {
        let (metrics, engine) = (self.metrics, self.engine);
        let help = "Requests answered, by who carried them, what they were for, and status; the kernel \
                    counts statuses by their first digit";
        let mut requests = self.writer.0.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for (target, name) in Target::ALL {
            for status in 0..STATUSES {
                let count = metrics.sum(|worker| &worker.requests[target as usize][status]);
                if count > 0 {
                    let code = (status + 100).to_string();
                    let labels = [("engine", "userspace"), ("target", name), ("code", code.as_str())];
                    ConstCounter::new(count).encode(requests.encode_family(&labels)?)?;
                }
            }
        }
        let carried: Vec<_> = engine
            .into_iter()
            .flat_map(|engine| {
                engine.there().map(|kind| (kind.name(), engine.totals(kind), engine.bytes(kind)))
            })
            .collect();
        for (engine, totals, _) in &carried {
            for (code, count) in CODES.into_iter().zip(totals.codes).skip(1) {
                let labels = [("engine", *engine), ("target", "service"), ("code", code)];
                ConstCounter::new(count).encode(requests.encode_family(&labels)?)?;
            }
        }
        let all: Vec<usize> = (0..BOUNDS.len()).collect();
        let ours = metrics.totals();
        let rows = [([("engine", "userspace")], ours.classes, ours.micros)].into_iter().chain(
            carried.iter().map(|(engine, totals, _)| ([("engine", *engine)], totals.classes, totals.micros)),
        );
        self.writer.histograms(
            (
                "request_duration",
                "From a request's head to the last byte of its answer; of tunnels, to their opening",
            ),
            &all,
            rows,
        )?;
        let (received, sent) = metrics.bytes();
        let rows = [("userspace", (received, sent))]
            .into_iter()
            .chain(carried.iter().map(|(engine, _, bytes)| (*engine, *bytes)))
            .flat_map(|(engine, (received, sent))| {
                [("received", received), ("sent", sent)]
                    .map(|(direction, bytes)| ([("engine", engine), ("direction", direction)], bytes))
            });
        self.writer.counters(
            ("client", Some(Unit::Bytes)),
            "Bytes received from clients and sent to them, by who carried them",
            rows,
        )?;
        self.reasons(
            "errors",
            "Requests that gogeta answered itself, and connections that it ended, by reason",
            |worker, at| &worker.errors[at],
        )
    }

    fn reasons(
        &mut self,
        name: &str,
        help: &str,
        of: fn(&WorkerMetrics, usize) -> &AtomicU64,
    ) -> fmt::Result {
        let metrics = self.metrics;
        let counts = ERRORS
            .into_iter()
            .enumerate()
            .map(|(at, reason)| ([("reason", reason)], metrics.sum(|worker| of(worker, at))));
        self.writer.counters((name, None), help, counts.filter(|(_, count)| *count > 0))
    }

    /// How instances answered.
    fn upstreams(&mut self) -> fmt::Result {
        let metrics = self.metrics;
        self.reasons("upstream_errors", "Failures of upstreams, by reason", |worker, at| {
            &worker.upstream_errors[at]
        })?;
        let (mut classes, mut micros) = ([0; CLASSES], 0);
        for worker in &metrics.workers {
            let Durations { classes: theirs, micros: took } = &worker.first_bytes;
            classes.iter_mut().zip(theirs).for_each(|(sum, cell)| *sum += cell.load(Ordering::Relaxed));
            micros += took.load(Ordering::Relaxed);
        }
        let all: Vec<usize> = (0..BOUNDS.len()).collect();
        self.writer.histograms(
            (
                "upstream_first_byte",
                "From the choice of an upstream to the head of its response, in userspace",
            ),
            &all,
            [([], classes, micros)],
        )?;
        self.writer.counter("upstream_retries", "Requests that were sent once more", metrics.retries())?;
        self.writer.counter(
            "retry_budget_exhausted",
            "Requests that were not sent once more, since too many were",
            metrics.sum(|worker| &worker.retries_refused),
        )?;
        self.writer.gauge(
            "upstream_connections_idle",
            "Idle connections to upstreams",
            metrics.idle_upstreams(),
        )
    }

    /// What is routed.
    fn routes(&mut self, table: &RouteTable) -> fmt::Result {
        let metrics = self.metrics;
        let counts = metrics.counts();
        let rows = DOMAIN_STATES.into_iter().zip(counts.domains);
        self.writer.gauges(
            "domains",
            "Domains, by the state of where they lead",
            rows.map(|(state, count)| ([("state", state)], count as u64)),
        )?;
        let states = |counts: [usize; STATES.len()]| {
            let rows = STATES.into_iter().zip(counts);
            rows.map(|(state, count)| ([("state", state.as_str())], count as u64))
        };
        self.writer.gauges("services", "Services, by state", states(counts.services))?;
        self.writer.gauges("instances", "Instances, by state", states(counts.instances))?;
        self.writer.gauge(
            "instances_resting",
            "Instances that could not be connected to and are left alone for a while",
            metrics.resting.count(table) as u64,
        )?;
        let value = |gauge: i64| u64::try_from(gauge).unwrap_or_default();
        self.writer.gauge(
            "config_revision",
            "The store's revision that is served",
            value(metrics.revision.get()),
        )?;
        self.writer.gauge("config_problems", "Keys whose value is wrong", value(metrics.problems.get()))?;
        self.writer.counter(
            "config_changes",
            "Changes of the routes that were applied",
            metrics.changes.get(),
        )?;
        if let Some(seconds) = metrics.age.seconds() {
            let kind = MetricType::Gauge;
            let help = "Seconds since the routes were last known to be current";
            let unit = Unit::Seconds;
            let age = self.writer.0.encode_descriptor("config_age", help, Some(&unit), kind)?;
            ConstGauge::new(seconds).encode(age)?;
        }
        self.writer.gauge(
            "config_from_disk",
            "1 while routes are served that --state-dir has kept and the store has not confirmed",
            metrics.age.is_from_disk().into(),
        )
    }

    /// How it is with the store.
    fn store(&mut self) -> fmt::Result {
        let metrics = self.metrics;
        let connected = u64::from(metrics.store_connected.get() == 1);
        self.writer.gauge("store_connected", "1 while the store can be reached", connected)?;
        let counters: [(&str, &str, u64); 4] = [
            ("store_lost", "How often the connection to the store was lost", metrics.store_lost.get()),
            (
                "store_doubts",
                "Readings of the store that took away too much, and were done twice",
                metrics.doubts.get(),
            ),
            (
                "store_drift",
                "Domains and services that a comparison found to be other than in the store",
                metrics.drift.get(),
            ),
            (
                "feedback_dropped",
                "Messages for the store that did not fit its queue",
                metrics.feedback_dropped.get(),
            ),
        ];
        for (name, help, value) in counters {
            self.writer.counter(name, help, value)?;
        }
        let help = "How often everything was read anew from the store, by reason";
        let resyncs = self.writer.0.encode_descriptor("store_resyncs", help, None, MetricType::Counter)?;
        metrics.resyncs.encode(resyncs)
    }

    /// What is traced.
    fn traces(&mut self) -> fmt::Result {
        let spans = &self.metrics.spans;
        self.writer.counter(
            "trace_spans_exported",
            "Spans that the collector has taken",
            spans.exported(),
        )?;
        let rows = spans.dropped().map(|(reason, count)| ([("reason", reason)], count));
        self.writer.counters(("trace_spans_dropped", None), "Spans that it has not, by reason", rows)
    }

    /// The same of each service, as far as they are counted.
    fn services(&mut self, table: &RouteTable) -> fmt::Result {
        let services = self.metrics.services();
        if services.is_empty() {
            return Ok(());
        }
        // What a service has not answered yet it has not answered: a rate needs the zero before the one.
        let is_told = |code: usize, count: u64| code > 0 || count > 0;
        let rows = services.iter().flat_map(|(name, totals)| {
            let codes = totals.codes.into_iter().enumerate();
            codes
                .filter(|(at, count)| is_told(*at, *count))
                .map(|(at, count)| ([("service", name.as_str()), ("code", CODES[at])], count))
        });
        self.writer.counters(
            ("service_requests", None),
            "Requests answered of a service, by the first digit of the status",
            rows,
        )?;
        let of = |number: fn(&Totals) -> u64| {
            services.iter().map(move |(name, totals)| ([("service", name.as_str())], number(totals)))
        };
        self.writer.counters(
            ("service_errors", None),
            "Requests that no instance of a service answered, or not whole",
            of(|totals| totals.failed),
        )?;
        self.writer.gauges(
            "service_requests_open",
            "Requests that userspace is at now, tunnels too",
            of(|totals| totals.open),
        )?;
        let rows = services
            .iter()
            .map(|(name, totals)| ([("service", name.as_str())], totals.classes, totals.micros));
        self.writer.histograms(
            (
                "service_request_duration",
                "From a request's head to the last byte of its answer, of each service",
            ),
            &OF_SERVICE,
            rows,
        )?;
        let states: Vec<(&ServiceName, [u64; STATES.len()])> =
            services.iter().filter_map(|(name, _)| Some((name, states(table, name)?))).collect();
        let rows = states.iter().flat_map(|(name, counts)| {
            let counts = STATES.into_iter().zip(counts);
            counts.map(|(state, count)| ([("service", name.as_str()), ("state", state.as_str())], *count))
        });
        self.writer.gauges("service_instances", "Instances of a service, by state", rows)
    }
}

/// How many instances a service has in each state; none where it is gone, or many.
fn states(table: &RouteTable, name: &ServiceName) -> Option<[u64; STATES.len()]> {
    let service = table.service(name.as_str()).filter(|_| name.as_str() != OTHER)?;
    let mut states = [0; STATES.len()];
    service.instances.iter().for_each(|instance| states[instance.state as usize] += 1);
    Some(states)
}

#[cfg(test)]
mod tests;
