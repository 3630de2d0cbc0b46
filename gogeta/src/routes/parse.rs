//! The values of keys: text in, typed value or a sentence about what is wrong out.

use serde::Deserialize;

use super::host;
use super::model::{DomainConfig, InstanceConfig, Location, Target, Upstream, UriTarget};
use std::sync::Arc;

/// The text of a status key.
///
/// # Errors
///
/// Where it is none of those that the key can have.
pub fn status_text(value: Option<&str>, known: &[&str]) -> Result<(), String> {
    match value {
        Some(text) if !known.contains(&text) => Err(format!("{text:?} is none of {}", known.join(", "))),
        _ => Ok(()),
    }
}

/// `{"host": "172.41.4.5", "port": 42654}`; the port may be a text of digits.
///
/// # Errors
///
/// A sentence that says what is wrong with it.
pub fn location(value: &str) -> Result<Location, String> {
    #[derive(Deserialize)]
    struct Raw {
        host: String,
        port: serde_json::Value,
    }
    let raw: Raw = serde_json::from_str(value).map_err(|error| format!("not a location: {error}"))?;
    let port = match &raw.port {
        serde_json::Value::Number(number) => number.as_u64(),
        serde_json::Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok()
        }
        _ => None,
    };
    let port = port
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("the port must be a number from 1 to 65535, not {}", raw.port))?;
    Ok(Location { host: location_host(&raw.host)?, port })
}

/// A name, an IPv4 or an IPv6 address with or without brackets, as a place to connect to.
fn location_host(text: &str) -> Result<Box<str>, String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(text.into());
    }
    let wrong = |why: String| format!("the host {text:?} is not one: {why}");
    let parsed = host::parse(text).map_err(|error| wrong(error.to_string()))?;
    if !text.starts_with('[') && text.contains(':') {
        return Err(wrong("the port has a field of its own".to_owned()));
    }
    Ok(parsed.host.trim_start_matches('[').trim_end_matches(']').into())
}

/// A domain's type and value, together.
///
/// # Errors
///
/// Which of the two is wrong, and a sentence that says how.
pub fn target(kind: &str, value: &str) -> Result<Target, TargetError> {
    match kind {
        "service" if value.is_empty() || value.contains(['/', char::REPLACEMENT_CHARACTER]) => {
            Err(TargetError::Value(format!("{value:?} is not the name of a service")))
        }
        "service" => Ok(Target::Service(value.into())),
        "uri" => uri_target(value).map(|target| Target::Uri(Arc::new(target))).map_err(TargetError::Value),
        _ => Err(TargetError::Kind(format!("the type must be service or uri, not {kind:?}"))),
    }
}

/// Which of a domain's two keys is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetError {
    /// The type.
    Kind(String),
    /// The value.
    Value(String),
}

/// An absolute http or https URI to proxy to.
///
/// # Errors
///
/// A sentence that says what is wrong with it.
pub fn uri_target(text: &str) -> Result<UriTarget, String> {
    let wrong = |why: &str| format!("{text:?} is not an absolute http or https URI: {why}");
    if text.contains('#') {
        return Err(wrong("it has a fragment"));
    }
    let uri: http::Uri = text.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        Some(_) => return Err(wrong("the scheme is neither")),
        None => return Err(wrong("it has no scheme")),
    };
    let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?.as_str();
    let parsed = host::parse(authority).map_err(|error| wrong(&error.to_string()))?;
    let port = parsed.port.unwrap_or(if secure { 443 } else { 80 });
    if port == 0 {
        return Err(wrong("port 0 cannot be connected to"));
    }
    let name: Box<str> = parsed.host.trim_start_matches('[').trim_end_matches(']').into();
    let location = Location { host: name.clone(), port };
    Ok(UriTarget {
        text: text.into(),
        authority: http::HeaderValue::from_str(authority).map_err(|error| wrong(&error.to_string()))?,
        path: uri.path().trim_end_matches('/').into(),
        query: uri.query().filter(|query| !query.is_empty()).map(Into::into),
        upstream: Upstream::new(location, secure.then_some(name)),
    })
}

