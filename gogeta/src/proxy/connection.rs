//! The task of one client's connection: hyper's state machine, our deadlines, and how it all ends.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::body::Body;
use super::client::Client;
use super::downstream::Downstream;
use super::error_page;
use super::gate::Refusal;
use super::headers::forwarded::Peer;
use super::record;
use super::service;
use super::upgrade;
use super::vitals::Deadline;
use super::worker::Worker;

/// How long a connection on its way out may stay idle, so that a request that is on its way already is served.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// Bytes that hyper may hold of a response that its client does not read.
const BUFFER: usize = 128 << 10;
/// How long, and how much, is read of a client that goes on sending after its last answer. Closing at once would
/// reset the connection, and the answer could be lost on its way (RFC 9112, 9.6).
const LINGER: (Duration, usize) = (Duration::from_secs(2), 256 << 10);

/// Serves a client until its connection ends.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream, address: SocketAddr) {
    let peer = Peer::new(address.ip(), &worker.config().trusted_proxies);
    let client = Client::new(address, peer, worker.ward.admit());
    let socket = Downstream::new(stream, client.clone(), worker.clone());
    let handler = Handler {
        slot: Rc::default(),
        respond: {
            let (worker, client) = (worker.clone(), client.clone());
            move |request| service::respond(worker.clone(), client.clone(), request)
        },
    };
    let mut http = http1::Builder::new()
        .max_headers(worker.config().limits.fields)
        // A head is parsed where it was read; what is more is what a slow reader costs.
        .max_buf_size(BUFFER.max(2 * worker.config().limits.head))
        .serve_connection(TokioIo::new(socket), handler);

    let end = std::future::poll_fn(|cx| {
        client.vitals.watch(cx.waker());
        // First what the client has to say: a request that came just before its deadline is a request.
        if let Poll::Ready(outcome) = Pin::new(&mut http).poll(cx) {
            return Poll::Ready(End::Finished(outcome));
        }
        // When requests before it are answered, to the last byte.
        let is_its_turn = !client.busy.get() && client.interims.is_flushed();
        if let Some(refusal) = client.refusal.get().filter(|_| is_its_turn) {
            return Poll::Ready(End::Refused(refusal));
        }
        drain(&worker, &client);
        match client.vitals.passed() {
            Some(Deadline::Idle) => {
                client.vitals.clear(Deadline::Idle);
                Pin::new(&mut http).graceful_shutdown();
                Pin::new(&mut http).poll(cx).map(End::Finished)
            }
            Some(deadline @ (Deadline::Head | Deadline::Write)) => Poll::Ready(End::TimedOut(deadline)),
            Some(Deadline::Stall) if client.vitals.is_set(Deadline::Write) => {
                // It is the client who does not go on.
                client.vitals.clear(Deadline::Stall);
                Poll::Pending
            }
            // Before a response there is a request to tell of it; behind one, only the connection.
            Some(Deadline::Read) if !client.handling.get() => Poll::Ready(End::TimedOut(Deadline::Read)),
            _ => Poll::Pending,
        }
    })
    .await;

    if let Some(connection) = client.offer.take() {
        worker.pool.put(connection);
    }
    let pinned = client.pinned.take();
    if let Some(pinned) = pinned {
        pinned.retire(&worker).await;
    }
    let parts = http.into_parts();
    let mut socket = parts.io.into_inner();
    // Taken out in any case: its record holds the client that holds it.
    let tunnel = client.tunnel.borrow_mut().take();
    match end {
        End::Finished(Ok(())) => {
            if let Some(tunnel) = tunnel {
                carry(&client, socket, parts.read_buf, tunnel).await;
                return;
            }
        }
        End::Finished(Err(error)) => {
            tracing::debug!(client = %address, error = super::pool::reason(&error), "the connection ended");
            worker.metrics.client_error(&error);
            if error.is_parse() && !client.busy.get() {
                // hyper has said so by itself.
                record::unread(&worker, address.ip(), 400, 0);
            } else if client.is_old.get() {
                return socket.reset();
            }
        }
        // Behind the last response nothing is answered.
        End::Refused(_) if client.closing.get() => {}
        End::Refused(refusal) => {
            let answer = error_page::refuse(&worker, &client, refusal);
            let _ = tokio::time::timeout(LINGER.0, socket.write_all(&answer)).await;
        }
        End::TimedOut(deadline) => {
            worker.metrics.error("client_timeout");
            tracing::debug!(client = %address, ?deadline, "the client took too long");
            // Not into the middle of a response that the client has not read yet.
            if deadline == Deadline::Head && !client.vitals.is_set(Deadline::Write) {
                let answer =
                    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                record::unread(&worker, address.ip(), 408, 0);
                let _ = tokio::time::timeout(LINGER.0, socket.write_all(answer)).await;
            } else if client.is_old.get() {
                return socket.reset();
            } else {
                return;
            }
        }
    }
    linger(&client, &mut socket).await;
}

