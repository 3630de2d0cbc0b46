//! How long something takes, over many times.

use std::time::Instant;

use serde::Serialize;

/// Microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct Micros(pub(crate) u64);

impl Micros {
    /// From then to now.
    pub(crate) fn since(then: Instant) -> Self {
        Self(u64::try_from(then.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// With a unit that suits it.
    pub(crate) fn show(self) -> String {
        let value = std::time::Duration::from_micros(self.0).as_secs_f64();
        if self.0 >= 1_000_000 { format!("{value:.2} s") } else { format!("{:.2} ms", value * 1e3) }
    }
}

/// What is enough to know of many times.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Percentiles {
    count: usize,
    p50: Micros,
    p90: Micros,
    p99: Micros,
    max: Micros,
}

impl Percentiles {
    /// Of these, of which there must be some.
    pub(crate) fn of(mut times: Vec<Micros>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        Self { count: times.len(), p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }

    pub(crate) fn p99(&self) -> Micros {
        self.p99
    }

    pub(crate) fn max(&self) -> Micros {
        self.max
    }

    /// As cells of a table: p50, p90, p99, and the longest.
    pub(crate) fn cells(&self) -> String {
        [self.p50, self.p90, self.p99, self.max].map(Micros::show).join(" | ")
    }

    pub(crate) fn p50(&self) -> Micros {
        self.p50
    }
}
