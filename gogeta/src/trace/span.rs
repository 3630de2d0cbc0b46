//! The spans of one request, with the attributes that OpenTelemetry's conventions for HTTP name
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};

use super::{TRACEPARENT, TRACESTATE, Tracer, traceparent};
use crate::routes::model::Upstream;

/// What is traced of a request. One that is not sampled is only passed on as such.
#[derive(Debug)]
pub struct Trace {
    context: SpanContext,
    parent: Option<SpanContext>,
    /// The span of the upstream's side.
    asked: SpanId,
    sampled: Option<Sampled>,
}

/// What is noted of a request that is sampled.
#[derive(Debug)]
struct Sampled {
    tracer: Arc<Tracer>,
    begun: SystemTime,
    method: Method,
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
    client: Option<Client>,
}

/// The upstream's side, which is where gogeta is a client.
#[derive(Debug)]
struct Client {
    begun: SystemTime,
    ended: Option<SystemTime>,
    status: Option<u16>,
    attributes: Vec<KeyValue>,
}

impl Trace {
    /// Begins the trace of a request, or its part of one.
    pub fn begin<B>(tracer: &Arc<Tracer>, request: &Request<B>, peer: SocketAddr) -> Self {
        let (context, parent) = tracer.context(request.headers());
        let sampled = context.is_sampled().then(|| Sampled {
            tracer: tracer.clone(),
            begun: SystemTime::now(),
            method: request.method().clone(),
            attributes: server(request, peer),
            events: Vec::new(),
            client: None,
        });
        Self { context, parent, asked: RandomIdGenerator::default().new_span_id(), sampled }
    }

    /// Notes what happened on the way.
    pub fn event(&mut self, name: &'static str, attributes: impl FnOnce() -> Vec<KeyValue>) {
        if let Some(sampled) = &mut self.sampled {
            sampled.events.push(Event::new(name, SystemTime::now(), attributes(), 0));
        }
    }

    /// Notes what it is for.
    pub fn service(&mut self, name: &str) {
        if let Some(sampled) = &mut self.sampled {
            sampled.attributes.retain(|attribute| attribute.key.as_str() != "gogeta.service");
            sampled.attributes.push(KeyValue::new("gogeta.service", name.to_owned()));
        }
    }

    /// A request goes to that upstream.
    pub fn asks(&mut self, upstream: &Upstream) {
        if let Some(sampled) = &mut self.sampled {
            let attributes = vec![
                KeyValue::new("server.address", upstream.location.host.to_string()),
                KeyValue::new("server.port", i64::from(upstream.location.port)),
            ];
            sampled.client = Some(Client { begun: SystemTime::now(), ended: None, status: None, attributes });
        }
    }