enum End {
    Finished(hyper::Result<()>),
    TimedOut(Deadline),
    Refused(Refusal),
}

/// On the way out an idle connection may stay only as long as a request may be on its way.
fn drain(worker: &Worker, client: &Client) {
    if worker.draining.get() && !client.busy.get() && !client.leaving.replace(true) {
        client.vitals.set(Deadline::Idle, DRAIN_GRACE.min(worker.timeouts().drain / 2));
    }
}

/// Carries a tunnel to its end.
async fn carry(client: &Client, socket: Downstream, early: bytes::Bytes, tunnel: upgrade::Tunnel) {
    let upgrade::Tunnel { transport, early: theirs, mut record } = tunnel;
    let mut ahead = 0;
    let before = (client.bytes.0.get(), client.bytes.1.get());
    let outcome = {
        let mut relay = std::pin::pin!(upgrade::relay(socket, [early, theirs], transport, &mut ahead));
        std::future::poll_fn(|cx| {
            client.vitals.watch(cx.waker());
            match client.vitals.passed() {
                Some(Deadline::Tunnel) => Poll::Ready(None),
                _ => relay.as_mut().poll(cx).map(Some),
            }
        })
        .await
    };
    let up = ahead + client.bytes.0.get() - before.0;
    let down = client.bytes.1.get() - before.1;
    client.received.set(up);
    if let Some(record) = &mut record {
        record.sent = down;
    }
    match outcome {
        Some(Ok(_)) => tracing::debug!(client = %client.address, up, down, "the tunnel ended"),
        Some(Err(error)) => tracing::debug!(client = %client.address, up, down, %error, "the tunnel broke"),
        None => tracing::debug!(client = %client.address, up, down, "the tunnel was idle for too long"),
    }
}

/// Ends our side, and reads what the client still sends until it ends its own.
async fn linger(client: &Client, socket: &mut Downstream) {
    if client.gone.get() {
        return;
    }
    socket.forget_the_gate();
    let read_on = async {
        let mut left = LINGER.1;
        // On the heap: otherwise every connection's task had room for it.
        let mut buffer = vec![0; 4096];
        socket.shutdown().await?;
        while left > 0 {
            match socket.read(&mut buffer).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // It is over either way.
    let _ = tokio::time::timeout(LINGER.0, read_on).await;
}

/// hyper's view of [`service::respond`]. A connection answers one request at a time, so the place where its
/// future lives is used again for each.
struct Handler<R, F> {
    slot: Rc<RefCell<Slot<F>>>,
    respond: R,
}

type Slot<F> = Pin<Box<Option<F>>>;

impl<R, F> hyper::service::Service<Request<Incoming>> for Handler<R, F>
where
    R: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering<F>;

    fn call(&self, request: Request<Incoming>) -> Answering<F> {
        self.slot.borrow_mut().as_mut().set(Some((self.respond)(request)));
        Answering(self.slot.clone())
    }
}

/// A request being answered.
struct Answering<F>(Rc<RefCell<Slot<F>>>);

impl<F: Future<Output = Response<Body>>> Future for Answering<F> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.borrow_mut();
        let Some(answer) = slot.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let outcome = answer.poll(cx);
        if outcome.is_ready() {
            slot.as_mut().set(None);
        }
        outcome.map(Ok)
    }
}

impl<F> Drop for Answering<F> {
    fn drop(&mut self) {
        // hyper lets go of it when the client is gone: then the request must not go on by itself.
        self.0.borrow_mut().as_mut().set(None);
    }
}
