//! What happens to one request, from its head to its response's.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};

use super::body::{Body, UpstreamBody};
use super::client::Client;
use super::error::{Fault, ProxyError};
use super::error_page::{self, Asked};
use super::forward::{Answer, Destination, Inbound, forward};
use super::headers::{self, Original, REQUEST_ID, Survey, forwarded, via};
use super::hold::Hold;
use super::local::{insists_on_https, picture, robots, to_https};
use super::record::Record;
use super::tenancy;
use super::upgrade::{self, Tunnel};
use super::vet;
use super::worker::Worker;
use crate::balance::{self, Pick};
use crate::metrics::Target;
use crate::routes::model::{Instance, Service, UriTarget};
use crate::routes::table::Route;
use crate::status::State;

/// Answers a request: by its backend, or by a page that says why not.
pub async fn respond(worker: Rc<Worker>, client: Rc<Client>, request: Request<Incoming>) -> Response<Body> {
    client.begin();
    client.is_old.set(request.version() < Version::HTTP_11);
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
        Err(error) => {
            record.failed = error.fault() == Fault::Upstream;
            record.error = (error.fault() != Fault::Client).then(|| error.name());
            error_page::respond(&worker, &client, &asked, &error)
        }
    };
    record.status = response.status().as_u16();
    if let Some(tunnel) = &mut *client.tunnel.borrow_mut() {
        record.opens();
        tunnel.record = Some(record);
        return response;
    }
    // What is left of a body that nobody took would be read as the next request.
    let unread = request.body().as_ref().is_some_and(|body| !body.is_end_stream());
    if unread || worker.draining.get() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if response.headers().contains_key(CONNECTION) {
        client.closing.set(true);
        if client.is_old.get() {
            // To a response of HTTP/1.1 for a client of HTTP/1.0 hyper adds its own `keep-alive`.
            *response.version_mut() = Version::HTTP_10;
        }
    }
    response.map(|body| body.recorded(record))
}

async fn handle(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    request: &mut Inbound,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    let tunnel = request.method() == Method::CONNECT;
    let survey = Survey::of(request.headers());
    if survey.expect {
        vet::expectation(request.headers())?;
    }
    let host =
        if tunnel { vet::tunnel_to(request, &worker.config().connect)? } else { vet::host_of(request)? };
    if survey.via && via::is_a_circle(request.headers(), &worker.config().headers.via.name) {
        return Err(ProxyError::Circle);
    }
    if let Some(picture) = picture(worker, request) {
        return Ok(picture);
    }
    if insists_on_https(worker.config().force_ssl, None, request) {
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
                record.target = Target::Uri;
                if insists_on_https(false, domain, request) {
                    return Ok(to_https(&host, request.uri()));
                }
                if tunnel {
                    let destination = Destination { upstream: &target.upstream, service: None };
                    return upgrade::open(worker, client, destination, record).await;
                }
                let seen = (host.port, survey);
                return to_target(worker, client, target, request, seen, record).await;
            }
        };
        record.routed(service);
        if insists_on_https(false, domain, request) {
            return Ok(to_https(&host, request.uri()));
        }
        let (state, instance) = match balance::pick(service, worker.ward.now()) {
            Pick::Instance(instance, upstream) => {
                if let Some(robots) = robots(worker, instance, request) {
                    return Ok(robots);
                }
                worker.shared.feedback.accessed(instance);
                tenancy::settle(worker, client, (&host, request), (domain, service), (instance, upstream));
                let destination = Destination { upstream, service: Some(service) };
                if tunnel {
                    return upgrade::open(worker, client, destination, record).await;
                }
                let seen = (host.port, survey);
                return to_instance(worker, client, destination, request, seen, record).await;
            }
            Pick::Page(state, instance) => (state, instance),
        };
        let woken = state == State::Passivated && vet::wakes(request);
        if let (true, Some(instance)) = (woken, instance) {
            worker.shared.feedback.wake(instance);
            record.wakes(&instance.index);
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
    (port, survey): (Option<u16>, Survey),
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    if let Some(authority) = request.uri().authority() {
        // RFC 9112, 3.2.2: the target's host replaces the field's.
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| ProxyError::Target)?;
        // A target like http://a.test?q has an empty path, which is sent as a slash (RFC 9112, 3.2.1).
        let path = match request.uri().query() {
            _ if client.asks_the_server() => Uri::from_static("*"),
            Some(query) => origin_form(&format!("{}?{query}", request.uri().path()))?,
            None => origin_form(request.uri().path())?,
        };
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = path;
    }
    let host = request.headers().get(HOST).cloned();
    let original = Original { version: request.version(), host, port, survey };
    send(worker, client, destination, request, original, record).await
}