    /// Writes into a request's head, as it goes to the upstream, where it belongs.
    pub fn pass_on(
        &mut self,
        method: &Method,
        headers: &mut HeaderMap,
        target: &http::Uri,
        upstream: &Upstream,
    ) {
        let text = traceparent(self.context.trace_id(), self.asked, self.context.trace_flags());
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(TRACEPARENT, value);
        }
        if self.parent.is_none() {
            // The state of a trace that nobody could read is nobody's (W3C Trace Context, 3.3).
            headers.remove(TRACESTATE);
        }
        if let Some(client) = self.sampled.as_mut().and_then(|sampled| sampled.client.as_mut()) {
            let scheme = if upstream.tls.is_some() { "https" } else { "http" };
            let path = target.path_and_query().map_or("/", |path| path.as_str());
            client.attributes.extend(named(method));
            let url = format!("{scheme}://{}{path}", upstream.location);
            client.attributes.push(KeyValue::new("url.full", url));
        }
    }

    /// The upstream, which may be another one than was asked first, has answered.
    pub fn answered(&mut self, upstream: &Upstream, status: u16, retries: u8) {
        let Some(client) = self.sampled.as_mut().and_then(|sampled| sampled.client.as_mut()) else { return };
        client.ended = Some(SystemTime::now());
        client.status = Some(status);
        if retries > 0 {
            client.attributes.push(KeyValue::new("http.request.resend_count", i64::from(retries)));
            let place = [
                KeyValue::new("server.address", upstream.location.host.to_string()),
                KeyValue::new("server.port", i64::from(upstream.location.port)),
            ];
            client.attributes.retain(|known| place.iter().all(|place| place.key != known.key));
            client.attributes.extend(place);
        }
    }

    /// It is over: with that status, so many bytes, and the name of the error where it is one.
    pub fn end(&mut self, status: u16, sent: u64, error: Option<&'static str>) {
        let Some(sampled) = self.sampled.take() else { return };
        let Sampled { tracer, begun, method, mut attributes, events, client } = sampled;
        let now = SystemTime::now();
        if let Some(client) = client {
            tracer.tell(self.of_upstream(client, &method, now, error));
        }
        attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
        attributes.push(KeyValue::new("http.response.body.size", i64::try_from(sent).unwrap_or(i64::MAX)));
        // A mistake of its client's is none of the server's.
        let fault = error.map(str::to_owned).or_else(|| (status >= 500).then(|| status.to_string()));
        attributes.extend(fault.clone().map(|fault| KeyValue::new("error.type", fault)));
        let parent = self.parent.as_ref().map_or(SpanId::INVALID, SpanContext::span_id);
        let mut all = SpanEvents::default();
        all.events = events;
        tracer.tell(SpanData {
            span_context: self.context.clone(),
            parent_span_id: parent,
            parent_span_is_remote: self.parent.is_some(),
            span_kind: SpanKind::Server,
            name: name_of(&method).into(),
            start_time: begun,
            end_time: now,
            attributes,
            dropped_attributes_count: 0,
            events: all,
            links: SpanLinks::default(),
            status: if status >= 500 || fault.is_some() { Status::error("") } else { Status::Unset },
            instrumentation_scope: scope(),
        });
    }

    fn of_upstream(
        &self,
        client: Client,
        method: &Method,
        now: SystemTime,
        error: Option<&'static str>,
    ) -> SpanData {
        let Client { begun, ended, status, mut attributes } = client;
        let context = &self.context;
        attributes.extend(status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))));
        // To whoever asks, each status from 400 on is an error.
        let refused = status.filter(|status| *status >= 400).map(|status| status.to_string());
        let fault = error.map(str::to_owned).or(refused);
        attributes.extend(fault.clone().map(|fault| KeyValue::new("error.type", fault)));
        SpanData {
            span_context: SpanContext::new(
                context.trace_id(),
                self.asked,
                context.trace_flags(),
                false,
                context.trace_state().clone(),
            ),
            parent_span_id: context.span_id(),
            parent_span_is_remote: false,
            span_kind: SpanKind::Client,
            name: name_of(method).into(),
            start_time: begun,
            // Without an answer, until it was given up.
            end_time: ended.unwrap_or(now),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: fault.map_or(Status::Unset, |_| Status::error("")),
            instrumentation_scope: scope(),
        }
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("gogeta").with_version(env!("CARGO_PKG_VERSION")).build()
}

/// The methods that are told by their names; others could be anything, and as many as there are clients.
fn is_known(method: &Method) -> bool {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]
        .contains(&method.as_str())
}

fn name_of(method: &Method) -> String {
    if is_known(method) { method.as_str().to_owned() } else { "HTTP".to_owned() }
}

fn named(method: &Method) -> Vec<KeyValue> {
    let text = method.as_str().to_owned();
    if is_known(method) {
        vec![KeyValue::new("http.request.method", text)]
    } else {
        vec![
            KeyValue::new("http.request.method", "_OTHER"),
            KeyValue::new("http.request.method_original", text),
        ]
    }
}

/// What a request says of itself, and who made it.
fn server<B>(request: &Request<B>, peer: SocketAddr) -> Vec<KeyValue> {
    let field = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let uri = request.uri();
    let mut attributes = named(request.method());
    let address = peer.ip().to_canonical().to_string();
    attributes.extend([
        KeyValue::new("url.scheme", "http"),
        KeyValue::new("url.path", uri.path().to_owned()),
        KeyValue::new("client.address", address.clone()),
        KeyValue::new("network.peer.address", address),
        KeyValue::new("network.peer.port", i64::from(peer.port())),
        KeyValue::new(
            "network.protocol.version",
            if request.version() == Version::HTTP_10 { "1.0" } else { "1.1" },
        ),
    ]);
    attributes.extend(uri.query().map(|query| KeyValue::new("url.query", query.to_owned())));
    let host = uri.authority().map(http::uri::Authority::as_str).or_else(|| field(HOST));
    if let Some(host) = host.and_then(|host| host.parse::<http::uri::Authority>().ok()) {
        attributes.push(KeyValue::new("server.address", host.host().to_owned()));
        attributes.extend(host.port_u16().map(|port| KeyValue::new("server.port", i64::from(port))));
    }
    attributes.extend(field(USER_AGENT).map(|agent| KeyValue::new("user_agent.original", agent.to_owned())));
    attributes
}
