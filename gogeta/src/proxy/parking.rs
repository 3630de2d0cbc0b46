//! A client's socket that may be parked: handed to the kernel together with an upstream's while nothing is on its way
//! in userspace, and taken back when something is.
//!
//! hyper knows nothing of it. It waits for a request, and goes on waiting while the kernel carries some.

use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::patience::Patience;
use super::pool::UpstreamConnection;
use super::socket::{Dormant, Socket};
use super::tenancy::Tenancy;
use super::transport::Transport;
use super::worker::Worker;
use crate::routes::model::Upstream;
use crate::splice::counts::Reason;
use crate::splice::{Back, Engine, Seat, Terms, Unfit};

/// How often is looked whether the kernel has sent what it carried: a matter of microseconds, but where the client
/// does not read.
const DRAINING: Duration = Duration::from_millis(1);

/// The socket.
#[derive(Debug)]
pub struct Parkable {
    state: State,
    seat: Option<Seat>,
    /// Whether the kernel may still have bytes for the client that go before ours.
    fenced: bool,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    /// An upstream to which it cannot be carried, now or later.
    hopeless: Option<Arc<Upstream>>,
    patience: Patience,
}

#[derive(Debug)]
enum State {
    Awake(Socket),
    Parked(Box<Parked>),
    /// In between, and where the runtime refuses a socket.
    Gone,
}

#[derive(Debug)]
struct Parked {
    client: Dormant,
    upstream: Dormant,
    tenancy: Arc<Tenancy>,
}

/// What an upstream's connection is between being parked and its next request. It belongs to one client for good,
/// if anything was carried: nobody else's request may follow on it.
#[derive(Debug)]
pub struct Pinned {
    /// The connection.
    pub transport: Transport,
    /// Who is at the other end.
    pub upstream: Arc<Upstream>,
    /// Whether the client's next request is there already, and is not to be sent.
    pub answers: bool,
    /// Whether nothing was carried, so that it is nobody's own.
    pub is_untouched: bool,
}

impl Pinned {
    /// Its client does not need it any more: it is for the next one, or closed.
    pub async fn retire(self, worker: &Worker) {
        if self.is_untouched {
            // Where hyper does not want it, it is closed.
            if let Ok(connection) = UpstreamConnection::resume(self, worker.config().response_limits).await {
                worker.pool.put(connection);
            }
        } else if let Some(socket) = self.transport.into_socket() {
            // All that came by it was answered, or nobody waits for the answer. Closed in the usual way, its port would
            // be taken for a minute, and a connection of its own for each client is many ports.
            socket.reset();
        }
    }
}

/// A pair that is userspace's again.
#[derive(Debug)]
pub struct Returned {
    /// The upstream's half, where it can be used.
    pub pinned: Option<Pinned>,
    /// The head of a request that the client has sent, and the kernel has forwarded.
    pub head: Vec<u8>,
    /// How long nothing was carried.
    pub quiet: Duration,
    /// Whether the very first answer was one that the kernel cannot carry.
    pub is_misfit: bool,
    /// Who was at the other end.
    pub upstream: Arc<Upstream>,
}

/// What is left of an upstream's connection that was not parked.
#[derive(Debug)]
pub enum Left {
    /// All of it, as it was.
    Whole(Box<UpstreamConnection>),
    /// Its socket, which the kernel has seen.
    Pinned(Option<Pinned>),
}

impl Parkable {
    /// A socket that was just accepted, and that may be parked by that engine.
    pub fn new(stream: TcpStream, engine: Option<&Arc<Engine>>) -> Self {
        Self {
            state: State::Awake(Socket::new(stream, engine)),
            seat: None,
            fenced: false,
            pause: None,
            hopeless: None,
            patience: Patience::default(),
        }
    }

    fn not_parked(&mut self, tenancy: &Tenancy, unfit: &Unfit) {
        tracing::debug!(reason = %unfit, engine = tenancy.kind.name(), "a connection is not parked");
        if unfit.is_for_good() {
            self.hopeless = Some(tenancy.upstream.clone());
        }
    }

    /// Whether the kernel has it.
    pub fn is_parked(&self) -> bool {
        matches!(self.state, State::Parked(_))
    }

    /// Wants it back from the kernel, at the end of the request that is on its way.
    pub fn recall(&self) {
        if let Some(seat) = &self.seat {
            seat.recall();
        }
    }

    /// Closes by a reset.
    pub fn reset(self) {
        let mut this = self;
        if let State::Awake(socket) = std::mem::replace(&mut this.state, State::Gone) {
            socket.reset();
        }
    }

