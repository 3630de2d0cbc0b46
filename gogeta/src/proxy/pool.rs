//! Connections to upstreams: one request at a time on each, kept for the next one, a pool per worker.
//!
//! A connection has no task of its own. Whoever has a request on it drives it from within that request's task,
//! so that no other task is woken on the way; while it is idle nobody does, and it is looked at before it is
//! used again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::UPGRADE;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::bell::Bell;
use super::body::ClientBody;
use super::gate::{Asked, Refusal, ResponseLimits};
use super::gated::{Desk, Gated};
use super::parking::Pinned;
use super::socket::Socket;
use super::transport::Transport;
use crate::routes::model::Upstream;

/// One connection to an upstream.
#[derive(Debug)]
pub struct UpstreamConnection {
    sender: SendRequest<ClientBody>,
    connection: Connection<TokioIo<Gated>, ClientBody>,
    desk: Rc<RefCell<Desk>>,
    upstream: Arc<Upstream>,
    bell: Arc<Bell>,
    waker: Waker,
    ended: bool,
    idle_since: Instant,
    /// Whether it has carried a request before.
    pub reused: bool,
    /// Whether something was carried by it for a client, whose own it is from then on.
    pub is_private: bool,
}

/// Why a request got no response on a connection.
#[derive(Debug)]
pub struct Failure {
    /// hyper's reason.
    pub why: String,
    /// The request, if not one byte of it was sent.
    pub unsent: Option<Request<ClientBody>>,
    /// Whether a byte of the response had come.
    pub begun: bool,
    /// The rule that the response breaks.
    pub refused: Option<Refusal>,
}

impl UpstreamConnection {
    /// Starts HTTP/1.1 on a connected transport.
    ///
    /// # Errors
    ///
    /// hyper's reason; nothing has been sent.
    pub async fn new(
        transport: Transport,
        upstream: Arc<Upstream>,
        limits: ResponseLimits,
    ) -> Result<Box<Self>, hyper::Error> {
        let (desk, bell) = (Desk::new(limits), Arc::new(Bell::default()));
        let io = TokioIo::new(Gated::new(transport, desk.clone(), bell.clone()));
        let (sender, connection) = Builder::new().handshake(io).await?;
        Ok(Box::new(Self {
            sender,
            connection,
            desk,
            upstream,
            waker: bell.clone().into(),
            bell,
            ended: false,
            idle_since: Instant::now(),
            reused: false,
            is_private: false,
        }))
    }

    /// The same on a connection that was parked.
    ///
    /// # Errors
    ///
    /// As above.
    pub async fn resume(pinned: Pinned, limits: ResponseLimits) -> Result<Box<Self>, hyper::Error> {
        let Pinned { transport, upstream, answers, is_untouched } = pinned;
        let mut this = Self::new(transport, upstream, limits).await?;
        (this.reused, this.is_private) = (true, !is_untouched);
        if answers {
            this.desk.borrow_mut().forestall();
        }
        Ok(this)
    }

    /// Its socket, where it has one of its own and nothing is left that was read of it.
    pub fn into_socket(self: Box<Self>) -> Option<Socket> {
        let parts = self.connection.into_parts();
        let (transport, rest) = parts.io.into_inner().into_inner();
        if parts.read_buf.is_empty() && rest.is_empty() { transport.into_socket() } else { None }
    }

    /// Who is at the other end.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Sends a request and waits for the response's head. `mind` is asked whenever something happens, and gets the
    /// interim responses that came.
    ///
    /// # Errors
    ///
    /// [`Failure`] says why there is none, and gives the request back if it was not sent.
    pub async fn exchange(
        &mut self,
        request: Request<ClientBody>,
        mut mind: impl FnMut(Vec<Vec<u8>>) -> Mind,
    ) -> Result<Response<Incoming>, Exchange> {
        let asked = Asked {
            head: request.method() == Method::HEAD,
            upgrade: request.headers().contains_key(UPGRADE),
        };
        self.desk.borrow_mut().expect(asked);
        let mut response = std::pin::pin!(self.sender.try_send_request(request));
        let (connection, ended, bell, desk) = (&mut self.connection, &mut self.ended, &self.bell, &self.desk);
        let mut inner = Context::from_waker(&self.waker);
        let failure = |why, unsent| {
            let desk = desk.borrow();
            let (begun, refused) = (desk.has_begun(), desk.refusal());
            Err(Exchange::Failed(Box::new(Failure { why, unsent, begun, refused })))
        };
        std::future::poll_fn(|cx| {
            let mut broken = None;
            bell.ring_for(cx.waker());
            loop {
                if !*ended && let Poll::Ready(outcome) = connection.poll_without_shutdown(&mut inner) {
                    *ended = true;
                    broken = outcome.err();
                }
                let interims = desk.borrow_mut().take_interims();
                let next = mind(interims);
                // It becomes ready by what the connection just did, and never by itself.
                let nobody = &mut Context::from_waker(Waker::noop());
                if let Poll::Ready(outcome) = response.as_mut().poll(nobody) {
                    return Poll::Ready(outcome.or_else(|mut error| {
                        let unsent = error.take_message();
                        failure(broken.as_ref().map_or_else(|| reason(error.error()), reason), unsent)
                    }));
                }
                if *ended {
                    let why = broken.as_ref().map_or("it closed the connection".to_owned(), reason);
                    return Poll::Ready(failure(why, None));
                }
                match next {
                    Mind::Wait => return Poll::Pending,
                    Mind::GoOn => {}
                    Mind::GiveUp => return Poll::Ready(Err(Exchange::Expired)),
                }
            }
        })
        .await
    }

