//! Each rule for requests, by what keeps it and what breaks it.

extern crate std;

use core::mem::size_of;
use std::string::String;
use std::{format, vec::Vec};

use super::super::grammar::{FIELDS_MAX, REFUSED_IN_REQUESTS, REFUSED_PREFIXES_IN_REQUESTS};
use super::super::{HEAD_MAX, HOST_MAX, Method, Plainly, request};
use super::RequestScan;

const HOST: &str = "a.test";

fn judge(head: &str) -> Option<Method> {
    request(head.as_bytes(), HOST.as_bytes())
}

/// A head with this request line.
fn line(line: &str) -> bool {
    judge(&format!("{line}\r\nHost: a.test\r\n\r\n")).is_some()
}

/// A head with these lines behind the request line.
fn lines(lines: &str) -> bool {
    judge(&format!("GET / HTTP/1.1\r\n{lines}\r\n")).is_some()
}

/// A head with this field, in front of its host and behind it.
fn field(field: &str) -> bool {
    let (one, other) =
        (lines(&format!("{field}\r\nHost: a.test\r\n")), lines(&format!("Host: a.test\r\n{field}\r\n")));
    assert_eq!(one, other, "{field:?}");
    one
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
fn the_method_is_get_or_head() {
    assert_eq!(judge("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"), Some(Method::Get));
    assert_eq!(judge("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n"), Some(Method::Head));
    let bad = [
        "POST", "PUT", "OPTIONS", "CONNECT", "TRACE", "get", "Get", "GETT", "GE", "HEADS", "hEAD", "",
        " GET", "G",
    ];
    for method in bad {
        assert!(!line(&format!("{method} / HTTP/1.1")), "{method}");
    }
}

#[test]
fn the_target_is_a_path() {
    let good = [
        "/",
        "/a/b.c",
        "//b.test/",
        "/a?b=c&d",
        "/?",
        "/??/",
        "/a:b@c",
        "/-._~!$&'()*+,;=",
        "/%20%aF",
        "/%00",
    ];
    let bad = [
        "*",
        "a",
        "a.test:80",
        "http://a.test/",
        "?a",
        "",
        "/a#b",
        "/a b",
        "/a\tb",
        "/\"",
        "/<",
        "/>",
        "/\\",
        "/^",
        "/`",
        "/{",
        "/|",
        "/}",
        "/[",
        "/]",
        "/\u{e4}",
        "/\0",
        "/\x7f",
        "/%",
        "/%2",
        "/%2g",
        "/%%20",
        "/a?%zz",
    ];
    for (targets, passes) in [(&good[..], true), (&bad[..], false)] {
        for target in targets {
            assert_eq!(line(&format!("GET {target} HTTP/1.1")), passes, "{target:?}");
            assert_eq!(line(&format!("HEAD {target} HTTP/1.1")), passes, "{target:?}");
        }
    }
}

#[test]
fn what_gogeta_answers_by_itself_is_refused() {
    let good = ["/robots", "/robots.txt/", "/robots.txt2", "/a/robots.txt", "/?/robots.txt", "/robots.tx%74"];
    let bad = ["/robots.txt", "/robots.txt?", "/robots.txt?a"];
    for (targets, passes) in [(&good[..], true), (&bad[..], false)] {
        for target in targets {
            assert_eq!(line(&format!("GET {target} HTTP/1.1")), passes, "{target:?}");
        }
    }
    all(
        line,
        &[
            "GET /__static__ HTTP/1.1",
            "GET /__static/ HTTP/1.1",
            "GET /a/__static__/ HTTP/1.1",
            "GET /_ HTTP/1.1",
        ],
        &["GET /__static__/ HTTP/1.1", "GET /__static__/a HTTP/1.1", "HEAD /__static__/?a HTTP/1.1"],
    );
}

#[test]
fn the_version_is_1_1() {
    let bad = [
        "GET / HTTP/1.0",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / HTTP/1.11",
        "GET / HTTP/1.",
        "GET / http/1.1",
        "GET / HTTp/1.1",
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
    ];
    all(line, &["GET / HTTP/1.1"], &bad);
}

#[test]
fn lines_end_in_crlf_and_the_head_in_an_empty_one() {
    let heads = [
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", true),
        ("GET / HTTP/1.1\nHost: a.test\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a.test\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\n", false),
        ("GET / HTTP/1.1\r\nHost: a.test\n\n", false),
        ("GET / HTTP/1.1\r\nHost: a.test\r\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r", false),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a.test", false),
        ("", false),
        ("\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", false),
        ("\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", false),
        ("GET / HTTP/1.1\r\n\r\nHost: a.test\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n\0", false),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", false),
    ];
    for (head, passes) in heads {
        assert_eq!(judge(head).is_some(), passes, "{head:?}");
    }
}

#[test]
fn there_is_one_host_and_it_is_the_pairs() {
    all(
        lines,
        &[
            "Host: a.test\r\n",
            "host:a.test\r\n",
            "HOST: A.TEST\r\n",
            "Hosts: b\r\nhOsT: a.TesT\r\nHos: b\r\n",
        ],
        &[
            "",
            "Hosts: a.test\r\n",
            "Host: a.test\r\nHost: a.test\r\n",
            "Host: a.test\r\nHost: b.test\r\n",
            "Host: b.test\r\n",
            "Host: a.tes\r\n",
            "Host: a.testa\r\n",
            "Host: a.test:80\r\n",
            "Host: a.test.\r\n",
            "Host:  a.test\r\n",
            "Host:\ta.test\r\n",
            "Host: a.test \r\n",
            "Host: a.test\t\r\n",
            "Host: a. test\r\n",
            "Host: a.test, a.test\r\n",
            "Host : a.test\r\n",
            "Host:\r\n",
            "Host: \r\n",
        ],
    );
    // A byte that only its lower case bit tells from one of the host.
    assert_eq!(request(b"GET / HTTP/1.1\r\nHost: [\r\n\r\n", b"{"), None);
    assert_eq!(request(b"GET / HTTP/1.1\r\nHost: {\r\n\r\n", b"["), None);
}

#[test]
fn a_host_has_its_port_and_its_brackets() {
    let with = |host: &str, pair: &str| {
        request(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), pair.as_bytes()).is_some()
    };
    assert!(with("a.test:8080", "a.test:8080") && with("[FE80::1]:80", "[fe80::1]:80"));
    assert!(!with("a.test", "a.test:8080") && !with("a.test:808", "a.test:8080"));
    assert!(!with("", "") && !with("a", ""), "no host is nobody's");
}

