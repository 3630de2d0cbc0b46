//! All workers' counters, added up: what is compared from second to second.

use std::array;
use std::sync::atomic::Ordering;

use super::{BOUNDS, Metrics};

/// The place of 500 among the statuses.
const ERRORS_FROM: usize = 400;

/// What has been counted since the start, and how it is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests answered.
    pub requests: u64,
    /// Of those, with a status from 500 on.
    pub errors: u64,
    /// Requests that were sent once more.
    pub retries: u64,
    /// Bytes of bodies and tunnels, in both directions.
    pub bytes: u64,
    /// Idle connections to upstreams now.
    pub idle_upstreams: u64,
    /// How long answers took.
    pub latencies: Latencies,
}

/// Answers by how long they took: a histogram whose buckets are not cumulated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latencies([u64; BOUNDS.len() + 1]);

impl Metrics {
    /// What all workers have counted.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            retries: self.sum(|worker| &worker.retries),
            bytes: self.sum(|worker| &worker.bytes),
            idle_upstreams: self.sum(|worker| &worker.idle_upstreams),
            ..Totals::default()
        };
        for worker in &self.workers {
            for statuses in &worker.requests {
                for (status, count) in statuses.iter().enumerate() {
                    let count = count.load(Ordering::Relaxed);
                    totals.requests += count;
                    totals.errors += if status >= ERRORS_FROM { count } else { 0 };
                }
            }
            for (sum, count) in totals.latencies.0.iter_mut().zip(&worker.buckets) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        totals
    }
}

impl Latencies {
    /// Those that came after `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self(array::from_fn(|at| self.0[at].saturating_sub(earlier.0[at])))
    }

    /// In what time, in seconds, that share of them (from 0 to 1) was answered; none where there are none. Between the
    /// bounds of a bucket they are taken to be spread evenly; beyond the last bound, to be at it.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count: u64 = self.0.iter().sum();
        if count == 0 {
            return None;
        }
        let wanted = share.clamp(0.0, 1.0) * count as f64;
        let mut below = 0.0;
        for (at, here) in self.0.iter().enumerate() {
            let here = *here as f64;
            if here > 0.0 && below + here >= wanted {
                let bound = |at: usize| BOUNDS[at.min(BOUNDS.len() - 1)] as f64 / 1e6;
                let lower = if at == 0 { 0.0 } else { bound(at - 1) };
                return Some(lower + (bound(at) - lower) * ((wanted - below) / here));
            }
            below += here;
        }
        Some(BOUNDS[BOUNDS.len() - 1] as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Class;

    #[test]
    fn all_workers_are_added_up() {
        let metrics = Metrics::new(2);
        metrics.worker(0).request(Class::Service, 200, Duration::from_micros(300));
        metrics.worker(1).request(Class::None, 499, Duration::ZERO);
        metrics.worker(1).request(Class::Uri, 500, Duration::from_secs(1));
        metrics.worker(0).carried(3);
        metrics.worker(1).carried(4);
        metrics.worker(1).upstream_retry();
        let totals = metrics.totals();
        assert_eq!((totals.requests, totals.errors, totals.bytes, totals.retries), (3, 1, 7, 1));
    }

    #[test]
    fn quantiles_of_what_came_meanwhile() {
        let metrics = Metrics::new(1);
        let worker = metrics.worker(0);
        let near = |found: Option<f64>, wanted: f64| {
            let found = found.expect("there are some");
            assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
        };
        let before = metrics.totals().latencies;
        assert_eq!(before.quantile(0.5), None);
        for _ in 0..100 {
            worker.request(Class::Service, 200, Duration::from_micros(700));
        }
        let all = metrics.totals().latencies;
        near(all.quantile(0.5), 0.000_75);
        near(all.quantile(1.0), 0.001);
        worker.request(Class::Service, 200, Duration::from_secs(90));
        near(metrics.totals().latencies.since(&all).quantile(0.5), 30.0);
        near(metrics.totals().latencies.quantile(0.5), 0.000_752_5);
        assert_eq!(all.since(&all).quantile(0.5), None);
    }
}
