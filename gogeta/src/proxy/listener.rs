//! Listening sockets, bound before anything else is started.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections may wait to be accepted; the kernel's own limit applies too.
const BACKLOG: i32 = 4096;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({flag}): {error}{}", hint(.error))]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// The flag that names it.
    pub flag: &'static str,
    /// The system's reason.
    pub error: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process has it",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

/// Listens on an address once for each of `count` threads: the kernel spreads new connections over them.
///
/// # Errors
///
/// [`ListenError`] names the address.
pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, ListenError> {
    let named = |error| ListenError { address, flag: "--listen, --port", error };
    // SO_REUSEPORT would let us share the port with a stranger of the same user; the first one must have it alone.
    let probe = socket(address, false).map_err(named)?;
    let address = probe.local_addr().map_err(named)?;
    drop(probe);
    (0..count).map(|_| socket(address, true).map_err(named)).collect()
}

/// Listens on an address for one thread; `flag` is the one that names it.
///
/// # Errors
///
/// [`ListenError`] names the address.
pub fn bind_alone(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ListenError> {
    socket(address, false).map_err(|error| ListenError { address, flag, error })
}

/// Bytes that may wait in a connection's socket to be sent.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 32 << 10;

/// By itself the kernel lets a writer go on when a third of what may be megabytes is free: a slow reader then makes
/// no progress for minutes, and looks as if it did not read. Accepted connections inherit this from the listener
/// (`tcp_stream_memory_free` in the kernel's tcp.h).
fn wake_writers_early(socket: &Socket) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket.set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "cannot set TCP_NOTSENT_LOWAT");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    wake_writers_early(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Keeps new connections out of a listener's queue while those in it are still accepted, so that none gets in
/// between the last accept and the close, which would reset it. Whoever knocks meanwhile is refused a moment later,
/// when he tries again and the listener is closed. Where the system cannot do it, that moment stays as it was.
pub fn let_nobody_in(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    {
        use socket2::{SockFilter, SockRef};
        // Classic BPF on the TCP header: drop what has SYN set in the flags, pass what completes a handshake.
        let program = [
            SockFilter::new(0x30, 0, 0, 13),       // ldb [13]
            SockFilter::new(0x45, 0, 1, 0x02),     // jset #SYN, next, over
            SockFilter::new(0x06, 0, 0, 0),        // ret #0
            SockFilter::new(0x06, 0, 0, u32::MAX), // ret #-1
        ];
        if let Err(error) = SockRef::from(listener).attach_filter(&program) {
            tracing::debug!(%error, "cannot keep new connections out of the queue");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("an address");
        let error = bind(address, 2).expect_err("it is taken").to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--listen"), "{error}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_is_in_the_queue_stays_and_nobody_joins_it() {
        use std::time::Duration;
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let _early = std::net::TcpStream::connect(address).expect("a connection");
        let_nobody_in(&listener);
        assert!(std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err());
        listener.accept().expect("the early one");
        listener.set_nonblocking(true).expect("a listener");
        assert!(listener.accept().is_err());
    }

    #[test]
    fn our_own_port_is_taken_too() {
        let first = bind("127.0.0.1:0".parse().expect("an address"), 2).expect("a free port");
        let address = first[0].local_addr().expect("an address");
        assert_eq!(first[1].local_addr().expect("an address"), address);
        assert!(bind(address, 1).is_err());
    }
}
