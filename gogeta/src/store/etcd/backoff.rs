//! Pauses between tries.

use std::time::Duration;

use crate::clock::since_1970;

/// The first and the longest pause between two tries. Routes must be right two seconds after etcd is back.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Pauses between tries, longer each time, and not all gogetas' at once.
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(BACKOFF.0)
    }
}

impl Backoff {
    /// The next one.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(BACKOFF.1);
        jitter(pause)
    }

    /// Something has succeeded.
    pub(super) fn reset(&mut self) {
        self.0 = BACKOFF.0;
    }

    /// Whether nothing has failed since the beginning, or since the last success.
    pub(super) fn is_fresh(&self) -> bool {
        self.0 == BACKOFF.0
    }
}

/// Half to all of a time, so that not all gogetas do a thing at once.
pub(super) fn jitter(time: Duration) -> Duration {
    // The clock's microseconds are as good as dice here.
    let micros = since_1970().subsec_micros();
    time / 2 + (time / 2).mul_f64(f64::from(micros % 1000) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_fresh());
        let pauses: Vec<Duration> = (0..10).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= BACKOFF.0 / 2 && pauses[0] <= BACKOFF.0);
        assert!(pauses[9] >= BACKOFF.1 / 2 && pauses[9] <= BACKOFF.1);
        assert!(!backoff.is_fresh());
    }
}
