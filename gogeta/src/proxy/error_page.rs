//! What is served, logged and counted where a request is not answered by its backend.

use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, VARY};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::body::Body as _;

use super::body::Body;
use super::client::Client;
use super::error::{Fault, ProxyError};
use super::forward::Inbound;
use super::gate::Refusal;
use super::headers::REQUEST_ID;
use super::record;
use super::worker::Worker;
use crate::pages::negotiate::{self, Format};
use crate::pages::{self, Facts, Page};
use crate::routes::host;

const GOGETA_PAGE: HeaderName = HeaderName::from_static("x-gogeta-page");
/// How long a browser should wait before it asks for a starting service again, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// What a page needs to know of its request, kept while the request is away.
#[derive(Debug, Default)]
pub struct Asked {
    accept: Option<HeaderValue>,
    host: Option<HeaderValue>,
    id: Option<HeaderValue>,
    /// Bytes of its body, where it has one; none are told of one in chunks.
    body: Option<Option<u64>>,
    /// Whether what follows it is none of HTTP.
    tunnel: bool,
}

impl Asked {
    /// What `request` says of it.
    pub fn of(request: &Inbound) -> Self {
        let field = |name: HeaderName| request.headers().get(name).cloned();
        let body = request.body().as_ref().filter(|body| !body.is_end_stream());
        Self {
            accept: field(ACCEPT),
            host: field(HOST),
            id: field(REQUEST_ID),
            body: body.map(|body| body.size_hint().exact()),
            tunnel: request.method() == Method::CONNECT,
        }
    }

    /// Whether there may be more of the request than its first `received` bytes of body: what comes next is not
    /// the client's next request then.
    fn is_unread(&self, received: u64) -> bool {
        self.tunnel || self.body.is_some_and(|length| length.is_none_or(|length| received < length))
    }

    /// The host, without its port.
    fn domain(&self) -> String {
        let text = self.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or("");
        host::parse(text).map_or_else(|_| text.to_owned(), |parsed| parsed.host.into_owned())
    }
}

/// When whoever gets that page should come again, in seconds; 0 where that says nothing.
pub fn retry_after(page: Page) -> u64 {
    match page {
        Page::Starting | Page::Passivated | Page::Unavailable => RETRY_AFTER_SECONDS,
        _ => 0,
    }
}

/// The page that tells of an error.
pub fn respond(worker: &Worker, client: &Client, asked: &Asked, error: &ProxyError) -> Response<Body> {
    tell(worker, client, asked, error);
    let (page, status) = error.page(worker.config().legacy_codes);
    let retry_after = retry_after(page);
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
    if error.must_close() || asked.is_unread(client.received.get()) {
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
    record::unread(worker, client.address.ip(), status.as_u16(), body.len());
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
        // Why that is, the store has told, once.
        (Fault::Us, ProxyError::NoRoutes) => tracing::debug!(%client, host, %error, "served a page"),
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
