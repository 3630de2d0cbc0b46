//! A part of a long list: found, cut out and put in order without ordering the rest.

use std::cmp::Ordering;

use axum::http::StatusCode;

use super::fault::Fault;

/// Entries that one answer may have.
const MOST: usize = 1000;
/// Those that it has where nobody says how many.
pub(super) const USUAL: usize = 100;

/// Which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    offset: usize,
    limit: usize,
}

impl Part {
    /// So many entries from the `offset`th on.
    ///
    /// # Errors
    ///
    /// [`Fault`] where that is too many, or none.
    pub(super) fn new(offset: usize, limit: usize) -> Result<Self, Fault> {
        if (1..=MOST).contains(&limit) {
            Ok(Self { offset, limit })
        } else {
            Err(Fault::new(StatusCode::BAD_REQUEST, format!("limit must be 1 to {MOST}, not {limit}")))
        }
    }

    /// This part of all, in order. The others are compared a few times each, and not ordered: of 100,000 they are many.
    pub(super) fn of<T>(self, mut all: Vec<T>, mut order: impl FnMut(&T, &T) -> Ordering) -> Vec<T> {
        if self.offset >= all.len() {
            return Vec::new();
        }
        let end = self.offset.saturating_add(self.limit);
        if end < all.len() {
            all.select_nth_unstable_by(end, &mut order);
            all.truncate(end);
        }
        if self.offset > 0 {
            all.select_nth_unstable_by(self.offset, &mut order);
            all.drain(..self.offset);
        }
        all.sort_unstable_by(order);
        all
    }
}

/// Whether a text has another in it, whatever the letters' case.
pub(super) fn has(text: &str, part: &str) -> bool {
    part.is_empty()
        || text.as_bytes().windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_the_ordered_whole_has_there() {
        let all: Vec<u32> = (0..1000).map(|number: u32| number.wrapping_mul(2_654_435_761) % 9973).collect();
        let mut ordered = all.clone();
        ordered.sort_unstable();
        for (offset, limit) in [(0, 1), (0, 1000), (1, 999), (999, 1), (500, 10), (1000, 5), (usize::MAX, 7)]
        {
            let part = Part::new(offset, limit).expect("it may be").of(all.clone(), u32::cmp);
            let from = offset.min(ordered.len());
            assert_eq!(part, ordered[from..(from.saturating_add(limit)).min(1000)], "{offset}, {limit}");
        }
        assert!(Part::new(0, 0).is_err() && Part::new(0, 1001).is_err());
    }

    #[test]
    fn the_rest_is_not_ordered() {
        let all: Vec<u32> = (0..100_000).map(|number: u32| number.wrapping_mul(2_654_435_761)).collect();
        for offset in [0, 50_000, 99_900] {
            let mut compared = 0_usize;
            let part = Part::new(offset, 100).expect("it may be").of(all.clone(), |a, b| {
                compared += 1;
                a.cmp(b)
            });
            assert_eq!(part.len(), 100);
            // Ordering them all takes some 17 each.
            assert!(compared < 8 * all.len(), "{compared} comparisons from {offset} on");
        }
    }

    #[test]
    fn what_is_looked_for_may_be_anywhere() {
        for (text, part, found) in
            [("a.test", "A.T", true), ("a.test", "", true), ("a.test", "b", false), ("", "a", false)]
        {
            assert_eq!(has(text, part), found, "{part:?} in {text:?}");
        }
    }
}
