//! The rest of an upstream that could not be connected to: for a while requests go to others, then one tries it.

use std::sync::atomic::{AtomicU64, Ordering};

/// The first rest and the longest, in milliseconds; each is twice the one before.
const FIRST: u64 = 1000;
const LONGEST: u64 = 30_000;
/// How many bits of the cell count the rests; the others are the time.
const COUNT_BITS: u32 = 4;

/// Whether an upstream rests, and until when; one cell, written to by all threads. Times are milliseconds on a
/// clock of the caller's.
#[derive(Debug, Default)]
pub struct Rest(AtomicU64);

impl Rest {
    /// Whether nothing is known against the upstream.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// How long it still rests at `now`; none where a request would be let through. Changes nothing.
    pub fn left(&self, now: u64) -> Option<u64> {
        let until = self.0.load(Ordering::Relaxed) >> COUNT_BITS;
        until.checked_sub(now).filter(|left| *left > 0)
    }

    /// Whether a request may go there at `now`. When a rest has passed, one may, and the next rest has begun for
    /// all others: it ends if that one gets through.
    pub fn lets_through(&self, now: u64) -> bool {
        let state = self.0.load(Ordering::Relaxed);
        if state == 0 {
            return true;
        }
        let (until, count) = (state >> COUNT_BITS, state & ((1 << COUNT_BITS) - 1));
        let next = packed(now, (count + 1).min((1 << COUNT_BITS) - 1));
        now >= until && self.0.compare_exchange(state, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// It could not be connected to at `now`; whether it begins to rest with that.
    pub fn begin(&self, now: u64) -> bool {
        self.0.compare_exchange(0, packed(now, 1), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// It was connected to, or has begun a new life; whether that ends a rest.
    pub fn end(&self) -> bool {
        !self.is_over() && self.0.swap(0, Ordering::Relaxed) != 0
    }
}

/// The state of the `count`th rest in a row, begun at `now`.
fn packed(now: u64, count: u64) -> u64 {
    let length = (FIRST << (count - 1)).min(LONGEST);
    (now.saturating_add(length) << COUNT_BITS) | count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rest_is_twice_as_long_and_lets_one_through_at_its_end() {
        let rest = Rest::default();
        assert!(rest.is_over() && rest.lets_through(1) && rest.lets_through(1));
        assert!(rest.begin(1) && !rest.begin(1), "it begins once");
        let mut now = 1;
        for length in [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000].into_iter().chain([30_000; 20])
        {
            assert!(!rest.lets_through(now + length - 1), "{length}");
            assert_eq!((rest.left(now), rest.left(now + length)), (Some(length), None));
            now += length;
            assert!(rest.lets_through(now) && !rest.lets_through(now), "one tries it after {length}");
            assert!(!rest.begin(now), "that it fails is no news");
        }
        assert!(!rest.is_over() && rest.end() && !rest.end(), "it ends once");
        assert!(rest.is_over() && rest.lets_through(now));
        assert!(rest.begin(now) && rest.lets_through(now + 1000), "and the next is short again");
    }

    #[test]
    fn of_many_at_once_one_is_let_through() {
        let rest = Rest::default();
        for round in 1..200 {
            rest.end();
            rest.begin(round);
            let through = std::thread::scope(|scope| {
                let tries: Vec<_> =
                    (0..4).map(|_| scope.spawn(|| usize::from(rest.lets_through(round + 1000)))).collect();
                tries.into_iter().map(|tried| tried.join().expect("a thread")).sum::<usize>()
            });
            assert_eq!(through, 1);
        }
    }
}
