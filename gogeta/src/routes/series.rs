//! Where a service's requests are counted: a number that goes with the service from table to table.

use std::sync::atomic::{AtomicU64, Ordering};

/// Set in the lower half where no place was free.
const DENIED: u64 = u32::MAX as u64;

/// A service's place among the counters, as far as it has one. What the numbers mean is the counters' matter.
#[derive(Debug, Default)]
pub struct Series(AtomicU64);

/// What a [`Series`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// Nobody has asked for a place yet.
    Unasked,
    /// There was none, in that round.
    Denied(u32),
    /// This one.
    Place(u32),
}

impl Series {
    /// The place.
    pub fn seat(&self) -> Seat {
        let word = self.0.load(Ordering::Relaxed);
        match word & DENIED {
            0 => Seat::Unasked,
            DENIED => Seat::Denied((word >> 32) as u32),
            place => Seat::Place(place as u32 - 1),
        }
    }

    /// Gives it a place, or says that there is none.
    pub fn set(&self, seat: Seat) {
        let word = match seat {
            Seat::Unasked => 0,
            Seat::Denied(round) => u64::from(round) << 32 | DENIED,
            Seat::Place(place) => u64::from(place) + 1,
        };
        self.0.store(word, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_there() {
        let series = Series::default();
        assert_eq!(series.seat(), Seat::Unasked);
        for seat in [Seat::Place(0), Seat::Place(200), Seat::Denied(0), Seat::Denied(7), Seat::Unasked] {
            series.set(seat);
            assert_eq!(series.seat(), seat);
        }
    }
}
