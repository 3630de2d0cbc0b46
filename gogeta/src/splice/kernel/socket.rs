//! What the kernel knows of a TCP socket and the standard library does not ask.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use gogeta_common::wire::pair::{MAPPED, Tuple};
use socket2::SockRef;

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

/// `struct tcp_info`, as far as it goes.
fn info(socket: BorrowedFd<'_>) -> io::Result<[u8; 256]> {
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
    Ok(info)
}

/// Asks for a socket's progress.
///
/// # Errors
///
/// The kernel's, and where it is too old to tell.
pub fn progress(socket: BorrowedFd<'_>) -> io::Result<Progress> {
    let info = info(socket)?;
    // Behind the rest: an acknowledgement in between makes the sum of both too small, never too large.
    let mut unacked: libc::c_int = 0;
    // SAFETY: the request writes one int.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unacked) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let unacked = u64::try_from(unacked).unwrap_or_default();
    Ok(Progress { acked: number(&info, ACKED), received: number(&info, RECEIVED), unacked })
}

fn number(info: &[u8; 256], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&info[at..at + 8]);
    u64::from_ne_bytes(bytes)
}

/// See [`Progress::received`], for less.
///
/// # Errors
///
/// As above.
pub fn received(socket: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(number(&info(socket)?, RECEIVED))
}

/// What two ends of a connection have agreed upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Whether segments have timestamps, and on a clock of milliseconds.
    pub has_times: bool,
    /// Whether congestion is notified explicitly (RFC 3168).
    pub has_ecn: bool,
    /// By how many bits the other end's windows are to be moved, and those that it is told.
    pub scales: [u8; 2],
    /// Bytes of payload in a segment that the other end takes, and in one that it was told to be taken here.
    pub sizes: [u32; 2],
    /// What makes the socket's time of the kernel's milliseconds.
    pub clock: u32,
}

/// Where these are in `struct tcp_info` (`linux/tcp.h`): `tcpi_options`, the scales, `tcpi_snd_mss`, `tcpi_advmss`.
const OPTIONS: usize = 5;
const SCALES: usize = 6;
const SENT_MSS: usize = 16;
const TOLD_MSS: usize = 84;
/// `TCPI_OPT_*`.
const HAS_TIMES: u8 = 1;
const HAS_SCALES: u8 = 4;
const HAS_ECN: u8 = 8;
const HAS_MICROSECONDS: u8 = 64;
/// Bytes that timestamps take of each segment.
const TIMES_SIZE: u32 = 12;

/// Asks what a socket and its other end have agreed upon.
///
/// # Errors
///
/// The kernel's.
pub fn agreed(socket: BorrowedFd<'_>) -> io::Result<Agreed> {
    let info = info(socket)?;
    let number = |at: usize| u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
    let has = |option: u8| info[OPTIONS] & option != 0;
    if has(HAS_MICROSECONDS) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "timestamps of microseconds"));
    }
    // Two fields of four bits, the first in the lower ones, or on machines of the other kind in the higher ones.
    let [low, high] = [info[SCALES] & 15, info[SCALES] >> 4];
    let scales = if cfg!(target_endian = "little") { [low, high] } else { [high, low] };
    let has_times = has(HAS_TIMES);
    let told = number(TOLD_MSS).saturating_sub(if has_times { TIMES_SIZE } else { 0 });
    Ok(Agreed {
        has_times,
        has_ecn: has(HAS_ECN),
        scales: if has(HAS_SCALES) { scales } else { [0, 0] },
        sizes: [number(SENT_MSS), told],
        clock: if has_times { clock(socket)? } else { 0 },
    })
}

impl Agreed {
    /// Whether segments of an upstream's connection may go on to this client's, and the other way round.
    ///
    /// # Errors
    ///
    /// What is in the way.
    pub fn fits(&self, upstream: &Self) -> Result<(), &'static str> {
        if self.has_times != upstream.has_times {
            return Err("only one has timestamps");
        }
        if self.has_ecn != upstream.has_ecn {
            return Err("only one has congestion notified");
        }
        if upstream.sizes[1] > self.sizes[0] {
            return Err("the upstream's segments are too long for the client's");
        }
        Ok(())
    }
}

/// What makes a socket's time, as its timestamps tell it, of the kernel's milliseconds.
fn clock(socket: BorrowedFd<'_>) -> io::Result<u32> {
    loop {
        let before = milliseconds();
        let time = time(socket)?;
        // To the millisecond: one that was told a later time takes an earlier one for old.
        if milliseconds() == before {
            return Ok(time.wrapping_sub(before));
        }
    }
}

/// Nanoseconds of the clock that kernel programs see.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// The same in milliseconds, of which timestamps are made. They go round.
pub fn milliseconds() -> u32 {
    u32::try_from((now() / 1_000_000) & u64::from(u32::MAX)).unwrap_or_default()
}

/// What a socket's clock for timestamps tells now.
fn time(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut time: u32 = 0;
    let mut length: libc::socklen_t = 4;
    // SAFETY: the kernel writes four bytes, or fails.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_TIMESTAMP,
            (&raw mut time).cast(),
            &raw mut length,
        )
    };
    if outcome == 0 { Ok(time) } else { Err(io::Error::last_os_error()) }
}

/// A socket's addresses; none where its packets come by no device: both ends are on this machine.
///
/// # Errors
///
/// The kernel's.
pub fn tuple(socket: BorrowedFd<'_>) -> io::Result<Option<Tuple>> {
    let socket = SockRef::from(&socket);
    let (near, far) = (socket.local_addr()?.as_socket(), socket.peer_addr()?.as_socket());
    let (Some(near), Some(far)) = (near, far) else { return Ok(None) };
    let is_loopback =
        far.ip().to_canonical().is_loopback() || near.ip().to_canonical() == far.ip().to_canonical();
    if is_loopback {
        return Ok(None);
    }
    Ok(Some(tuple_of(near, far)))
}

/// The tuple of gogeta's address and the other end's.
pub fn tuple_of(near: SocketAddr, far: SocketAddr) -> Tuple {
    let port = |address: SocketAddr| address.port().to_be();
    Tuple { near: words(near.ip()), far: words(far.ip()), near_port: port(near), far_port: port(far) }
}

/// An address, as [`Tuple`] has it.
fn words(address: IpAddr) -> [u32; 4] {
    match address.to_canonical() {
        IpAddr::V4(address) => [MAPPED[0], MAPPED[1], MAPPED[2], u32::from_ne_bytes(address.octets())],
        IpAddr::V6(address) => {
            let octets = address.octets();
            [0, 4, 8, 12]
                .map(|at| u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]))
        }
    }
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
