//! The time of day, as it is written down: since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since 1970; zero where the clock is before that.
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The same in seconds.
pub fn unix_seconds() -> u64 {
    since_1970().as_secs()
}
