//! How long requests take, in classes: the bounds that kernel and userspace count by.

/// Upper bounds of the classes, in nanoseconds; what is above the last one is in a class of its own.
pub const BOUNDS: [u64; 14] = [
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
];

/// How many classes there are.
pub const CLASSES: usize = BOUNDS.len() + 1;

/// The class of a time in nanoseconds.
#[inline(always)]
pub fn class(nanos: u64) -> usize {
    BOUNDS.iter().position(|bound| nanos <= *bound).unwrap_or(BOUNDS.len())
}

/// What the kernel counts of the requests of a pair that it has answered; it only grows.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// By the first digit of the status: from 2 to 5.
    pub codes: [u64; 4],
    /// How long they took in all, in nanoseconds.
    pub took: u64,
    /// How many took no longer than each of the [`BOUNDS`].
    pub within: [u64; BOUNDS.len()],
}

impl Answered {
    /// None yet.
    pub const NONE: Self = Self { codes: [0; 4], took: 0, within: [0; BOUNDS.len()] };

    /// One more, of that status, that took so many nanoseconds. Each place is written, whether it changes or not: one
    /// that is chosen would be an address that the program computes, and that the verifier lets only `CAP_PERFMON` do.
    /// A function of its own, and without a branch, which takes least of the program's stack.
    #[inline(never)]
    pub fn add(&mut self, status: u32, took: u64) {
        let [two, three, four, five] = &mut self.codes;
        let (is_three, is_four, is_five) =
            (is_up_to(300_u32, status), is_up_to(400_u32, status), is_up_to(500_u32, status));
        *two = two.wrapping_add(1 - is_three);
        *three = three.wrapping_add(is_three - is_four);
        *four = four.wrapping_add(is_four - is_five);
        *five = five.wrapping_add(is_five);
        self.took = self.took.wrapping_add(took);
        let mut at = 0;
        while at < BOUNDS.len() {
            self.within[at] = self.within[at].wrapping_add(is_up_to(took, BOUNDS[at]));
            at += 1;
        }
    }

    /// How many fell into each class.
    pub fn classes(&self) -> [u64; CLASSES] {
        let all: u64 = self.codes.iter().sum();
        let mut classes = [0; CLASSES];
        let mut below = 0;
        for (at, within) in self.within.iter().chain([&all]).enumerate() {
            // It may be read while it is written.
            classes[at] = within.saturating_sub(below);
            below = (*within).max(below);
        }
        classes
    }
}

/// 1 where the first is not above the other, or 0; of numbers whose difference has 63 bits.
#[inline(always)]
fn is_up_to(one: impl Into<u64>, other: impl Into<u64>) -> u64 {
    1 - (other.into().wrapping_sub(one.into()) >> 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_in_the_class_of_its_status_and_its_time() {
        let mut answered = Answered::NONE;
        for (status, took) in [(200, 1), (204, 250_000), (304, 250_001), (404, 31_000_000_000), (599, 5)] {
            answered.add(status, took);
        }
        assert_eq!(answered.codes, [2, 1, 1, 1]);
        assert_eq!(answered.took, 31_000_500_007);
        let classes = answered.classes();
        assert_eq!((classes[0], classes[1], classes[CLASSES - 1]), (3, 1, 1));
        assert_eq!(classes.iter().sum::<u64>(), 5);
    }

    #[test]
    fn a_bound_belongs_to_what_is_below_it() {
        assert_eq!((class(0), class(250_000), class(250_001), class(u64::MAX)), (0, 0, 1, BOUNDS.len()));
    }
}
