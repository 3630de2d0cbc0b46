//! One request to an upstream, and its response's head back: connections, time-outs, retries.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body as _, Incoming};

use super::body::ClientBody;
use super::client::{Client, Own};
use super::copy::Copy;
use super::error::ProxyError;
use super::gate::Refusal;
use super::interim;
use super::pool::{Exchange, Failure, Mind, UpstreamConnection};
use super::reach;
use super::vitals::Deadline;
use super::worker::Worker;
use crate::routes::model::{Service, Upstream};

/// How long an upstream may take to say whether it wants a body, before it gets it unasked: many never say it
/// (RFC 9110, 10.1.1).
const CONTINUE: Duration = Duration::from_secs(1);

/// A client's request. Its body is taken when it is sent on; until then it is handed down by reference, since
/// every call on the way is a future that would hold a copy of it.
pub type Inbound = Request<Option<Incoming>>;

/// Where a request goes first, and what else might take it.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// Where it goes.
    pub upstream: &'a Arc<Upstream>,
    /// The service whose other instances could take it.
    pub service: Option<&'a Service>,
}

/// A response's head and the connection that its body comes on.
#[derive(Debug)]
pub struct Answer {
    /// The response.
    pub response: Response<Incoming>,
    /// Its connection.
    pub connection: Box<UpstreamConnection>,
    /// How often it was tried again.
    pub retries: u8,
}

/// Sends a request to its destination.
///
/// It is sent a second time only where that cannot do anything twice: to another instance if the first could not
/// be connected to; on a fresh connection if a pooled one turned out to be dead before a byte was sent, or
/// (RFC 9110, 9.2.2) if the method is idempotent and there was no body.
///
/// # Errors
///
/// [`ProxyError`] says whose fault it is; no byte of a response has been passed on then.
pub async fn forward(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    destination: Destination<'_>,
    inbound: &mut Inbound,
) -> Result<Answer, ProxyError> {
    let (mut connection, upstream, retries) = connection(worker, client, destination).await?;
    let mut request =
        std::mem::take(inbound).map(|body| ClientBody::new(body, client.clone(), worker.timeouts()));
    let repeatable = connection.reused && request.body().is_end_stream() && request.method().is_idempotent();
    let copy = repeatable.then(|| Copy::of(&request, client.scratch.take()));

    let failure = match attempt(worker, client, &mut connection, request).await? {
        Ok(response) => {
            client.scratch.replace(copy.map(Copy::into_buffer).unwrap_or_default());
            return Ok(Answer { response, connection, retries });
        }
        Err(failure) => failure,
    };
    request = match (connection.reused, failure.unsent, copy) {
        (true, Some(unsent), _) => {
            worker.metrics.upstream_retry();
            unsent
        }
        // Unlike one that was never sent, this one costs the upstream a second time.
        (true, None, Some(copy)) if !failure.begun && worker.may_retry() => {
            copy.request(ClientBody::new(None, client.clone(), worker.timeouts()))
        }
        _ => return Err(broken(client, &upstream, failure.why, failure.refused)),
    };
    drop(connection);
    // What ended the idle connection may have ended the instance.
    let (mut fresh, upstream, more) =
        fresh(worker, Destination { upstream: &upstream, ..destination }).await?;
    match attempt(worker, client, &mut fresh, request).await? {
        Ok(response) => Ok(Answer { response, connection: fresh, retries: retries + 1 + more }),
        Err(failure) => Err(broken(client, &upstream, failure.why, failure.refused)),
    }
}

/// A connection, to whom, and how many could not be connected to before.
type Connected = (Box<UpstreamConnection>, Arc<Upstream>, u8);

/// A connection to the destination, or to another instance of its service.
async fn connection(
    worker: &Worker,
    client: &Client,
    destination: Destination<'_>,
) -> Result<Connected, ProxyError> {
    worker.retries.request();
    if let Some(other) = client.take_other(destination.upstream) {
        other.retire(worker).await;
    }
    if let Some(own) = client.take_own(destination.upstream, worker) {
        let connection = match own {
            Own::Offer(connection) => connection,
            Own::Pinned(pinned) => {
                let name = pinned.upstream.location.to_string();
                UpstreamConnection::resume(pinned, worker.config().response_limits)
                    .await
                    .map_err(|error| ProxyError::Broken { upstream: name, why: error.to_string() })?
            }
        };
        let upstream = connection.upstream().clone();
        return Ok((connection, upstream, 0));
    }
    match idle(worker, destination.upstream) {
        Some(connection) => Ok((connection, destination.upstream.clone(), 0)),
        None => fresh(worker, destination).await,
    }
}

