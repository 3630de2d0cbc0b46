//! What was carried, second by second, for the last five minutes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::api::history::{Bytes, History, Point};
use super::api::status::{Engine, EngineName, Traffic};
use crate::clock::since_1970;
use crate::metrics::Totals;
use crate::proxy::worker::Shared;
use crate::routes::model::ServiceName;
use crate::splice::Kind;

/// Between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// Samples behind the last that rates are of.
const LATELY: usize = 10;
/// And shares.
const MINUTE: usize = 60;
/// Points of the history.
const HISTORY: usize = 300;

/// What one engine has carried.
#[derive(Debug, Clone, Copy, Default)]
struct Carried {
    totals: Totals,
    /// In both directions.
    bytes: u64,
    /// Pairs that it has now.
    pairs: u64,
}

/// All that is counted, at one moment.
#[derive(Debug, Clone)]
struct Sample {
    when: Instant,
    /// The same in seconds since 1970.
    at: f64,
    /// Userspace's, sockmap's, and wire's.
    engines: [Carried; 3],
    retries: u64,
    idle_upstreams: u64,
    /// What each service's requests came to; only of the last samples.
    services: Arc<HashMap<ServiceName, Totals>>,
}

/// The last samples.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    samples: Mutex<VecDeque<Sample>>,
}

impl Sample {
    fn take(shared: &Shared) -> Self {
        let metrics = &shared.metrics;
        let engine = shared.splice.as_ref().map(|splice| &splice.engine);
        if let Some(engine) = engine {
            engine.look_up();
        }
        let (received, sent) = metrics.bytes();
        let userspace = Carried { totals: metrics.totals(), bytes: received + sent, pairs: 0 };
        let of = |kind| {
            let Some(engine) = engine else { return Carried::default() };
            let (up, down) = engine.bytes(kind);
            Carried { totals: engine.totals(kind), bytes: up + down, pairs: engine.counts.parked_now(kind) }
        };
        Self {
            when: Instant::now(),
            at: since_1970().as_secs_f64(),
            engines: [userspace, of(Kind::Sockmap), of(Kind::Wire)],
            retries: metrics.retries(),
            idle_upstreams: metrics.idle_upstreams(),
            services: Arc::new(metrics.services().into_iter().collect()),
        }
    }

    /// All engines' requests.
    fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        self.engines.iter().for_each(|engine| sum.add(&engine.totals));
        sum
    }

    /// Requests of each engine.
    fn requests(&self) -> [u64; 3] {
        self.engines.each_ref().map(|engine| engine.totals.requests())
    }

    /// Bytes, likewise.
    fn bytes(&self) -> [u64; 3] {
        self.engines.each_ref().map(|engine| engine.bytes)
    }

    /// How many seconds passed since `earlier`; never 0.
    fn seconds_since(&self, earlier: &Self) -> f64 {
        self.when.duration_since(earlier.when).as_secs_f64().max(0.001)
    }
}

/// What came lately of each service.
#[derive(Debug, Default)]
pub(super) struct Lately {
    seconds: f64,
    before: Arc<HashMap<ServiceName, Totals>>,
    now: Arc<HashMap<ServiceName, Totals>>,
}

impl Lately {
    /// Requests of that service in a second, likewise.
    pub(super) fn requests(&self, name: &ServiceName) -> Option<f64> {
        self.of(name).map(|(requests, ..)| requests)
    }

    /// Whether there is none of any.
    pub(super) fn is_empty(&self) -> bool {
        self.now.is_empty()
    }

    /// Requests in a second, the share of errors, and how long 99 of 100 took at most; none where the service is not
    /// counted by itself.
    pub(super) fn of(&self, name: &ServiceName) -> Option<(f64, f64, Option<f64>)> {
        let now = self.now.get(name)?;
        // Who is new has come since.
        let totals = now.since(&self.before.get(name).copied().unwrap_or_default());
        let (requests, errors) = (totals.requests(), totals.errors());
        Some((requests as f64 / self.seconds, ratio(errors, requests), totals.quantile(0.99)))
    }
}

fn ratio(errors: u64, requests: u64) -> f64 {
    if requests == 0 { 0.0 } else { errors as f64 / requests as f64 }
}

/// How many came in a second, between two counts.
fn rate(after: u64, before: u64, seconds: f64) -> f64 {
    after.saturating_sub(before) as f64 / seconds
}

impl Sampler {
    /// Takes a sample.
    pub(super) fn sample(&self, shared: &Shared) {
        self.push(Sample::take(shared));
    }

    fn push(&self, sample: Sample) {
        let mut samples = self.samples();
        // One more than there are points: each is what lies between two.
        if samples.len() > HISTORY {
            samples.pop_front();
        }
        // Nobody asks what services were like before that.
        if let Some(old) = samples.len().checked_sub(LATELY) {
            samples[old].services = Arc::default();
        }
        samples.push_back(sample);
    }

