//! One client's connection, as its requests and its socket see it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::gate::Refusal;
use super::headers::forwarded::Peer;
use super::interim::Interims;
use super::pace::Pace;
use super::parking::Pinned;
use super::pool::UpstreamConnection;
use super::tenancy::Tenancy;
use super::upgrade::Tunnel;
use super::vitals::{Deadline, Vitals};
use super::worker::Worker;
use crate::config::Timeouts;
use crate::routes::model::Upstream;
use crate::splice::{Kind, Name};

/// An upstream's connection that is a client's own.
#[derive(Debug)]
pub enum Own {
    /// As its last request left it.
    Offer(Box<UpstreamConnection>),
    /// As the kernel left it.
    Pinned(Pinned),
}

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
    /// Bytes of the current request's body.
    pub received: Cell<u64>,
    /// Whether the body of its request was broken off, or malformed.
    pub body_broken: Cell<bool>,
    /// Why the gate lets nothing more of it pass.
    pub refusal: Cell<Option<Refusal>>,
    /// Whether a part of a head is all that it has sent since its last request.
    pub within_head: Cell<bool>,
    /// A buffer that its requests use one after the other.
    pub scratch: RefCell<Vec<u8>>,
    /// Whether its request came by HTTP/1.0, which knows no interim responses.
    pub is_old: Cell<bool>,
    /// How many heads have been read of it, and which of those to come are an OPTIONS of a whole server.
    pub heads: Cell<u64>,
    /// Those are counted from 1.
    pub of_server: RefCell<VecDeque<u64>>,
    /// Whether something of it waits until its request is answered.
    pub is_held: Cell<bool>,
    /// Whether the response said that it is the last one.
    pub closing: Cell<bool>,
    /// Whether a byte of its request's body has come.
    pub body_begun: Cell<bool>,
    /// Whether it waits for a 100 before it sends its request's body, and we for the upstream's.
    pub awaits_continue: Cell<bool>,
    /// Whether it sent the body of its request too slowly.
    pub too_slow: Cell<bool>,
    /// How fast it sends, and reads.
    pub pace: (Pace, Pace),
    /// Interim responses on their way to it.
    pub interims: Interims,
    /// What the connection becomes after a 101.
    pub tunnel: RefCell<Option<Tunnel>>,
    /// What its request was routed by, where the kernel may carry others like it.
    pub tenancy: RefCell<Option<Arc<Tenancy>>>,
    /// What a tunnel that its request opens is, where the kernel may carry it.
    pub tunnel_name: RefCell<Option<(Kind, Name)>>,
    /// The connection that its last request took, to be parked with.
    pub offer: RefCell<Option<Box<UpstreamConnection>>>,
    /// The connection that it was parked with.
    pub pinned: RefCell<Option<Pinned>>,
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
            received: Cell::default(),
            body_broken: Cell::default(),
            refusal: Cell::default(),
            within_head: Cell::default(),
            scratch: RefCell::default(),
            is_old: Cell::default(),
            is_held: Cell::default(),
            closing: Cell::default(),
            heads: Cell::default(),
            of_server: RefCell::default(),
            body_begun: Cell::default(),
            awaits_continue: Cell::default(),
            too_slow: Cell::default(),
            pace: Default::default(),
            interims: Interims::default(),
            tunnel: RefCell::default(),
            tenancy: RefCell::default(),
            tunnel_name: RefCell::default(),
            offer: RefCell::default(),
            pinned: RefCell::default(),
        })
    }

    /// Its exchange is over: the connection is for the next request of whoever comes first, or for parking.
    pub fn give_back(&self, mut connection: Box<UpstreamConnection>, worker: &Worker) {
        if self.tenancy.borrow().is_none() || self.closing.get() || worker.draining.get() {
            worker.pool.put(connection);
        } else if connection.is_done() {
            connection.reused = true;
            self.offer.replace(Some(connection));
        }
    }

    /// The connection that it was parked with, where that leads elsewhere.
    pub fn take_other(&self, upstream: &Upstream) -> Option<Pinned> {
        let is_other = |pinned: &mut Pinned| !pinned.answers && pinned.upstream.id != upstream.id;
        self.pinned.borrow_mut().take_if(is_other)
    }

    /// The connection that is its own, as far as it leads there. Any other is the next one's, or closed.
    pub fn take_own(&self, upstream: &Upstream, worker: &Worker) -> Option<Own> {
        if let Some(pinned) = self.pinned.take()
            && (pinned.answers || pinned.upstream.id == upstream.id)
        {
            return Some(Own::Pinned(pinned));
        }
        let offer = self.offer.take()?;
        if offer.upstream().id == upstream.id {
            return Some(Own::Offer(offer));
        }
        worker.pool.put(offer);
        None
    }

    /// A request's head has been read.
    pub fn begin(&self) {
        if self.asks_the_server() {
            self.of_server.borrow_mut().pop_front();
        }
        self.heads.set(self.heads.get() + 1);
        self.tenancy.replace(None);
        self.tunnel_name.replace(None);
        self.busy.set(true);
        self.handling.set(true);
        self.received.set(0);
        self.body_broken.set(false);
        self.awaits_continue.set(false);
        self.too_slow.set(false);
        self.pace.0.reset();
        self.pace.1.reset();
        self.vitals.clear(Deadline::Idle);
        self.vitals.clear(Deadline::Head);
    }

    /// Whether its request is an OPTIONS of a whole server (see [`Head::of_server`](super::gate::Head)).
    pub fn asks_the_server(&self) -> bool {
        self.of_server.borrow().front() == Some(&self.heads.get())
    }

    /// Its response has been handed to the socket; the next request may come.
    pub fn end(&self, timeouts: &Timeouts) {
        self.busy.set(false);
        self.handling.set(false);
        self.leaving.set(false);
        if self.is_held.replace(false) {
            self.vitals.wake();
        }
        self.vitals.clear(Deadline::Response);
        self.vitals.clear(Deadline::Read);
        self.vitals.clear(Deadline::Continue);
        self.vitals.clear(Deadline::Stall);
        if self.within_head.get() {
            self.vitals.set_once(Deadline::Head, timeouts.head);
        } else {
            self.vitals.set(Deadline::Idle, timeouts.idle);
        }
    }
}
