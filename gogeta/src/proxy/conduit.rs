//! A tunnel that the kernel carries while it can, and userspace while it has to: until nothing is under way, and with
//! sockmap when one side reads too slowly, or has ended its half.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gogeta_common::pair::Carried;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client::Client;
use super::parking::Parkable;
use super::patience::LOSSY;
use super::socket::{Dormant, Socket};
use super::transport::Transport;
use super::vitals::Deadline;
use super::worker::Worker;
use crate::config::Timeouts;
use crate::splice::counts::{Reason, Tally};
use crate::splice::{Back, Engine, Kind, Name, Seat, Tenant, Unfit};

/// Bytes that are copied at once.
const CHUNK: usize = 16 << 10;
/// How soon is looked again whether the kernel has sent what it carried. Twice as late each time, for a reader who is
/// slow once is so for a while.
const DRAINING: Range<Duration> = Duration::from_millis(1)..Duration::from_millis(64);
/// How often the kernel may give it back at once, for more bytes were under way, before it is offered more rarely; and
/// how rarely.
const REFUSALS: u32 = 8;
const REFUSED: Range<Duration> = Duration::from_millis(10)..Duration::from_secs(1);

/// The tunnel: a future that ends when both halves have.
#[derive(Debug)]
pub struct Conduit {
    engine: Arc<Engine>,
    passage: Arc<Passage>,
    seat: Option<Seat>,
    state: State,
    up: Half,
    down: Half,
    client: Rc<Client>,
    worker: Rc<Worker>,
    timeouts: Rc<Timeouts>,
    /// What the kernel has carried, as far as it was counted.
    counted: (u64, u64),
    /// Whether nothing has come since the kernel did not take it.
    is_tried: bool,
    /// Whether it never will.
    is_hopeless: bool,
    /// How often in a row the kernel has given it back before it carried anything.
    refused: u32,
    /// Until when it is not offered again for that, or for what it has lost.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    /// What broke it. What was carried before that gets to its end.
    broken: Option<io::Error>,
}

#[derive(Debug)]
enum State {
    New(Parkable, Transport),
    Awake(Socket, Transport),
    Parked(Dormant, Dormant),
    /// In between, and where the runtime refuses a socket.
    Gone,
}

/// One direction, while it is userspace's.
#[derive(Debug, Default)]
struct Half {
    buffer: Vec<u8>,
    /// What was read of one side, and is to be written to the other.
    held: Range<usize>,
    ended: bool,
    shut: bool,
    /// Whether the kernel may still have bytes that go before ours.
    fenced: bool,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    wait: Duration,
}

impl Conduit {
    /// A tunnel between the two.
    pub fn new(
        (engine, passage): (Arc<Engine>, Passage),
        (client, worker, timeouts): (Rc<Client>, Rc<Worker>, Rc<Timeouts>),
        downstream: Parkable,
        upstream: Transport,
    ) -> Self {
        let state = State::New(downstream, upstream);
        let (up, down) = Default::default();
        Self {
            engine,
            passage: Arc::new(passage),
            seat: None,
            state,
            up,
            down,
            client,
            worker,
            timeouts,
            counted: (0, 0),
            is_tried: false,
            is_hopeless: false,
            refused: 0,
            pause: None,
            broken: None,
        }
    }

