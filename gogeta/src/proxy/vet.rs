//! What a request must be before it is routed (RFC 9112, 3.2 and RFC 9110, 7.2). Pure.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING, USER_AGENT};
use http::{Method, Request, Version};

use super::connect::Allowed;
use super::error::ProxyError;
use super::gate::Refusal;
use crate::routes::host::{self, HostPort};

/// Checks a request's method, target and Host; gives the host that it is for.
///
/// A target in absolute form names the host itself (RFC 9112, 3.2.2).
///
/// # Errors
///
/// A [`ProxyError`] that is the client's fault; such a request goes nowhere.
pub fn host_of<B>(request: &Request<B>) -> Result<HostPort<'_>, ProxyError> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(ProxyError::Method(request.method().clone()));
    }
    let field = single_host(request.headers(), request.version())?;
    match (request.uri().scheme_str(), request.uri().authority()) {
        (None, None) => {}
        (Some(scheme), Some(authority)) if ["http", "https"].contains(&scheme) => {
            return Ok(host::parse(authority.as_str())?);
        }
        _ => return Err(ProxyError::Target),
    }
    let path = request.uri().path();
    let asterisk = path == "*" && request.method() == Method::OPTIONS;
    if !asterisk && !path.starts_with('/') {
        return Err(ProxyError::Target);
    }
    parse(field.ok_or(ProxyError::NoHost)?)
}

/// Checks a CONNECT (RFC 9110, 9.3.6); gives the host that the tunnel is for.
///
/// # Errors
///
/// A [`ProxyError`] that is the client's fault; such a request goes nowhere.
pub fn tunnel_to<'a, B>(request: &'a Request<B>, allowed: &[Allowed]) -> Result<HostPort<'a>, ProxyError> {
    if allowed.is_empty() {
        return Err(ProxyError::Method(request.method().clone()));
    }
    let headers = request.headers();
    if headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
        return Err(ProxyError::Refused(Refusal {
            status: 400,
            kind: "framing",
            why: "a CONNECT has a body",
        }));
    }
    if let Some(field) = single_host(headers, request.version())? {
        parse(field)?;
    }
    let uri = request.uri();
    let authority = uri.authority().filter(|_| uri.scheme().is_none() && uri.path_and_query().is_none());
    let host = host::parse(authority.ok_or(ProxyError::Target)?.as_str())?;
    let port = host.port.filter(|port| *port > 0).ok_or(ProxyError::Target)?;
    if !allowed.iter().any(|allowed| allowed.allows(&host.host, port)) {
        return Err(ProxyError::NotAllowed);
    }
    Ok(host)
}

fn parse(field: &HeaderValue) -> Result<HostPort<'_>, ProxyError> {
    let text = field.to_str().map_err(|_| ProxyError::BadHost(host::BadHost::Character))?;
    Ok(host::parse(text)?)
}

/// RFC 9110, 10.1.1: there is one expectation, and others cannot be met.
///
/// # Errors
///
/// [`ProxyError::Expectation`], with the one that cannot.
pub fn expectation(headers: &HeaderMap) -> Result<(), ProxyError> {
    for expected in headers.get_all(EXPECT) {
        if !expected.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return Err(ProxyError::Expectation(String::from_utf8_lossy(expected.as_bytes()).into_owned()));
        }
    }
    Ok(())
}

/// RFC 9112, 3.2: exactly one Host, which only HTTP/1.0 may leave out.
fn single_host(headers: &HeaderMap, version: Version) -> Result<Option<&HeaderValue>, ProxyError> {
    let mut fields = headers.get_all(HOST).iter();
    let first = fields.next();
    if fields.next().is_some() {
        return Err(ProxyError::ManyHosts);
    }
    match first {
        None if version > Version::HTTP_10 => Err(ProxyError::NoHost),
        field => Ok(field),
    }
}

/// Whether a request may wake a sleeping instance: someone means it, and no machine only looks whether it is up.
pub fn wakes<B>(request: &Request<B>) -> bool {
    if request.method() == Method::HEAD || ["/robots.txt", "/favicon.ico"].contains(&request.uri().path()) {
        return false;
    }
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("");
    !HEALTH_CHECKERS.iter().any(|checker| agent.to_ascii_lowercase().contains(checker))
}

/// Parts of the User-Agent of what looks whether a site is up, in lower case.
const HEALTH_CHECKERS: [&str; 19] = [
    "kube-probe/",
    "elb-healthchecker/",
    "googlehc/",
    "google-cloud-monitoring",
    "amazon-route53-health-check",
    "consul health check",
    "blackbox exporter/",
    "blackbox-exporter/",
    "check_http/",
    "uptimerobot/",
    "uptime-kuma/",
    "pingdom",
    "statuscake",
    "better uptime",
    "betterstack",
    "site24x7",
    "nodeping",
    "zabbix",
    "healthcheck",
];

