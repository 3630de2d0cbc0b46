//! Header rules: what is meant for one hop goes no further, nobody forges what backends rely on, and all else goes
//! through as it came.

use gogeta::proxy::headers::forwarded::Peer;
use gogeta::proxy::headers::{Original, Rules, Survey, to_client, to_upstream, via};
use http::Version;
use http::header::{HeaderMap, HeaderName, HeaderValue, VIA};

/// For one hop only (RFC 9110, 7.6.1), or of no use behind it.
const HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // Not for one hop, but CGI makes HTTP_PROXY of it.
    "proxy",
];

/// What a client cannot have removed by naming it in `Connection`.
const NOT_NOMINABLE: [&str; 10] = [
    "host",
    "content-length",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "forwarded",
    "via",
];

/// What gogeta writes itself.
const OWN: [&str; 9] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "forwarded",
    "via",
    "te",
    "connection",
];

/// Ours, for the one hop that it is about.
const FRAMING: [&str; 2] = ["content-length", "expect"];

/// The input is lines: fields as in a head; those that begin with `!` are options (`!trusted`, `!underscores`,
/// `!forwarded`, `!via-response`).
pub(crate) fn check(bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    let is = |option: &str| lines.contains(&option.as_bytes());
    let mut sent = HeaderMap::new();
    for (name, value) in lines.iter().filter_map(|line| field(line)) {
        sent.append(name, value);
    }
    let peer = Peer { address: HeaderValue::from_static("192.0.2.7"), trusted: is("!trusted") };
    let rules = Rules {
        underscores: is("!underscores"),
        forwarded: is("!forwarded"),
        request_id: false,
        via: via::Entry::new("gogeta").expect("a name"),
        via_response: is("!via-response"),
    };
    request(&sent, &peer, &rules);
    response(&sent, &rules);
}

fn original(headers: &HeaderMap, port: Option<u16>) -> Original {
    let survey = Survey::of(headers);
    Original { version: Version::HTTP_11, host: headers.get("host").cloned(), port, survey }
}

fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
}

fn request(sent: &HeaderMap, peer: &Peer, rules: &Rules) {
    let mut got = sent.clone();
    let asked = original(&got, Some(8080));
    let upgrade = to_upstream(&mut got, peer, asked, rules).upgrade;
    let nominated = nominated(sent);
    for name in got.keys() {
        let name = name.as_str();
        let told = match name {
            "connection" => {
                let options =
                    (upgrade.is_some().then_some("upgrade"), got.contains_key("te").then_some("te"));
                let options: Vec<&str> = [options.0, options.1].into_iter().flatten().collect();
                all(&got, name) == [options.join(", ").as_bytes()]
            }
            "upgrade" => upgrade.as_ref().is_some_and(|protocol| all(&got, name) == [protocol.as_bytes()]),
            "te" => all(&got, name) == [b"trailers"],
            "transfer-encoding" => sent.contains_key(name) && all(&got, name) == [b"chunked"],
            _ => !HOP.contains(&name) && (!nominated.contains_key(name) || OWN.contains(&name)),
        };
        assert!(told, "{name} went on: {got:?}");
        assert!(rules.underscores || !name.contains('_'), "{name} went on");
    }
    if let Some(protocol) = &upgrade {
        assert_eq!(all(sent, "upgrade"), [protocol.as_bytes()], "it asked for another one");
        assert!(!protocol.as_bytes().to_ascii_lowercase().starts_with(b"h2"), "h2c is relayed");
        assert!(options(sent).any(|option| option == b"upgrade"), "Connection does not name Upgrade");
    }
    unchanged(sent, &got, |name| {
        OWN.contains(&name) || FRAMING.contains(&name) || (!rules.underscores && name.contains('_'))
    });
    forwarded(sent, &got, peer, rules);

    let mut vias = all(sent, "via");
    vias.push(b"1.1 gogeta");
    assert_eq!(all(&got, "via"), vias, "Via is appended to");
    let line = HeaderValue::from_bytes(&vias.join(&b", "[..])).expect("a value");
    let by_us = |entry: &&[u8]| {
        let entry = String::from_utf8_lossy(entry).to_ascii_lowercase();
        entry.split([' ', '\t']).filter(|word| !word.is_empty()).nth(1) == Some("gogeta")
    };
    let times = line.as_bytes().split(|byte| *byte == b',').filter(by_us).count();
    for lines in [got.clone(), HeaderMap::from_iter([(VIA, line)])] {
        assert_eq!(via::is_a_circle(&lines, "gogeta"), times > 1, "{lines:?}");
    }
    let asked = original(&got, None);
    to_upstream(&mut got, peer, asked, rules);
    assert!(via::is_a_circle(&got, "gogeta"), "twice by the same proxy is a circle");
}

