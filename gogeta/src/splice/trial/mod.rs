//! The trial that an engine passes before it is trusted: what it is for, done by the very programs that are to serve,
//! on connections of our own over loopback, or on packets of our own. What other kernels make of it cannot be known
//! from their versions.

mod frame;
mod packets;

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use gogeta_common::pair::Carried;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use socket2::SockRef;

use super::counts::{Reason, Tally};
use super::engine::{Engine, Kind, Name, Tenant};
use super::kernel::{Events, Kinds, Unavailable, socket};
use super::seat::{Back, Ledger, Seat, Terms, Unfit, WINDOW};
use crate::privilege;

/// All of it may take so long. It is a hundred times what it takes on an idle machine.
const LIMIT: Duration = Duration::from_secs(2);

/// Makes each trial fail, for tests: the program does not know the sockets of the pairs then.
const FAIL: &str = "GOGETA_FAIL_TRIAL";

const HOST: &[u8] = b"trial.test";
const GET: &[u8] = b"GET /trial HTTP/1.1\r\nHost: trial.test\r\n\r\n";
const POST: &[u8] = b"POST /trial HTTP/1.1\r\nHost: trial.test\r\nContent-Length: 3\r\n\r\nabc";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Bytes of a long response: more than sockets hold, and less than the engine leaves to userspace.
const LONG: usize = 400 << 10;
const _: () = assert!(LONG < WINDOW as usize);

/// Loads the engine for so many pairs, and tries it; `logs` says whether each request is told of.
///
/// # Errors
///
/// [`Unavailable`], with what failed.
pub fn load(pairs: u32, logs: bool, kinds: Kinds) -> Result<(Arc<Engine>, Events), Unavailable> {
    let (engine, mut events) = Engine::load(pairs, logs, kinds)?;
    let is_deaf = std::env::var_os(FAIL).is_some();
    // It has no more privileges than serving will have. They are each thread's own: whatever this comes to, the
    // process keeps its.
    let tried = std::thread::scope(|scope| {
        let trial = || {
            privilege::give_up()
                .map_err(|error| Unavailable::Trial(format!("cannot give up capabilities: {error}")))?;
            if kinds.wire {
                packets::run(&engine, is_deaf)
                    .map_err(|trouble| Unavailable::Trial(format!("by packets: {trouble}")))?;
                while events.take().is_some() {}
                engine.forget();
            }
            if kinds.sockmap { run(&engine, &mut events, is_deaf) } else { Ok(()) }
        };
        let thread = std::thread::Builder::new().name("trial".to_owned()).spawn_scoped(scope, trial);
        let thread = thread.map_err(|error| Unavailable::Trial(format!("cannot start a thread: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(Unavailable::Trial("it panicked".to_owned())))
    });
    tried.map(|()| (engine, events))
}

type Check<'a> = (&'static str, fn(&mut Trial<'a>) -> Result<(), Trouble>);

fn checks<'a>() -> [Check<'a>; 6] {
    [
        ("requests and their responses", Trial::carries),
        ("what came before", Trial::notices_what_waits),
        ("a request for userspace", Trial::hands_over),
        ("a long response to a slow reader", Trial::carries_much),
        ("the end of a connection", Trial::hears_the_end),
        ("a reset", Trial::hears_a_reset),
    ]
}

fn run(engine: &Arc<Engine>, events: &mut Events, is_deaf: bool) -> Result<(), Unavailable> {
    let begun = Instant::now();
    let mut trial = Trial { engine, events, until: begun + LIMIT, is_deaf };
    for (what, check) in checks() {
        check(&mut trial).map_err(|trouble| Unavailable::Trial(format!("{what}: {trouble}")))?;
    }
    if let Some(messages) = &mut trial.events.messages {
        messages.tell();
    }
    engine.forget();
    tracing::debug!(took = ?begun.elapsed(), "the engine has passed its trial");
    Ok(())
}

/// What should have been is not.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// It may still come.
    #[error("nothing comes")]
    Late,
    #[error("{0}")]
    Wrong(String),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    System(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Late,
            _ => Self::System(error),
        }
    }
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Wrong(what.into()))
}

struct Trial<'a> {
    engine: &'a Arc<Engine>,
    events: &'a mut Events,
    until: Instant,
    is_deaf: bool,
}

/// Our sockets, to a client and to an upstream; and the client's and the upstream's own.
type Sockets = ([TcpStream; 2], [TcpStream; 2]);