#[cfg(test)]
mod tests {
    use super::*;
    fn head(method: &str, target: &str, hosts: &[&'static str]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(target);
        for host in hosts {
            request = request.header(HOST, HeaderValue::from_static(host));
        }
        request.body(()).expect("a request")
    }

    #[test]
    fn whom_a_request_is_for() {
        let host = |method, target, hosts: &[&'static str]| {
            host_of(&head(method, target, hosts))
                .map(|found| found.host.into_owned())
                .map_err(|error| error.name())
        };
        assert_eq!(host("GET", "/", &["A.test:80"]), Ok("a.test".to_owned()));
        assert_eq!(host("GET", "http://b.test/x", &["a.test"]), Ok("b.test".to_owned()));
        assert_eq!(host("OPTIONS", "*", &["a.test"]), Ok("a.test".to_owned()));
        assert_eq!(host("GET", "//b.test/x", &["a.test"]), Ok("a.test".to_owned()));
        assert_eq!(host("GET", "/", &[]), Err("host"));
        assert_eq!(host("GET", "http://b.test/", &[]), Err("host"));
        assert_eq!(host("GET", "/", &["a.test", "a.test"]), Err("host"));
        assert_eq!(host("GET", "/", &["a b"]), Err("host"));
        assert_eq!(host("GET", "http://u:p@b.test/", &["a.test"]), Err("host"));
        assert_eq!(host("GET", "ftp://b.test/", &["a.test"]), Err("target"));
        assert_eq!(host("GET", "*", &["a.test"]), Err("target"));
        assert_eq!(host("GET", "b.test:80", &["a.test"]), Err("target"));
        assert_eq!(host("CONNECT", "b.test:80", &["a.test"]), Err("method"));
        assert_eq!(host("TRACE", "/", &["a.test"]), Err("method"));
    }

    #[test]
    fn whom_a_tunnel_is_for() {
        let allowed = |texts: &[&str]| -> Vec<Allowed> {
            texts.iter().map(|text| text.parse().expect("a pattern")).collect()
        };
        let host = |target, hosts: &[&'static str]| {
            tunnel_to(&head("CONNECT", target, hosts), &allowed(&["a.test:443", "*.b.test:*"]))
                .map(|found| (found.host.into_owned(), found.port))
                .map_err(|error| error.name())
        };
        assert_eq!(host("A.test:443", &["a.test:443"]), Ok(("a.test".to_owned(), Some(443))));
        assert_eq!(
            host("x.b.test:1", &["a.test"]),
            Ok(("x.b.test".to_owned(), Some(1))),
            "the target decides"
        );
        assert_eq!(host("a.test:80", &["a.test"]), Err("not_allowed"));
        assert_eq!(host("b.test:443", &["a.test"]), Err("not_allowed"));
        assert_eq!(host("a.test", &["a.test"]), Err("target"), "without a port");
        assert_eq!(host("x.b.test:0", &["a.test"]), Err("target"));
        assert_eq!(host("/", &["a.test"]), Err("target"));
        assert_eq!(host("http://a.test:443/", &["a.test"]), Err("target"));
        assert_eq!(host("u@a.test:443", &["a.test"]), Err("host"));
        assert_eq!(host("a.test:443", &[]), Err("host"));
        assert_eq!(host("a.test:443", &["a.test", "a.test"]), Err("host"));
        assert_eq!(host("a.test:443", &["a b"]), Err("host"));
        let mut long = head("CONNECT", "a.test:443", &["a.test"]);
        assert_eq!(tunnel_to(&long, &[]).map_err(|error| error.name()), Err("method"));
        long.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        assert_eq!(tunnel_to(&long, &allowed(&["*:*"])).map_err(|error| error.name()), Err("framing"));
    }

    #[test]
    fn only_one_thing_can_be_expected() {
        let with = |value: &'static str| {
            let mut head = head("POST", "/", &["a.test"]);
            head.headers_mut().insert(EXPECT, HeaderValue::from_static(value));
            expectation(head.headers()).map_err(|error| error.name())
        };
        assert_eq!(with("100-continue"), Ok(()));
        assert_eq!(with("100-Continue"), Ok(()));
        assert_eq!(with("200-ok"), Err("expectation"));
        assert_eq!(with("y 100-continue"), Err("expectation"));
    }

    #[test]
    fn http_1_0_may_leave_the_host_out_but_cannot_be_routed_then() {
        let mut old = head("GET", "/", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert!(matches!(host_of(&old), Err(ProxyError::NoHost)));
        let mut old = head("GET", "http://a.test/", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert!(host_of(&old).is_ok());
    }

    #[test]
    fn who_wakes() {
        let with_agent = |agent: &'static str| {
            let mut head = head("GET", "/", &["a.test"]);
            head.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
            wakes(&head)
        };
        assert!(with_agent("Mozilla/5.0") && with_agent("curl/8"));
        assert!(
            !with_agent("kube-probe/1.30")
                && !with_agent("ELB-HealthChecker/2.0")
                && !with_agent("UptimeRobot/2.0")
        );
        assert!(!wakes(&head("HEAD", "/", &["a.test"])));
        assert!(!wakes(&head("GET", "/robots.txt", &["a.test"])));
        assert!(wakes(&head("POST", "/", &["a.test"])));
    }
}
