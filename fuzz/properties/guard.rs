//! The guard: whatever it lets pass without userspace, userspace would have passed on as it is, to the same host and
//! with the same end.

use std::sync::LazyLock;

use gogeta::cli::Options;
use gogeta::config::Config;
use gogeta::proxy::gate::{Asked, Framing, Gate, Head, Piece, ResponseGate, Verdict, check_head};
use gogeta::proxy::headers::{self, Original, REQUEST_ID, Rules, Survey, Wishes, forwarded};
use gogeta::proxy::vet;
use gogeta::routes::host;
use gogeta_common::guard::{self, HOST_MAX, Method, grammar};
use http::header::{CONNECTION, HOST, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};

/// What gogeta has by itself.
static CONFIG: LazyLock<Config> =
    LazyLock::new(|| Config::try_from(Options::default()).expect("the defaults are right"));

/// Fields that gogeta adds to requests by itself, or where a flag says so.
const ADDED: [HeaderName; 8] = [
    forwarded::FOR,
    forwarded::PROTO,
    forwarded::HOST,
    forwarded::PORT,
    forwarded::REAL_IP,
    forwarded::FORWARDED,
    REQUEST_ID,
    VIA,
];

/// The input is a request's head for one of a few pairs, or for the one that it names; and the start of a response.
pub(crate) fn check(bytes: &[u8]) {
    for pair in ["a.test", "a.test:8080", "[::1]"] {
        request(bytes, pair);
    }
    if let Some(pair) = named(bytes) {
        request(bytes, &pair);
    }
    for to in [Method::Get, Method::Head] {
        response(bytes, to);
    }
}

/// The host that a head names, if a pair can be for it.
fn named(bytes: &[u8]) -> Option<String> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut fields);
    parsed.parse(bytes).ok()?;
    let field = parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case("host"))?;
    let pair = std::str::from_utf8(field.value).ok()?.to_ascii_lowercase();
    (host::parse(&pair).is_ok() && pair.len() <= HOST_MAX).then_some(pair)
}

/// What holds of a request's head, for a pair that was routed by this host; whether it passes.
pub(crate) fn request(bytes: &[u8], pair: &str) -> bool {
    let Some(method) = guard::request(bytes, pair.as_bytes()) else { return false };
    passes_the_gate(bytes);

    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut fields);
    assert_eq!(parsed.parse(bytes), Ok(httparse::Status::Complete(bytes.len())));
    let (text, target) = (parsed.method.expect("a method"), parsed.path.expect("a target"));
    let expected = match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
    };
    assert_eq!((text, parsed.version), (expected, Some(1)));
    let mut head = Request::builder().method(text).uri(target).version(Version::HTTP_11);
    for field in parsed.headers.iter() {
        head = head.header(field.name, field.value);
    }
    let head = head.body(()).expect("what the HTTP library takes");

    let asked = host::parse(pair).expect("a pair is for a host");
    let found = vet::host_of(&head).expect("a request that may be routed");
    assert!(vet::expectation(head.headers()).is_ok());
    assert_eq!(found.host, asked.host, "it would be routed elsewhere");
    assert_eq!(found.port, asked.port);
    let path = head.uri().path();
    assert!(path != grammar::ROBOTS && !path.starts_with(grammar::PICTURES), "{path} is gogeta's own");
    goes_on_as_it_is(&head);

    for end in 0..bytes.len() {
        assert_eq!(guard::request(&bytes[..end], pair.as_bytes()), None, "a part of it passes");
    }
    let more = [bytes, b"\n"].concat();
    assert_eq!(guard::request(&more, pair.as_bytes()), None, "more than it passes");
    true
}

/// The gate takes it for one whole request without a body, behind which the next one may come.
fn passes_the_gate(bytes: &[u8]) {
    let limits = CONFIG.limits;
    let simple = Head { framing: Framing::None, upgrade: false, of_server: false };
    assert_eq!(check_head(bytes, &limits), Ok(simple));
    let mut gate = Gate::new(limits);
    assert_eq!(gate.judge(bytes), Verdict::Pass);
    assert!(gate.heads() == 1 && !gate.is_within_head() && !gate.is_waiting() && !gate.has_begun_body());
}

/// Whatever flags say, gogeta adds fields to it and takes none away but `Connection`, be the client trusted or not.
fn goes_on_as_it_is(head: &Request<()>) {
    for name in ADDED {
        assert!(!head.headers().contains_key(&name), "{name} is gogeta's to say");
    }
    let mut before = head.headers().clone();
    before.remove(CONNECTION);
    let every = Rules { forwarded: true, request_id: true, underscores: false, ..CONFIG.headers.clone() };
    for (rules, trusted) in [(&CONFIG.headers, false), (&CONFIG.headers, true), (&every, false)] {
        let host = head.headers().get(HOST).cloned();
        let survey = Survey::of(head.headers());
        let original = Original { version: Version::HTTP_11, host, port: None, survey };
        let peer = forwarded::Peer { address: HeaderValue::from_static("192.0.2.1"), trusted };
        let mut after = head.headers().clone();
        let wishes = headers::to_upstream(&mut after, &peer, original, rules);
        assert_eq!(wishes, Wishes::default());
        without(&mut after, &ADDED);
        assert_eq!(after, before);
    }
}

fn without(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

/// What holds of the start of a response to such a request; where it ends, if that is known.
pub(crate) fn response(bytes: &[u8], to: Method) -> Option<guard::Framing> {
    let framing = guard::response(bytes, to)?;
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Response::new(&mut fields);
    let head = framing.head as usize;
    assert_eq!(parsed.parse(bytes), Ok(httparse::Status::Complete(head)));
    assert_eq!((parsed.code, parsed.version), (Some(framing.status), Some(1)));
    assert!((200..600).contains(&framing.status));

    let mut before = HeaderMap::new();
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).expect("a name");
        before.append(name, HeaderValue::from_bytes(field.value).expect("a value"));
    }
    let mut after = before.clone();
    headers::to_client(&mut after, Version::HTTP_11, false, &CONFIG.headers);
    without(&mut before, &[CONNECTION, HeaderName::from_static("keep-alive")]);
    assert_eq!(after, before, "userspace would change it");

    let end = u64::from(framing.head) + framing.body;
    // Up to its end and one byte further, where that is not far.
    let mut bytes = bytes.to_vec();
    if let Some(near) = usize::try_from(end).ok().filter(|end| *end < bytes.len() + 4096) {
        bytes.resize(near + 1, b'x');
    }
    ends_there(&bytes, end, to);
    Some(framing)
}

/// The gate lets bytes pass up to `end`, waits for more before that, and takes what is behind it for nobody's.
fn ends_there(bytes: &[u8], end: u64, to: Method) {
    let mut gate = ResponseGate::new(CONFIG.response_limits);
    gate.expect(Asked { head: to == Method::Head, upgrade: false });
    let mut at = 0;
    while at < bytes.len() {
        let (count, piece) = gate.take(&bytes[at..]).expect("a good response");
        let expected = if (at as u64) < end { Piece::Part } else { Piece::Surplus };
        assert_eq!(piece, expected, "at byte {at}");
        at += count;
        assert!(piece == Piece::Surplus || at as u64 <= end, "{at} is behind its end");
        assert_eq!(gate.is_owed(), (at as u64) < end, "at byte {at}");
    }
}
