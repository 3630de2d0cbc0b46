//! Listening sockets, bound before anything else is started.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::Listen;
use crate::handover::Fate;
use crate::inherited;
use crate::splice::Engine;

/// How many connections may wait to be accepted; the kernel's own limit applies too.
pub const BACKLOG: i32 = 4096;

/// How many threads accept from one inherited socket. The system wakes all of them for each connection, so more
/// would only get in each other's way; the other threads are handed their connections.
const ACCEPTORS: usize = 4;

/// A listening socket, as one thread has it.
#[derive(Debug)]
pub struct Listener {
    /// The socket; it does not block.
    pub socket: TcpListener,
    /// Whether it came from outside. Then others may have it too, and go on with it when we are gone.
    pub inherited: bool,
    /// Whether it is only bound yet. It listens from when its worker accepts: what does not listen has no queue, and
    /// nobody is lost where it never comes to that.
    pub silent: bool,
    /// Whether another gogeta goes on with it.
    pub fate: Arc<Fate>,
}

impl Listener {
    fn new(socket: TcpListener, inherited: bool, fate: &Arc<Fate>) -> Self {
        Self { socket, inherited, silent: false, fate: fate.clone() }
    }

    /// Listens, where it does not yet.
    ///
    /// # Errors
    ///
    /// The system's: most of all where somebody else has the address by now.
    pub fn listen(&self) -> io::Result<()> {
        if self.silent { SockRef::from(&self.socket).listen(BACKLOG) } else { Ok(()) }
    }
}

