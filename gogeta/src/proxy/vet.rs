//! What a request must be before it is routed (RFC 9112, 3.2 and RFC 9110, 7.2). Pure.

use http::header::{EXPECT, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request, Version};

use super::error::ProxyError;
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
    expectation(request.headers())?;
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
    let field = field.ok_or(ProxyError::NoHost)?;
    let text = field.to_str().map_err(|_| ProxyError::BadHost(host::BadHost::Character))?;
    Ok(host::parse(text)?)
}

/// RFC 9110, 10.1.1: there is one expectation, and others cannot be met.
fn expectation(headers: &HeaderMap) -> Result<(), ProxyError> {
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
    fn only_one_thing_can_be_expected() {
        let with = |value: &'static str| {
            let mut head = head("POST", "/", &["a.test"]);
            head.headers_mut().insert(EXPECT, HeaderValue::from_static(value));
            host_of(&head).map(drop).map_err(|error| error.name())
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
