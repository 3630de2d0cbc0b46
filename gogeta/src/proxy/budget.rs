//! How many requests a worker may send once more: a tenth of those that it gets. Where much fails, more requests
//! are no help.

use std::cell::Cell;

/// What a request adds, what a retry takes, and the most that can be saved up: tenths of a retry.
const REQUEST: u32 = 1;
const RETRY: u32 = 10;
const MOST: u32 = 10 * RETRY;

/// A worker's retries. Full at first, and every second adds one, so that a quiet proxy can retry, too.
#[derive(Debug)]
pub struct Budget(Cell<u32>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(MOST))
    }
}

impl Budget {
    /// A request has come.
    pub fn request(&self) {
        self.add(REQUEST);
    }

    /// A second has passed.
    pub fn second(&self) {
        self.add(RETRY);
    }

    /// Takes one retry, if there is one.
    pub fn take(&self) -> bool {
        let left = self.0.get().checked_sub(RETRY);
        self.0.set(left.unwrap_or(self.0.get()));
        left.is_some()
    }

    fn add(&self, tenths: u32) {
        self.0.set((self.0.get() + tenths).min(MOST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_requests_and_one_a_second() {
        let budget = Budget::default();
        let taken = || std::iter::from_fn(|| budget.take().then_some(())).count();
        assert_eq!(taken(), 10);
        (0..9).for_each(|_| budget.request());
        assert_eq!(taken(), 0);
        budget.request();
        assert_eq!(taken(), 1);
        (0..55).for_each(|_| budget.request());
        assert_eq!(taken(), 5);
        budget.second();
        assert_eq!(taken(), 1);
        (0..1_000_000).for_each(|_| budget.request());
        assert_eq!(taken(), 10);
    }
}