/// Why something cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address.
    #[error("cannot listen on {address} ({flag}): {error}{}", hint(.error))]
    Address {
        /// The address.
        address: SocketAddr,
        /// The flag that names it.
        flag: &'static str,
        /// The system's reason.
        error: io::Error,
    },
    /// What was to be inherited.
    #[error("cannot listen on {place} (--listen): {reason}")]
    Inherited {
        /// The descriptor, or who should have passed it.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process has it",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

/// Where to listen, with what is inherited in our hands.
#[derive(Debug)]
pub enum Place {
    /// To be bound by us.
    Address(SocketAddr),
    /// Bound by somebody else; what errors call it, and the socket.
    Inherited(String, OwnedFd),
    /// Another gogeta's, which goes on with them until we do.
    Taken {
        /// Where they listen.
        address: SocketAddr,
        /// All that listen there: none may be closed while somebody is in its queue.
        sockets: Vec<OwnedFd>,
        /// Whether they came to that one from outside.
        inherited: bool,
    },
}

/// Takes over what is inherited. Must be called before there is a second thread.
///
/// # Errors
///
/// [`ListenError`] names what is not there.
pub fn take_over(listen: &[Listen]) -> Result<Vec<Place>, ListenError> {
    let take = |number, place: String| match inherited::take(number) {
        Ok(socket) => Ok(Place::Inherited(place, socket)),
        Err(reason) => Err(ListenError::Inherited { place, reason }),
    };
    let mut places = Vec::new();
    for one in listen {
        match *one {
            Listen::Address(address) => places.push(Place::Address(address)),
            Listen::Inherited(number) => places.push(take(number, one.to_string())?),
            Listen::Systemd => {
                let numbers = inherited::from_systemd()
                    .map_err(|reason| ListenError::Inherited { place: one.to_string(), reason })?;
                for number in numbers {
                    places.push(take(number, format!("fd:{number} of systemd"))?);
                }
            }
        }
    }
    Ok(places)
}

/// Listens for `count` threads; gives the address, and listeners for the threads that are to accept there: fewer than
/// there are threads where they share a socket, and more where one that had more threads is taken over from.
///
/// # Errors
///
/// [`ListenError`] names the place.
pub fn open(place: Place, count: usize) -> Result<(SocketAddr, Vec<Listener>), ListenError> {
    let fate = Arc::default();
    match place {
        Place::Address(address) => {
            let named = |error| ListenError::Address { address, flag: "--listen, --port", error };
            bind(address, count, &fate).map_err(named)
        }
        Place::Taken { address, sockets, inherited } => {
            let named = |error| ListenError::Address { address, flag: "--listen, --upgrade-socket", error };
            continue_with(address, sockets, inherited, count, &fate).map(|all| (address, all)).map_err(named)
        }
        Place::Inherited(place, socket) => {
            let named = |reason| ListenError::Inherited { place, reason };
            let address = check(&socket).map_err(named.clone())?;
            let shared =
                share(socket.into(), true, count, &fate).map_err(|error| named(error.to_string()))?;
            Ok((address, shared))
        }
    }
}

/// Listens on an address once for each of `count` threads: the kernel spreads new connections over them.
fn bind(address: SocketAddr, count: usize, fate: &Arc<Fate>) -> io::Result<(SocketAddr, Vec<Listener>)> {
    // SO_REUSEPORT would let us share the port with a stranger of the same user; the first one must have it alone.
    let probe = socket(address, false)?;
    let address = probe.local_addr()?;
    drop(probe);
    let all = (0..count).map(|_| Ok(Listener::new(socket(address, true)?, false, fate)));
    Ok((address, all.collect::<io::Result<_>>()?))
}

/// Goes on with what another gogeta has: with all of it, and with a socket more for each thread that would have none.
fn continue_with(
    address: SocketAddr,
    sockets: Vec<OwnedFd>,
    inherited: bool,
    count: usize,
    fate: &Arc<Fate>,
) -> io::Result<Vec<Listener>> {
    let is_group = SockRef::from(&sockets[0]).reuse_port()?;
    if inherited || !is_group {
        let all = sockets.into_iter().map(|socket| share(socket.into(), inherited, count, fate));
        return Ok(all.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect());
    }
    let mut all: Vec<_> =
        sockets.into_iter().map(|socket| Listener::new(socket.into(), false, fate)).collect();
    for _ in all.len()..count {
        match bound(address, true) {
            Ok(socket) => {
                all.push(Listener { silent: true, ..Listener::new(socket.into(), false, fate) });
            }
            Err(error) => {
                // Another user may not join, nor may whoever lacks CAP_NET_BIND_SERVICE. Workers hand over to each other.
                tracing::debug!(%address, %error, "not each thread accepts there");
                break;
            }
        }
    }
    Ok(all)
}

/// One socket for several threads. It was bound without SO_REUSEPORT, so there can be no second one beside it: all
/// have descriptors of the same, and whoever is quicker accepts.
fn share(socket: TcpListener, inherited: bool, count: usize, fate: &Arc<Fate>) -> io::Result<Vec<Listener>> {
    socket.set_nonblocking(true)?;
    wake_writers_early(&SockRef::from(&socket));
    let mut all = Vec::new();
    for _ in 1..count.min(ACCEPTORS) {
        all.push(Listener::new(socket.try_clone()?, inherited, fate));
    }
    all.push(Listener::new(socket, inherited, fate));
    Ok(all)
}

/// Where somebody else's socket listens, if it is one that does, for TCP.
///
/// # Errors
///
/// What it is instead.
pub fn check(descriptor: &OwnedFd) -> Result<SocketAddr, String> {
    let socket = SockRef::from(descriptor);
    let kind = match socket.r#type() {
        Ok(kind) => kind,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOTSOCK) => {
            return Err("it is not a socket".to_owned());
        }
        Err(error) => return Err(error.to_string()),
    };
    let address = socket.local_addr().map_err(|error| error.to_string())?;
    let Some(address) = address.as_socket() else {
        let what = if address.is_unix() { "a unix socket" } else { "a socket of another family" };
        return Err(format!("it is {what}, and not one for TCP"));
    };
    if kind != Type::STREAM {
        let what = if kind == Type::DGRAM { "UDP" } else { "another protocol" };
        return Err(format!("it is a socket for {what}, and not for TCP"));
    }
    if socket.peer_addr().is_ok() {
        return Err("it is a connection, and not a listening socket".to_owned());
    }
    #[cfg(target_os = "linux")]
    if !socket.is_listener().map_err(|error| error.to_string())? {
        return Err("it does not listen yet: listen(2) comes before gogeta".to_owned());
    }
    Ok(address)
}

