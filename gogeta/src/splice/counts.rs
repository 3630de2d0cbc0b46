//! What is counted of parked pairs.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a pair is userspace's again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The client sent something that the guard does not let pass, or the upstream something unasked.
    Refused,
    /// Its response is not simple.
    Answer,
    /// The upstream sent more than it announced, or less.
    Cut,
    /// One of the two has closed.
    Closed,
    /// The routes changed, its time is over, or gogeta ends.
    Recalled,
}

/// All reasons, and what they are called in metrics.
pub const REASONS: [(Reason, &str); 5] = [
    (Reason::Refused, "refused"),
    (Reason::Answer, "answer"),
    (Reason::Cut, "cut"),
    (Reason::Closed, "closed"),
    (Reason::Recalled, "recalled"),
];

/// Counters; they only grow.
#[derive(Debug, Default)]
pub struct Counts {
    /// Times that a pair was parked.
    pub parked: AtomicU64,
    /// Times that one could not be, for something came in between, or the kernel did not want it.
    pub unfit: AtomicU64,
    /// Bytes from clients, of pairs that are no more.
    pub up: AtomicU64,
    /// Bytes to clients, likewise.
    pub down: AtomicU64,
    /// Requests, likewise.
    pub requests: AtomicU64,
    unparked: [AtomicU64; REASONS.len()],
}

impl Counts {
    /// Adds one.
    pub fn unparked(&self, reason: Reason) {
        self.unparked[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many pairs are parked now: only those that the kernel has, and not those that are still being looked at.
    pub fn parked_now(&self) -> u64 {
        // In this order: one that comes and goes meanwhile is rather missed than counted twice.
        let parked = self.parked.load(Ordering::Relaxed);
        let unparked: u64 = self.unparked.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        parked.saturating_sub(unparked)
    }

    /// Begins anew.
    pub(super) fn forget(&self) {
        let all = [&self.parked, &self.unfit, &self.up, &self.down, &self.requests];
        for count in all.into_iter().chain(&self.unparked) {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// How often that was the reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.unparked[reason as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        let counts = Counts::default();
        for (place, (reason, _)) in REASONS.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
            counts.unparked(reason);
            assert_eq!(counts.of(reason), 1);
        }
    }
}
