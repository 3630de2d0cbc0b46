//! Bodies on their way through. They stream: nothing is ever held whole.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::client::Client;
use super::pool::UpstreamConnection;
use super::record::Record;
use super::vitals::Deadline;
use super::worker::Worker;
use crate::config::Timeouts;

/// What a client sends, on its way to the upstream.
#[derive(Debug)]
pub struct ClientBody {
    incoming: Option<Incoming>,
    client: Rc<Client>,
    timeouts: Rc<Timeouts>,
}

impl ClientBody {
    /// The body of a client's request; none for a request that is sent once more.
    pub fn new(incoming: Option<Incoming>, client: Rc<Client>, timeouts: Rc<Timeouts>) -> Self {
        Self { incoming, client, timeouts }
    }
}

/// The client's body broke off, or was malformed.
#[derive(Debug, thiserror::Error)]
pub enum ClientBodyError {
    /// hyper's reason.
    #[error("the client's body: {0}")]
    Broken(#[source] hyper::Error),
    /// Fewer bytes a second than `--min-rate` asks for.
    #[error("the client's body comes too slowly")]
    TooSlow,
}

impl http_body::Body for ClientBody {
    type Data = Bytes;
    type Error = ClientBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBodyError>>> {
        let this = &mut *self;
        let Client { vitals, pace, .. } = &*this.client;
        if this.client.awaits_continue.get() {
            // To ask for it would tell the client to send it.
            return Poll::Pending;
        }
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        loop {
            match Pin::new(&mut *incoming).poll_frame(cx) {
                Poll::Pending => {
                    vitals.set_once(Deadline::Read, this.timeouts.body);
                    pace.0.wait(vitals.now());
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    vitals.clear(Deadline::Read);
                    // The answer is waited for from the end of the request, unless it is there already.
                    if this.client.handling.get() {
                        vitals.set(Deadline::Response, this.timeouts.response);
                    }
                    // A trailer field is of no use to a hop that did not ask for it (RFC 9110, 6.5.1).
                    if let Some(data) = frame.data_ref() {
                        let received = &this.client.received;
                        received.set(received.get() + data.len() as u64);
                        if !pace.0.progress(vitals.now(), data.len(), this.timeouts.min_rate) {
                            this.client.too_slow.set(true);
                            return Poll::Ready(Some(Err(ClientBodyError::TooSlow)));
                        }
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    this.client.body_broken.set(true);
                    return Poll::Ready(Some(Err(ClientBodyError::Broken(error))));
                }
                Poll::Ready(None) => {
                    vitals.clear(Deadline::Read);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

/// An upstream's response, together with the connection that brings it. When it has been read to its end, the
/// connection goes back to the pool; dropped before, the connection is closed.
#[derive(Debug)]
pub struct UpstreamBody {
    incoming: Incoming,
    connection: Option<Box<UpstreamConnection>>,
    worker: Rc<Worker>,
    client: Rc<Client>,
    complete: bool,
    owed: bool,
}

/// Why an upstream's response breaks off.
#[derive(Debug, thiserror::Error)]
pub enum CutOff {
    /// The upstream ended it, or broke a rule in it.
    #[error("{}", super::pool::reason(.0))]
    Broken(#[from] hyper::Error),
    /// The upstream did not go on.
    #[error("it came to a stand")]
    Stalled,
}

impl UpstreamBody {
    /// The body of the response that was just received on `connection`.
    pub fn new(
        incoming: Incoming,
        connection: Box<UpstreamConnection>,
        client: Rc<Client>,
        worker: Rc<Worker>,
    ) -> Self {
        let complete = incoming.is_end_stream();
        Self { incoming, connection: Some(connection), worker, client, complete, owed: false }
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if self.complete
            && let Some(connection) = self.connection.take()
        {
            self.client.give_back(connection, &self.worker);
        }
    }
}

impl UpstreamBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        // Nothing comes out of the body but what the connection put in, and that is driven here: so the body need
        // wake nobody, only the connection's socket.
        let Self { incoming, connection, .. } = self;
        let Some(connection) = connection else {
            return Pin::new(incoming).poll_frame(cx).map_err(CutOff::Broken);
        };
        let mut outcome = connection.ask(|nobody| Pin::new(&mut *incoming).poll_frame(nobody));
        if outcome.is_pending() {
            // Asking made room for the connection to read on.
            connection.drive(cx);
            outcome = connection.ask(|nobody| Pin::new(&mut *incoming).poll_frame(nobody));
        }
        match &outcome {
            Poll::Pending => return self.wait(),
            Poll::Ready(None) => self.complete = true,
            // Nothing follows trailers, and nobody asks for more.
            Poll::Ready(Some(Ok(frame))) => {
                self.complete = frame.is_trailers() || self.incoming.is_end_stream();
            }
            Poll::Ready(Some(Err(_))) => {}
        }
        self.client.vitals.clear(Deadline::Stall);
        outcome.map_err(CutOff::Broken)
    }

    /// Nothing is there: for how long may that be so? What was promised has to come; a stream of events is quiet
    /// by nature.
    fn wait<T>(&mut self) -> Poll<Option<Result<T, CutOff>>> {
        let vitals = &self.client.vitals;
        if vitals.passed() == Some(Deadline::Stall) {
            return Poll::Ready(Some(Err(CutOff::Stalled)));
        }
        let owed = self.connection.as_ref().is_some_and(|connection| connection.is_owed());
        if owed != self.owed {
            vitals.clear(Deadline::Stall);
            self.owed = owed;
        }
        let timeouts = self.worker.timeouts();
        vitals.set_once(Deadline::Stall, if owed { timeouts.body } else { timeouts.stream });
        Poll::Pending
    }
}

/// What a client receives.
#[derive(Debug)]
pub struct Body {
    content: Content,
    record: Option<Record>,
    /// Why it breaks off here, while the client still gets what there was before.
    broken: Option<CutOff>,
}

#[derive(Debug)]
enum Content {
    Empty,
    Whole(Bytes),
    Upstream(UpstreamBody),
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::of(Content::Empty)
    }

    /// These bytes.
    pub fn whole(bytes: Bytes) -> Self {
        Self::of(if bytes.is_empty() { Content::Empty } else { Content::Whole(bytes) })
    }

    /// What the upstream sends.
    pub fn upstream(body: UpstreamBody) -> Self {
        Self::of(Content::Upstream(body))
    }

    fn of(content: Content) -> Self {
        Self { content, record: None, broken: None }
    }

    /// This body, which takes the request's record to its end.
    pub fn recorded(mut self, record: Record) -> Self {
        self.record = Some(record);
        self
    }

    fn count(&mut self, frame: &Frame<Bytes>) {
        if let (Some(record), Some(data)) = (&mut self.record, frame.data_ref()) {
            record.sent += data.len() as u64;
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if let Some(error) = self.broken.take() {
            // The socket wakes us where it still has something to write.
            if self.record.as_ref().is_some_and(Record::is_unread) {
                self.broken = Some(error);
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(error)));
        }
        let outcome = match &mut self.content {
            Content::Empty => Poll::Ready(None),
            Content::Whole(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                self.content = Content::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Content::Upstream(body) => body.poll_frame(cx),
        };
        match outcome {
            Poll::Ready(Some(Ok(frame))) => {
                self.count(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(record) = &mut self.record {
                    record.cut(&error);
                }
                // At an error hyper closes at once, and throws away what it has not written yet: the head, perhaps.
                // While it is told to wait, it writes.
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Whole(_) => false,
            Content::Upstream(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Upstream(body) => body.incoming.size_hint(),
        }
    }
}