/// Listens on an address for one thread; `flag` is the one that names it.
///
/// # Errors
///
/// [`ListenError`] names the address.
pub fn bind_alone(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ListenError> {
    socket(address, false).map_err(|error| ListenError::Address { address, flag, error })
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
    let socket = bound(address, shared)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    wake_writers_early(&socket);
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Keeps new connections out of a listener's queue while those in it are still accepted, so that none gets in
/// between the last accept and the close, which would reset it. Whoever knocks meanwhile is refused a moment later,
/// when he tries again and the listener is closed. Where the system cannot do it, that moment stays as it was.
///
/// Not for an inherited socket: this is said of the socket and not of our descriptor, so whoever goes on with it
/// would hear nobody any more.
///
/// Newer kernels ask for `CAP_NET_ADMIN` before they take a filter for a TCP socket; one that is loaded they attach for
/// anybody. So it is the engine's where there is one, for whose sake that capability was given up.
pub fn let_nobody_in(listener: &TcpListener, engine: Option<&Engine>) {
    let outcome = match engine {
        Some(engine) => engine.let_nobody_in(listener.as_fd()),
        None => filter_out(listener),
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "cannot keep new connections out of the queue");
    }
}

fn filter_out(listener: &TcpListener) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use socket2::SockFilter;
        // Classic BPF on the TCP header: drop what has SYN set in the flags, pass what completes a handshake.
        let program = [
            SockFilter::new(0x30, 0, 0, 13),       // ldb [13]
            SockFilter::new(0x45, 0, 1, 0x02),     // jset #SYN, next, over
            SockFilter::new(0x06, 0, 0, 0),        // ret #0
            SockFilter::new(0x06, 0, 0, u32::MAX), // ret #-1
        ];
        SockRef::from(listener).attach_filter(&program)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = listener;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("an address");
        let error = open(Place::Address(address), 2).expect_err("it is taken").to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--listen"), "{error}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_is_in_the_queue_stays_and_nobody_joins_it() {
        use std::time::Duration;
        for engine in [None, crate::splice::testing::engine()] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("an address");
            let _early = std::net::TcpStream::connect(address).expect("a connection");
            let_nobody_in(&listener, engine.as_deref());
            assert!(std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err());
            listener.accept().expect("the early one");
            listener.set_nonblocking(true).expect("a listener");
            assert!(listener.accept().is_err());
        }
    }

    #[test]
    fn our_own_port_is_taken_too() {
        let (address, first) =
            bind("127.0.0.1:0".parse().expect("an address"), 2, &Arc::default()).expect("a free port");
        for listener in first.iter() {
            assert_eq!(listener.socket.local_addr().expect("an address"), address);
        }
        assert!(bind(address, 1, &Arc::default()).is_err());
    }

    #[test]
    fn only_what_listens_for_tcp_is_taken_over() {
        use std::net::{TcpStream, UdpSocket};
        use std::os::unix::net::UnixListener;
        let directory = tempfile::tempdir().expect("a directory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let connection =
            TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let rows: [(OwnedFd, &str); 5] = [
            (std::fs::File::open("/dev/null").expect("a file").into(), "not a socket"),
            (UdpSocket::bind("127.0.0.1:0").expect("a socket").into(), "UDP"),
            (UnixListener::bind(directory.path().join("s")).expect("a socket").into(), "unix"),
            (connection.into(), "a connection"),
            (deaf.into(), "does not listen"),
        ];
        for (descriptor, reason) in rows {
            let error = check(&descriptor).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(
            check(&listener.try_clone().expect("a copy").into()),
            Ok(listener.local_addr().expect("one"))
        );
    }

    #[test]
    fn few_threads_accept_from_one_socket() {
        let copies = |count| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            share(listener, true, count, &Arc::default()).expect("copies").len()
        };
        assert_eq!([1, 2, 4, 64].map(copies), [1, 2, 4, 4]);
    }
}
