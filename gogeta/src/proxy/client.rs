//! One client's connection, as its requests and its socket see it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::headers::Peer;
use super::upgrade::Tunnel;
use super::vitals::{Deadline, Vitals};
use crate::config::Timeouts;

/// What the requests of one connection share.
#[derive(Debug)]
pub struct Client {
    /// Who it is.
    pub address: SocketAddr,
    /// The same, for header fields.
    pub peer: Peer,
    /// Its deadlines.
    pub vitals: Rc<Vitals>,
    /// Whether a request is being answered.
    pub busy: Cell<bool>,
    /// Whether a handler is at work on that request: from its head to its response's.
    pub handling: Cell<bool>,
    /// Whether it was told that gogeta is on its way out.
    pub leaving: Cell<bool>,
    /// Whether it closed its side.
    pub gone: Cell<bool>,
    /// Bytes read from it, and written to it.
    pub bytes: (Cell<u64>, Cell<u64>),
    /// Whether the body of its request was.
    pub body_broken: Cell<bool>,
    /// A buffer that its requests use one after the other.
    pub scratch: RefCell<Vec<u8>>,
    /// What the connection becomes after a 101.
    pub tunnel: RefCell<Option<Tunnel>>,
}

impl Client {
    /// A client that has not asked for anything yet.
    pub fn new(address: SocketAddr, peer: Peer, vitals: Rc<Vitals>) -> Rc<Self> {
        let bytes = Default::default();
        Rc::new(Self {
            address,
            peer,
            vitals,
            busy: Cell::default(),
            handling: Cell::default(),
            leaving: Cell::default(),
            gone: Cell::default(),
            bytes,
            body_broken: Cell::default(),
            scratch: RefCell::default(),
            tunnel: RefCell::default(),
        })
    }

    /// Whether a handler is still at work on a response's head.
    pub fn answering(&self) -> bool {
        self.handling.get()
    }

    /// A request's head has been read.
    pub fn begin(&self) {
        self.busy.set(true);
        self.handling.set(true);
        self.body_broken.set(false);
        self.vitals.clear(Deadline::Idle);
        self.vitals.clear(Deadline::Head);
    }

    /// Its response has been handed to the socket; the next request may come within `idle`.
    pub fn end(&self, idle: std::time::Duration) {
        self.busy.set(false);
        self.handling.set(false);
        self.leaving.set(false);
        self.vitals.clear(Deadline::Response);
        self.vitals.clear(Deadline::Read);
        self.vitals.set(Deadline::Idle, idle);
    }
}

/// The client's socket, which keeps its deadlines.
#[derive(Debug)]
pub struct Downstream {
    stream: TcpStream,
    client: Rc<Client>,
    timeouts: Rc<Timeouts>,
    tunnel: bool,
}

impl Downstream {
    /// A socket that was just accepted.
    pub fn new(stream: TcpStream, client: Rc<Client>, timeouts: Rc<Timeouts>) -> Self {
        client.vitals.set(Deadline::Idle, timeouts.idle);
        Self { stream, client, timeouts, tunnel: false }
    }

    /// From now on the bytes are a tunnel's.
    pub fn into_tunnel(mut self) -> Self {
        self.tunnel = true;
        self.client.vitals.set(Deadline::Tunnel, self.timeouts.tunnel_idle);
        self
    }

    fn came(&self, count: u64) {
        let Client { vitals, bytes, busy, gone, .. } = &*self.client;
        bytes.0.set(bytes.0.get() + count);
        if count == 0 {
            gone.set(true);
        } else if self.tunnel {
            vitals.set(Deadline::Tunnel, self.timeouts.tunnel_idle);
        } else if !busy.get() {
            vitals.clear(Deadline::Idle);
            vitals.set_once(Deadline::Head, self.timeouts.head);
        }
    }

    fn went(&self, outcome: &Poll<io::Result<usize>>) {
        let Client { vitals, bytes, .. } = &*self.client;
        match outcome {
            Poll::Ready(Ok(count)) => {
                bytes.1.set(bytes.1.get() + *count as u64);
                vitals.clear(Deadline::Write);
                if self.tunnel {
                    vitals.set(Deadline::Tunnel, self.timeouts.tunnel_idle);
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending if self.tunnel => {}
            Poll::Pending => vitals.set_once(Deadline::Write, self.timeouts.body),
        }
    }
}

impl AsyncRead for Downstream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(())) = &outcome {
            self.came((buffer.filled().len() - before) as u64);
        }
        outcome
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.went(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.went(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
