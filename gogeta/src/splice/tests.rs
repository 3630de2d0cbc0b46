//! The engine over real sockets. Each test needs the kernel's permission, and says so where it is not given.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use gogeta_common::pair::Carried;

use super::counts::Reason;
use super::engine::{Engine, Name, Tenant};
use super::kernel::Number;
use super::seat::{Back, Ledger, Seat, Terms, Unfit};

#[derive(Debug)]
struct Nobody;

impl Tenant for Nobody {
    fn carried(&self, _: u64) {}
    fn request(&self, _: &Carried) {}
    fn goes_on(&self, _: Duration) -> bool {
        true
    }
    fn is_patient(&self, _: Duration) -> bool {
        true
    }
    fn name(&self) -> Name {
        Name { client: ([127, 0, 0, 1], 1).into(), host: "a.test".to_owned(), upstream: String::new() }
    }
    fn is_routed(&self) -> bool {
        true
    }
}

/// An engine; none where the kernel says no, which is an error where nothing may be skipped.
fn engine() -> Option<Arc<Engine>> {
    match Engine::load(16, false) {
        Ok((engine, _)) => Some(engine),
        Err(why) => {
            assert!(std::env::var("GOGETA_TEST_REQUIRE").as_deref() != Ok("all"), "{why:?}");
            // The end-to-end tests say `SKIPPED` then.
            None
        }
    }
}

/// A client and a backend, and gogeta's sockets to both.
struct Four {
    client: TcpStream,
    ours: TcpStream,
    theirs: TcpStream,
    backend: TcpStream,
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    (near, far)
}

impl Four {
    fn new() -> Self {
        let (client, ours) = connected();
        let (theirs, backend) = connected();
        for stream in [&ours, &theirs] {
            stream.set_nonblocking(true).unwrap();
        }
        Self { client, ours, theirs, backend }
    }

    fn park(&self, seat: &mut Seat) -> Result<(), Unfit> {
        self.park_with(seat, Ledger::default(), Ledger::default())
    }

    fn park_with(&self, seat: &mut Seat, client: Ledger, upstream: Ledger) -> Result<(), Unfit> {
        let terms = Terms { host: b"a.test", requests: 1000, tenant: Arc::new(Nobody) };
        let sockets = ((self.ours.as_fd(), client), (self.theirs.as_fd(), upstream));
        seat.park(sockets.0, sockets.1, &terms, Waker::noop())
    }

    fn seat(&self, engine: &Arc<Engine>) -> Seat {
        Seat::take(engine, self.ours.as_fd(), Ledger::default()).unwrap()
    }

