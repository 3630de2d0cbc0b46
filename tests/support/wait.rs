//! Waiting for something that happens elsewhere: for the thing itself, with a deadline.

use std::time::{Duration, Instant};

/// How long anything may take that nobody promised a time for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Waits until the check gives something; panics at the [`DEADLINE`], naming `what` it waited for.
pub(crate) async fn until<T>(what: &str, check: impl AsyncFnMut() -> Option<T>) -> T {
    within(DEADLINE, what, check).await
}

/// Waits until the check gives something, where a time is promised.
pub(crate) async fn within<T>(limit: Duration, what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
