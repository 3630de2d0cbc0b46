//! What passes the gate, and what does not.

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { head: 1024, fields: 10, target: 100, body: 1000 };

/// The statuses of what is refused or broken; 0 where all of it passes.
fn judge(bytes: &[u8]) -> u16 {
    match Gate::new(LIMITS).judge(bytes) {
        Verdict::Pass | Verdict::Hold(_) => 0,
        Verdict::Refuse(_, refusal) | Verdict::Break(_, refusal) => refusal.status,
    }
}

fn get(fields: &str) -> u16 {
    judge(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
}

fn chunks(body: &str) -> u16 {
    judge(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}").as_bytes())
}

#[test]
fn request_lines() {
    let long = format!("GET /{} HTTP/1.1", "a".repeat(100));
    let rows = [
        ("GET / HTTP/1.1", 0),
        ("GET /a%2f?b&c=%00 HTTP/1.0", 0),
        ("get / HTTP/1.1", 0),
        ("X-!#$%&'*+.^_`|~ / HTTP/1.1", 0),
        ("OPTIONS * HTTP/1.1", 0),
        ("GET http://a/ HTTP/1.1", 0),
        ("GET  / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        (" GET / HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET /\0 HTTP/1.1", 400),
        ("GET /\x7f HTTP/1.1", 400),
        ("GET /a#b HTTP/1.1", 400),
        ("GET /<a> HTTP/1.1", 400),
        ("GET /`a HTTP/1.1", 400),
        ("GET /?a=<b> HTTP/1.1", 400),
        ("GET /{a}|^\"\\?[b] HTTP/1.1", 0),
        ("GET /\u{e4} HTTP/1.1", 400),
        ("GET /\tHTTP/1.1", 400),
        ("GET / HTTP/1.10", 400),
        ("GET / HTTP/1.2", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/0.9", 505),
        ("GET /", 400),
        ("G\0T / HTTP/1.1", 400),
        ("G@T / HTTP/1.1", 400),
        ("/ HTTP/1.1", 400),
        (&long, 414),
    ];
    for (line, status) in rows {
        assert_eq!(judge(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), status, "{line:?}");
    }
}

#[test]
fn line_ends() {
    assert_eq!(judge(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
    assert_eq!(judge(b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    for bytes in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n\r\n\r\n",
        "GET /\nHTTP/1.1\r\nHost: a\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(judge(bytes.as_bytes()), 400, "{bytes:?}");
    }
}

#[test]
fn fields() {
    let long = format!("X: {}\r\n", "a".repeat(1024));
    let many = "X: a\r\n".repeat(10);
    let rows = [
        ("X-A: 1\r\n", 0),
        ("X-A:1\r\n", 0),
        ("X-A:\t1 2\t\r\n", 0),
        ("X-A:\r\n", 0),
        ("X-A: \u{e4}\r\n", 0),
        ("X_A: 1\r\n", 0),
        ("X-A : 1\r\n", 400),
        ("X-A\r\n", 400),
        (": 1\r\n", 400),
        ("X(A): 1\r\n", 400),
        ("X\u{e9}: 1\r\n", 400),
        ("X\0: 1\r\n", 400),
        ("X-A: a\r b\r\n", 400),
        ("X-A: a\rX-B: b\r\n", 400),
        ("X-A: a\nX-B: b\r\n", 400),
        ("X-A: a\0b\r\n", 400),
        ("X-A: a\x0bb\r\n", 400),
        ("X-A: a\x7f\r\n", 400),
        ("X-A: a\r\n b\r\n", 400),
        ("\tX-A: a\r\n", 400),
        (&long, 431),
        (&many, 431),
    ];
    for (lines, status) in rows {
        assert_eq!(get(lines), status, "{lines:?}");
    }
}

#[test]
fn framing() {
    let rows = [
        ("Content-Length: 0\r\n", 0),
        ("content-length:\t5 \r\n", 0),
        ("Content-Length: 005\r\n", 0),
        ("Content-Length: 1001\r\n", 413),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5, 5\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: -5\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Content-Length: 5 5\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Content-Length: 18446744073709551616\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", 0),
        ("Transfer-Encoding:\tChunked \r\n", 0),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: chunked, chunked\r\n", 501),
        ("Transfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Transfer-Encoding: \"chunked\"\r\n", 400),
        ("Transfer-Encoding:\r\n", 400),
        ("Transfer-Encoding: \x0bchunked\r\n", 400),
        ("Transfer-Encoding:\r\n chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
    ];
    for (lines, status) in rows {
        assert_eq!(get(lines), status, "{lines:?}");
    }
    assert_eq!(judge(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

#[test]
fn chunked_bodies() {
    let rows = [
        ("0\r\n\r\n", 0),
        ("5\r\nhello\r\n0\r\n\r\n", 0),
        ("a\r\n0123456789\r\nB;x=y\r\n0123456789a\r\n0\r\n\r\n", 0),
        ("5\r\nhello\r\n0\r\nX-A: 1\r\n\r\n", 0),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
        ("5;a\0b\r\nhello\r\n0\r\n\r\n", 400),
        ("+5\r\nhello\r\n0\r\n\r\n", 400),
        ("-5\r\nhello\r\n0\r\n\r\n", 400),
        ("0x5\r\nhello\r\n0\r\n\r\n", 400),
        ("\r\nhello\r\n0\r\n\r\n", 400),
        (" 5\r\nhello\r\n0\r\n\r\n", 400),
        ("5 \r\nhello\r\n0\r\n\r\n", 400),
        ("5\nhello\r\n0\r\n\r\n", 400),
        ("5\rhello\r\n0\r\n\r\n", 400),
        ("5\r\nhello\n0\r\n\r\n", 400),
        ("5\r\nhello0\r\n\r\n", 400),
        ("5\r\nhello!\r\n0\r\n\r\n", 400),
        ("FFFFFFFFFFFFFFFF\r\nhello", 400),
        ("00000000000000005\r\nhello", 400),
        ("3e9\r\n", 413),
        ("0\r\nX-A : 1\r\n\r\n", 400),
        ("0\r\n X-A: 1\r\n\r\n", 400),
        ("0\r\nX-A: 1\n\r\n", 400),
    ];
    for (body, status) in rows {
        assert_eq!(chunks(body), status, "{body:?}");
    }
    let extension = format!("1;{}\r\nx\r\n", "a".repeat(3000));
    assert_eq!(chunks(&extension), 0);
    assert_eq!(chunks(&extension.repeat(2)), 400, "extensions are bounded in all");
}

#[test]
fn a_refused_request_is_hidden_whole_and_those_before_it_pass() {
    let first = b"GET /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi".to_vec();
    let second = b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx".to_vec();
    let both = [first.clone(), second].concat();
    assert!(matches!(Gate::new(LIMITS).judge(&both), Verdict::Refuse(at, _) if at == first.len()));
    let mut gate = Gate::new(LIMITS);
    assert_eq!(
        gate.judge(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Verdict::Pass
    );
    assert!(
        matches!(gate.judge(b"1\r\nxx"), Verdict::Break(4, _)),
        "a body that has begun to pass is broken"
    );
    let mut gate = Gate::new(LIMITS);
    assert_eq!(gate.judge(b"GET / HT"), Verdict::Pass);
    assert!(gate.is_within_head());
    assert!(
        matches!(gate.judge(b"TP/1.1\r\nX Y: 1\r\n\r\n"), Verdict::Refuse(0, _)),
        "half a head makes no request"
    );
}

#[test]
fn what_does_not_speak_http_is_not_waited_for() {
    assert_eq!(judge(b"\x16\x03\x01\x02\x00\x01"), 400, "a TLS client");
    assert_eq!(judge(b"\r\n\r\n\r\n"), 400);
    assert_eq!(judge("a".repeat(1025).as_bytes()), 414);
}

#[test]
fn behind_an_upgrade_nothing_passes_until_it_is_answered() {
    let ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
        .to_vec();
    let mut gate = Gate::new(LIMITS);
    assert_eq!(gate.judge(&[ask.clone(), b"\x81\x05hello".to_vec()].concat()), Verdict::Hold(ask.len()));
    assert_eq!(gate.judge(b"\x81"), Verdict::Hold(0));
    gate.go_on();
    assert_eq!(gate.judge(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Verdict::Pass);
    assert_eq!(Gate::new(LIMITS).judge(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\nGET"), Verdict::Pass);
}

#[test]
fn a_connection_is_text() {
    assert_eq!((get("Connection: close, \u{e4}\r\n"), get("Connection: close, x\r\n")), (400, 0));
}

#[test]
fn whole_servers() {
    let rows = [
        ("OPTIONS http://a.test", true),
        ("OPTIONS HTTPS://a.test:443", true),
        ("OPTIONS http://a.test/", false),
        ("OPTIONS http://a.test?q", false),
        ("OPTIONS *", false),
        ("OPTIONS /http://a.test", false),
        ("GET http://a.test", false),
    ];
    for (line, of_server) in rows {
        let mut gate = Gate::new(LIMITS);
        gate.judge(format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{line} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(gate.take_of_server(), if of_server { vec![2] } else { vec![] }, "{line}");
    }
}

#[test]
fn behind_a_connect_nothing_passes_either() {
    let ask = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".to_vec();
    for behind in [&b"\x16\x03\x01"[..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let judged = Gate::new(LIMITS).judge(&[&ask, behind].concat());
        assert_eq!(judged, Verdict::Hold(ask.len()));
    }
    let other = b"connect a:1 HTTP/1.1\r\nHost: a:1\r\n\r\nGET";
    assert_eq!(Gate::new(LIMITS).judge(other), Verdict::Pass, "another method, by its letters");
}

/// Some bytes that look like requests, whole or spoilt.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        Just("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        Just("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned()),
        Just("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()),
        Just("5;x=y\r\nhello\r\n0\r\nX: 1\r\n\r\n".to_owned()),
        "[ -~\r\n\t]{0,12}",
    ];
    (prop::collection::vec(pieces, 0..5), any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(
        |(pieces, at, byte, spoil)| {
            let mut bytes = pieces.concat().into_bytes();
            if spoil && !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        },
    )
}

proptest! {
    /// However the bytes are cut into reads, the same requests pass, and what is refused is refused.
    #[test]
    fn cuts_do_not_matter(bytes in any_bytes(), cut in any::<prop::sample::Index>()) {
        let whole = judge(&bytes);
        let at = cut.index(bytes.len() + 1);
        let mut gate = Gate::new(LIMITS);
        let parts = [&bytes[..at], &bytes[at..]];
        let outcome = parts.into_iter().map(|part| gate.judge(part)).find_map(|verdict| match verdict {
            Verdict::Pass | Verdict::Hold(_) => None,
            Verdict::Refuse(_, refusal) | Verdict::Break(_, refusal) => Some(refusal.status),
        });
        prop_assert_eq!(outcome.unwrap_or(0) == 0, whole == 0, "{} against {:?}", whole, outcome);
    }

    /// What the gate takes for half a head, no parser behind it takes for a whole one.
    #[test]
    fn nothing_slips_by(bytes in any_bytes()) {
        let mut gate = Gate::new(LIMITS);
        if gate.judge(&bytes) == Verdict::Pass && gate.is_within_head() {
            let mut fields = [httparse::EMPTY_HEADER; 32];
            let mut request = httparse::Request::new(&mut fields);
            let complete = matches!(request.parse(&gate.partial), Ok(httparse::Status::Complete(_)));
            prop_assert!(!complete, "{:?}", String::from_utf8_lossy(&gate.partial));
        }
    }

    /// A head that passes is read by another parser too, with as many fields.
    #[test]
    fn what_passes_is_http(bytes in any_bytes()) {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = end
            && check_head(&bytes[..end], &LIMITS).is_ok()
        {
            let mut fields = [httparse::EMPTY_HEADER; 32];
            let mut request = httparse::Request::new(&mut fields);
            let status = request.parse(&bytes[..end]);
            prop_assert_eq!(status, Ok(httparse::Status::Complete(end)));
        }
    }
}
