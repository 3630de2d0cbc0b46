//! What is noted down about one request, from its head to the last byte of its answer.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{HeaderName, Method, Uri, Version};
use opentelemetry::KeyValue;

use super::body::CutOff;
use super::client::Client;
use super::forward::Inbound;
use super::vitals::Deadline;
use super::worker::Worker;
use crate::access_log::Line;
use crate::metrics::{Answered, Target};
use crate::routes::model::{Service, Upstream};
use crate::trace::Trace;

/// What is noted where the client left before there was an answer, as nginx does.
const CLIENT_LEFT: u16 = 499;

/// The record of one request. It is told by dropping it, which happens when the response's body is done with.
#[derive(Debug)]
pub struct Record {
    worker: Rc<Worker>,
    client: Rc<Client>,
    started: Instant,
    /// What it was for.
    pub target: Target,
    /// Where its service's requests are counted.
    place: Option<u32>,
    /// What is traced of it, where anything is.
    trace: Option<Box<Trace>>,
    /// When an upstream was chosen for it.
    asked: Option<Instant>,
    /// When it became a tunnel.
    opened: Option<Duration>,
    /// The status that was served.
    pub status: u16,
    /// Bytes of the response's body.
    pub sent: u64,
    /// Whether an instance did not answer it.
    pub failed: bool,
    /// What went wrong, where gogeta answered it.
    pub error: Option<&'static str>,
    cut: bool,
    fields: Option<Box<Fields>>,
}

/// What only the access log wants to know.
#[derive(Debug, Default)]
struct Fields {
    method: Method,
    target: Uri,
    version: Version,
    host: String,
    upstream: String,
    referer: String,
    agent: String,
    id: String,
    upstream_took: Option<Duration>,
    retries: u8,
}

impl Record {
    /// Begins the record of a request.
    pub fn begin(worker: &Rc<Worker>, client: &Rc<Client>, request: &Inbound) -> Self {
        let text = |name: HeaderName| {
            let value = request.headers().get(name).map(http::HeaderValue::as_bytes).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        let fields = worker.shared.access_log.is_some().then(|| {
            Box::new(Fields {
                method: request.method().clone(),
                target: request.uri().clone(),
                version: request.version(),
                host: text(http::header::HOST),
                upstream: String::new(),
                referer: text(http::header::REFERER),
                agent: text(http::header::USER_AGENT),
                id: text(super::headers::REQUEST_ID),
                ..Fields::default()
            })
        });
        let trace = worker.shared.tracer.as_ref();
        let trace = trace.map(|tracer| Box::new(Trace::begin(tracer, request, client.address)));
        let (worker, client) = (worker.clone(), client.clone());
        Self {
            trace,
            worker,
            client,
            started: Instant::now(),
            target: Target::None,
            place: None,
            asked: None,
            opened: None,
            status: CLIENT_LEFT,
            sent: 0,
            failed: false,
            error: None,
            cut: false,
            fields,
        }
    }

    /// Notes that it is for that service.
    pub fn routed(&mut self, service: &Service) {
        self.target = Target::Service;
        self.place = self.worker.metrics.routed(service, self.place);
        if let Some(trace) = &mut self.trace {
            trace.service(service.name.as_str());
        }
    }

    /// Notes who is asked.
    pub fn asks(&mut self, upstream: &Upstream) {
        self.asked = Some(Instant::now());
        if let Some(trace) = &mut self.trace {
            trace.asks(upstream);
        }
        if let Some(fields) = &mut self.fields {
            fields.upstream = upstream.location.to_string();
        }
    }

    /// Notes who has answered, and at which attempt behind the first.
    pub fn answered(&mut self, upstream: &Upstream, status: u16, retries: u8) {
        let took = self.asked.map(|asked| asked.elapsed());
        if let Some(took) = took {
            self.worker.metrics.first_byte(took);
        }
        if let Some(trace) = &mut self.trace {
            trace.answered(upstream, status, retries);
        }
        if let Some(fields) = &mut self.fields {
            fields.upstream_took = took;
            fields.retries = retries;
            if retries > 0 {
                fields.upstream = upstream.location.to_string();
            }
        }
    }

    /// Tells the upstream what trace the request belongs to, in its head as it goes there.
    pub fn pass_on(&mut self, request: &mut Inbound, upstream: &Upstream) {
        if let Some(trace) = &mut self.trace {
            let (method, target) = (request.method().clone(), request.uri().clone());
            trace.pass_on(&method, request.headers_mut(), &target, upstream);
        }
    }

    /// Notes that it wakes an instance.
    pub fn wakes(&mut self, index: &str) {
        if let Some(trace) = &mut self.trace {
            trace.event("gogeta.wake", || vec![KeyValue::new("gogeta.instance", index.to_owned())]);
        }
    }

    /// Notes that it is a tunnel from now on: how long that lasts says nothing about whoever answered.
    pub fn opens(&mut self) {
        self.opened = Some(self.started.elapsed());
    }

    /// Whether the client's socket takes no more of the response at present.
    pub fn is_unread(&self) -> bool {
        self.client.vitals.is_set(Deadline::Write)
    }

    /// Notes that the upstream broke the response off.
    pub fn cut(&mut self, error: &CutOff) {
        self.cut = true;
        let upstream = self.fields.as_ref().map_or("", |fields| &fields.upstream);
        if self.worker.may_log() {
            tracing::warn!(client = %self.client.address, upstream, %error, "the response was cut off");
        }
        let name = match error {
            CutOff::Broken(_) => "cut",
            CutOff::Stalled => "stalled",
        };
        self.error = Some(name);
        self.worker.metrics.upstream_error(name);
    }
}

/// Counts and logs a request that could not be read, and so has no record: of it only its client is known, and
/// what that was told.
pub fn unread(worker: &Worker, client: IpAddr, status: u16, sent: usize) {
    let (target, took) = (Target::None, Duration::ZERO);
    worker.metrics.request(Answered { target, place: None, status, failed: false, took });
    if let Some(log) = &worker.access_log {
        log.write(&Line {
            client: client.to_canonical(),
            host: "",
            method: "",
            target: "",
            version: "",
            status,
            sent: sent as u64,
            received: 0,
            took: Duration::ZERO,
            upstream_took: None,
            retries: 0,
            id: "",
            upstream: "",
            referer: "",
            agent: "",
            cut: false,
            engine: "relay",
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.client.end(&self.worker.timeouts());
        let took = self.started.elapsed();
        self.worker.metrics.request(Answered {
            target: self.target,
            place: self.place,
            status: self.status,
            failed: self.failed || self.cut,
            took: self.opened.unwrap_or(took),
        });
        if let Some(trace) = &mut self.trace {
            trace.end(self.status, self.sent, self.error);
        }
        if let (Some(fields), Some(log)) = (&self.fields, &self.worker.access_log) {
            log.write(&Line {
                client: self.client.address.ip().to_canonical(),
                host: &fields.host,
                method: fields.method.as_str(),
                target: &fields.target.to_string(),
                version: if fields.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" },
                status: self.status,
                sent: self.sent,
                received: self.client.received.get(),
                took,
                upstream_took: fields.upstream_took,
                retries: fields.retries,
                id: &fields.id,
                upstream: &fields.upstream,
                referer: &fields.referer,
                agent: &fields.agent,
                cut: self.cut,
                engine: "relay",
            });
        }
    }
}
