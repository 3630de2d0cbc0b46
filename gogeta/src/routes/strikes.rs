//! Upstreams whose answers the kernel cannot carry: parking their connections costs more than it saves.

use std::sync::atomic::{AtomicU64, Ordering};

/// So many parked pairs in a row, each back at once with an answer that is userspace's, and nothing is parked there.
const OUT: u64 = 8;
/// For so long, in milliseconds.
const PAUSE: u64 = 10_000;
/// How many bits of the cell count the strikes; the others are the time.
const COUNT_BITS: u32 = 4;

/// How often that was so lately; one cell, written to by all threads. Times are milliseconds on a clock of the
/// caller's.
#[derive(Debug, Default)]
pub struct Strikes(AtomicU64);

impl Strikes {
    /// Whether nothing is to be parked there at `now`.
    pub fn is_out(&self, now: u64) -> bool {
        let state = self.0.load(Ordering::Relaxed);
        state != 0 && now < state >> COUNT_BITS
    }

    /// A pair came back at once at `now`.
    pub fn strike(&self, now: u64) {
        // Of two threads at once one may be missed: this is no book-keeping.
        let count = (self.0.load(Ordering::Relaxed) & ((1 << COUNT_BITS) - 1)) + 1;
        let until = if count >= OUT { now.saturating_add(PAUSE) } else { 0 };
        self.0.store((until << COUNT_BITS) | (count % OUT), Ordering::Relaxed);
    }

    /// A pair carried something.
    pub fn forget(&self) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_in_a_row_are_out_for_a_while() {
        let strikes = Strikes::default();
        for _ in 0..7 {
            strikes.strike(100);
            assert!(!strikes.is_out(100));
        }
        strikes.strike(100);
        assert!(strikes.is_out(100) && strikes.is_out(10_099) && !strikes.is_out(10_100));
    }

    #[test]
    fn whoever_carries_now_and_then_stays() {
        let strikes = Strikes::default();
        for _ in 0..10 {
            for _ in 0..7 {
                strikes.strike(100);
            }
            strikes.forget();
        }
        assert!(!strikes.is_out(100));
    }
}
