//! A client's socket. It keeps the connection's deadlines, and lets pass what the gate lets pass.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::client::Client;
use super::conduit::{Conduit, Passage};
use super::gate::{Gate, Verdict};
use super::parking::{Left, Parkable, Returned};
use super::transport::Transport;
use super::vitals::Deadline;
use super::worker::Worker;
use crate::config::Timeouts;
use crate::splice::Tenant as _;

/// What may wait behind a request for another protocol until that is answered.
const HELD: usize = 64 << 10;

/// The client's socket.
#[derive(Debug)]
pub struct Downstream {
    stream: Parkable,
    client: Rc<Client>,
    worker: Rc<Worker>,
    timeouts: Rc<Timeouts>,
    /// None once the bytes are a tunnel's.
    gate: Option<Gate>,
    /// What came behind a request for another protocol.
    held: Vec<u8>,
    /// Whether the client has ended its side behind what is held.
    ended: bool,
}

impl Downstream {
    /// A socket that was just accepted.
    pub fn new(stream: TcpStream, client: Rc<Client>, worker: Rc<Worker>) -> Self {
        let (timeouts, limits) = (worker.timeouts(), worker.config().limits);
        client.vitals.set(Deadline::Idle, timeouts.idle);
        let engine = worker.shared.splice.as_ref().map(|splice| &splice.engine);
        let (stream, gate) = (Parkable::new(stream, engine), Some(Gate::new(limits)));
        Self { stream, client, worker, timeouts, gate, held: Vec::new(), ended: false }
    }

    /// From now on the bytes are a tunnel's; gives those that came before it was one.
    pub fn into_tunnel(mut self) -> (Self, Bytes) {
        self.gate = None;
        self.client.vitals.set(Deadline::Tunnel, self.timeouts.tunnel_idle);
        let early = std::mem::take(&mut self.held).into();
        (self, early)
    }

    /// A tunnel that the kernel may carry, with that upstream; either both or none are left.
    ///
    /// # Errors
    ///
    /// The two, where it may not.
    pub fn into_conduit(self, upstream: Transport) -> Result<Conduit, Box<(Self, Transport)>> {
        let engine = self.worker.shared.splice.as_ref().map(|splice| splice.engine.clone());
        let name = self.client.tunnel_name.take().filter(|_| upstream.socket().is_some());
        let Some((engine, (kind, name))) = engine.zip(name) else { return Err(Box::new((self, upstream))) };
        let max_loss = self.worker.config().splice.max_loss;
        let passage = Passage { kind, name, idle: self.timeouts.tunnel_idle, max_loss };
        let ours = (self.client, self.worker, self.timeouts);
        Ok(Conduit::new((engine, passage), ours, self.stream, upstream))
    }

    /// From now on bytes are only read to be thrown away.
    pub fn forget_the_gate(&mut self) {
        self.gate = None;
    }

    /// Closes by a reset. A response to HTTP/1.0 may have a body that ends with its connection: nothing else tells
    /// there that it was cut off (RFC 9112, 8).
    pub fn reset(self) {
        self.stream.reset();
    }

    /// Whether nothing is on its way: no request that hyper has or the gate holds, no answer that is not written.
    fn is_at_rest(&self) -> bool {
        let Client { busy, heads, refusal, closing, interims, within_head, .. } = &*self.client;
        let gate_is_idle = self
            .gate
            .as_ref()
            .is_some_and(|gate| gate.heads() == heads.get() && !gate.is_waiting() && !gate.is_within_head());
        let is_quiet = !busy.get() && !closing.get() && !within_head.get() && refusal.get().is_none();
        gate_is_idle && is_quiet && self.held.is_empty() && !self.ended && interims.is_flushed()
    }

    /// Parks the connection, if it may be and is at rest.
    fn park(&mut self, cx: &Context<'_>) -> io::Result<()> {
        if self.client.offer.borrow().is_none() || !self.is_at_rest() || self.worker.draining.get() {
            return Ok(());
        }
        let tenancy = self.client.tenancy.borrow().clone();
        let Some((splice, tenancy)) = self.worker.shared.splice.as_ref().zip(tenancy) else { return Ok(()) };
        let Some(offer) = self.client.offer.take() else { return Ok(()) };
        match self.stream.park(&splice.engine, offer, &tenancy, cx)? {
            None => {
                self.client.vitals.clear(Deadline::Idle);
                // Routes may have changed since its request was routed, before there was a pair to be recalled.
                if !tenancy.is_routed() {
                    self.stream.recall();
                }
            }
            Some(Left::Whole(connection)) => self.worker.pool.put(connection),
            Some(Left::Pinned(pinned)) => {
                self.client.pinned.replace(pinned);
                // It was out of the runtime for a moment, and nobody waits for it any more.
                cx.waker().wake_by_ref();
            }
        }
        Ok(())
    }

    /// Waits until the connection is ours, where it is parked.
    fn poll_back(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(returned) = ready!(self.stream.poll_back(cx))? else {
            return Poll::Ready(Ok(()));
        };
        let Returned { pinned, head, quiet, is_misfit, upstream } = returned;
        if is_misfit {
            upstream.strikes.strike(self.worker.ward.now());
        } else {
            upstream.strikes.forget();
        }
        self.client.pinned.replace(pinned);
        // On the way out it has less time, which was said while it was parked.
        self.client.vitals.set_once(Deadline::Idle, self.timeouts.idle.saturating_sub(quiet));
        self.held = head;
        Poll::Ready(Ok(()))
    }