/// The JSON under a domain's `config`.
///
/// # Errors
///
/// A sentence that says what is wrong with it.
pub fn domain_config(value: &str) -> Result<DomainConfig, String> {
    serde_json::from_str(value).map_err(|error| format!("not a domain's config: {error}"))
}

/// The JSON under an instance's `config/gogeta`.
///
/// # Errors
///
/// A sentence that says what is wrong with it.
pub fn instance_config(value: &str) -> Result<InstanceConfig, String> {
    let config: InstanceConfig =
        serde_json::from_str(value).map_err(|error| format!("not an instance's config: {error}"))?;
    match config.weight {
        Some(weight) if weight > 100 => Err(format!("the weight must be 0 to 100, not {weight}")),
        _ => Ok(config),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let good = [
            (r#"{"host":"172.41.4.5","port":42654}"#, "172.41.4.5:42654"),
            (r#"{"host":"web-1.internal","port":"80"}"#, "web-1.internal:80"),
            (r#"{"host":"::1","port":80}"#, "[::1]:80"),
            (r#"{"host":"[::1]","port":80,"more":true}"#, "[::1]:80"),
        ];
        for (json, shown) in good {
            assert_eq!(location(json).map(|location| location.to_string()), Ok(shown.to_owned()), "{json}");
        }
        for bad in [
            "",
            "{",
            "[]",
            r#"{"host":"a"}"#,
            r#"{"port":80}"#,
            r#"{"host":"","port":80}"#,
            r#"{"host":"a b","port":80}"#,
            r#"{"host":"a:80","port":80}"#,
            r#"{"host":"a","port":0}"#,
            r#"{"host":"a","port":70000}"#,
            r#"{"host":"a","port":-1}"#,
            r#"{"host":"a","port":"+80"}"#,
            r#"{"host":"a","port":"http"}"#,
            r#"{"host":"a","port":80.5}"#,
        ] {
            assert!(location(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn uris() {
        let rows = [
            ("http://a.test", "/x", None, "/x"),
            ("http://a.test/", "/x", None, "/x"),
            ("http://a.test/base", "/x", Some("q=1"), "/base/x?q=1"),
            ("http://a.test/base/", "/x", None, "/base/x"),
            ("http://a.test/base?k=v", "/", None, "/base/?k=v"),
            ("http://a.test/base?k=v", "/x", Some("q=1"), "/base/x?k=v&q=1"),
            ("https://a.test:8443/b?", "/x", Some(""), "/b/x"),
        ];
        for (target, path, query, joined) in rows {
            assert_eq!(
                uri_target(target).map(|target| target.join(path, query)),
                Ok(joined.to_owned()),
                "{target}"
            );
        }
        let https = uri_target("https://a.test/").expect("a good URI");
        assert_eq!((https.upstream.location.port, https.upstream.tls.as_deref()), (443, Some("a.test")));
        let v6 = uri_target("http://[::1]:81/").expect("a good URI");
        assert_eq!(v6.upstream.location.to_string(), "[::1]:81");
        for bad in [
            "",
            "a.test",
            "/x",
            "ftp://a.test",
            "http://",
            "http://u:p@a.test/",
            "http://a.test:0/",
            "http://a.test/#f",
            "http://a b/",
        ] {
            assert!(uri_target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn targets_name_the_key_at_fault() {
        assert!(matches!(target("servcie", "web"), Err(TargetError::Kind(_))));
        assert!(matches!(target("service", ""), Err(TargetError::Value(_))));
        assert!(matches!(target("uri", "nonsense"), Err(TargetError::Value(_))));
        assert!(matches!(target("service", "web"), Ok(Target::Service(name)) if name.as_str() == "web"));
    }

    #[test]
    fn configs_keep_what_they_do_not_know() {
        let config = domain_config(r#"{"forceSsl":true,"colour":"red"}"#).expect("a good config");
        assert_eq!(config.force_ssl, Some(true));
        assert!(config.unknown.contains_key("colour"));
        assert!(domain_config("[]").is_err());
        assert!(instance_config(r#"{"weight":101}"#).is_err());
        assert!(instance_config(r#"{"weight":-1}"#).is_err());
    }
}