#[test]
fn a_host_is_not_longer_than_the_longest() {
    let longest = "a".repeat(HOST_MAX);
    let head = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    assert!(request(head(&longest).as_bytes(), longest.as_bytes()).is_some());
    let longer = "a".repeat(HOST_MAX + 1);
    assert!(request(head(&longer).as_bytes(), longer.as_bytes()).is_none());
    // Nor where the length is told wrong.
    let mut scan = RequestScan::new();
    let head = head(&longer);
    let mut bytes = [0; HEAD_MAX];
    bytes[..head.len()].copy_from_slice(head.as_bytes());
    while scan.run::<Plainly, _>(&bytes, &(head.len() as u32), &[b'a'; HOST_MAX], HOST_MAX as u32 + 1) {}
    assert!(scan.accepted().is_none());
}

#[test]
fn fields_that_are_gogetas_business_are_refused() {
    for name in REFUSED_IN_REQUESTS {
        for name in [name.into(), name.to_ascii_uppercase()] {
            for value in ["", " x", " 0"] {
                assert!(!field(&format!("{name}:{value}")), "{name}:{value}");
            }
        }
        assert!(field(&format!("{name}x: 1")), "{name}x");
        let shorter = &name[..name.len() - 1];
        assert!(field(&format!("{shorter}: 1")), "{shorter}");
    }
    for prefix in REFUSED_PREFIXES_IN_REQUESTS {
        for name in
            [prefix.into(), prefix.to_ascii_uppercase(), format!("{prefix}-x"), format!("{prefix}-for")]
        {
            assert!(!field(&format!("{name}: 1")), "{name}");
        }
        let shorter = &prefix[..prefix.len() - 1];
        assert!(field(&format!("{shorter}: 1")), "{shorter}");
    }
    let bad = [
        "X-Forwarded-For: 1",
        "X-Forwarded-Proto: https",
        "Proxy-Connection: close",
        "Proxy: x",
        "Via: 1.1 x",
    ];
    all(field, &["X-For: 1", "Prox: 1", "Vi: 1", "Content-Type: a", "Max-Forwards: 1", "t: 1"], &bad);
}

