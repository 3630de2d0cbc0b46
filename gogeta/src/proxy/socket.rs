//! A TCP socket that counts what goes through it, and that can be taken out of the runtime and put back.

use std::io;
use std::net;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::splice::{Engine, Ledger, Watch};

/// The socket.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    ledger: Ledger,
    watch: Option<Watch>,
}

/// The same, of which the runtime knows nothing: nobody is woken by what comes.
#[derive(Debug)]
pub struct Dormant {
    stream: net::TcpStream,
    ledger: Ledger,
    watch: Option<Watch>,
}

impl Socket {
    /// A socket that nothing was read from or written to, and that may be parked by that engine.
    pub fn new(stream: TcpStream, engine: Option<&Arc<Engine>>) -> Self {
        let watch = engine.and_then(|engine| engine.watch(stream.as_fd()));
        Self { stream, ledger: Ledger::default(), watch }
    }

    /// What went through it.
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// Takes it out of the runtime.
    ///
    /// # Errors
    ///
    /// Where the runtime cannot.
    pub fn doze(self) -> io::Result<Dormant> {
        Ok(Dormant { stream: self.stream.into_std()?, ledger: self.ledger, watch: self.watch })
    }

    /// Closes by a reset.
    pub fn reset(mut self) {
        if let Some(watch) = &mut self.watch {
            watch.reset();
        }
        // Where that cannot be said it is closed in the usual way.
        let _ = self.stream.set_zero_linger();
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Dormant {
    /// Closes by a reset.
    pub fn reset(mut self) {
        if let Some(watch) = &mut self.watch {
            watch.reset();
        }
        // As above.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// What went through it.
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// Puts it back into the runtime.
    ///
    /// # Errors
    ///
    /// Where the runtime cannot.
    pub fn awake(self) -> io::Result<Socket> {
        Ok(Socket { stream: TcpStream::from_std(self.stream)?, ledger: self.ledger, watch: self.watch })
    }
}

impl AsFd for Dormant {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.ledger.read += (buffer.filled().len() - before) as u64;
        outcome
    }
}

impl Socket {
    fn wrote(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &outcome {
            self.ledger.written += *count as u64;
        }
        outcome
    }
}

/// Up to so many bytes are copied rather than written from where they are.
const SMALL: usize = 1024;

/// Copies them into one, if they all fit; gives their length.
fn join(slices: &[io::IoSlice<'_>], joint: &mut [u8; SMALL]) -> Option<usize> {
    let mut length = 0;
    for slice in slices {
        joint.get_mut(length..length + slice.len())?.copy_from_slice(slice);
        length += slice.len();
    }
    Some(length)
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // For the kernel a vector is dearer than one buffer, by more than the copy of a small one.
        let mut joint = [0; SMALL];
        let stream = Pin::new(&mut self.stream);
        let outcome = match slices {
            [slice] => stream.poll_write(cx, slice),
            _ => match join(slices, &mut joint) {
                Some(count) => stream.poll_write(cx, &joint[..count]),
                None => stream.poll_write_vectored(cx, slices),
            },
        };
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_small_is_written_as_one() {
        let mut joint = [0; SMALL];
        let [empty, head, body] = [&b""[..], b"head", b"body"].map(io::IoSlice::new);
        assert_eq!(join(&[head, empty, body], &mut joint), Some(8));
        assert_eq!(joint[..8], *b"headbody");
        let most = [b'x'; SMALL];
        assert_eq!(join(&[io::IoSlice::new(&most)], &mut joint), Some(SMALL));
        assert_eq!(join(&[head, io::IoSlice::new(&most)], &mut joint), None);
    }
}