    /// Notes that bytes came, or the end.
    fn came(&self, count: usize) {
        let Client { vitals, bytes, gone, .. } = &*self.client;
        bytes.0.set(bytes.0.get() + count as u64);
        self.worker.metrics.received(count as u64);
        if count == 0 {
            gone.set(true);
        } else if self.gate.is_none() {
            vitals.set(Deadline::Tunnel, self.timeouts.tunnel_idle);
        }
    }

    /// Notes whether a head has begun: from its first byte on it has its own time.
    fn mind_the_head(&self) {
        let Client { vitals, busy, within_head, body_begun, .. } = &*self.client;
        body_begun.set(self.gate.as_ref().is_some_and(Gate::has_begun_body));
        within_head.set(self.gate.as_ref().is_some_and(Gate::is_within_head));
        if within_head.get() && !busy.get() {
            vitals.clear(Deadline::Idle);
            vitals.set_once(Deadline::Head, self.timeouts.head);
        }
    }

    /// Lets the gate judge what `buffer` holds behind its first `before` bytes, and takes out what does not pass.
    fn judge(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let Some(gate) = &mut self.gate else { return Ok(()) };
        let bytes = &buffer.filled()[before..];
        let passed = match gate.judge(bytes) {
            Verdict::Pass => bytes.len(),
            Verdict::Hold(passed) => {
                self.held.extend_from_slice(&bytes[passed..]);
                passed
            }
            Verdict::Refuse(passed, refusal) => {
                self.client.refusal.set(Some(refusal));
                passed
            }
            Verdict::Break(_, refusal) => {
                self.client.refusal.set(Some(refusal));
                buffer.set_filled(before);
                return Err(io::Error::new(io::ErrorKind::InvalidData, refusal.why));
            }
        };
        buffer.set_filled(before + passed);
        self.client.of_server.borrow_mut().extend(gate.take_of_server());
        self.mind_the_head();
        Ok(())
    }

    /// Reads on while a request for another protocol waits for its answer: only to learn whether its client
    /// leaves, and without an end.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0; 4096];
        while self.held.len() < HELD && !self.ended {
            let mut buffer = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            let count = buffer.filled().len();
            self.came(count);
            self.held.extend_from_slice(buffer.filled());
            self.ended = count == 0;
        }
        if self.ended { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// All that came was refused or is held: to say that nothing came would be to say that the client has ended.
    fn nothing_passes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.client.refusal.get().is_some() {
            return Poll::Pending;
        }
        self.client.is_held.set(true);
        self.read_ahead(cx)
    }

    /// What was held, as far as there is room for it, is a request like any other.
    fn release(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let before = buffer.filled().len();
        let count = self.held.len().min(buffer.remaining());
        let rest = self.held.split_off(count);
        let released = std::mem::take(&mut self.held);
        buffer.put_slice(&released);
        let outcome = self.judge(buffer, before);
        self.held.extend_from_slice(&rest);
        outcome
    }

    /// Notes what writing came to.
    fn went(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let Client { vitals, bytes, pace, .. } = &*self.client;
        let tunnel = self.gate.is_none();
        match &outcome {
            Poll::Ready(Ok(count)) => {
                bytes.1.set(bytes.1.get() + *count as u64);
                self.worker.metrics.sent(*count as u64);
                vitals.clear(Deadline::Write);
                if tunnel {
                    vitals.set(Deadline::Tunnel, self.timeouts.tunnel_idle);
                } else if !pace.1.progress(vitals.now(), *count, self.timeouts.min_rate) {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "it reads too slowly")));
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending if tunnel => {}
            Poll::Pending => {
                vitals.set_once(Deadline::Write, self.timeouts.body);
                pace.1.wait(vitals.now());
            }
        }
        outcome
    }

    /// Writes what goes out before anything that hyper writes.
    fn poll_interims(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.client.interims.is_due() {
            let due = self.client.interims.due();
            let outcome = Pin::new(&mut self.stream).poll_write(cx, &due);
            let outcome = self.went(outcome);
            let count = if let Poll::Ready(Ok(count)) = outcome { count } else { 0 };
            self.client.interims.put_back(&due[count..]);
            ready!(outcome)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Downstream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_back(cx))?;
        if this.gate.is_some() && this.client.refusal.get().is_some() {
            // Nothing more will come; the connection's task answers when the requests before are.
            return Poll::Pending;
        }
        if let Some(gate) = &mut this.gate
            && gate.is_waiting()
        {
            // hyper reads on before the request is handled at all.
            if this.client.busy.get() || this.client.heads.get() < gate.heads() {
                this.client.is_held.set(true);
                return this.read_ahead(cx);
            }
            gate.go_on();
        }
        if !this.held.is_empty() {
            let before = buffer.filled().len();
            this.release(buffer)?;
            return if buffer.filled().len() > before {
                Poll::Ready(Ok(()))
            } else {
                this.nothing_passes(cx)
            };
        }
        if this.ended {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let Poll::Ready(outcome) = Pin::new(&mut this.stream).poll_read(cx, buffer) else {
            this.park(cx)?;
            return Poll::Pending;
        };
        outcome?;
        let count = buffer.filled().len() - before;
        this.came(count);
        if count == 0 {
            return Poll::Ready(Ok(()));
        }
        this.judge(buffer, before)?;
        if buffer.filled().len() > before {
            return Poll::Ready(Ok(()));
        }
        this.nothing_passes(cx)
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interims(cx))?;
        self.client.interims.writes();
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.went(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interims(cx))?;
        self.client.interims.writes();
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.went(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper comes here when it has nothing left to write.
        self.client.interims.flushed();
        ready!(self.poll_interims(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // hyper has asked for the next request before this one was answered, and does not ask again.
        Poll::Ready(self.park(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
