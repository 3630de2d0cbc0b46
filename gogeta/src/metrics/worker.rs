//! What one worker counts: nobody else writes there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gogeta_common::latency::{self, CLASSES};

use super::services::{Cells, Services};
use super::{Target, add};
use crate::routes::model::Service;

/// Names under which errors are counted, so that a counter needs no map.
pub(super) const ERRORS: [&str; 31] = [
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

/// Statuses that are counted one by one: 100 to 599.
pub(super) const STATUSES: usize = 500;

/// Durations by their classes, and in all.
#[derive(Debug)]
pub(super) struct Durations {
    pub(super) classes: [AtomicU64; CLASSES],
    pub(super) micros: AtomicU64,
}

impl Durations {
    fn new() -> Self {
        Self { classes: zeros(), micros: AtomicU64::new(0) }
    }

    /// Adds one; gives its class and its microseconds.
    fn add(&self, took: Duration) -> (usize, u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let (class, micros) = (latency::class(nanos), nanos / 1000);
        add(&self.classes[class], 1);
        add(&self.micros, micros);
        (class, micros)
    }
}

/// One worker's counters.
#[derive(Debug)]
pub struct WorkerMetrics {
    pub(super) requests: [Box<[AtomicU64]>; Target::ALL.len()],
    pub(super) durations: Durations,
    pub(super) first_bytes: Durations,
    pub(super) errors: [AtomicU64; ERRORS.len()],
    pub(super) upstream_errors: [AtomicU64; ERRORS.len()],
    pub(super) retries: AtomicU64,
    pub(super) retries_refused: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) idle_upstreams: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    services: Arc<Services>,
    cells: Box<[Cells]>,
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

/// What a request has that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// What it was for.
    pub target: Target,
    /// The place of its service, as [`WorkerMetrics::routed`] gave it.
    pub place: Option<u32>,
    /// The status that was served.
    pub status: u16,
    /// Whether an instance did not answer it, or not whole.
    pub failed: bool,
    /// How long it took.
    pub took: Duration,
}

impl WorkerMetrics {
    pub(super) fn new(services: Arc<Services>) -> Self {
        Self {
            requests: std::array::from_fn(|_| (0..STATUSES).map(|_| AtomicU64::new(0)).collect()),
            durations: Durations::new(),
            first_bytes: Durations::new(),
            errors: zeros(),
            upstream_errors: zeros(),
            retries: AtomicU64::new(0),
            retries_refused: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            idle_upstreams: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            cells: services.cells(),
            services,
        }
    }

    /// The counters of the service at that place.
    pub(super) fn of(&self, place: usize) -> Option<&Cells> {
        self.cells.get(place)
    }

    /// A request is for that service, and was for the one at `before`, if for any; gives where it is counted.
    pub fn routed(&self, service: &Service, before: Option<u32>) -> Option<u32> {
        if self.cells.is_empty() {
            return None;
        }
        let place = self.services.place(service);
        if before != Some(place) {
            if let Some(cells) = before.and_then(|before| self.of(before as usize)) {
                cells.take_back();
            }
            if let Some(cells) = self.of(place as usize) {
                cells.begin();
            }
        }
        Some(place)
    }

    /// A request was answered.
    pub fn request(&self, answered: Answered) {
        let Answered { target, place, status, failed, took } = answered;
        let at = usize::from(status).saturating_sub(100).min(STATUSES - 1);
        add(&self.requests[target as usize][at], 1);
        let duration = self.durations.add(took);
        if let Some(cells) = place.and_then(|place| self.of(place as usize)) {
            cells.end(status, failed, duration);
        }
    }

    /// An upstream has begun to answer, so long after it was chosen.
    pub fn first_byte(&self, took: Duration) {
        self.first_bytes.add(took);
    }

    /// Bytes came from clients.
    pub fn received(&self, bytes: u64) {
        add(&self.received, bytes);
    }

    /// Bytes were written to clients.
    pub fn sent(&self, bytes: u64) {
        add(&self.sent, bytes);
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

    /// So many connections to upstreams are idle.
    pub fn set_idle_upstreams(&self, count: usize) {
        self.idle_upstreams.store(count as u64, Ordering::Relaxed);
    }
}

fn index_of(name: &str) -> usize {
    ERRORS.iter().position(|known| *known == name).unwrap_or(ERRORS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_counter() {
        assert_eq!(index_of("no such name"), ERRORS.len() - 1);
        assert_eq!(ERRORS[index_of("connect")], "connect");
    }
}
