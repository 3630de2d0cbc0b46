//! Who may ask the API: not a page of somebody else's that runs in an operator's browser, and for actions only who has
//! the token.
//!
//! A browser goes wherever a page sends it, also to addresses that nobody else can reach. Three things tell its requests
//! from an operator's: the Host, where a name of the attacker's points here (DNS rebinding); the Origin; and what the
//! browser itself says of who asks (Fetch Metadata).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Admin;
use super::api::fault::Fault;
use super::api::is_json;
use crate::clock::unix_seconds;
use crate::config::Access;

const FETCH_SITE: &str = "sec-fetch-site";
const FETCH_MODE: &str = "sec-fetch-mode";

/// What every answer says to browsers: take nothing for something else, show nothing in a frame, keep nothing, and tell
/// nobody where you were. A handler that says one of these itself knows better.
const ADVICE: [(HeaderName, &str); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// The API.
    Api,
    /// The page: a browser may be led to it from elsewhere, for whoever leads it there sees nothing of it.
    Page,
}

/// Lets only those through to the API who may ask it.
pub(super) async fn api(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    guard(&admin, What::Api, request, next).await
}

/// The same for the page.
pub(super) async fn page(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    guard(&admin, What::Page, request, next).await
}

async fn guard(admin: &Admin, what: What, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let verdict = judge(&admin.shared.config.load().access, what, &parts);
    match verdict {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(fault) => fault.into_response(),
    }
}

/// Lets only those through to an action who have the token.
pub(super) async fn action(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let verdict = authorise(&admin.shared.config.load().access, request.headers());
    let Err(fault) = verdict else { return next.run(request).await };
    if fault.status == StatusCode::UNAUTHORIZED.as_u16()
        && request.headers().contains_key(header::AUTHORIZATION)
    {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        tell_wrong(peer, request.uri().path());
    }
    let is_unauthorised = fault.status == StatusCode::UNAUTHORIZED.as_u16();
    let mut response = fault.into_response();
    if is_unauthorised {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Somebody tries tokens: told once a second.
fn tell_wrong(peer: Option<SocketAddr>, path: &str) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = unix_seconds();
    if LAST.swap(now, Ordering::Relaxed) != now {
        tracing::warn!(?peer, path, "an action with a wrong token was refused");
    }
}

/// Adds to an answer what it does not say itself.
pub(super) async fn advise(mut response: Response) -> Response {
    for (name, value) in ADVICE {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn judge(access: &Access, what: What, request: &Parts) -> Result<(), Fault> {
    let refuse = |detail: String| Err(Fault::new(StatusCode::FORBIDDEN, detail));
    let headers = &request.headers;
    let host = own_name(access, request)?;
    let mut origins = headers.get_all(header::ORIGIN).iter();
    if let Some(origin) = origins.next()
        && (origins.next().is_some() || !is_of(origin, host))
    {
        return refuse(format!("a page of {origin:?} may not ask this; {host} is another origin"));
    }
    let site = headers.get(FETCH_SITE).map_or(&b"none"[..], HeaderValue::as_bytes);
    let is_led = what == What::Page
        && request.method == Method::GET
        && headers.get(FETCH_MODE).is_some_and(|mode| mode == "navigate")
        // In a frame nothing is shown anyhow.
        && headers.get("sec-fetch-dest").is_none_or(|dest| dest == "document");
    if !matches!(site, b"none" | b"same-origin") && !is_led {
        return refuse("a page of another site may not ask this".to_owned());
    }
    let is_safe = matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_safe && has_body(headers) && !is_json(headers) {
        // A form can send three other types to anybody.
        let detail = "the body must be JSON, and say so: Content-Type: application/json";
        return Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    Ok(())
}

/// The Host that is asked, with its port, if it is one of ours.
fn own_name<'a>(access: &Access, request: &'a Parts) -> Result<&'a str, Fault> {
    let misdirected = |what: String| {
        let what = format!(
            "{what}: the API is for addresses, localhost and the names that --admin-host gives (GOGETA_ADMIN_HOST)"
        );
        Err(Fault::new(StatusCode::MISDIRECTED_REQUEST, what))
    };
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next());
    let host = match (request.uri.authority(), host, more) {
        // RFC 9112, 3.2.2: the target's host goes before the field's.
        (Some(authority), _, _) => authority.as_str(),
        (None, Some(host), None) => host,
        _ => return misdirected("the request names no host, or several".to_owned()),
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    if access.knows(name) { Ok(host) } else { misdirected(format!("{name:?} is no name of this gogeta")) }
}

/// Whether an origin is that of the host. Whether by TLS is no matter: somebody may have put that in front.
fn is_of(origin: &HeaderValue, host: &str) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::CONTENT_TYPE)
        || headers.contains_key(header::TRANSFER_ENCODING)
        || length.is_some_and(|length| length != "0")
}