/// What a client says of itself counts only where it is a proxy that is trusted.
fn forwarded(sent: &HeaderMap, got: &HeaderMap, peer: &Peer, rules: &Rules) {
    let address = peer.address.as_bytes();
    let host = sent.get("host").map(HeaderValue::as_bytes);
    for (name, own) in [
        ("x-real-ip", Some(address)),
        ("x-forwarded-proto", Some(&b"http"[..])),
        ("x-forwarded-port", Some(b"8080")),
        ("x-forwarded-host", host),
    ] {
        let kept = all(sent, name);
        let expected = if peer.trusted && !kept.is_empty() { kept } else { own.into_iter().collect() };
        assert_eq!(all(got, name), expected, "{name}");
    }
    let mut list = if peer.trusted { all(sent, "x-forwarded-for") } else { vec![] };
    list.push(address);
    assert_eq!(all(got, "x-forwarded-for"), [list.join(&b", "[..])], "X-Forwarded-For");
    let elements = all(got, "forwarded");
    let kept = if peer.trusted { all(sent, "forwarded") } else { vec![] };
    assert!(elements.starts_with(&kept), "Forwarded of a trusted proxy stays");
    let own: Vec<_> =
        elements[kept.len()..].iter().map(|element| element.starts_with(b"for=192.0.2.7")).collect();
    assert_eq!(own, vec![true; usize::from(rules.forwarded)], "Forwarded: {elements:?}");
}

fn response(sent: &HeaderMap, rules: &Rules) {
    let mut got = sent.clone();
    to_client(&mut got, Version::HTTP_11, false, rules);
    let nominated = nominated(sent);
    for name in got.keys() {
        let name = name.as_str();
        let gone = (HOP.contains(&name) && name != "proxy") || nominated.contains_key(name);
        assert!(!gone, "{name} went on: {got:?}");
    }
    let mut vias = all(sent, "via");
    vias.extend(rules.via_response.then_some(&b"1.1 gogeta"[..]));
    assert_eq!(all(&got, "via"), vias);
    unchanged(sent, &got, |name| ["proxy", "via"].contains(&name));
}

/// What no rule speaks of goes through, every line of it, in its order.
fn unchanged(sent: &HeaderMap, got: &HeaderMap, spoken_of: impl Fn(&str) -> bool) {
    let nominated = nominated(sent);
    for name in sent.keys() {
        let name = name.as_str();
        if !HOP.contains(&name) && !nominated.contains_key(name) && !spoken_of(name) {
            assert_eq!(all(got, name), all(sent, name), "{name}");
        }
    }
    let more: Vec<_> = got.keys().filter(|name| !sent.contains_key(*name)).map(HeaderName::as_str).collect();
    assert!(more.iter().all(|name| OWN.contains(name)), "{more:?} came from nowhere");
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

/// The options of all `Connection` lines, in lower case.
fn options(headers: &HeaderMap) -> impl Iterator<Item = Vec<u8>> {
    let lines = headers.get_all("connection").into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|option| option.trim_ascii().to_ascii_lowercase())
}

/// The fields that `Connection` names, as far as it may.
fn nominated(headers: &HeaderMap) -> HeaderMap<()> {
    let names = options(headers).filter_map(|option| HeaderName::from_bytes(&option).ok());
    names.filter(|name| !NOT_NOMINABLE.contains(&name.as_str())).map(|name| (name, ())).collect()
}