/// A pair under trial.
struct Pair {
    seat: Seat,
    /// Our sockets.
    near: [TcpStream; 2],
    /// What userspace has read from the client, and written to it.
    ledger: Ledger,
    told: Arc<Flag>,
}

/// Whether the kernel has told of the pair.
#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Flag {
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// A tenant that lets everything be.
#[derive(Debug)]
pub(super) struct Nobody;

impl Tenant for Nobody {
    fn carried(&self, _: &Tally) {}

    fn request(&self, _: &Carried) {}

    fn goes_on(&self, _: Duration) -> bool {
        true
    }

    fn is_patient(&self, _: Duration) -> bool {
        true
    }

    fn is_routed(&self) -> bool {
        true
    }

    fn max_loss(&self) -> u32 {
        100
    }

    fn name(&self) -> Name {
        let [host, service, upstream] = Default::default();
        Name {
            client: (Ipv4Addr::LOCALHOST, 0).into(),
            host,
            service,
            upstream,
            engine: Kind::Sockmap.name(),
        }
    }
}

/// The checks.
impl Trial<'_> {
    fn carries(&mut self) -> Result<(), Trouble> {
        let (mut pair, mut far) = self.parked()?;
        for _ in 0..3 {
            exchange(&mut far)?;
        }
        let ((up, down), requests) = (pair.seat.bytes(), pair.seat.carried());
        if (up, down, requests) != (3 * GET.len() as u64, 3 * OK.len() as u64, 3) {
            return wrong(format!("{up} and {down} bytes of {requests} requests are counted"));
        }
        self.take_back(&mut pair)
    }

    /// No event tells of what comes before the pair is armed.
    fn notices_what_waits(&mut self) -> Result<(), Trouble> {
        for side in 0..2 {
            let (near, mut far) = self.sockets()?;
            let mut pair = self.pair(near)?;
            far[side].write_all(b"early")?;
            self.wait(&pair.near[side])?;
            match self.park(&mut pair) {
                Err(Trouble::Unfit(Unfit::Unquiet)) => {}
                Ok(()) => return wrong("it is not noticed"),
                Err(other) => return Err(other),
            }
            expect(&mut pair.near[side], b"early")?;
        }
        Ok(())
    }

    /// Userspace reads and answers it; then the pair goes on.
    fn hands_over(&mut self) -> Result<(), Trouble> {
        let (mut pair, mut far) = self.parked()?;
        exchange(&mut far)?;
        far[0].write_all(POST)?;
        self.is_back(&mut pair, Reason::Refused)?;
        expect(&mut pair.near[0], POST)?;
        if !pair.seat.is_drained(pair.near[0].as_fd(), pair.ledger)? {
            return wrong("a response is still on its way after it has come");
        }
        pair.near[0].write_all(OK)?;
        expect(&mut far[0], OK)?;
        pair.ledger = Ledger { read: POST.len() as u64, written: OK.len() as u64 };
        self.park(&mut pair)?;
        exchange(&mut far)?;
        self.take_back(&mut pair)
    }

    /// The client reads only when nothing more can be written to it.
    fn carries_much(&mut self) -> Result<(), Trouble> {
        let (mut pair, mut far) = self.parked()?;
        let [client, upstream] = &mut far;
        client.write_all(GET)?;
        expect(upstream, GET)?;
        let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n").into_bytes();
        // No piece of it is like another.
        response.extend((0..LONG as u32).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8));
        let (mut sent, mut came, mut piece) = (0, 0, vec![0; 16 << 10]);
        upstream.set_nonblocking(true)?;
        while came < response.len() {
            self.left()?;
            match upstream.write(&response[sent..]) {
                Ok(count) if count > 0 => sent += count,
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
                _ => {
                    let count = client.read(&mut piece)?;
                    if count == 0 || response.get(came..came + count) != Some(&piece[..count]) {
                        return wrong(format!("other bytes come behind {came} bytes"));
                    }
                    came += count;
                    // Userspace lets the kernel go on when it is asked to.
                    self.hear_what_there_is()?;
                    if pair.told.take() && pair.look().is_some() {
                        return wrong("it is userspace's in its midst");
                    }
                }
            }
        }
        upstream.set_nonblocking(false)?;
        exchange(&mut far)?;
        self.take_back(&mut pair)
    }

    /// Each side in turn sends nothing more.
    fn hears_the_end(&mut self) -> Result<(), Trouble> {
        for side in 0..2 {
            let (mut pair, mut far) = self.parked()?;
            exchange(&mut far)?;
            far[side].shutdown(Shutdown::Write)?;
            self.is_back(&mut pair, Reason::Closed)?;
            let count = pair.near[side].read(&mut [0; 1])?;
            if count != 0 || pair.is_upstream_clean() != (side == 0) {
                return wrong("it is not where it was");
            }
        }
        Ok(())
    }

    fn hears_a_reset(&mut self) -> Result<(), Trouble> {
        for side in 0..2 {
            let (mut pair, mut far) = self.parked()?;
            exchange(&mut far)?;
            SockRef::from(&far[side]).set_linger(Some(Duration::ZERO))?;
            let [client, upstream] = far;
            let _other = if side == 0 {
                drop(client);
                upstream
            } else {
                drop(upstream);
                client
            };
            self.is_back(&mut pair, Reason::Closed)?;
            match pair.near[side].read(&mut [0; 1]) {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                other => return wrong(format!("it is {other:?} to who reads")),
            }
        }
        Ok(())
    }
}

