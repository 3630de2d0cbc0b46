//! An upstream's connection as hyper sees it: what comes passes the gate, and interim responses take a way of
//! their own.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::bell::Bell;
use super::gate::{Asked, Piece, Refusal, ResponseGate, ResponseLimits};
use super::transport::Transport;

/// Where an exchange and its connection's socket, with hyper between them, tell each other what hyper does not.
#[derive(Debug)]
pub struct Desk {
    gate: ResponseGate,
    /// What the request asks for that has not been written yet.
    due: Option<Asked>,
    interims: Vec<Vec<u8>>,
    surplus: bool,
    refused: Option<Refusal>,
    /// Whether the upstream has the current request already: what hyper writes of it goes nowhere.
    sent: bool,
    /// The same of the next one.
    was_sent: bool,
    /// Who reads, and waits until that request is written.
    reader: Option<Waker>,
}

impl Desk {
    /// A desk for a new connection.
    pub fn new(limits: ResponseLimits) -> Rc<RefCell<Self>> {
        let gate = ResponseGate::new(limits);
        Rc::new(RefCell::new(Self {
            gate,
            due: None,
            interims: Vec::new(),
            surplus: false,
            refused: None,
            sent: false,
            was_sent: false,
            reader: None,
        }))
    }

    /// A request comes next. What the upstream says before its first byte is written is no answer to it.
    pub fn expect(&mut self, asked: Asked) {
        self.sent = std::mem::take(&mut self.was_sent);
        self.due = Some(asked);
    }

    /// The upstream has the next request already.
    pub fn forestall(&mut self) {
        self.was_sent = true;
    }

    /// Interim responses that have come since the last look.
    pub fn take_interims(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.interims)
    }

    /// Whether the upstream has begun to answer the request.
    pub fn has_begun(&self) -> bool {
        self.due.is_none() && self.gate.has_begun()
    }

    /// Whether the upstream owes the next byte at once.
    pub fn is_owed(&self) -> bool {
        self.gate.is_owed()
    }

    /// The rule that the upstream broke.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refused
    }

    /// Whether nothing has come that nobody asked for, or that broke a rule.
    pub fn is_clean(&self) -> bool {
        !self.surplus && self.refused.is_none()
    }

    /// Judges what `buffer` holds behind its first `before` bytes, and takes out what does not go on. What goes on
    /// in place of bytes that were held back does not fit there, and is given.
    fn judge(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> Vec<u8> {
        let mut at = before;
        while at < buffer.filled().len() {
            let (count, piece) = match self.gate.take(&buffer.filled()[at..]) {
                Ok(taken) => taken,
                Err(refusal) => {
                    self.refused = Some(refusal);
                    buffer.set_filled(at);
                    break;
                }
            };
            match piece {
                Piece::Part => at += count,
                Piece::Held => cut(buffer, at, count),
                Piece::Interim(head) => {
                    self.interims.push(head);
                    cut(buffer, at, count);
                }
                Piece::Head(mut head) => {
                    // The body behind it, if some of it is here, follows it.
                    cut(buffer, at, count);
                    let mut rest = buffer.filled()[at..].to_vec();
                    buffer.set_filled(at);
                    let mut rest = ReadBuf::new(&mut rest);
                    rest.set_filled(rest.capacity());
                    let more = self.judge(&mut rest, 0);
                    head.extend_from_slice(rest.filled());
                    head.extend_from_slice(&more);
                    return head;
                }
                Piece::Surplus => {
                    self.surplus = true;
                    buffer.set_filled(at);
                }
            }
        }
        Vec::new()
    }
}

/// Takes `count` bytes at `at` out of what is filled.
fn cut(buffer: &mut ReadBuf<'_>, at: usize, count: usize) {
    let length = buffer.filled().len();
    buffer.filled_mut().copy_within(at + count.., at);
    buffer.set_filled(length - count);
}

/// The connection.
#[derive(Debug)]
pub struct Gated {
    transport: Transport,
    desk: Rc<RefCell<Desk>>,
    /// What everything here is polled with.
    bell: Arc<Bell>,
    /// Whether nothing was there to read, and nothing is before the bell rings.
    dry: bool,
    /// What passed the gate and had no room.
    ready: Bytes,
}

impl Gated {
    /// A connection whose responses pass that desk's gate, and which is never polled but with that bell.
    pub fn new(transport: Transport, desk: Rc<RefCell<Desk>>, bell: Arc<Bell>) -> Self {
        Self { transport, desk, bell, dry: false, ready: Bytes::new() }
    }

    /// The bare connection, for a tunnel, and what has been read of it.
    pub fn into_inner(self) -> (Transport, Bytes) {
        (self.transport, self.ready)
    }

    /// A request is being written, so that from now on a response may come. Whether it goes nowhere.
    fn begin(&self) -> bool {
        let mut desk = self.desk.borrow_mut();
        if let Some(asked) = desk.due.take() {
            desk.gate.expect(asked);
        }
        if let Some(reader) = desk.reader.take() {
            reader.wake();
        }
        desk.sent
    }

    fn put_ready(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.ready.len().min(buffer.remaining());
        buffer.put_slice(&self.ready[..count]);
        self.ready.advance(count);
    }
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                this.put_ready(buffer);
                return Poll::Ready(Ok(()));
            }
            if let Some(refusal) = this.desk.borrow().refused {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refusal.why)));
            }
            if this.desk.borrow().surplus {
                let why = "it sent more than was asked for";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
            {
                let mut desk = this.desk.borrow_mut();
                if desk.was_sent || (desk.sent && desk.due.is_some()) {
                    // What hyper reads before it has written its request would be no answer to it.
                    desk.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
            // hyper looks several times for each time that it is woken.
            if this.dry && !this.bell.has_rung() {
                return Poll::Pending;
            }
            this.bell.listen();
            let before = buffer.filled().len();
            let outcome = Pin::new(&mut this.transport).poll_read(cx, buffer);
            this.dry = outcome.is_pending();
            ready!(outcome)?;
            if buffer.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            this.ready = this.desk.borrow_mut().judge(buffer, before).into();
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            // All of it is held back, or went another way: to say that nothing came would be to say that it ended.
        }
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.begin() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.begin() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
