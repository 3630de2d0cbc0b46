//! What may pass a parked pair without userspace is what userspace would have passed on as it is. The property is
//! the fuzz target's; here are heads near the border, most of them good ones with a fault.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use gogeta_common::guard::Method;

use crate::corpus::guard as property;

/// The host of the pair, and ways to name it or another.
const PAIR: &str = "a.test:8080";
const HOSTS: [&str; 9] = [
    "Host: a.test:8080",
    "host:A.TEST:8080",
    "HOST: a.Test:8080",
    "Host: a.test",
    "Host: a.test:80",
    "Host:  a.test:8080",
    "Host: a.test:8080 ",
    "Host: b.test:8080",
    "X: Host: a.test:8080",
];

/// Fields of requests and responses: first those that may pass in both.
const FIELDS: [&str; 34] = [
    "Accept: */*",
    "User-Agent: curl/8.0 (x; y)",
    "Cookie: a=b; c=\"d\"",
    "Empty:",
    "Tabs:\ta\tb ",
    "Connections: close",
    "connection: Keep-Alive",
    "Content-Type: text/html",
    "Content-Lengths: 1",
    "T: trailers",
    "Host2: b.test",
    "!#$%&'*+-.^`|~: x",
    "Keep-Alive: timeout=5",
    "X_Y: z",
    "Connection: close",
    "Connection: keep-alive, te",
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length:05 ",
    "Content-Length: 999999999999999",
    "Content-Length: 9999999999999999999",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding : chunked",
    "Upgrade: websocket",
    "HTTP2-Settings: x",
    "Expect: 100-continue",
    "TE: trailers",
    "Trailer: x",
    "Proxy-Connection: keep-alive",
    "X-Forwarded-For: 192.0.2.2",
    "Via: 1.1 b",
    "X-Request-Id: 1",
    "Not-Ascii: \u{e4}",
    " folded",
];
/// So many of them may pass.
const GOOD: usize = 12;

/// Mostly one of the first `good`, now and then any.
fn mostly<const N: usize>(good: usize, of: [&'static str; N]) -> impl Strategy<Value = &'static str> {
    let at = prop_oneof![12 => 0..good, 1 => 0..N];
    at.prop_map(move |at| of[at])
}

fn fields() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(mostly(GOOD, FIELDS), 0..6)
}

/// Puts lines together, with one of them at some place among the fields, and spoils some bytes.
fn message(
    first: impl Strategy<Value = String>,
    among: impl Strategy<Value = Option<&'static str>>,
    behind: impl Strategy<Value = &'static str>,
) -> impl Strategy<Value = Vec<u8>> {
    let faults = prop_oneof![
        3 => Just(Vec::new()),
        2 => prop::collection::vec((any::<Index>(), fault()), 1..3),
    ];
    (first, fields(), among, any::<Index>(), behind, faults).prop_map(
        |(first, mut fields, among, at, behind, faults)| {
            fields.splice(at.index(fields.len() + 1).., among).for_each(drop);
            let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            let mut bytes = format!("{first}\r\n{lines}\r\n{behind}").into_bytes();
            for (at, fault) in faults {
                spoil(&mut bytes, at, fault);
            }
            bytes
        },
    )
}

/// Something that goes wrong at one place.
#[derive(Debug, Clone)]
enum Fault {
    Instead(u8),
    Before(u8),
    Missing,
    Twice(usize),
    CutOff,
}

fn fault() -> impl Strategy<Value = Fault> {
    let byte = prop_oneof![
        3 => select(&b"\r\n\t :;,%/?_-.\0\x7f\x80aAgG019"[..]),
        1 => any::<u8>(),
    ];
    prop_oneof![
        4 => byte.clone().prop_map(Fault::Instead),
        4 => byte.prop_map(Fault::Before),
        2 => Just(Fault::Missing),
        1 => (1..40_usize).prop_map(Fault::Twice),
        1 => Just(Fault::CutOff),
    ]
}

fn spoil(bytes: &mut Vec<u8>, at: Index, fault: Fault) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    match fault {
        Fault::Instead(byte) => bytes[at] = byte,
        Fault::Before(byte) => bytes.insert(at, byte),
        Fault::Missing => drop(bytes.remove(at)),
        Fault::Twice(count) => {
            let end = bytes.len().min(at + count);
            bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop);
        }
        Fault::CutOff => bytes.truncate(at),
    }
}

