//! What is counted of parked pairs.

use std::sync::atomic::{AtomicU64, Ordering};

use super::engine::Kind;
use super::seat::Unfit;

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
    /// Too much of what it carries is lost on the way.
    Lossy,
}

/// All reasons, and what they are called in metrics.
pub const REASONS: [(Reason, &str); 6] = [
    (Reason::Refused, "refused"),
    (Reason::Answer, "answer"),
    (Reason::Cut, "cut"),
    (Reason::Closed, "closed"),
    (Reason::Recalled, "recalled"),
    (Reason::Lossy, "lossy"),
];

/// Why a pair was not parked, as [`Unfit`] says it, and what that is called in metrics.
pub const UNFIT: [&str; 7] = ["full", "closed", "unquiet", "host", "differs", "unseen", "system"];

/// Counters; they only grow.
#[derive(Debug, Default)]
pub struct Counts {
    /// Times that a pair was parked.
    pub parked: AtomicU64,
    /// What pairs have carried that are no more: bytes from clients, bytes to clients and requests, of each engine.
    carried: [[AtomicU64; 3]; 2],
    unfit: [AtomicU64; UNFIT.len()],
    unparked: [AtomicU64; REASONS.len()],
}

impl Counts {
    /// A pair is no more that has carried these bytes from its client, bytes to it, and requests.
    pub(super) fn add(&self, kind: Kind, numbers: [u64; 3]) {
        for (count, number) in self.carried[kind as usize].iter().zip(numbers) {
            count.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// What was added of one engine.
    pub(super) fn carried(&self, kind: Kind) -> [u64; 3] {
        self.carried[kind as usize].each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Adds one.
    pub fn unparked(&self, reason: Reason) {
        self.unparked[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A pair could not be parked.
    pub fn unfit(&self, unfit: &Unfit) {
        self.unfit[unfit.place()].fetch_add(1, Ordering::Relaxed);
    }

    /// How often one could not be, in the order of [`UNFIT`].
    pub fn all_unfit(&self) -> [u64; UNFIT.len()] {
        self.unfit.each_ref().map(|count| count.load(Ordering::Relaxed))
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
        let carried = self.carried.iter().flatten();
        for count in carried.chain([&self.parked]).chain(&self.unfit).chain(&self.unparked) {
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
    use std::io;

    use super::*;

    #[test]
    fn whatever_is_unfit_is_counted_by_its_own_name() {
        let rows = [
            (Unfit::Full, "full"),
            (Unfit::Closed, "closed"),
            (Unfit::Unquiet, "unquiet"),
            (Unfit::Host, "host"),
            (Unfit::Differs("something"), "differs"),
            (Unfit::Unseen, "unseen"),
            (Unfit::System(io::ErrorKind::Other.into()), "system"),
        ];
        assert_eq!(rows.len(), UNFIT.len());
        for (unfit, name) in rows {
            let counts = Counts::default();
            counts.unfit(&unfit);
            let counted = UNFIT.iter().zip(counts.all_unfit()).filter(|(_, count)| *count > 0);
            assert_eq!(counted.collect::<Vec<_>>(), [(&name, 1)]);
        }
    }

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
