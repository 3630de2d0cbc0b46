//! Waiting for something that happens elsewhere: for the thing itself, with a deadline.

use std::os::fd::AsFd as _;
use std::task::Poll;
use std::time::{Duration, Instant};

use gogeta::splice::kernel::socket::progress;
use tokio::net::TcpStream;

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

/// Waits for all of them at once, on this thread.
pub(crate) async fn all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Some(Box::pin(future)), None)).collect();
    std::future::poll_fn(|cx| {
        let mut is_ready = true;
        for (future, outcome) in &mut waiting {
            match future.as_mut().map(|future| future.as_mut().poll(cx)) {
                Some(Poll::Ready(done)) => (*future, *outcome) = (None, Some(done)),
                Some(Poll::Pending) => is_ready = false,
                None => {}
            }
        }
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, outcome)| outcome).collect()
}

/// Waits until the other side's kernel has all that was written.
pub(crate) async fn acknowledged(stream: &TcpStream) {
    let begun = Instant::now();
    while progress(stream.as_fd()).is_ok_and(|progress| progress.unacked > 0) {
        assert!(begun.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain for an acknowledgement");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A connection whose reads wait, but no longer than the [`DEADLINE`].
pub(crate) fn for_a_thread(stream: std::net::TcpStream) -> std::net::TcpStream {
    stream.set_nonblocking(false).expect("it waits");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    stream
}