fn authorise(access: &Access, headers: &HeaderMap) -> Result<(), Fault> {
    let Some(token) = &access.token else {
        let detail = "there is no token, so nobody can do anything; give gogeta one by --admin-token-file FILE or \
                      GOGETA_ADMIN_TOKEN, and show it by Authorization: Bearer TOKEN";
        return Err(Fault::new(StatusCode::FORBIDDEN, detail));
    };
    let shown = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let shown = shown
        .and_then(|shown| shown.split_at_checked(7))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    match shown {
        Some((_, shown)) if token.is(shown) => Ok(()),
        Some(_) => Err(Fault::new(StatusCode::UNAUTHORIZED, "the token is not the right one")),
        None => {
            let detail = "show the token that gogeta was given: Authorization: Bearer TOKEN";
            Err(Fault::new(StatusCode::UNAUTHORIZED, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Options;
    use crate::config::Config;

    fn access(token: Option<&str>) -> Access {
        let options = Options {
            admin_host: Some(vec!["gogeta.test".to_owned()]),
            admin_token: token.map(str::to_owned),
            ..Options::default()
        };
        Config::try_from(options).expect("good options").access
    }

    fn parts(method: &str, target: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    /// The status that a request gets, 200 where it may pass.
    fn passes(what: What, request: &Parts) -> u16 {
        judge(&access(None), what, request).map_or_else(|fault| fault.status, |()| 200)
    }

    #[test]
    fn the_table() {
        const OWN: (&str, &str) = ("host", "127.0.0.1:7778");
        type Row<'a> = (u16, &'a str, &'a [(&'a str, &'a str)]);
        #[rustfmt::skip]
        let rows: &[Row<'_>] = &[
            (200, "GET", &[OWN]),
            (200, "GET", &[("host", "localhost:7778")]),
            (200, "GET", &[("host", "[::1]:7778")]),
            (200, "GET", &[("host", "[::1]")]),
            (200, "GET", &[("host", "gogeta.test")]),
            (421, "GET", &[("host", "evil.test:7778")]),
            (421, "GET", &[("host", "evil.test")]),
            (421, "GET", &[]),
            (421, "GET", &[OWN, ("host", "evil.test")]),
            (200, "GET", &[OWN, ("origin", "http://127.0.0.1:7778")]),
            (200, "GET", &[("host", "gogeta.test"), ("origin", "https://gogeta.test")]),
            (403, "GET", &[OWN, ("origin", "http://127.0.0.1:7779")]),
            (403, "GET", &[OWN, ("origin", "http://localhost:7778")]),
            (403, "GET", &[OWN, ("origin", "https://evil.test")]),
            (403, "GET", &[OWN, ("origin", "null")]),
            (403, "GET", &[OWN, ("origin", "")]),
            (403, "GET", &[OWN, ("origin", "127.0.0.1:7778")]),
            (403, "GET", &[OWN, ("origin", "http://127.0.0.1:7778"), ("origin", "http://evil.test")]),
            (200, "GET", &[OWN, ("sec-fetch-site", "none")]),
            (200, "GET", &[OWN, ("sec-fetch-site", "same-origin")]),
            (403, "GET", &[OWN, ("sec-fetch-site", "same-site")]),
            (403, "GET", &[OWN, ("sec-fetch-site", "cross-site")]),
            (403, "GET", &[OWN, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]),
            (200, "POST", &[OWN]),
            (200, "POST", &[OWN, ("content-length", "0")]),
            (200, "POST", &[OWN, ("content-length", "2"), ("content-type", "application/json; charset=utf-8")]),
            (415, "POST", &[OWN, ("content-length", "2"), ("content-type", "text/plain")]),
            (415, "POST", &[OWN, ("content-length", "2")]),
            (415, "POST", &[OWN, ("transfer-encoding", "chunked")]),
            (415, "PUT", &[OWN, ("content-type", "application/x-www-form-urlencoded")]),
        ];
        for (status, method, fields) in rows {
            assert_eq!(
                passes(What::Api, &parts(method, "/api/status", fields)),
                *status,
                "{method} {fields:?}"
            );
        }
        assert_eq!(
            passes(What::Api, &parts("GET", "http://evil.test/api/status", &[OWN])),
            421,
            "the target's goes first"
        );
        assert_eq!(
            passes(What::Api, &parts("GET", "http://localhost/api/status", &[("host", "evil.test")])),
            200
        );
    }

    #[test]
    fn a_link_may_lead_to_the_page_and_a_script_may_not_read_it() {
        let own = ("host", "localhost:7778");
        let led = [
            own,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(passes(What::Page, &parts("GET", "/", &led)), 200);
        for fields in [
            [
                own,
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "no-cors"),
                ("sec-fetch-dest", "script"),
            ],
            [
                own,
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "iframe"),
            ],
        ] {
            assert_eq!(passes(What::Page, &parts("GET", "/", &fields)), 403, "{fields:?}");
        }
        assert_eq!(passes(What::Page, &parts("GET", "/", &[("host", "evil.test")])), 421);
    }

    #[test]
    fn actions_are_for_who_has_the_token() {
        let with = |token: Option<&str>, shown: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(shown) = shown {
                headers.insert(header::AUTHORIZATION, shown.parse().expect("a value"));
            }
            authorise(&access(token), &headers)
        };
        let token = "0123456789abcdef";
        let status = |shown| with(Some(token), shown).map_or_else(|fault| fault.status, |()| 200);
        assert_eq!(status(Some("Bearer 0123456789abcdef")), 200);
        assert_eq!(status(Some("bearer 0123456789abcdef")), 200);
        for shown in
            ["Bearer 0123456789abcdeF", "Bearer ", "Bearer", "0123456789abcdef", "Basic 0123456789abcdef"]
        {
            assert_eq!(status(Some(shown)), 401, "{shown}");
        }
        assert_eq!(status(None), 401);
        let nobody = with(None, Some("Bearer 0123456789abcdef")).expect_err("nobody has one");
        assert!(nobody.status == 403 && nobody.detail.contains("--admin-token-file"), "{nobody:?}");
    }
}
