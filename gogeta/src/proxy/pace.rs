//! How fast a peer is while it is waited for, and not while anybody else is.
//!
//! A byte now and then is progress, and holds a connection for ever: so in each ten seconds of waiting for a peer
//! there must be some bytes of it (as Apache's mod_reqtimeout asks for).

use std::cell::Cell;

/// After so many milliseconds of waiting the bytes are counted.
const WINDOW: u64 = 10_000;

/// One direction of a connection. Times are milliseconds of any clock that is never 0.
#[derive(Debug, Default)]
pub struct Pace {
    since: Cell<u64>,
    waited: Cell<u64>,
    bytes: Cell<u64>,
}

impl Pace {
    /// Forgets what was.
    pub fn reset(&self) {
        self.since.set(0);
        self.waited.set(0);
        self.bytes.set(0);
    }

    /// From now on the peer is waited for, if it was not before.
    pub fn wait(&self, now: u64) {
        if self.since.get() == 0 {
            self.since.set(now);
        }
    }

    /// Bytes came or went; whether there were `least` of them for each second of waiting.
    pub fn progress(&self, now: u64, bytes: usize, least: u64) -> bool {
        let since = self.since.replace(0);
        if since > 0 {
            self.waited.set(self.waited.get() + now.saturating_sub(since));
        }
        self.bytes.set(self.bytes.get() + bytes as u64);
        if self.waited.get() < WINDOW {
            return true;
        }
        let enough =
            self.bytes.replace(0).saturating_mul(1000) >= least.saturating_mul(self.waited.replace(0));
        self.reset();
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits `pause` for each `bytes`, `times`; whether all was well.
    fn is_well(pace: &Pace, start: u64, pause: u64, bytes: usize, times: u64) -> bool {
        (0..times).all(|turn| {
            let now = start + turn * pause;
            pace.wait(now);
            pace.progress(now + pause, bytes, 500)
        })
    }

    #[test]
    fn slow_is_who_is_waited_for() {
        assert!(!is_well(&Pace::default(), 1, 1000, 1, 11), "a byte a second");
        assert!(is_well(&Pace::default(), 1, 1000, 1, 9), "not yet");
        assert!(!is_well(&Pace::default(), 1, 1000, 499, 100));
        assert!(is_well(&Pace::default(), 1, 1000, 500, 100));
        assert!(is_well(&Pace::default(), 1, 20_000, 10_000, 10), "in large steps");
        assert!(is_well(&Pace::default(), 1, 0, 1, 1000), "nobody waits");
    }

    #[test]
    fn a_quick_start_buys_no_time() {
        let pace = Pace::default();
        assert!(is_well(&pace, 1, 10, 1 << 20, 1000));
        assert!(!is_well(&pace, 100_000, 1000, 1, 21));
        let fresh = Pace::default();
        assert!(is_well(&fresh, 1, 1000, 1, 9));
        fresh.reset();
        assert!(is_well(&fresh, 20_000, 1000, 1, 9));
    }

    #[test]
    fn nothing_is_asked_for_where_the_rate_is_0() {
        let pace = Pace::default();
        pace.wait(1);
        assert!(pace.progress(1_000_000, 1, 0));
    }
}
