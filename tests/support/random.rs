//! Chance that a seed brings back.

use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers that only look random (SplitMix64, Steele et al. 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below")
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of them.
    pub(crate) fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// A number that whoever runs the tests has set: `GOGETA_TEST_` and this name.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(format!("GOGETA_TEST_{name}")).ok().map(|text| text.parse().expect("a number"))
}

/// The seed that was set, or another one each time; printed, for whoever wants to see it again.
#[expect(clippy::print_stdout, reason = "a failed test shows how to bring it back")]
pub(crate) fn seed() -> u64 {
    let seed = number("SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
        u64::try_from(now.as_millis()).expect("it is not that late")
    });
    println!("GOGETA_TEST_SEED={seed}");
    seed
}
