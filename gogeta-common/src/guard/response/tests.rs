//! Each rule for responses, by what keeps it and what breaks it.

extern crate std;

use core::mem::size_of;
use std::format;
use std::string::String;

use super::super::grammar::{FIELDS_MAX, REFUSED_IN_RESPONSES, REFUSED_PREFIXES_IN_RESPONSES};
use super::super::{Framing, HEAD_MAX, Method, Plainly, response};
use super::ResponseScan;

/// Status and body of a response to a GET.
fn framed(bytes: &str) -> Option<(u16, u64)> {
    let framing = response(bytes.as_bytes(), Method::Get)?;
    let head = bytes.find("\r\n\r\n").expect("an empty line") + 4;
    assert_eq!(framing.head as usize, head, "{bytes:?}");
    Some((framing.status, framing.body))
}

/// A response with this status line, and one byte of body.
fn line(line: &str) -> bool {
    framed(&format!("{line}\r\nContent-Length: 1\r\n\r\nx")).is_some_and(|(_, body)| body == 1)
}

/// A response with this field beside its length.
fn field(field: &str) -> bool {
    let one = framed(&format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 5\r\n\r\nhello"));
    let other = framed(&format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{field}\r\n\r\nhello"));
    assert_eq!(one, other, "{field:?}");
    one.is_some()
}

/// A response with this line for its length.
fn length(length: &str) -> Option<u64> {
    framed(&format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n")).map(|(_, body)| body)
}

fn all(check: fn(&str) -> bool, good: &[&str], bad: &[&str]) {
    for text in good {
        assert!(check(text), "{text:?} is refused");
    }
    for text in bad {
        assert!(!check(text), "{text:?} passes");
    }
}

#[test]
fn the_status_line() {
    let good = [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 ",
        "HTTP/1.1 404 Not Found",
        "HTTP/1.1 599 a\tb \"~",
        "HTTP/1.1 205 x",
    ];
    let bad = [
        "HTTP/1.0 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/2.0 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1 200",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        " HTTP/1.1 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1 200 \u{e4}",
        "HTTP/1.1 200 a\0",
        "HTTP/1.1 200 a\rb",
        "",
        "HTTP/1.1 200 OK\n",
        "HTTP/1.1 -20 OK",
    ];
    all(line, &good, &bad);
}

#[test]
fn the_status_is_a_final_one() {
    for status in 0..1000_u16 {
        let found = framed(&format!("HTTP/1.1 {status:03} x\r\nContent-Length: 1\r\n\r\nx"));
        let body = if status == 304 { 0 } else { 1 };
        let expected = ((200..600).contains(&status) && status != 204).then_some((status, body));
        assert_eq!(found, expected);
    }
    assert_eq!(framed("HTTP/1.1 100 Continue\r\n\r\n"), None);
    assert_eq!(response(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Method::Head), None);
}

#[test]
fn the_length_is_a_number_and_there_once() {
    assert_eq!(length("Content-Length: 0"), Some(0));
    assert_eq!(length("content-length:12"), Some(12));
    assert_eq!(length("CONTENT-LENGTH: 007"), Some(7));
    assert_eq!(length("Content-Length: 999999999999999"), Some(999_999_999_999_999));
    let bad = [
        "Content-Length: 1000000000000000",
        "Content-Length: 0000000000000001",
        "Content-Length: 99999999999999999999999",
        "Content-Length:",
        "Content-Length: ",
        "Content-Length:  5",
        "Content-Length:\t5",
        "Content-Length: 5 ",
        "Content-Length: 5\t",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 5,5",
        "Content-Length: 5, 5",
        "Content-Length: 0x5",
        "Content-Length: 5a",
        "Content-Length: 5.0",
        "Content-Length : 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\ncontent-length: 6",
        "Content-Length: 5\r\n 6",
        "Content-Length: \r\n 6",
    ];
    for bad in bad {
        assert_eq!(length(bad), None, "{bad:?}");
    }
}

#[test]
fn without_a_length_it_is_told_by_the_status_or_the_method_that_there_is_no_body() {
    let [get, head] = [Method::Get, Method::Head];
    let rows = [
        ("200 OK\r\n\r\n", get, None),
        ("200 OK\r\n\r\n", head, Some(0)),
        ("200 OK\r\nContent-Length: 5\r\n\r\n", head, Some(0)),
        ("200 OK\r\nContent-Length: 5\r\n\r\n", get, Some(5)),
        ("204 No Content\r\n\r\n", get, Some(0)),
        ("204 No Content\r\n\r\n", head, Some(0)),
        ("204 No Content\r\nContent-Length: 0\r\n\r\n", get, None),
        ("204 No Content\r\nContent-Length: 5\r\n\r\n", head, None),
        ("304 Not Modified\r\n\r\n", get, Some(0)),
        ("304 Not Modified\r\nContent-Length: 5\r\n\r\n", get, Some(0)),
        ("304 Not Modified\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", get, None),
        ("200 OK\r\nContent-Length: x\r\n\r\n", head, None),
        ("404 Not Found\r\n\r\n", get, None),
        ("205 Reset Content\r\n\r\n", get, None),
    ];
    for (rest, to, body) in rows {
        let found = response(format!("HTTP/1.1 {rest}").as_bytes(), to).map(|framing| framing.body);
        assert_eq!(found, body, "{rest:?}");
    }
}

#[test]
fn chunks_and_what_is_for_one_hop_are_refused() {
    for name in REFUSED_IN_RESPONSES {
        for name in [name.into(), name.to_ascii_uppercase()] {
            assert!(!field(&format!("{name}:")) && !field(&format!("{name}: x")), "{name}");
        }
        assert!(field(&format!("{name}x: 1")), "{name}x");
        assert!(field(&format!("{}: 1", &name[..name.len() - 1])), "{name}");
    }
    for prefix in REFUSED_PREFIXES_IN_RESPONSES {
        assert!(!field(&format!("{prefix}: x")) && !field(&format!("{prefix}authenticate: x")), "{prefix}");
    }
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(response(chunked.as_bytes(), Method::Get), None);
    assert_eq!(response(chunked.as_bytes(), Method::Head), None);
    all(
        field,
        &["Keep-Alive: timeout=5", "Via: 1.1 x", "Server: x", "X-Forwarded-For: x", "a_b: c", "Proxy: x"],
        &[
            "Proxy-Connection: keep-alive",
            "Upgrade: h2c",
            "TE: trailers",
            "Trailer: x",
            "Transfer-Encoding: gzip",
        ],
    );
}

#[test]
fn connection_is_keep_alive_or_not_there() {
    all(
        field,
        &["Connection: keep-alive", "connection:Keep-Alive", "CONNECTION: KEEP-ALIVE", "Connectio: close"],
        &[
            "Connection: close",
            "Connection:",
            "Connection: ",
            "Connection: keep-alive, x",
            "Connection: keep-alive ",
            "Connection: upgrade",
            "Connection: keep-alive\r\nConnection: close",
            "Connection: keep-alive\r\nConnection: keep-alive",
        ],
    );
}

#[test]
fn names_are_tokens() {
    let bad = [": b", "a b: c", "a : b", "a", "a(: b", "\u{e4}: b", "a\0: b", " a: b", "\ta: b"];
    all(field, &["a: b", "!#$%&'*+-.^_`|~: b", "x:", "1: 2"], &bad);
}

#[test]
fn values_are_visible_ascii_spaces_and_tabs() {
    all(
        field,
        &["a: b\tc ", "a: \"~!", "a:"],
        &["a: \u{e4}", "a: b\0", "a: b\x7f", "a: b\rc", "a: b\r\n c", "a: b\n", "a: \x1f"],
    );
}

#[test]
fn lines_end_in_crlf() {
    let heads = [
        ("HTTP/1.1 204 x\r\na: b\r\n\r\n", true),
        ("HTTP/1.1 204 x\na: b\r\n\r\n", false),
        ("HTTP/1.1 204 x\r\na: b\n\r\n", false),
        ("HTTP/1.1 204 x\r\na: b\r\n\n", false),
        ("HTTP/1.1 204 x\r\na: b\r\n\r", false),
        ("HTTP/1.1 204 x\r\na: b\r\n", false),
        ("", false),
    ];
    for (head, passes) in heads {
        assert_eq!(response(head.as_bytes(), Method::Get).is_some(), passes, "{head:?}");
    }
}

#[test]
fn a_head_has_as_many_fields_as_gogeta_takes_and_no_more() {
    let with = |count: u8| {
        let fields: String = (0..count).map(|_| "a:\r\n").collect();
        framed(&format!("HTTP/1.1 204 x\r\n{fields}\r\n")).is_some()
    };
    assert!(with(FIELDS_MAX));
    assert!(!with(FIELDS_MAX + 1) && !with(255));
}

#[test]
fn a_head_has_a_length() {
    let of = |length: usize| {
        let rest = "HTTP/1.1 204 \r\n\r\n".len();
        framed(&format!("HTTP/1.1 204 {}\r\n\r\n", "a".repeat(length - rest)))
    };
    assert!(of(HEAD_MAX).is_some());
    assert!(of(HEAD_MAX + 1).is_none() && of((1 << 16) + 100).is_none() && of(1 << 17).is_none());
}

#[test]
fn a_scan_stops_behind_the_head() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let mut bytes = [b'h'; 64];
    bytes[..head.len()].copy_from_slice(head);
    for end in 0..head.len() {
        assert_eq!(response(&bytes[..end], Method::Get), None, "{end}");
    }
    let framing = Framing { status: 200, head: head.len() as u32, body: 5 };
    let mut scan = ResponseScan::new();
    while scan.run::<Plainly, _>(&bytes, &64) {}
    assert_eq!(scan.framing(Method::Get), Some(framing));
    assert!(!scan.run::<Plainly, _>(&bytes, &64));
    assert_eq!(scan.framing(Method::Get), None, "whoever goes on has lost count");
}

#[test]
fn a_scan_is_small() {
    assert_eq!(size_of::<ResponseScan>(), 16);
}
