//! What happens to one request, from its head to its response's.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    LOCATION, RETRY_AFTER, UPGRADE, VARY,
};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use tokio::sync::watch;
use tokio::time::Instant;

use super::body::{Body, UpstreamBody};
use super::client::Client;
use super::error::{Fault, ProxyError};
use super::forward::{Answer, Destination, Inbound, forward};
use super::gate::Refusal;
use super::headers::{self, forwarded, via};
use super::record::Record;
use super::upgrade::{self, Tunnel};
use super::vet;
use super::worker::Worker;
use crate::balance::{self, Pick};
use crate::cli::DefaultRobots;
use crate::metrics::Class;
use crate::pages::negotiate::{self, Format};
use crate::pages::{self, Facts, Page};
use crate::routes::host::{self, HostPort};
use crate::routes::model::{Domain, Instance, Service, UriTarget};
use crate::routes::table::Route;
use crate::status::State;

const GOGETA_PAGE: HeaderName = HeaderName::from_static("x-gogeta-page");
/// A request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ROBOTS_DISALLOW: &str = "User-agent: *\nDisallow: /";
/// How long a browser should wait before it asks for a starting service again, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Answers a request: by its backend, or by a page that says why not.
pub async fn respond(worker: Rc<Worker>, client: Rc<Client>, request: Request<Incoming>) -> Response<Body> {
    client.begin();
    worker.refresh();
    let mut request = request.map(Some);
    if worker.config().headers.request_id && !request.headers().contains_key(REQUEST_ID) {
        request.headers_mut().insert(REQUEST_ID, worker.request_id());
    }
    let mut record = Record::begin(&worker, &client, &request);
    let asked = Asked::of(&request);
    let outcome = handle(&worker, &client, &mut request, &mut record).await;
    client.handling.set(false);
    let mut response = match outcome {
        Ok(response) => response,
        Err(error) => error_page(&worker, &client, &asked, &error),
    };
    if worker.draining.get() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    record.status = response.status().as_u16();
    if let Some(tunnel) = &mut *client.tunnel.borrow_mut() {
        tunnel.record = Some(record);
        return response;
    }
    response.map(|body| body.recorded(record))
}

async fn handle(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    request: &mut Inbound,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    let host = vet::host_of(request)?;
    if via::is_a_circle(request.headers(), &worker.config().headers.name) {
        return Err(ProxyError::Circle);
    }
    if let Some(picture) = picture(worker, request) {
        return Ok(picture);
    }
    if worker.config().force_ssl && !forwarded::came_by_https(request.headers()) {
        return Ok(to_https(&host, request.uri()));
    }
    let mut hold = Hold::new(worker);
    loop {
        let routes = worker.routes();
        let (domain, service) = match routes.resolve(&host.host) {
            Route::Unknown if worker.shared.loaded.load(Ordering::Relaxed) => {
                return Err(ProxyError::UnknownDomain);
            }
            Route::Unknown => return Err(ProxyError::NoRoutes),
            Route::NoService { service, .. } => return Err(ProxyError::NoService(service.as_str().into())),
            Route::Service { domain, service } => (domain, service),
            Route::Uri { domain, target } => {
                record.class = Class::Uri;
                if insists_on_https(domain, request) {
                    return Ok(to_https(&host, request.uri()));
                }
                let port = host.port;
                return to_target(worker, client, target, request, port, record).await;
            }
        };
        record.class = Class::Service;
        if insists_on_https(domain, request) {
            return Ok(to_https(&host, request.uri()));
        }
        let (state, instance) = match balance::pick(service) {
            Pick::Instance(instance, upstream) => {
                if let Some(robots) = robots(worker, instance, request) {
                    return Ok(robots);
                }
                worker.shared.feedback.accessed(instance);
                let destination = Destination { upstream, service: Some(service) };
                let port = host.port;
                return to_instance(worker, client, destination, request, port, record).await;
            }
            Pick::Page(state, instance) => (state, instance),
        };
        let woken = state == State::Passivated && vet::wakes(request);
        if let (true, Some(instance)) = (woken, instance) {
            worker.shared.feedback.wake(instance);
        }
        if (woken || state == State::Starting) && hold.until_change().await {
            continue;
        }
        return Err(not_started(service, state, instance));
    }
}