fn a_request() -> impl Strategy<Value = Vec<u8>> {
    let method = mostly(2, ["GET", "HEAD", "POST", "get", "OPTIONS", ""]);
    let target = prop_oneof![
        6 => mostly(5, ["/", "/a/b?c=d", "/%20", "//b.test/", "/robots", "/robots.txt", "/__static__/a", "*",
            "http://b.test/", "/%2", "/[", ""]).prop_map(str::to_owned),
        2 => "/[a-zA-Z0-9._~!$&'()*+,;=:@/?-]{0,20}",
        1 => "[ -~]{0,10}",
    ];
    let version = mostly(1, ["HTTP/1.1", "HTTP/1.0", "HTTP/1.1 ", "http/1.1", "HTTP/2.0"]);
    let line = (method, target, version)
        .prop_map(|(method, target, version)| format!("{method} {target} {version}"));
    let host = prop_oneof![20 => mostly(3, HOSTS).prop_map(Some), 1 => Just(None)];
    message(line, host, mostly(1, ["", "x", "\r\n", "GET / HTTP/1.1\r\nHost: a.test:8080\r\n\r\n"]))
}

fn a_response() -> impl Strategy<Value = Vec<u8>> {
    let version = mostly(1, ["HTTP/1.1", "HTTP/1.0", "HTTP/1.1 "]);
    let status = prop_oneof![
        8 => select(&[200_u16, 204, 304, 404, 500][..]),
        1 => 0..1000_u16,
    ];
    let reason = mostly(2, [" OK", " ", "", " a\tb", "\t", " \u{e4}"]);
    let line = (version, status, reason)
        .prop_map(|(version, status, reason)| format!("{version} {status:03}{reason}"));
    let length = mostly(
        3,
        [
            "Content-Length: 5",
            "content-length:0",
            "CONTENT-LENGTH: 012",
            "Content-Length: +5",
            "Content-Length: 5, 5",
            "Content-Length:",
            "Transfer-Encoding: chunked",
        ],
    );
    let length = prop_oneof![4 => length.prop_map(Some), 1 => Just(None)];
    message(line, length, mostly(3, ["hello", "", "h", "hello, and more", "5\r\nhello\r\n0\r\n\r\n"]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_request_that_passes_is_a_simple_one_for_the_same_host(bytes in a_request()) {
        property::request(&bytes, PAIR);
    }

    #[test]
    fn a_response_that_passes_ends_where_userspace_sees_its_end(bytes in a_response(), head in any::<bool>()) {
        property::response(&bytes, if head { Method::Head } else { Method::Get });
    }
}

/// How many in a hundred of these pass.
fn share(strategy: impl Strategy<Value = Vec<u8>>, passes: impl Fn(&[u8]) -> bool) -> usize {
    const COUNT: usize = 2000;
    let mut runner = TestRunner::deterministic();
    let samples = (0..COUNT).map(|_| strategy.new_tree(&mut runner).expect("a sample").current());
    samples.filter(|bytes| passes(bytes)).count() * 100 / COUNT
}

#[test]
fn what_is_made_up_for_the_guard_is_near_its_border() {
    let requests = share(a_request(), |bytes| property::request(bytes, PAIR));
    let responses = share(a_response(), |bytes| property::response(bytes, Method::Get).is_some());
    assert!((15..=70).contains(&requests), "{requests} % of the requests pass");
    assert!((15..=70).contains(&responses), "{responses} % of the responses pass");
}