    /// The bare socket, and its seat, where it has one; none while the kernel has it.
    pub fn into_parts(mut self) -> Option<(Socket, Option<Seat>)> {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Awake(socket) => Some((socket, self.seat.take())),
            State::Parked(_) | State::Gone => None,
        }
    }

    /// Parks it with that connection. Where that cannot be, what is left of the connection is given back, and who
    /// waits for the socket has to ask it anew.
    ///
    /// # Errors
    ///
    /// Where the runtime refuses a socket, which is lost then.
    pub fn park(
        &mut self,
        engine: &Arc<Engine>,
        connection: Box<UpstreamConnection>,
        tenancy: &Arc<Tenancy>,
        cx: &Context<'_>,
    ) -> io::Result<Option<Left>> {
        let upstream = connection.upstream().clone();
        let State::Awake(socket) = &self.state else { return Ok(Some(Left::Whole(connection))) };
        let is_hopeless =
            self.hopeless.as_ref().is_some_and(|hopeless| Arc::ptr_eq(hopeless, &tenancy.upstream));
        if is_hopeless
            || !self.patience.may_park()
            || self.seat.as_ref().is_some_and(|seat| seat.kind() != tenancy.kind)
        {
            return Ok(Some(Left::Whole(connection)));
        }
        if engine.is_full() && !self.seat.as_ref().is_some_and(Seat::has_slot) {
            engine.counts.unfit(&Unfit::Full);
            self.not_parked(tenancy, &Unfit::Full);
            return Ok(Some(Left::Whole(connection)));
        }
        if self.seat.is_none() {
            match Seat::take(engine, tenancy.kind, socket.as_fd(), socket.ledger()) {
                Ok(seat) => self.seat = Some(seat),
                Err(unfit) => {
                    self.not_parked(tenancy, &unfit);
                    return Ok(Some(Left::Whole(connection)));
                }
            }
        }
        let Some(theirs) = connection.into_socket() else { return Ok(Some(Left::Pinned(None))) };
        let theirs = theirs.doze()?;
        let (State::Awake(ours), Some(seat)) =
            (std::mem::replace(&mut self.state, State::Gone), &mut self.seat)
        else {
            return Ok(Some(Left::Pinned(None)));
        };
        let ours = ours.doze()?;
        let Tenancy { host, block, .. } = &**tenancy;
        let terms = Terms { host, block, requests: tenancy.requests(), tenant: tenancy.clone() };
        let sides = ((ours.as_fd(), ours.ledger()), (theirs.as_fd(), theirs.ledger()));
        match seat.park(sides.0, sides.1, &terms, cx.waker()) {
            Ok(()) => {
                let tenancy = tenancy.clone();
                self.state = State::Parked(Box::new(Parked { client: ours, upstream: theirs, tenancy }));
                Ok(None)
            }
            Err(unfit) => {
                let is_clean = seat.is_upstream_clean(theirs.as_fd(), theirs.ledger());
                let is_untouched = seat.is_untouched();
                self.not_parked(tenancy, &unfit);
                self.state = State::Awake(ours.awake()?);
                if !is_clean {
                    return Ok(Some(Left::Pinned(None)));
                }
                let transport = Transport::plain(theirs.awake()?);
                Ok(Some(Left::Pinned(Some(Pinned { transport, upstream, answers: false, is_untouched }))))
            }
        }
    }

    /// Waits until the pair is userspace's; none where it was not parked.
    ///
    /// # Errors
    ///
    /// Where a response was cut off: nothing can follow it.
    pub fn poll_back(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Returned>>> {
        let (State::Parked(parked), Some(seat)) = (&self.state, &self.seat) else {
            return Poll::Ready(Ok(None));
        };
        seat.set_waker(cx.waker());
        let theirs = (parked.upstream.as_fd(), parked.upstream.ledger());
        let Some((back, reason)) =
            seat.look((parked.client.as_fd(), parked.client.ledger()), theirs, cx.waker())
        else {
            return Poll::Pending;
        };
        seat.unpark([parked.client.as_fd(), theirs.0], reason);
        let quiet = seat.quiet();
        if matches!(reason, Reason::Refused | Reason::Answer) {
            self.patience.carried(seat.carried());
        }
        if reason == Reason::Lossy {
            self.patience.lost();
        }
        let is_misfit = reason == Reason::Answer && seat.carried() <= 1;
        let is_untouched = seat.is_untouched();
        let is_clean = back != Back::Quiet || seat.is_upstream_clean(theirs.0, theirs.1);
        let State::Parked(parked) = std::mem::replace(&mut self.state, State::Gone) else {
            return Poll::Ready(Ok(None));
        };
        let Parked { client, upstream: theirs, tenancy } = *parked;
        let upstream = tenancy.upstream.clone();
        self.state = State::Awake(client.awake()?);
        self.fenced = true;
        let (head, answers) = match back {
            Back::Quiet => (Vec::new(), false),
            Back::Answer(head) => (head, true),
            Back::Cut | Back::Over | Back::Reset => {
                let why = "the response was cut off while the kernel carried it";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
            }
        };
        let pinned = if is_clean {
            let transport = Transport::plain(theirs.awake()?);
            Some(Pinned { transport, upstream: upstream.clone(), answers, is_untouched })
        } else {
            None
        };
        Poll::Ready(Ok(Some(Returned { pinned, head, quiet, is_misfit, upstream })))
    }

    /// Waits until all that the kernel has carried to the client is in its socket: what is written goes behind it.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut Socket>> {
        while self.fenced {
            let (State::Awake(socket), Some(seat)) = (&self.state, &self.seat) else { break };
            if seat.is_drained(socket.as_fd(), socket.ledger())? {
                self.fenced = false;
                self.pause = None;
                break;
            }
            let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(DRAINING)));
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        match &mut self.state {
            State::Awake(socket) => Poll::Ready(Ok(socket)),
            State::Parked(_) | State::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl Drop for Parkable {
    fn drop(&mut self) {
        if let (State::Parked(parked), Some(seat)) = (&self.state, &self.seat) {
            let sockets = [parked.client.as_fd(), parked.upstream.as_fd()];
            seat.unpark(sockets, Reason::Closed);
        }
    }
}

impl AsyncRead for Parkable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Awake(socket) => Pin::new(socket).poll_read(cx, buffer),
            State::Parked(_) => Poll::Pending,
            State::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Parkable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let socket = ready!(self.poll_drained(cx))?;
        Pin::new(socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = ready!(self.poll_drained(cx))?;
        Pin::new(socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Awake(socket) => Pin::new(socket).poll_flush(cx),
            State::Parked(_) | State::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_parked()
            && let Some(seat) = &self.seat
        {
            // It is over at the end of the request that is on its way.
            seat.recall();
            ready!(self.poll_back(cx))?;
        }
        let socket = ready!(self.poll_drained(cx))?;
        Pin::new(socket).poll_shutdown(cx)
    }
}