/// To an instance of a service: the request keeps its path and its Host.
async fn to_instance(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    destination: Destination<'_>,
    request: &mut Inbound,
    port: Option<u16>,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    if let Some(authority) = request.uri().authority() {
        // RFC 9112, 3.2.2: the target's host replaces the field's.
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| ProxyError::Target)?;
        // A target like http://a.test?q has an empty path, which is sent as a slash (RFC 9112, 3.2.1).
        let path = match request.uri().query() {
            Some(query) => origin_form(&format!("{}?{query}", request.uri().path()))?,
            None => origin_form(request.uri().path())?,
        };
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = path;
    }
    send(worker, client, destination, request, Wanted { port, host: None }, record).await
}

/// To a fixed place: its path goes before the request's, and its host is the Host.
async fn to_target(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    target: &Arc<UriTarget>,
    request: &mut Inbound,
    port: Option<u16>,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    let host = match request.uri().authority() {
        // RFC 9112, 3.2.2: the target's host goes before the field's.
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers().get(HOST).cloned(),
    };
    if request.uri().path() != "*" {
        *request.uri_mut() = origin_form(&target.join(request.uri().path(), request.uri().query()))?;
    }
    request.headers_mut().insert(HOST, target.authority.clone());
    let destination = Destination { upstream: &target.upstream, service: None };
    send(worker, client, destination, request, Wanted { port, host }, record).await
}

/// What of a request's URL its upstream is told, besides the request.
struct Wanted {
    /// The port in its Host.
    port: Option<u16>,
    /// The host that was asked for, where the request goes on with another.
    host: Option<HeaderValue>,
}

async fn send(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    destination: Destination<'_>,
    request: &mut Inbound,
    wanted: Wanted,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    let config = worker.config();
    let url_root = config.url_header.as_ref().and_then(|name| {
        let host = wanted.host.as_ref().or_else(|| request.headers().get(HOST))?;
        Some((name, forwarded::url_root(request.headers(), host)?))
    });
    // What a trusted proxy says of the host goes on as it came.
    let told = client.peer.trusted && request.headers().contains_key(forwarded::HOST);
    let bodiless = request.body().as_ref().is_none_or(Incoming::is_end_stream);
    if !bodiless {
        // A tunnel begins behind the request; the rest of a body would be its first bytes (RFC 9110, 7.8).
        request.headers_mut().remove(UPGRADE);
    }
    let empty_body = bodiless && request.headers().contains_key(CONTENT_LENGTH);
    let protocol = headers::to_upstream(request.headers_mut(), &client.peer, wanted.port, &config.headers);
    if empty_body {
        // Of no body and an empty one hyper makes the same; some servers ask a POST for its length (RFC 9110, 8.6).
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if let Some((name, root)) = url_root {
        request.headers_mut().insert(name, root);
    }
    if let Some(host) = wanted.host.filter(|_| !told) {
        request.headers_mut().insert(forwarded::HOST, host);
    }
    request.extensions_mut().clear();
    *request.version_mut() = Version::HTTP_11;
    record.asks(destination.upstream);
    let answer = forward(worker, client, destination, request).await?;
    record.answered(answer.connection.upstream(), answer.retries);
    if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch(client, protocol, answer).await;
    }
    let (mut response, incoming) = answer.response.into_parts();
    headers::to_client(&mut response.headers);
    response.version = Version::HTTP_11;
    let body = UpstreamBody::new(incoming, answer.connection, worker.pool.clone());
    Ok(Response::from_parts(response, Body::upstream(body)))
}

/// After a 101: a tunnel, if it is the one that was asked for.
async fn switch(
    client: &Client,
    asked: Option<HeaderValue>,
    answer: Answer,
) -> Result<Response<Body>, ProxyError> {
    let (mut response, _) = answer.response.into_parts();
    let Some(protocol) = asked.filter(|asked| upgrade::agrees(asked, &response.headers)) else {
        return Err(ProxyError::Switched { upstream: answer.connection.upstream().location.to_string() });
    };
    headers::to_client(&mut response.headers);
    response.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers.insert(UPGRADE, protocol);
    response.version = Version::HTTP_11;
    let (transport, early) = answer.connection.into_transport().await;
    *client.tunnel.borrow_mut() = Some(Tunnel { transport, early, record: None });
    Ok(Response::from_parts(response, Body::empty()))
}

