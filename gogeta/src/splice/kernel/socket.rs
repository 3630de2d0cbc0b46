//! What the kernel knows of a TCP socket and the standard library does not ask.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Where a socket's stream is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that the other side has acknowledged (`tcpi_bytes_acked`).
    pub acked: u64,
    /// Bytes received in order (`tcpi_bytes_received`); a FIN counts as one.
    pub received: u64,
    /// Bytes written that the other side has not acknowledged (`SIOCOUTQ`).
    pub unacked: u64,
}

/// Where `tcpi_bytes_acked` and `tcpi_bytes_received` are in `struct tcp_info` (`linux/tcp.h`), which only grows.
const ACKED: usize = 120;
const RECEIVED: usize = 128;

/// Asks for a socket's progress.
///
/// # Errors
///
/// The kernel's, and where it is too old to tell.
pub fn progress(socket: BorrowedFd<'_>) -> io::Result<Progress> {
    let mut info = [0_u8; 256];
    let mut length: libc::socklen_t = 256;
    // SAFETY: the kernel writes no more than the length that it is told.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    if (length as usize) < RECEIVED + 8 {
        return Err(io::Error::other("the kernel's tcp_info is too short"));
    }
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&info[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    // Behind the rest: an acknowledgement in between makes the sum of both too small, never too large.
    let mut unacked: libc::c_int = 0;
    // SAFETY: the request writes one int.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unacked) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let unacked = u64::try_from(unacked).unwrap_or_default();
    Ok(Progress { acked: number(ACKED), received: number(RECEIVED), unacked })
}

/// How often is looked again at a socket of which acknowledgements come all the time.
const LOOKS: usize = 16;

/// Whether so many bytes have got into a socket, acknowledged or not. A SYN may count.
///
/// # Errors
///
/// The kernel's.
pub fn has_got(socket: BorrowedFd<'_>, bytes: u64) -> io::Result<bool> {
    Ok(got(socket, Some(bytes))? >= bytes)
}

/// Bytes that have got into a socket, acknowledged or not; looked at no more closely than it takes to see `enough`.
///
/// # Errors
///
/// The kernel's.
pub fn got(socket: BorrowedFd<'_>, enough: Option<u64>) -> io::Result<u64> {
    let mut last = progress(socket)?;
    let mut most = last.acked + last.unacked;
    for _ in 0..LOOKS {
        if enough.is_some_and(|enough| most >= enough) {
            break;
        }
        let next = progress(socket)?;
        if next.acked == last.acked {
            // There was no acknowledgement in between: the sum is right.
            break;
        }
        most = most.max(next.acked + next.unacked);
        last = next;
    }
    Ok(most)
}

/// The number that no other socket of this kernel has (`SO_COOKIE`, `socket(7)`).
///
/// # Errors
///
/// The kernel's.
pub fn cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = MaybeUninit::<u64>::uninit();
    let mut length: libc::socklen_t = 8;
    // SAFETY: the kernel writes eight bytes, or fails.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            cookie.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it succeeded.
    Ok(unsafe { cookie.assume_init() })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn what_was_written_has_got_there_while_acknowledgements_come() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let reading = std::thread::spawn(move || while far.read(&mut [0; 20_000]).unwrap() > 0 {});
        // A SYN counts, or does not.
        let first = got(near.as_fd(), None).unwrap();
        let mut written = first;
        for _ in 0..20_000 {
            near.write_all(&[0; 5000]).unwrap();
            written += 5000;
            assert!(has_got(near.as_fd(), written).unwrap());
            assert!(!has_got(near.as_fd(), written + 1).unwrap());
        }
        drop(near);
        reading.join().unwrap();
    }
}