    /// Looks until the pair is userspace's.
    fn back(&self, seat: &Seat) -> (Back, Reason) {
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

    fn is_parked(&self, seat: &Seat) -> bool {
        {
            let [ours, theirs] = [&self.ours, &self.theirs].map(|socket| (socket.as_fd(), Ledger::default()));
            seat.look(ours, theirs, Waker::noop()).is_none()
        }
    }

    fn exchange(&mut self, request: &[u8], response: &[u8]) {
        self.client.write_all(request).unwrap();
        assert_eq!(text(&take(&mut self.backend, request.len())), text(request));
        self.backend.write_all(response).unwrap();
        assert_eq!(text(&take(&mut self.client, response.len())), text(response));
    }
}

fn take(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What there is to be read, once there is something.
fn some(stream: &mut TcpStream) -> Vec<u8> {
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

const GET: &[u8] = b"GET /a?b HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn simple_requests_and_their_responses_are_carried() {
    let Some(engine) = engine() else { return };
    let mut four = Four::new();
    let mut seat = four.seat(&engine);
    four.park(&mut seat).unwrap();
    for _ in 0..100 {
        four.exchange(GET, OK);
    }
    assert!(four.is_parked(&seat));
    assert_eq!(engine.carried(), [100 * GET.len() as u64, 100 * OK.len() as u64, 100]);
    assert_eq!(engine.parked(), 1);
    drop(seat);
    assert_eq!(engine.program.pairs.read(0, Number::Requests), 100, "kept until the slot is taken again");
    assert_eq!(engine.carried()[2], 100);
}

#[test]
fn what_the_guard_refuses_is_userspaces() {
    let Some(engine) = engine() else { return };
    for odd in [
        &b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.te",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        let mut four = Four::new();
        let mut seat = four.seat(&engine);
        four.park(&mut seat).unwrap();
        four.exchange(GET, OK);
        four.client.write_all(odd).unwrap();
        assert_eq!(four.back(&seat), (Back::Quiet, Reason::Refused));
        assert_eq!(text(&some(&mut four.ours)), text(odd));
        assert!(seat.is_upstream_clean(four.theirs.as_fd(), Ledger::default()));
        // Userspace answers it, and the pair is parked again.
        assert!(seat.is_drained(four.ours.as_fd(), Ledger::default()).unwrap());
        four.ours.write_all(OK).unwrap();
        assert_eq!(take(&mut four.client, OK.len()), OK);
        let client = Ledger { read: odd.len() as u64, written: OK.len() as u64 };
        four.park_with(&mut seat, client, Ledger::default()).unwrap();
        four.exchange(GET, OK);
    }
    assert_eq!(engine.counts.of(Reason::Refused), 4);
}

#[test]
fn a_response_that_is_not_simple_is_userspaces_with_its_requests_head() {
    let Some(engine) = engine() else { return };
    for odd in [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n12",
        b"HTTP/1.1 200 O",
        b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n",
    ] {
        let mut four = Four::new();
        let mut seat = four.seat(&engine);
        four.park(&mut seat).unwrap();
        four.client.write_all(GET).unwrap();
        assert_eq!(take(&mut four.backend, GET.len()), GET);
        four.backend.write_all(odd).unwrap();
        assert_eq!(four.back(&seat), (Back::Answer(GET.to_vec()), Reason::Answer));
        assert_eq!(text(&some(&mut four.theirs)), text(odd));
    }
}

#[test]
fn nothing_passes_the_end_of_a_response() {
    let Some(engine) = engine() else { return };
    // In one piece with its end, behind it, and instead of nothing.
    let mut four = Four::new();
    let mut seat = four.seat(&engine);
    four.park(&mut seat).unwrap();
    four.client.write_all(GET).unwrap();
    assert_eq!(take(&mut four.backend, GET.len()), GET);
    four.backend.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").unwrap();
    let begun = take(&mut four.client, 40 + 4);
    assert!(text(&begun).ends_with("12345"), "{}", text(&begun));
    four.backend.write_all(b"67890SURPLUS").unwrap();
    assert_eq!(four.back(&seat).0, Back::Cut);

    let mut four = Four::new();
    let mut seat = four.seat(&engine);
    four.park(&mut seat).unwrap();
    four.exchange(GET, OK);
    four.backend.write_all(b"SURPLUS").unwrap();
    assert_eq!(four.back(&seat).0, Back::Quiet);
    assert!(!seat.is_upstream_clean(four.theirs.as_fd(), Ledger::default()));
    four.client.set_nonblocking(true).unwrap();
    assert_eq!(four.client.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_pair_with_bytes_that_nobody_has_read_is_not_parked() {
    let Some(engine) = engine() else { return };
    for side in 0..2 {
        let mut four = Four::new();
        let mut seat = four.seat(&engine);
        [&mut four.client, &mut four.backend][side].write_all(b"x").unwrap();
        let ours = [&mut four.ours, &mut four.theirs];
        let mut one = [0; 1];
        // It has come, and is not taken.
        while ours[side].peek(&mut one).is_err() {
            std::thread::yield_now();
        }
        assert!(matches!(four.park(&mut seat), Err(Unfit::Unquiet)), "side {side}");
        assert_eq!(some([&mut four.ours, &mut four.theirs][side]), b"x");
    }
}

#[test]
fn whoever_closes_gives_the_pair_back() {
    let Some(engine) = engine() else { return };
    for side in 0..2 {
        let mut four = Four::new();
        let mut seat = four.seat(&engine);
        four.park(&mut seat).unwrap();
        four.exchange(GET, OK);
        [&four.client, &four.backend][side].shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(four.back(&seat), (Back::Quiet, Reason::Closed));
        assert_eq!(some([&mut four.ours, &mut four.theirs][side]), b"");
        assert_eq!(seat.is_upstream_clean(four.theirs.as_fd(), Ledger::default()), side == 0);
    }
}

#[test]
fn an_upstream_that_closes_instead_of_answering_has_an_answer_pending_and_in_its_midst_it_is_cut() {
    let Some(engine) = engine() else { return };
    for begun in [false, true] {
        let mut four = Four::new();
        let mut seat = four.seat(&engine);
        four.park(&mut seat).unwrap();
        four.client.write_all(GET).unwrap();
        take(&mut four.backend, GET.len());
        if begun {
            four.backend.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1").unwrap();
        }
        four.backend.shutdown(std::net::Shutdown::Write).unwrap();
        let back = four.back(&seat).0;
        assert_eq!(back, if begun { Back::Cut } else { Back::Answer(GET.to_vec()) });
    }
}

#[test]
fn a_recalled_pair_comes_back_at_the_end_of_its_request() {
    let Some(engine) = engine() else { return };
    let mut four = Four::new();
    let mut seat = four.seat(&engine);
    four.park(&mut seat).unwrap();
    four.client.write_all(GET).unwrap();
    take(&mut four.backend, GET.len());
    engine.recall(seat.slot());
    assert!(four.is_parked(&seat), "its response is on its way");
    four.backend.write_all(OK).unwrap();
    assert_eq!(take(&mut four.client, OK.len()), OK);
    assert_eq!(four.back(&seat).0, Back::Quiet);
    four.park(&mut seat).unwrap();
    engine.close();
    assert_eq!(four.back(&seat), (Back::Quiet, Reason::Recalled));
    assert!(matches!(four.park(&mut seat), Err(Unfit::Closed)));
}

#[test]
fn slots_are_used_again() {
    let Some(engine) = engine() else { return };
    for _ in 0..100 {
        let mut four = Four::new();
        let mut seat = four.seat(&engine);
        four.park(&mut seat).unwrap();
        four.exchange(GET, OK);
        engine.recall(seat.slot());
        four.back(&seat);
    }
    assert_eq!((engine.parked(), engine.carried()[2]), (0, 100));
    let all: Vec<(Four, Seat)> = (0..16)
        .map(|_| {
            let four = Four::new();
            let seat = four.seat(&engine);
            (four, seat)
        })
        .collect();
    let four = Four::new();
    assert!(matches!(Seat::take(&engine, four.ours.as_fd(), Ledger::default()), Err(Unfit::Full)));
    drop(all);
    four.seat(&engine);
}