/// What checks are made of.
impl Trial<'_> {
    /// The time that is left; never nothing.
    fn left(&self) -> Result<Duration, Trouble> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Trouble::Late) } else { Ok(left) }
    }

    fn sockets(&self) -> Result<Sockets, Trouble> {
        let (client, ours) = self.connection()?;
        let (theirs, upstream) = self.connection()?;
        for socket in [&ours, &theirs] {
            socket.set_nonblocking(true)?;
        }
        // As clients' sockets have it from their listener, so that much of a response waits outside of the socket.
        SockRef::from(&ours).set_tcp_notsent_lowat(32 << 10)?;
        Ok(([ours, theirs], [client, upstream]))
    }

    /// Who connects, and who accepts.
    fn connection(&self) -> Result<(TcpStream, TcpStream), Trouble> {
        let loopback = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), (Ipv6Addr::LOCALHOST, 0).into()];
        let listener = TcpListener::bind(&loopback[..])?;
        let left = self.left()?;
        // `SO_RCVTIMEO` is for accepting, too.
        SockRef::from(&listener).set_read_timeout(Some(left))?;
        let near = TcpStream::connect_timeout(&listener.local_addr()?, left)?;
        let (far, address) = listener.accept()?;
        if address != near.local_addr()? {
            return wrong("somebody else has connected");
        }
        for stream in [&near, &far] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(left))?;
            stream.set_write_timeout(Some(left))?;
        }
        Ok((near, far))
    }

    fn pair(&self, near: [TcpStream; 2]) -> Result<Pair, Trouble> {
        let seat = Seat::take(self.engine, Kind::Sockmap, near[0].as_fd(), Ledger::default())?;
        Ok(Pair { seat, near, ledger: Ledger::default(), told: Arc::default() })
    }

    fn parked(&self) -> Result<(Pair, [TcpStream; 2]), Trouble> {
        let (near, far) = self.sockets()?;
        let mut pair = self.pair(near)?;
        self.park(&mut pair)?;
        Ok((pair, far))
    }

    fn park(&self, pair: &mut Pair) -> Result<(), Trouble> {
        let terms = Terms { host: HOST, block: &[], requests: 100, tenant: Arc::new(Nobody) };
        let [ours, theirs] = &pair.near;
        let waker = Waker::from(pair.told.clone());
        pair.seat.park((ours.as_fd(), pair.ledger), (theirs.as_fd(), Ledger::default()), &terms, &waker)?;
        if self.is_deaf {
            for socket in &pair.near {
                self.engine.program.forget(socket::cookie(socket.as_fd())?);
            }
        }
        Ok(())
    }

    /// Ends what goes well.
    fn take_back(&mut self, pair: &mut Pair) -> Result<(), Trouble> {
        pair.seat.recall();
        self.is_back(pair, Reason::Recalled)
    }

    /// Waits until the pair is userspace's, for that reason and with nothing on its way.
    fn is_back(&mut self, pair: &mut Pair, reason: Reason) -> Result<(), Trouble> {
        loop {
            while pair.told.take() {
                let Some((back, why)) = pair.look() else { continue };
                let [ours, theirs] = &pair.near;
                pair.seat.unpark([ours.as_fd(), theirs.as_fd()], why);
                if (&back, why) != (&Back::Quiet, reason) {
                    return wrong(format!("it is back as {back:?}, {why:?}"));
                }
                return Ok(());
            }
            let [told, hangups] = [self.events.as_fd(), self.engine.hangups()];
            let mut sources = [told, hangups].map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN));
            wait(&mut sources, self.left()?)?;
            self.hear_what_there_is()?;
        }
    }

    fn hear_what_there_is(&mut self) -> Result<(), Trouble> {
        while let Some(told) = self.events.take() {
            self.engine.hear(&told);
        }
        Ok(self.engine.hear_hangups()?)
    }

    /// Waits for something to be read.
    fn wait(&self, socket: &TcpStream) -> Result<(), Trouble> {
        wait(&mut [PollFd::new(socket, PollFlags::IN)], self.left()?)
    }
}

