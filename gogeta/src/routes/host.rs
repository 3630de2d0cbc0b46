//! Host names, as requests and keys spell them.
//!
//! RFC 9110, 7.2 and RFC 3986, 3.2.2, read strictly: `host [ ":" port ]`, no user, no path, no list.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// A host, normalised for look-up, and the port that stood behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort<'a> {
    /// Lower case, without a trailing dot; IPv6 in its brackets.
    pub host: Cow<'a, str>,
    /// The port, where one was given.
    pub port: Option<u16>,
}

/// Why a text is no `host[:port]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    /// Nothing there, or nothing between two dots.
    #[error("the host is empty, or one of its labels is")]
    Empty,
    /// A byte that no host name has.
    #[error("the host has a character that is not allowed in one")]
    Character,
    /// Longer than DNS allows.
    #[error("the host is longer than 253 bytes")]
    Long,
    /// Brackets around something else than an IPv6 address.
    #[error("the brackets do not hold an IPv6 address")]
    Ipv6,
    /// Not a number in 0..=65535.
    #[error("the port is not a number from 0 to 65535")]
    Port,
}

/// Splits `host[:port]` and normalises the host: lower case, one trailing dot removed.
///
/// Allocates only where the text has upper-case letters.
///
/// # Errors
///
/// [`BadHost`] says which rule the text breaks.
pub fn parse(text: &str) -> Result<HostPort<'_>, BadHost> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']').ok_or(BadHost::Ipv6)?;
            rest[..end].parse::<Ipv6Addr>().map_err(|_| BadHost::Ipv6)?;
            (&text[..end + 2], &text[end + 2..])
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            check_name(&text[..end])?;
            (&text[..end], &text[end..])
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return Err(BadHost::Character),
        // RFC 3986, 3.2.3: the port may be empty behind its colon.
        Some("") => None,
        Some(digits) => Some(parse_port(digits)?),
    };
    Ok(HostPort { host: normalise(host), port })
}

/// Normalises the host of a key: a name, an IPv6 address in brackets, or `*.` and a name.
///
/// # Errors
///
/// [`BadHost`] says which rule the text breaks; a port is a [`BadHost::Character`].
pub fn parse_pattern(text: &str) -> Result<Cow<'_, str>, BadHost> {
    if let Some(name) = text.strip_prefix("*.") {
        check_name(name)?;
        return Ok(normalise(text));
    }
    let parsed = parse(text)?;
    if !text.starts_with('[') && text.contains(':') {
        return Err(BadHost::Character);
    }
    Ok(parsed.host)
}

/// The legacy rule for `www.`: it is removed where something longer remains.
pub fn without_www(host: &str) -> Option<&str> {
    host.strip_prefix("www.").filter(|rest| !rest.is_empty())
}

fn parse_port(digits: &str) -> Result<u16, BadHost> {
    // `u16::from_str` would take a plus sign.
    if digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadHost::Port);
    }
    digits.parse().map_err(|_| BadHost::Port)
}

fn check_name(name: &str) -> Result<(), BadHost> {
    if name.is_empty() || name.starts_with('.') || name.contains("..") {
        return Err(BadHost::Empty);
    }
    if name.strip_suffix('.').unwrap_or(name).len() > 253 {
        return Err(BadHost::Long);
    }
    // RFC 3986's reg-name without the comma (a list of hosts) and the asterisk (our wildcard).
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()+;=%".contains(&byte);
    if name.bytes().all(allowed) { Ok(()) } else { Err(BadHost::Character) }
}

fn normalise(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_taken() {
        let rows = [
            ("a.test", "a.test", None),
            ("A.Test", "a.test", None),
            ("a.test.", "a.test", None),
            ("a.test:80", "a.test", Some(80)),
            ("a.test.:8080", "a.test", Some(8080)),
            ("a.test:", "a.test", None),
            ("a_b.test", "a_b.test", None),
            ("127.0.0.1:0", "127.0.0.1", Some(0)),
            ("[::1]", "[::1]", None),
            ("[FE80::1]:65535", "[fe80::1]", Some(65535)),
            ("xn--bcher-kva.test", "xn--bcher-kva.test", None),
        ];
        for (text, host, port) in rows {
            assert_eq!(parse(text), Ok(HostPort { host: host.into(), port }), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        let rows = [
            ("", BadHost::Empty),
            (".", BadHost::Empty),
            (":80", BadHost::Empty),
            (".test", BadHost::Empty),
            ("a..test", BadHost::Empty),
            ("a.test..", BadHost::Empty),
            ("a.test/x", BadHost::Character),
            ("a.test#x", BadHost::Character),
            ("a.test, b.test", BadHost::Character),
            ("a .test", BadHost::Character),
            ("u@a.test", BadHost::Character),
            ("*.test", BadHost::Character),
            ("b\u{fc}cher.test", BadHost::Character),
            ("a.test:99999", BadHost::Port),
            ("a.test:80abc", BadHost::Port),
            ("a.test:+80", BadHost::Port),
            ("[::1", BadHost::Ipv6),
            ("[a.test]", BadHost::Ipv6),
            ("[::1]x", BadHost::Character),
        ];
        for (text, error) in rows {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        assert_eq!(parse(&"a".repeat(254)), Err(BadHost::Long));
        assert!(parse(&format!("{}.", "a".repeat(253))).is_ok(), "the dot behind it does not count");
    }

    #[test]
    fn patterns_of_keys() {
        assert_eq!(parse_pattern("*.Example.com").as_deref(), Ok("*.example.com"));
        assert_eq!(parse_pattern("[::1]").as_deref(), Ok("[::1]"));
        for bad in ["*", "*.", "a.*.com", "a.com:80", "", "a b"] {
            assert!(parse_pattern(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_is_stable(text in "\\PC{0,40}") {
            if let Ok(parsed) = parse(&text) {
                let again = parse(&parsed.host).expect("a normalised host parses");
                prop_assert_eq!(&again.host, &parsed.host);
            }
        }
    }
}