    /// The last one, and the one so many before it or, where there are fewer, the first.
    fn last(&self, behind: usize) -> Option<(Sample, Sample)> {
        let samples = self.samples();
        let last = samples.len().checked_sub(1)?;
        Some((samples[last.saturating_sub(behind)].clone(), samples[last].clone()))
    }

    /// What came lately.
    pub(super) fn traffic(&self, connections_open: usize) -> Traffic {
        let connections_open = connections_open as u64;
        let Some((before, now)) = self.last(LATELY) else {
            return Traffic { connections_open, ..Traffic::default() };
        };
        let seconds = now.seconds_since(&before);
        let sum = |numbers: [u64; 3]| -> u64 { numbers.iter().sum() };
        let lately = now.totals().since(&before.totals());
        let (requests, errors) = (lately.requests(), lately.errors());
        Traffic {
            requests_per_second: requests as f64 / seconds,
            errors_per_second: errors as f64 / seconds,
            error_ratio: ratio(errors, requests),
            p50_seconds: lately.quantile(0.5),
            p90_seconds: lately.quantile(0.9),
            p99_seconds: lately.quantile(0.99),
            connections_open,
            connections_idle_upstream: now.idle_upstreams,
            retries_per_second: rate(now.retries, before.retries, seconds),
            bytes_per_second: rate(sum(now.bytes()), sum(before.bytes()), seconds),
        }
    }

    /// What came lately of each service.
    pub(super) fn services(&self) -> Lately {
        let Some((before, now)) = self.last(LATELY - 1) else { return Lately::default() };
        Lately { seconds: now.seconds_since(&before), before: before.services, now: now.services }
    }

    /// What each engine carries; `loaded` says which of the kernel's there are, sockmap and wire.
    pub(super) fn engines(&self, loaded: [bool; 2]) -> Vec<Engine> {
        let names = [EngineName::Userspace, EngineName::Sockmap, EngineName::Wire];
        let is_loaded = [true, loaded[0], loaded[1]];
        let (lately, minute) = (self.last(LATELY), self.last(MINUTE));
        let minute = minute.map(|(before, now)| {
            let [now, before] = [now.bytes(), before.bytes()];
            [0, 1, 2].map(|at| now[at].saturating_sub(before[at]))
        });
        let all: u64 = minute.iter().flatten().sum();
        let engine = |at: usize| {
            let rate = |of: fn(&Sample) -> [u64; 3]| {
                lately
                    .as_ref()
                    .map_or(0.0, |(before, now)| rate(of(now)[at], of(before)[at], now.seconds_since(before)))
            };
            let total = |of: fn(&Sample) -> [u64; 3]| lately.as_ref().map_or(0, |(_, now)| of(now)[at]);
            let pairs = lately.as_ref().map(|(_, now)| now.engines[at].pairs);
            Engine {
                engine: names[at],
                loaded: is_loaded[at],
                pairs: pairs.unwrap_or(0),
                requests_per_second: rate(Sample::requests),
                bytes_per_second: rate(Sample::bytes),
                share_of_bytes: match minute {
                    Some(bytes) if all > 0 => bytes[at] as f64 / all as f64,
                    _ => 0.0,
                },
                requests_total: total(Sample::requests),
                bytes_total: total(Sample::bytes),
            }
        };
        [0, 1, 2].map(engine).into()
    }