/// To a fixed place: its path goes before the request's, and its host is the Host.
async fn to_target(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    target: &Arc<UriTarget>,
    request: &mut Inbound,
    (port, survey): (Option<u16>, Survey),
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    let host = match request.uri().authority() {
        // RFC 9112, 3.2.2: the target's host goes before the field's.
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => request.headers().get(HOST).cloned(),
    };
    if client.asks_the_server() {
        *request.uri_mut() = Uri::from_static("*");
    } else if request.uri().path() != "*" {
        *request.uri_mut() = origin_form(&target.join(request.uri().path(), request.uri().query()))?;
    }
    request.headers_mut().insert(HOST, target.authority.clone());
    let destination = Destination { upstream: &target.upstream, service: None };
    let original = Original { version: request.version(), host, port, survey };
    send(worker, client, destination, request, original, record).await
}

async fn send(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    destination: Destination<'_>,
    request: &mut Inbound,
    original: Original,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    let config = worker.config();
    let url_root = config
        .url_header
        .as_ref()
        .and_then(|name| Some((name, forwarded::url_root(request.headers(), original.host.as_ref()?)?)));
    let bodiless = request.body().as_ref().is_none_or(Incoming::is_end_stream);
    if !bodiless {
        // A tunnel begins behind the request; the rest of a body would be its first bytes (RFC 9110, 7.8).
        request.headers_mut().remove(UPGRADE);
    }
    let wishes = headers::to_upstream(request.headers_mut(), &client.peer, original, &config.headers);
    if bodiless && wishes.length {
        // Of no body and an empty one hyper makes the same; some servers ask a POST for its length (RFC 9110, 8.6).
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if wishes.expects && !bodiless && !client.is_old.get() && !client.body_begun.get() {
        // End to end: the client's body waits until the upstream says that it wants it.
        request.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
        client.awaits_continue.set(true);
    }
    if let Some((name, root)) = url_root {
        request.headers_mut().insert(name, root);
    }
    request.extensions_mut().clear();
    *request.version_mut() = Version::HTTP_11;
    record.asks(destination.upstream);
    record.pass_on(request, destination.upstream);
    let answer = forward(worker, client, destination, request).await?;
    record.answered(answer.connection.upstream(), answer.response.status().as_u16(), answer.retries);
    if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch(client, wishes.upgrade, answer, &config.headers).await;
    }
    let (mut response, incoming) = answer.response.into_parts();
    headers::to_client(&mut response.headers, response.version, wishes.trailers, &config.headers);
    response.version = Version::HTTP_11;
    let body = UpstreamBody::new(incoming, answer.connection, client.clone(), worker.clone());
    Ok(Response::from_parts(response, Body::upstream(body)))
}

/// After a 101: a tunnel, if it is the one that was asked for.
async fn switch(
    client: &Client,
    asked: Option<HeaderValue>,
    answer: Answer,
    rules: &headers::Rules,
) -> Result<Response<Body>, ProxyError> {
    let (mut response, _) = answer.response.into_parts();
    let Some(protocol) = asked.filter(|asked| upgrade::agrees(asked, &response.headers)) else {
        return Err(ProxyError::Switched { upstream: answer.connection.upstream().location.to_string() });
    };
    headers::to_client(&mut response.headers, response.version, false, rules);
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