fn origin_form(path: &str) -> Result<Uri, ProxyError> {
    path.parse().map_err(|_| ProxyError::Target)
}

fn not_started(service: &Service, state: State, instance: Option<&Arc<Instance>>) -> ProxyError {
    ProxyError::NotStarted { service: service.name.as_str().into(), state, instance: instance.cloned() }
}

/// Holding a request back until its service may have started.
struct Hold<'a> {
    worker: &'a Worker,
    place: Option<Place>,
}

/// The place of one that is held.
struct Place {
    changes: watch::Receiver<u64>,
    until: Instant,
}

impl<'a> Hold<'a> {
    fn new(worker: &'a Worker) -> Self {
        Self { worker, place: None }
    }

    /// Waits until it is worth another look at the routes; false when it is time to serve the page.
    async fn until_change(&mut self) -> bool {
        let config = self.worker.config();
        if config.wake_hold.is_zero() || self.worker.draining.get() {
            return false;
        }
        if let Some(Place { changes, until }) = &mut self.place {
            return matches!(tokio::time::timeout_at(*until, changes.changed()).await, Ok(Ok(())));
        }
        if !self.takes_place(config.wake_hold_max) {
            return false;
        }
        let changes = self.worker.shared.changed.subscribe();
        self.place = Some(Place { changes, until: Instant::now() + config.wake_hold });
        // The routes may have changed before we listened: looked at once more, before the wait.
        true
    }