    /// Does what can be done now: reads, writes, feeds bodies.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        self.bell.ring_for(cx.waker());
        let mut inner = Context::from_waker(&self.waker);
        if !self.ended && self.connection.poll_without_shutdown(&mut inner).is_ready() {
            self.ended = true;
        }
    }

    /// Asks the body of this connection's response for more. That wakes nobody: who asks drives the connection
    /// next, if nothing was there.
    pub fn ask<T>(&self, question: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.bell.mute(true);
        let answer = question(&mut Context::from_waker(Waker::noop()));
        self.bell.mute(false);
        answer
    }

    /// Whether it could take a request: it is open, and nothing is left on it.
    fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.ended && self.sender.is_ready() && self.is_clean()
    }

    fn is_clean(&self) -> bool {
        self.desk.borrow().is_clean()
    }

    /// Whether the upstream owes the next byte of its response at once.
    pub fn is_owed(&self) -> bool {
        self.desk.borrow().is_owed()
    }

    /// Whether its exchange is over and it may be kept. What may still come is looked for before the next request
    /// is written: hyper reads first.
    pub fn is_done(&mut self) -> bool {
        self.bell.ring_for(Waker::noop());
        (!self.ended && self.sender.is_ready() && self.is_clean()) || self.is_ready()
    }

    /// After a 101: the bare transport, and what came behind the response's head.
    pub async fn into_transport(mut self: Box<Self>) -> (Transport, Bytes) {
        std::future::poll_fn(|cx| {
            self.drive(cx);
            if self.ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let parts = self.connection.into_parts();
        let (transport, rest) = parts.io.into_inner().into_inner();
        (transport, if rest.is_empty() { parts.read_buf } else { [parts.read_buf, rest].concat().into() })
    }
}

/// What to do while there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mind {
    /// Wait.
    Wait,
    /// Look again at once: the request's body has more to give.
    GoOn,
    /// Wait no longer.
    GiveUp,
}

/// Why there is no response.
#[derive(Debug)]
pub enum Exchange {
    /// The connection broke.
    Failed(Box<Failure>),
    /// `mind` said so.
    Expired,
}

/// hyper's error with its cause, which is the part that says something.
pub fn reason(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The idle connections of one worker.
#[derive(Debug)]
pub struct Pool {
    idle: RefCell<HashMap<u64, Idle, foldhash::fast::RandomState>>,
    limit: usize,
    lifetime: Duration,
}

#[derive(Debug)]
struct Idle {
    upstream: Weak<Upstream>,
    #[expect(clippy::vec_box, reason = "boxed all its life, so that handing one over moves a pointer")]
    connections: Vec<Box<UpstreamConnection>>,
}

impl Pool {
    /// An empty pool that keeps `limit` idle connections to each upstream, each for `lifetime`.
    pub fn new(limit: usize, lifetime: Duration) -> Self {
        Self { idle: RefCell::default(), limit, lifetime }
    }

    /// An idle connection to that upstream: the one used last, since it is the likeliest to be alive. Whether it
    /// is shows before anything is written to it.
    pub fn take(&self, upstream: &Upstream) -> Option<Box<UpstreamConnection>> {
        let mut idle = self.idle.borrow_mut();
        idle.get_mut(&upstream.id)?.connections.pop()
    }

    /// Keeps a connection whose exchange is over, if it can carry another: the response was read to its end and
    /// nothing follows it, and the request was sent whole.
    pub fn put(&self, mut connection: Box<UpstreamConnection>) {
        if !connection.is_done() {
            return;
        }
        if connection.is_private {
            // See `Pinned::retire`.
            return connection.into_socket().map_or((), Socket::reset);
        }
        if self.lifetime.is_zero() {
            return;
        }
        connection.idle_since = Instant::now();
        connection.reused = true;
        let mut idle = self.idle.borrow_mut();
        let entry = idle.entry(connection.upstream.id).or_insert_with(|| Idle {
            upstream: Arc::downgrade(&connection.upstream),
            connections: Vec::new(),
        });
        if entry.connections.len() < self.limit {
            entry.connections.push(connection);
        }
    }

    /// Closes what is dead, idle for too long, or leads to an upstream that no route has any more.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|_, idle| {
            idle.connections.retain_mut(|connection| {
                now.duration_since(connection.idle_since) < self.lifetime && connection.is_ready()
            });
            // Idle connections hold their upstream too; beyond those, someone must still want it.
            !idle.connections.is_empty() && idle.upstream.strong_count() > idle.connections.len()
        });
    }

    /// How many connections are idle.
    pub fn len(&self) -> usize {
        self.idle.borrow().values().map(|idle| idle.connections.len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