/// The same, but to the destination no other than a fresh one.
async fn fresh(worker: &Worker, destination: Destination<'_>) -> Result<Connected, ProxyError> {
    let first = destination.upstream;
    let error = match open(worker, destination, first).await {
        Ok(connection) => return Ok((connection, first.clone(), 0)),
        Err(error) => error,
    };
    let Some(other) = reach::instead(worker, destination, &error) else {
        return Err(error);
    };
    match idle(worker, other) {
        Some(connection) => Ok((connection, other.clone(), 1)),
        None => Ok((open(worker, destination, other).await?, other.clone(), 1)),
    }
}

/// An idle connection; none to an upstream that rests, for whether it is back shows by a fresh one only.
fn idle(worker: &Worker, upstream: &Upstream) -> Option<Box<UpstreamConnection>> {
    if upstream.rest.is_over() { worker.pool.take(upstream) } else { None }
}

async fn open(
    worker: &Worker,
    destination: Destination<'_>,
    upstream: &Arc<Upstream>,
) -> Result<Box<UpstreamConnection>, ProxyError> {
    let transport = reach::reach(worker, destination, upstream).await?;
    UpstreamConnection::new(transport, upstream.clone(), worker.config().response_limits).await.map_err(
        |error| ProxyError::Broken { upstream: upstream.location.to_string(), why: error.to_string() },
    )
}

/// One exchange. The outer error is final, the inner one may be worth another try.
async fn attempt(
    worker: &Worker,
    client: &Client,
    connection: &mut UpstreamConnection,
    request: Request<ClientBody>,
) -> Result<Result<Response<Incoming>, Box<Failure>>, ProxyError> {
    let vitals = &client.vitals;
    vitals.set(Deadline::Response, worker.timeouts().response);
    if client.awaits_continue.get() {
        vitals.set(Deadline::Continue, CONTINUE);
    }
    let mind = |interims: Vec<Vec<u8>>| match vitals.passed() {
        Some(Deadline::Response | Deadline::Read) => Mind::GiveUp,
        _ => {
            if tell(client, &interims) {
                Mind::GoOn
            } else {
                Mind::Wait
            }
        }
    };
    let outcome = connection.exchange(request, mind).await;
    let stalled = vitals.passed() == Some(Deadline::Read);
    vitals.clear(Deadline::Response);
    vitals.clear(Deadline::Read);
    vitals.clear(Deadline::Continue);
    match outcome {
        Ok(response) => Ok(Ok(response)),
        Err(Exchange::Failed(failure)) => Ok(Err(failure)),
        Err(Exchange::Expired) if stalled => Err(ProxyError::ClientStalled),
        Err(Exchange::Expired) => {
            Err(ProxyError::ResponseTimeout { upstream: connection.upstream().location.to_string() })
        }
    }
}

/// Passes interim responses on. Whether the client's body is wanted from now on: the upstream has said so, or has
/// said nothing for too long.
fn tell(client: &Client, interims: &[Vec<u8>]) -> bool {
    let mut wanted = client.vitals.passed() == Some(Deadline::Continue);
    for head in interims {
        let is_continue = interim::status(head) == b"100";
        if is_continue && client.awaits_continue.get() {
            // hyper says it, as soon as it is asked for the body.
            wanted = true;
        } else if !client.is_old.get() {
            client.interims.tell(head);
        }
    }
    if wanted {
        client.vitals.clear(Deadline::Continue);
    }
    wanted && client.awaits_continue.replace(false)
}

/// Whose fault a broken exchange is: the client's, if its body was.
fn broken(client: &Client, upstream: &Upstream, why: String, refused: Option<Refusal>) -> ProxyError {
    if client.too_slow.get() {
        return ProxyError::ClientStalled;
    }
    if client.body_broken.get() {
        return client.refusal.get().map_or(ProxyError::ClientBody(why), ProxyError::Refused);
    }
    let upstream = upstream.location.to_string();
    match refused {
        Some(refusal) => ProxyError::BadResponse { upstream, why: refusal.why },
        None => ProxyError::Broken { upstream, why },
    }
}