    /// Takes one of the places of those who are held, if one is free.
    fn takes_place(&self, places: usize) -> bool {
        let held = &self.worker.shared.held;
        let one_more = |count| (count < places).then_some(count + 1);
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.worker.shared.held.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A picture for the pages.
fn picture(worker: &Worker, request: &Inbound) -> Option<Response<Body>> {
    let name = request.uri().path().strip_prefix("/__static__/")?;
    let pages = worker.shared.pages.load();
    // Looked up by its whole name: there is no path to walk out of.
    let Some(picture) =
        pages.picture(name).filter(|_| [Method::GET, Method::HEAD].contains(request.method()))
    else {
        return Some(empty(StatusCode::NOT_FOUND));
    };
    let mut response = Response::new(Body::whole(picture.bytes.clone()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(picture.kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Some(response)
}

/// What `/robots.txt` is answered with, where that is not left to the backend.
fn robots(worker: &Worker, instance: &Instance, request: &Inbound) -> Option<Response<Body>> {
    if request.uri().path() != "/robots.txt" || ![Method::GET, Method::HEAD].contains(request.method()) {
        return None;
    }
    let default = match worker.config().default_robots {
        DefaultRobots::Off => None,
        DefaultRobots::Disallow => Some(ROBOTS_DISALLOW),
    };
    let text = instance.config.robots.as_deref().filter(|text| !text.is_empty()).or(default)?;
    let mut response = Response::new(Body::whole(Bytes::copy_from_slice(text.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Some(response)
}

/// Whether a domain wants its requests by https, and this one came otherwise.
fn insists_on_https(domain: Option<&Domain>, request: &Inbound) -> bool {
    domain.is_some_and(|domain| domain.config.force_ssl == Some(true))
        && !forwarded::came_by_https(request.headers())
}

/// The same URL by https, on its own port.
fn to_https(host: &HostPort<'_>, uri: &Uri) -> Response<Body> {
    let path =
        uri.path_and_query().map(|path| path.as_str()).filter(|path| path.starts_with('/')).unwrap_or("/");
    let mut response = empty(StatusCode::MOVED_PERMANENTLY);
    if let Ok(location) = HeaderValue::from_str(&format!("https://{}{path}", host.host)) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// What a page needs to know of its request, kept while the request is away.
#[derive(Default)]
struct Asked {
    accept: Option<HeaderValue>,
    host: Option<HeaderValue>,
    id: Option<HeaderValue>,
}

impl Asked {
    fn of(request: &Inbound) -> Self {
        let field = |name: HeaderName| request.headers().get(name).cloned();
        Self { accept: field(ACCEPT), host: field(HOST), id: field(REQUEST_ID) }
    }
}

impl Asked {
    /// The host, without its port.
    fn domain(&self) -> String {
        let text = self.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or("");
        host::parse(text).map_or_else(|_| text.to_owned(), |parsed| parsed.host.into_owned())
    }
}

/// The page that tells of an error.
fn error_page(worker: &Worker, client: &Client, asked: &Asked, error: &ProxyError) -> Response<Body> {
    tell(worker, client, asked, error);
    let (page, status) = error.page(worker.config().legacy_codes);
    let retry_after = match page {
        Page::Starting | Page::Passivated | Page::Unavailable => RETRY_AFTER_SECONDS,
        _ => 0,
    };
    let (service, instance) = match error {
        ProxyError::NotStarted { service, instance, .. } => {
            (&**service, instance.as_ref().map_or("", |instance| &*instance.index))
        }
        ProxyError::NoService(service) => (&**service, ""),
        _ => ("", ""),
    };
    let format = negotiate::format(asked.accept.as_ref().map(HeaderValue::as_bytes));
    let facts = Facts {
        status: status.as_u16(),
        reason: pages::reason(status),
        domain: &asked.domain(),
        service,
        instance,
        retry_after,
        request_id: asked.id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or(""),
        detail: &error.detail(),
    };
    let mut response = page_response(worker, page, format, &facts);
    *response.status_mut() = status;
    let fields = response.headers_mut();
    if retry_after > 0 {
        fields.insert(RETRY_AFTER, retry_after.into());
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        fields.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    if error.must_close() {
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The bytes that answer a request which the gate did not let pass: hyper never saw it.
pub fn refuse(worker: &Worker, client: &Client, refusal: Refusal) -> Vec<u8> {
    let error = ProxyError::Refused(refusal);
    tell(worker, client, &Asked::default(), &error);
    let (page, status) = error.page(false);
    let reason = pages::reason(status);
    let detail = error.detail();
    let facts = Facts {
        status: status.as_u16(),
        reason,
        domain: "",
        service: "",
        instance: "",
        retry_after: 0,
        request_id: "",
        detail: &detail,
    };
    let (body, kind) = worker.shared.pages.load().render(page, Format::Text, &facts);
    let head = format!(
        "HTTP/1.1 {} {reason}\r\nConnection: close\r\nCache-Control: no-store\r\nContent-Type: {kind}\r\n\
         X-Gogeta-Page: {}\r\nContent-Length: {}\r\n\r\n",
        status.as_u16(),
        page.name(),
        body.len()
    );
    worker.metrics.request(Class::None, status.as_u16(), Duration::ZERO);
    [head.as_bytes(), &body].concat()
}

fn page_response(worker: &Worker, page: Page, format: Format, facts: &Facts<'_>) -> Response<Body> {
    let (body, kind) = worker.shared.pages.load().render(page, format, facts);
    let mut response = Response::new(Body::whole(body));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(VARY, HeaderValue::from_static("Accept"));
    fields.insert(GOGETA_PAGE, HeaderValue::from_static(page.name()));
    response
}

/// Logs and counts an error, each as loudly as it deserves.
fn tell(worker: &Worker, client: &Client, asked: &Asked, error: &ProxyError) {
    let host = asked.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or("");
    let client = client.address;
    match (error.fault(), error) {
        // Told once by the store, which knows why.
        (Fault::Us, ProxyError::NoRoutes) => {}
        (Fault::Us, _) if worker.may_log() => {
            tracing::error!(%client, host, %error, "a request could not be routed")
        }
        (Fault::Upstream, ProxyError::NotStarted { .. }) => {
            tracing::debug!(%client, host, %error, "served a page")
        }
        (Fault::Upstream, _) => {
            worker.metrics.upstream_error(error.name());
            if worker.may_log() {
                tracing::warn!(%client, host, %error, "the upstream failed");
            }
        }
        (Fault::Us | Fault::Client, _) => tracing::debug!(%client, host, %error, "refused a request"),
    }
    worker.metrics.error(error.name());
}

/// The time in seconds since 1970, for what is written to the store.
pub fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}
