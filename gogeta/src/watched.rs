//! A descriptor of ours that the runtime watches.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Something with a descriptor that stays the same, and open, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Watched<T>(pub(crate) T);

impl<T: AsFd> AsRawFd for Watched<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl<T: AsFd> Watched<T> {
    /// Lets the runtime watch it for something to read.
    ///
    /// # Errors
    ///
    /// Where the runtime cannot.
    pub(crate) fn new(inner: T) -> io::Result<AsyncFd<Self>> {
        // SAFETY: what is watched owns its descriptor and never changes it; it is dropped behind the registration.
        unsafe { AsyncFd::register_with_interest(Self(inner), Interest::READABLE) }.map_err(io::Error::from)
    }
}
