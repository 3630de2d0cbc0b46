//! What the engine's tests share: an engine, a client and a backend with gogeta's sockets to both, simple messages.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

use super::counts::Reason;
use super::engine::{Engine, Kind};
use super::kernel::{Events, Kinds};
use super::seat::{Back, Ledger, Seat, Terms, Unfit};
use super::trial::Nobody;

/// An engine; none where the kernel says no, which is an error where nothing may be skipped.
pub(crate) fn engine() -> Option<Arc<Engine>> {
    loaded().map(|(engine, _)| engine)
}

/// The same, with what it tells.
pub(super) fn loaded() -> Option<(Arc<Engine>, Events)> {
    match Engine::load(16, false, Kinds { sockmap: true, wire: false }) {
        Ok(both) => Some(both),
        Err(why) => {
            assert!(std::env::var("GOGETA_TEST_REQUIRE").as_deref() != Ok("all"), "{why:?}");
            // The end-to-end tests say `SKIPPED` then.
            None
        }
    }
}

/// A client and a backend, and gogeta's sockets to both.
pub(super) struct Four {
    pub(super) client: TcpStream,
    pub(super) ours: TcpStream,
    pub(super) theirs: TcpStream,
    pub(super) backend: TcpStream,
}

pub(super) fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    (near, far)
}

/// The same socket, with small buffers.
pub(super) fn narrow(stream: TcpStream) -> TcpStream {
    let socket = TcpSocket::from_std_stream(stream);
    socket.set_recv_buffer_size(32 << 10).unwrap();
    socket.set_send_buffer_size(32 << 10).unwrap();
    socket.as_fd().try_clone_to_owned().unwrap().into()
}

/// Waits for something that the kernel does by itself.
pub(super) fn until(what: &str, mut check: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(5);
    while !check() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

impl Four {
    pub(super) fn new() -> Self {
        let (client, ours) = connected();
        let (theirs, backend) = connected();
        for stream in [&ours, &theirs] {
            stream.set_nonblocking(true).unwrap();
        }
        Self { client, ours, theirs, backend }
    }

    /// Parked ones, with their seat.
    pub(super) fn parked(engine: &Arc<Engine>) -> (Self, Seat) {
        let four = Self::new();
        let mut seat = four.seat(engine);
        four.park(&mut seat).unwrap();
        (four, seat)
    }

    /// The same as a tunnel.
    pub(super) fn opened(engine: &Arc<Engine>) -> (Self, Seat) {
        let four = Self::new();
        let mut seat = four.seat(engine);
        four.open(&mut seat, Default::default()).unwrap();
        (four, seat)
    }

    /// Those whose client, and gogeta's socket to it, have small buffers.
    pub(super) fn narrow() -> Self {
        let Self { client, ours, theirs, backend } = Self::new();
        Self { client: narrow(client), ours: narrow(ours), theirs, backend }
    }

    pub(super) fn park(&self, seat: &mut Seat) -> Result<(), Unfit> {
        self.park_with(seat, Ledger::default(), Ledger::default())
    }

    pub(super) fn park_with(&self, seat: &mut Seat, client: Ledger, upstream: Ledger) -> Result<(), Unfit> {
        let terms = Terms { host: b"a.test", block: &[], requests: 1000, tenant: Arc::new(Nobody) };
        let sockets = ((self.ours.as_fd(), client), (self.theirs.as_fd(), upstream));
        seat.park(sockets.0, sockets.1, &terms, Waker::noop())
    }

    pub(super) fn open(&self, seat: &mut Seat, ledgers: (Ledger, Ledger)) -> Result<(), Unfit> {
        let sockets = ((self.ours.as_fd(), ledgers.0), (self.theirs.as_fd(), ledgers.1));
        seat.open(sockets.0, sockets.1, Arc::new(Nobody), Waker::noop())
    }

    pub(super) fn seat(&self, engine: &Arc<Engine>) -> Seat {
        self.seat_with(engine, Ledger::default()).unwrap()
    }

    pub(super) fn seat_with(&self, engine: &Arc<Engine>, ledger: Ledger) -> Result<Seat, Unfit> {
        Seat::take(engine, Kind::Sockmap, self.ours.as_fd(), ledger)
    }

    /// Looks until the pair is userspace's.
    pub(super) fn back(&self, seat: &Seat) -> (Back, Reason) {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let upstream = (self.theirs.as_fd(), Ledger::default());
            if let Some(back) = seat.look((self.ours.as_fd(), Ledger::default()), upstream, Waker::noop()) {
                seat.unpark([self.ours.as_fd(), self.theirs.as_fd()], back.1);
                return back;
            }
            assert!(Instant::now() < until, "the pair stays parked");
            std::thread::yield_now();
        }
    }

    pub(super) fn is_parked(&self, seat: &Seat) -> bool {
        let [ours, theirs] = [&self.ours, &self.theirs].map(|socket| (socket.as_fd(), Ledger::default()));
        seat.look(ours, theirs, Waker::noop()).is_none()
    }

    pub(super) fn exchange(&mut self, request: &[u8], response: &[u8]) {
        self.client.write_all(request).unwrap();
        assert_eq!(text(&take(&mut self.backend, request.len())), text(request));
        self.backend.write_all(response).unwrap();
        assert_eq!(text(&take(&mut self.client, response.len())), text(response));
    }
}

pub(super) fn take(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Bytes each of which tells where it stands.
pub(super) fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What there is to be read, once there is something.
pub(super) fn some(stream: &mut TcpStream) -> Vec<u8> {
    let until = Instant::now() + Duration::from_secs(5);
    let mut bytes = vec![0; 1 << 16];
    loop {
        match stream.read(&mut bytes) {
            Ok(count) => {
                bytes.truncate(count);
                return bytes;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub(super) const GET: &[u8] = b"GET /a?b HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n";
pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