#[test]
fn connection_is_keep_alive_or_not_there() {
    all(
        field,
        &["Connection: keep-alive", "connection:Keep-Alive", "CONNECTION: KEEP-ALIVE", "Connections: close"],
        &[
            "Connection: close",
            "Connection:",
            "Connection: ",
            "Connection:  keep-alive",
            "Connection: keep-alive ",
            "Connection: keep-alive, te",
            "Connection: keep-alive,",
            "Connection: keep-alivee",
            "Connection: keep-aliv",
            "Connection: Upgrade",
            "Connection: keep-alive\r\nConnection: keep-alive",
            "Connection: keep-alive\r\nconnection: close",
        ],
    );
}

#[test]
fn names_are_tokens_without_underscores() {
    all(
        field,
        &["a: b", "A-1: b", "!#$%&'*+-.^`|~: b", "x:", "x:y", "x: ", "1: 2"],
        &[
            ": b",
            "a b: c",
            "a : b",
            "a\t: b",
            "a_b: c",
            "_: c",
            "X_Forwarded_For: c",
            "a",
            "a(: b",
            "a\"b: c",
            "a/b: c",
            "a@: b",
            "\u{e4}: b",
            "a\0: b",
            "a\x7f: b",
            " a: b",
            "\ta: b",
            "a\r: b",
            "a\n: b",
        ],
    );
    // Each byte by itself.
    for byte in 0..128_u8 {
        let is_name = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^`|~".contains(&byte);
        assert_eq!(field(&format!("q{}: c", char::from(byte))), is_name || byte == b':', "{byte}");
    }
}

#[test]
fn values_are_visible_ascii_spaces_and_tabs() {
    for byte in 0..=255_u8 {
        let mut head = b"GET / HTTP/1.1\r\nHost: a.test\r\nx: a".to_vec();
        head.push(byte);
        head.extend_from_slice(b"c\r\n\r\n");
        let passes = request(&head, HOST.as_bytes()).is_some();
        assert_eq!(passes, (0x20..0x7f).contains(&byte) || byte == b'\t', "{byte}");
    }
    all(field, &["a: b\tc ", "a:\t"], &["a: b\r\n c", "a: b\r\n\tc", "a: b\0", "a: b\rc"]);
}

#[test]
fn a_head_has_as_many_fields_as_gogeta_takes_and_no_more() {
    let with = |count: u8| {
        let fields: String = (1..count).map(|_| "a:\r\n").collect();
        lines(&format!("Host: a.test\r\n{fields}"))
    };
    assert!(with(FIELDS_MAX));
    assert!(!with(FIELDS_MAX + 1) && !with(255));
}

#[test]
fn a_head_has_a_length() {
    let of = |length: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".len();
        let head = format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "a".repeat(length - rest));
        assert_eq!(head.len(), length);
        judge(&head)
    };
    assert!(of(HEAD_MAX).is_some());
    assert!(of(HEAD_MAX + 1).is_none() && of(2 * HEAD_MAX).is_none());
}

#[test]
fn only_the_whole_head_is_accepted_and_nothing_behind_it() {
    let head = b"HEAD /a HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n";
    assert_eq!(request(head, HOST.as_bytes()), Some(Method::Head));
    for end in 0..head.len() {
        assert_eq!(request(&head[..end], HOST.as_bytes()), None, "{end}");
    }
    for byte in 0..=255 {
        let mut longer = Vec::from(&head[..]);
        longer.push(byte);
        assert_eq!(request(&longer, HOST.as_bytes()), None);
        longer.extend_from_slice(head);
        assert_eq!(request(&longer, HOST.as_bytes()), None, "what is refused stays so");
    }
}

#[test]
fn a_scan_is_small() {
    assert_eq!(size_of::<RequestScan>(), 8);
}
