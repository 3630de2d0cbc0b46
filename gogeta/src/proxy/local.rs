//! What gogeta answers by itself where nothing is wrong: pictures for its pages, robots.txt, the way to https.

use bytes::Bytes;
use gogeta_common::guard::grammar::{PICTURES, ROBOTS};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode, Uri};

use super::body::Body;
use super::forward::Inbound;
use super::headers::forwarded;
use super::worker::Worker;
use crate::cli::DefaultRobots;
use crate::pages::{Pages, Picture};
use crate::routes::host::HostPort;
use crate::routes::model::{Domain, Instance};

const ROBOTS_DISALLOW: &str = "User-agent: *\nDisallow: /";

/// The name of the picture that a request is for, where it is for one.
pub fn picture_name<B>(request: &Request<B>) -> Option<&str> {
    request.uri().path().strip_prefix(PICTURES)
}

/// The picture of that name, for a method that reads.
pub fn find_picture<'a>(pages: &'a Pages, name: &str, method: &Method) -> Option<&'a Picture> {
    // Looked up by its whole name: there is no path to walk out of.
    pages.picture(name).filter(|_| [Method::GET, Method::HEAD].contains(method))
}

/// A picture for the pages.
pub fn picture(worker: &Worker, request: &Inbound) -> Option<Response<Body>> {
    let name = picture_name(request)?;
    let pages = worker.shared.pages.load();
    let Some(picture) = find_picture(&pages, name, request.method()) else {
        return Some(empty(StatusCode::NOT_FOUND));
    };
    let mut response = Response::new(Body::whole(picture.bytes.clone()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(picture.kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Some(response)
}

/// The text that `/robots.txt` is answered with, where that is not left to the backend.
pub fn robots_text<'a, B>(
    default: DefaultRobots,
    instance: &'a Instance,
    request: &Request<B>,
) -> Option<&'a str> {
    if request.uri().path() != ROBOTS || ![Method::GET, Method::HEAD].contains(request.method()) {
        return None;
    }
    let default = match default {
        DefaultRobots::Off => None,
        DefaultRobots::Disallow => Some(ROBOTS_DISALLOW),
    };
    instance.config.robots.as_deref().filter(|text| !text.is_empty()).or(default)
}

/// What `/robots.txt` is answered with, where that is not left to the backend.
pub fn robots(worker: &Worker, instance: &Instance, request: &Inbound) -> Option<Response<Body>> {
    let text = robots_text(worker.config().default_robots, instance, request)?;
    let mut response = Response::new(Body::whole(Bytes::copy_from_slice(text.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Some(response)
}

/// Whether a domain, or `all` of them, wants its requests by https, and this one came otherwise. What a tunnel
/// carries is not known, and may well be TLS.
pub fn insists_on_https<B>(all: bool, domain: Option<&Domain>, request: &Request<B>) -> bool {
    (all || domain.is_some_and(|domain| domain.config.force_ssl == Some(true)))
        && !forwarded::came_by_https(request.headers())
        && request.method() != Method::CONNECT
}

/// The same URL by https, on its own port.
pub fn by_https(host: &HostPort<'_>, uri: &Uri) -> String {
    let path =
        uri.path_and_query().map(|path| path.as_str()).filter(|path| path.starts_with('/')).unwrap_or("/");
    format!("https://{}{path}", host.host)
}

/// The way there.
pub fn to_https(host: &HostPort<'_>, uri: &Uri) -> Response<Body> {
    let mut response = empty(StatusCode::MOVED_PERMANENTLY);
    if let Ok(location) = HeaderValue::from_str(&by_https(host, uri)) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