impl Pair {
    fn look(&self) -> Option<(Back, Reason)> {
        let [ours, theirs] = &self.near;
        let waker = Waker::from(self.told.clone());
        self.seat.look((ours.as_fd(), self.ledger), (theirs.as_fd(), Ledger::default()), &waker)
    }

    fn is_upstream_clean(&self) -> bool {
        self.seat.is_upstream_clean(self.near[1].as_fd(), Ledger::default())
    }
}

fn wait(sources: &mut [PollFd<'_>], limit: Duration) -> Result<(), Trouble> {
    let limit = Timespec::try_from(limit).map_err(|_| Trouble::Late)?;
    match retry_on_intr(|| poll(sources, Some(&limit))) {
        Ok(0) => Err(Trouble::Late),
        Ok(_) => Ok(()),
        Err(error) => Err(Trouble::System(error.into())),
    }
}

/// A request, and its response.
fn exchange([client, upstream]: &mut [TcpStream; 2]) -> Result<(), Trouble> {
    client.write_all(GET)?;
    expect(upstream, GET)?;
    upstream.write_all(OK)?;
    expect(client, OK)
}

/// These bytes are the next to come.
fn expect(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), Trouble> {
    let mut came = vec![0; bytes.len()];
    stream.read_exact(&mut came)?;
    if came == bytes { Ok(()) } else { wrong(format!("{:?} comes", String::from_utf8_lossy(&came))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKMAP: Kinds = Kinds { sockmap: true, wire: false };

    /// Runs all checks as they are, or with a program that does not know the sockets. None where no engine is.
    fn outcomes(is_deaf: bool) -> Option<Vec<(&'static str, Result<(), Trouble>)>> {
        let (engine, mut events) = match Engine::load(1, true, SOCKMAP) {
            Ok(loaded) => loaded,
            Err(why) => {
                assert!(std::env::var("GOGETA_TEST_REQUIRE").as_deref() != Ok("all"), "{why:?}");
                return None;
            }
        };
        let limit = if is_deaf { Duration::from_millis(300) } else { LIMIT };
        let mut trial = Trial { engine: &engine, events: &mut events, until: Instant::now(), is_deaf };
        let mut outcomes = Vec::new();
        for (what, check) in checks() {
            trial.until = Instant::now() + limit;
            outcomes.push((what, check(&mut trial)));
        }
        Some(outcomes)
    }

    #[test]
    fn where_all_is_well_it_passes_in_no_time_and_leaves_no_trace() {
        let Some(outcomes) = outcomes(false) else { return };
        assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
        let mut best = LIMIT;
        for logs in [false, true, false, true, false] {
            let (engine, mut events) = Engine::load(1, logs, SOCKMAP).expect("it was there a moment ago");
            let begun = Instant::now();
            run(&engine, &mut events, false).expect("it passes");
            best = best.min(begun.elapsed());
            assert_eq!((engine.parked(), engine.carried()), (0, [0; 3]));
            let counts = &engine.counts;
            assert_eq!((counts.all_parked(), counts.of(Reason::Closed)), (0, 0));
            assert!(events.take().is_none());
        }
        assert!(best < Duration::from_millis(100), "it takes {best:?}");
    }

    #[test]
    fn a_program_that_does_nothing_fails_whatever_it_is_asked_to_do() {
        let Some(outcomes) = outcomes(true) else { return };
        for (what, outcome) in outcomes {
            // That which comes before is seen by userspace alone.
            assert_eq!(outcome.is_ok(), what == "what came before", "{what}: {outcome:?}");
        }
    }
}
