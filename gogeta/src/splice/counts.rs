//! What is counted of parked pairs.

use std::sync::atomic::{AtomicU64, Ordering};

use gogeta_common::latency::{Answered, CLASSES};

use super::engine::Kind;
use super::seat::Unfit;
use crate::metrics::Totals;

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

/// What was carried of a pair, or of some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Bytes from clients.
    pub up: u64,
    /// Bytes to clients.
    pub down: u64,
    /// Requests, those too that userspace has answered.
    pub requests: u64,
    /// What the kernel has answered.
    pub answered: Answered,
}

impl Tally {
    /// Nothing.
    pub const NONE: Self = Self { up: 0, down: 0, requests: 0, answered: Answered::NONE };

    /// What came since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let mut since = *self;
        let numbers = since.numbers_mut().into_iter().zip(before.numbers());
        numbers.for_each(|(number, before)| *number = number.saturating_sub(before));
        since
    }

    /// The requests among it that the kernel has answered.
    pub fn totals(&self) -> Totals {
        let [two, three, four, five] = self.answered.codes;
        Totals {
            codes: [0, two, three, four, five],
            micros: self.answered.took / 1000,
            classes: self.answered.classes(),
            ..Totals::default()
        }
    }

    fn numbers(&self) -> [u64; NUMBERS] {
        let mut copy = *self;
        copy.numbers_mut().map(|number| *number)
    }

    fn numbers_mut(&mut self) -> [&mut u64; NUMBERS] {
        let Self { up, down, requests, answered } = self;
        let mut numbers = [up, down, requests, &mut answered.took]
            .into_iter()
            .chain(&mut answered.codes)
            .chain(&mut answered.within);
        std::array::from_fn(|_| numbers.next().unwrap_or_else(|| unreachable!("they are counted below")))
    }
}

/// How many numbers a [`Tally`] has.
const NUMBERS: usize = 4 + 4 + (CLASSES - 1);

/// The same, of one engine; it only grows.
#[derive(Debug)]
struct Tallied([AtomicU64; NUMBERS]);

impl Default for Tallied {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// Counters; they only grow.
#[derive(Debug, Default)]
pub struct Counts {
    tallied: [Tallied; Kind::ALL.len()],
    parked: [AtomicU64; Kind::ALL.len()],
    unfit: [AtomicU64; UNFIT.len()],
    unparked: [[AtomicU64; REASONS.len()]; Kind::ALL.len()],
}

impl Counts {
    /// Something was carried.
    pub(super) fn carried(&self, kind: Kind, more: &Tally) {
        for (cell, count) in self.tallied[kind as usize].0.iter().zip(more.numbers()) {
            if count > 0 {
                cell.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// All that was carried, as far as it was looked up.
    pub(super) fn tally(&self, kind: Kind) -> Tally {
        let mut tally = Tally::NONE;
        let cells = tally.numbers_mut().into_iter().zip(&self.tallied[kind as usize].0);
        cells.for_each(|(number, cell)| *number = cell.load(Ordering::Relaxed));
        tally
    }

    /// A pair was parked.
    pub fn parked(&self, kind: Kind) {
        self.parked[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often one was.
    pub fn all_parked(&self) -> u64 {
        self.parked.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// One is userspace's again.
    pub fn unparked(&self, kind: Kind, reason: Reason) {
        self.unparked[kind as usize][reason as usize].fetch_add(1, Ordering::Relaxed);
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
    pub fn parked_now(&self, kind: Kind) -> u64 {
        // In this order: one that comes and goes meanwhile is rather missed than counted twice.
        let parked = self.parked[kind as usize].load(Ordering::Relaxed);
        let unparked = self.unparked[kind as usize].iter().map(|count| count.load(Ordering::Relaxed));
        parked.saturating_sub(unparked.sum())
    }

    /// Begins anew.
    pub(super) fn forget(&self) {
        let tallied = self.tallied.iter().flat_map(|tallied| &tallied.0);
        let all = tallied.chain(&self.parked).chain(&self.unfit).chain(self.unparked.as_flattened());
        all.for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// How often that was the reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.unparked.iter().map(|counts| counts[reason as usize].load(Ordering::Relaxed)).sum()
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
            counts.unparked(Kind::Wire, reason);
            assert_eq!(counts.of(reason), 1);
        }
    }

    #[test]
    fn what_an_engine_carries_is_its_own() {
        let counts = Counts::default();
        let mut more = Tally { up: 1, down: 2, requests: 3, answered: Answered::NONE };
        more.answered.add(404, 7_000);
        counts.carried(Kind::Wire, &more);
        counts.carried(Kind::Wire, &more);
        assert_eq!(counts.tally(Kind::Sockmap), Tally::NONE);
        let twice = counts.tally(Kind::Wire);
        assert_eq!(twice.since(&more), more);
        let totals = twice.totals();
        assert_eq!((totals.codes, totals.micros, totals.classes[0]), ([0, 0, 0, 2, 0], 14, 2));
        counts.parked(Kind::Wire);
        counts.unparked(Kind::Sockmap, Reason::Cut);
        assert_eq!((counts.parked_now(Kind::Wire), counts.parked_now(Kind::Sockmap)), (1, 0));
        counts.forget();
        assert_eq!(counts.tally(Kind::Wire), Tally::NONE);
    }
}
