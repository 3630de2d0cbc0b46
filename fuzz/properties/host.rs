//! Host names: what is taken for one is taken again as it is shown, and another parser reads the same in it.

use gogeta::routes::host::{self, HostPort};

/// The input is a Host field's value, and a key's pattern.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(parsed) = host::parse(text) {
        let shown = show(&parsed);
        assert_eq!(host::parse(&shown).as_ref(), Ok(&parsed), "{shown:?} is not what it was");
        is_normal(&parsed.host);
        assert!(host::without_www(&parsed.host).is_none_or(|rest| !rest.is_empty()));
        agrees(text, &parsed);
    }
    if let Ok(pattern) = host::parse_pattern(text) {
        assert_eq!(host::parse_pattern(&pattern).as_ref(), Ok(&pattern));
        is_normal(&pattern);
    }
}

fn show(parsed: &HostPort<'_>) -> String {
    match parsed.port {
        Some(port) => format!("{}:{port}", parsed.host),
        None => parsed.host.clone().into_owned(),
    }
}

/// One name has one spelling, and no byte in it means anything to a URL, a list or a header.
fn is_normal(host: &str) {
    assert!(!host.is_empty() && host.is_ascii(), "{host:?}");
    assert!(!host.ends_with('.') && !host.contains(".."), "{host:?}");
    assert!(host.len() <= 253 || host.starts_with("*."), "{host:?} has {} bytes", host.len());
    let strange = |byte: u8| byte.is_ascii_uppercase() || byte <= b' ' || b"/\\@?#,\"<>\x7f".contains(&byte);
    assert!(!host.bytes().any(strange), "{host:?}");
    let ipv6 = host.starts_with('[') && host.ends_with(']');
    assert!(ipv6 || !host.contains([':', '[', ']']), "{host:?}");
}

/// `http`'s own parser finds the same host and port, wherever it takes the text at all.
fn agrees(text: &str, parsed: &HostPort<'_>) {
    let Ok(authority) = text.parse::<http::uri::Authority>() else { return };
    let host = authority.host().to_ascii_lowercase();
    assert_eq!(host.strip_suffix('.').unwrap_or(&host), parsed.host, "{text:?}");
    assert_eq!(authority.port_u16(), parsed.port, "{text:?}");
}