    /// Takes what came out of its wrapping.
    fn begin(&mut self) -> io::Result<()> {
        let State::New(downstream, upstream) = std::mem::replace(&mut self.state, State::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let (socket, seat) = downstream.into_parts().ok_or(io::ErrorKind::NotConnected)?;
        self.counted = seat.as_ref().map_or((0, 0), Seat::bytes);
        self.seat = seat;
        self.state = State::Awake(socket, upstream);
        Ok(())
    }

    /// Copies what can be copied. It is over when both halves are.
    fn poll_copy(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { state: State::Awake(ours, theirs), seat, up, down, client, worker, timeouts, .. } = self
        else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let seat = seat.as_ref();
        let (sent, received) = (&client.bytes.0, &client.bytes.1);
        let before = (sent.get(), received.get());
        let is_up =
            up.poll(cx, ours, theirs, |to| is_sent(seat, to), |read, _| sent.set(sent.get() + read))?;
        let is_down = down.poll(
            cx,
            theirs,
            ours,
            |to| is_received(seat, to),
            |_, wrote| received.set(received.get() + wrote),
        )?;
        if (sent.get(), received.get()) != before {
            worker.metrics.received(sent.get() - before.0);
            worker.metrics.sent(received.get() - before.1);
            client.vitals.set(Deadline::Tunnel, timeouts.tunnel_idle);
            self.is_tried = false;
        }
        if is_up.is_ready() && is_down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Waits until what the kernel carried is sent, as far as it can be: a socket that is closed before cuts it off.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self { state: State::Awake(ours, theirs), seat, up, down, .. } = self {
            let is_up = up.poll_drained(cx, || is_sent(seat.as_ref(), theirs))?;
            let is_down = down.poll_drained(cx, || is_received(seat.as_ref(), ours))?;
            ready!(is_up);
            ready!(is_down);
        }
        Poll::Ready(self.broken.take().map_or(Ok(()), Err))
    }

    /// Gives the tunnel to the kernel if nothing is under way; whether it has it then.
    fn park(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let is_at_rest = |half: &Half| half.held.is_empty() && !half.ended;
        let State::Awake(ours, theirs) = &self.state else { return Ok(false) };
        let Some(socket) = theirs.socket() else { return Ok(false) };
        if self.is_hopeless || self.is_tried || !is_at_rest(&self.up) || !is_at_rest(&self.down) {
            return Ok(false);
        }
        if self.refused >= REFUSALS && self.pause.is_none() {
            let times = (self.refused - REFUSALS).min(16);
            let wait = (REFUSED.start * (1 << times)).min(REFUSED.end);
            self.pause = Some(Box::pin(tokio::time::sleep(wait)));
        }
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(cx).is_pending() {
                return Ok(false);
            }
            self.pause = None;
        }
        self.is_tried = true;
        let is_quiet = match &self.seat {
            Some(seat) => seat.is_quiet((ours.as_fd(), ours.ledger()), (socket.as_fd(), socket.ledger()))?,
            None => match Seat::take(&self.engine, self.passage.kind, ours.as_fd(), ours.ledger()) {
                Ok(seat) => {
                    self.seat = Some(seat);
                    true
                }
                Err(unfit) => {
                    self.not_parked(&unfit);
                    false
                }
            },
        };
        let (true, Some(seat)) = (is_quiet, &mut self.seat) else { return Ok(false) };
        let State::Awake(ours, theirs) = std::mem::replace(&mut self.state, State::Gone) else {
            return Ok(false);
        };
        let theirs = theirs.into_socket().ok_or(io::ErrorKind::NotConnected)?;
        let (ours, theirs) = (ours.doze()?, theirs.doze()?);
        let sides = ((ours.as_fd(), ours.ledger()), (theirs.as_fd(), theirs.ledger()));
        match seat.open(sides.0, sides.1, self.passage.clone(), cx.waker()) {
            Ok(()) => {
                self.state = State::Parked(ours, theirs);
                (self.up, self.down) = Default::default();
                self.client.vitals.clear(Deadline::Tunnel);
                Ok(true)
            }
            Err(unfit) => {
                self.not_parked(&unfit);
                self.state = State::Awake(ours.awake()?, Transport::plain(theirs.awake()?));
                // They were out of the runtime, which has to know again who waits for them.
                cx.waker().wake_by_ref();
                Ok(false)
            }
        }
    }

    fn not_parked(&mut self, unfit: &Unfit) {
        tracing::debug!(reason = %unfit, engine = self.passage.kind.name(), "a tunnel is not parked");
        self.is_hopeless = unfit.is_for_good();
    }

