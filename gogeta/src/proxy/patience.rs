//! How often a connection is parked of which the kernel carries nothing, or too much of it twice.
//!
//! To park a pair and to take it back costs about as much as to serve a small request. Whoever sends requests that are
//! all userspace's (each with a body, or each for another host) would pay for it each time, and get nothing.

use std::time::{Duration, Instant};

/// Times in a row that it may be in vain, before a connection is left alone for a while.
const FREE: u32 = 3;
/// After that, it is left alone for twice as many requests each time, up to so many times.
const DOUBLED: u32 = 6;

/// How long a connection is left alone that has lost too much: links get better, but not soon.
pub const LOSSY: Duration = Duration::from_secs(60);

/// What is left of it for one connection.
#[derive(Debug, Default)]
pub struct Patience {
    /// Times in a row that nothing was carried.
    vain: u32,
    /// Requests that the connection is left alone for.
    rest: u32,
    /// When it has lost too much.
    lossy: Option<Instant>,
}

impl Patience {
    /// Whether the connection is worth being parked behind the request that was just served.
    pub fn may_park(&mut self) -> bool {
        if self.lossy.is_some_and(|lossy| lossy.elapsed() < LOSSY) {
            return false;
        }
        self.lossy = None;
        let may = self.rest == 0;
        self.rest = self.rest.saturating_sub(1);
        may
    }

    /// Too much was lost of what was carried.
    pub fn lost(&mut self) {
        self.lossy = Some(Instant::now());
    }

    /// It was parked, and so many requests were carried until it came back.
    pub fn carried(&mut self, requests: u64) {
        if requests > 0 {
            *self = Self::default();
            return;
        }
        self.vain = self.vain.saturating_add(1);
        if self.vain > FREE {
            self.rest = 1 << (self.vain - FREE).min(DOUBLED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times that a connection is parked in so many requests, of which the kernel carries none.
    fn parked_in(patience: &mut Patience, requests: u32) -> u32 {
        let mut parked = 0;
        for _ in 0..requests {
            if patience.may_park() {
                parked += 1;
                patience.carried(0);
            }
        }
        parked
    }

    #[test]
    fn whoever_sends_nothing_to_be_carried_is_parked_ever_more_rarely() {
        let mut patience = Patience::default();
        assert_eq!(parked_in(&mut patience, 3), 3);
        assert_eq!(parked_in(&mut patience, 1 + 2 + 1 + 4 + 1 + 8), 3);
        let rarely = parked_in(&mut patience, 65 * 100);
        assert!((100..110).contains(&rarely), "{rarely}");
    }

    #[test]
    fn one_request_that_is_carried_makes_up_for_all_in_vain() {
        let mut patience = Patience::default();
        parked_in(&mut patience, 1000);
        while !patience.may_park() {}
        patience.carried(1);
        assert_eq!(parked_in(&mut patience, 3), 3);
    }
}