    /// Second by second, the oldest first.
    pub(super) fn history(&self) -> History {
        let samples = self.samples();
        let points =
            samples.iter().zip(samples.iter().skip(1)).map(|(before, now)| point(before, now)).collect();
        History { interval_seconds: 1, points }
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn point(before: &Sample, now: &Sample) -> Point {
    let seconds = now.seconds_since(before);
    let lately = now.totals().since(&before.totals());
    let [requests, bytes] = [Sample::requests, Sample::bytes].map(|of| {
        let [before, now] = [of(before), of(now)];
        [0, 1, 2].map(|at| rate(now[at], before[at], seconds))
    });
    let [userspace, sockmap, wire] = bytes;
    Point {
        at: now.at,
        requests_per_second: requests.iter().sum(),
        errors_per_second: lately.errors() as f64 / seconds,
        p50_seconds: lately.quantile(0.5),
        p99_seconds: lately.quantile(0.99),
        bytes: Bytes { userspace, sockmap, wire },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Answered, Metrics, Target};
    use crate::routes::model::Service;

    /// A second in which so many requests and bytes came in all, by userspace and by wire.
    struct Clock {
        metrics: Metrics,
        service: Service,
        wire: Carried,
        begun: Instant,
        second: u32,
        sampler: Sampler,
    }

    impl Clock {
        fn new() -> Self {
            let metrics = Metrics::new(1, Some(10));
            let (wire, sampler) = (Carried::default(), Sampler::default());
            let (instances, ring) = Default::default();
            let (cursor, series) = Default::default();
            let service = Service { name: "web".into(), instances, ring, cursor, series };
            let clock = Self { metrics, service, wire, begun: Instant::now(), second: 0, sampler };
            clock.push();
            clock
        }

        fn push(&self) {
            let when = self.begun + Duration::from_secs(self.second.into());
            let userspace =
                Carried { totals: self.metrics.totals(), bytes: self.metrics.bytes().0, pairs: 0 };
            self.sampler.push(Sample {
                when,
                at: f64::from(self.second),
                engines: [userspace, Carried::default(), self.wire],
                retries: 0,
                idle_upstreams: 0,
                services: Arc::new(self.metrics.services().into_iter().collect()),
            });
        }

        fn second(&mut self, statuses: &[u16], carried: u64) {
            for status in statuses {
                let place = self.metrics.worker(0).routed(&self.service, None);
                let (target, took) = (Target::Service, Duration::from_micros(700));
                self.metrics.worker(0).request(Answered {
                    target,
                    place,
                    status: *status,
                    failed: false,
                    took,
                });
                self.metrics.worker(0).received(100);
            }
            self.wire.totals.codes[1] += carried;
            self.wire.bytes += carried * 100;
            self.second += 1;
            self.push();
        }
    }

    #[test]
    fn before_anything_came_there_is_nothing() {
        let traffic = Sampler::default().traffic(3);
        assert_eq!(
            (traffic.requests_per_second, traffic.p50_seconds, traffic.connections_open),
            (0.0, None, 3)
        );
        let traffic = Clock::new().sampler.traffic(0);
        assert_eq!((traffic.requests_per_second, traffic.error_ratio), (0.0, 0.0));
        assert_eq!(Clock::new().sampler.history().points, []);
    }

    #[test]
    fn rates_are_of_the_last_ten_seconds_and_of_all_engines() {
        let mut clock = Clock::new();
        clock.second(&[500; 50], 0);
        for _ in 0..10 {
            clock.second(&[200, 200, 200, 502], 4);
        }
        let traffic = clock.sampler.traffic(0);
        assert!((traffic.requests_per_second - 8.0).abs() < 1e-9, "{traffic:?}");
        assert!((traffic.errors_per_second - 1.0).abs() < 1e-9, "{traffic:?}");
        assert!((traffic.error_ratio - 0.125).abs() < 1e-9, "{traffic:?}");
        assert!((traffic.bytes_per_second - 800.0).abs() < 1e-9, "{traffic:?}");
        assert!(traffic.p50_seconds.is_some_and(|p50| p50 > 0.0005 && p50 <= 0.001), "{traffic:?}");
    }

    #[test]
    fn a_services_rates_are_its_own() {
        let mut clock = Clock::new();
        assert_eq!(clock.sampler.services().of(&"web".into()), None);
        clock.second(&[500; 50], 0);
        for _ in 0..LATELY {
            clock.second(&[200, 200, 200, 502], 4);
        }
        let (requests, errors, p99) = clock.sampler.services().of(&"web".into()).expect("it is counted");
        assert!((requests - 4.0).abs() < 1e-9 && (errors - 0.25).abs() < 1e-9, "{requests} {errors}");
        assert!(p99.is_some_and(|p99| p99 > 0.0005 && p99 <= 0.001), "{p99:?}");
        assert_eq!(clock.sampler.services().of(&"other".into()), None);
    }

    #[test]
    fn engines_share_the_bytes_of_the_last_minute() {
        let mut clock = Clock::new();
        clock.second(&[200; 100], 0);
        for _ in 0..MINUTE {
            clock.second(&[200], 3);
        }
        let engines = clock.sampler.engines([false, true]);
        let shares: Vec<f64> = engines.iter().map(|engine| engine.share_of_bytes).collect();
        assert_eq!(shares, [0.25, 0.0, 0.75]);
        assert_eq!([engines[0].loaded, engines[1].loaded, engines[2].loaded], [true, false, true]);
        assert_eq!((engines[0].requests_total, engines[2].requests_total), (160, 180));
    }

    #[test]
    fn the_history_is_five_minutes_long() {
        let mut clock = Clock::new();
        for second in 0..400_u64 {
            clock.second(if second % 2 == 0 { &[200] } else { &[] }, 0);
        }
        let history = clock.sampler.history();
        assert_eq!(history.points.len(), HISTORY);
        let [before, last] = &history.points[HISTORY - 2..] else { panic!("two") };
        assert_eq!((before.requests_per_second, last.requests_per_second), (1.0, 0.0));
        assert_eq!((before.bytes.userspace, last.p50_seconds), (100.0, None));
        assert_eq!(last.at - before.at, 1.0);
    }
}