    /// Waits until the tunnel is userspace's; whether it is over then.
    ///
    /// # Errors
    ///
    /// What broke it off while the kernel had it.
    fn poll_back(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let (State::Parked(ours, theirs), Some(seat)) = (&self.state, &self.seat) else {
            return Poll::Ready(Ok(false));
        };
        seat.set_waker(cx.waker());
        let sides = ((ours.as_fd(), ours.ledger()), (theirs.as_fd(), theirs.ledger()));
        let Some((back, reason)) = seat.look(sides.0, sides.1, cx.waker()) else {
            // It cannot come back while something is under way, and nothing new has come for too long.
            let is_stuck = seat.kind() == Kind::Wire && seat.quiet() >= self.timeouts.tunnel_idle;
            return if is_stuck { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending };
        };
        let is_carried = seat.bytes() != self.counted;
        let is_refused = seat.kind() == Kind::Wire && reason == Reason::Refused && !is_carried;
        self.refused = if is_refused { self.refused + 1 } else { 0 };
        let left = self.timeouts.tunnel_idle.saturating_sub(seat.quiet());
        self.client.vitals.set(Deadline::Tunnel, left);
        self.leave(reason);
        match back {
            Back::Quiet | Back::Answer(_) => {}
            Back::Over => {
                self.reset();
                return Poll::Ready(Ok(true));
            }
            Back::Reset | Back::Cut => {
                self.reset();
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        if let State::Parked(ours, theirs) = std::mem::replace(&mut self.state, State::Gone) {
            self.state = State::Awake(ours.awake()?, Transport::plain(theirs.awake()?));
        }
        (self.up.fenced, self.down.fenced) = (true, true);
        // Where it is wanted back it is not offered again until something comes.
        self.is_tried = matches!(reason, Reason::Recalled | Reason::Lossy);
        if reason == Reason::Lossy {
            self.pause = Some(Box::pin(tokio::time::sleep(LOSSY)));
        }
        Poll::Ready(Ok(false))
    }

    /// Closes both sockets: to the other ends that is a reset, or nothing where those know that it is over.
    fn reset(&mut self) {
        if let State::Parked(ours, theirs) = std::mem::replace(&mut self.state, State::Gone) {
            ours.reset();
            theirs.reset();
        }
    }

    /// It is not parked any more.
    fn leave(&mut self, reason: Reason) {
        if let (State::Parked(ours, theirs), Some(seat)) = (&self.state, &self.seat) {
            seat.unpark([ours.as_fd(), theirs.as_fd()], reason);
            let (up, down) = seat.bytes();
            let bytes = &self.client.bytes;
            bytes.0.set(bytes.0.get() + up - self.counted.0);
            bytes.1.set(bytes.1.get() + down - self.counted.1);
            self.counted = (up, down);
        }
    }
}

/// Whether the kernel has nothing for the upstream any more.
fn is_sent(seat: Option<&Seat>, upstream: &Transport) -> io::Result<bool> {
    match (seat, upstream.socket()) {
        (Some(seat), Some(socket)) => seat.is_upstream_drained(socket.as_fd(), socket.ledger()),
        _ => Ok(true),
    }
}

/// The same of the client.
fn is_received(seat: Option<&Seat>, client: &Socket) -> io::Result<bool> {
    seat.map_or(Ok(true), |seat| seat.is_drained(client.as_fd(), client.ledger()))
}

impl Future for Conduit {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if matches!(this.state, State::New(..)) {
            this.begin()?;
        }
        loop {
            if ready!(this.poll_back(cx))? {
                return Poll::Ready(Ok(()));
            }
            if this.broken.is_some() {
                return this.poll_broken(cx);
            }
            match this.poll_copy(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => {
                    this.broken = Some(error);
                    continue;
                }
                Poll::Pending => {}
            }
            if !this.park(cx)? {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Conduit {
    fn drop(&mut self) {
        let may_say_so = self.seat.as_ref().is_none_or(Seat::release);
        self.leave(Reason::Closed);
        if !may_say_so {
            self.reset();
        }
    }
}

impl Half {
    /// Copies until it would have to wait; ready when the other side knows of the end. `is_drained` tells whether the
    /// kernel has nothing for that side any more; `note` is told of bytes read and written.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        is_drained: impl Fn(&W) -> io::Result<bool>,
        note: impl Fn(u64, u64),
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            while !self.held.is_empty() {
                ready!(self.poll_drained(cx, || is_drained(to)))?;
                let count = ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer[self.held.clone()]))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.held.start += count;
                note(0, count as u64);
            }
            if self.ended {
                if !self.shut {
                    ready!(self.poll_drained(cx, || is_drained(to)))?;
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            self.buffer.resize(CHUNK, 0);
            let mut space = ReadBuf::new(&mut self.buffer);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut space))?;
            self.held = 0..space.filled().len();
            self.ended = self.held.is_empty();
            note(self.held.len() as u64, 0);
        }
    }

    /// Waits until the kernel has sent what it carried: ours goes behind it, and so does our end.
    ///
    /// What was read since the kernel gave the direction back came behind all that it carried, so its count is final.
    fn poll_drained(
        &mut self,
        cx: &mut Context<'_>,
        is_drained: impl Fn() -> io::Result<bool>,
    ) -> Poll<io::Result<()>> {
        while self.fenced {
            if is_drained()? {
                self.fenced = false;
                self.pause = None;
                self.wait = Duration::ZERO;
                break;
            }
            let wait = &mut self.wait;
            let pause = self.pause.get_or_insert_with(|| {
                *wait = (*wait * 2).clamp(DRAINING.start, DRAINING.end);
                Box::pin(tokio::time::sleep(*wait))
            });
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(Ok(()))
    }
}

/// Who is told of what a tunnel carries: nobody, but it ends when it carries nothing for too long.
#[derive(Debug)]
pub struct Passage {
    /// Who carries it.
    pub kind: Kind,
    /// What it is called.
    pub name: Name,
    /// For how long it may carry nothing.
    pub idle: Duration,
    /// How much it may lose, in percent.
    pub max_loss: u32,
}

impl Tenant for Passage {
    fn carried(&self, _: &Tally) {}

    fn request(&self, _: &Carried) {}

    fn goes_on(&self, quiet: Duration) -> bool {
        quiet < self.idle
    }

    fn is_patient(&self, _: Duration) -> bool {
        true
    }

    fn max_loss(&self) -> u32 {
        self.max_loss
    }

    fn name(&self) -> Name {
        self.name.clone()
    }

    fn is_routed(&self) -> bool {
        true
    }
}
