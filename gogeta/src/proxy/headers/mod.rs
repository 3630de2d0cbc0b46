//! The rules for header fields on their way through, one small function a rule.
//!
//! Pure: `http` types in and out.

pub mod forwarded;
pub mod via;

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};

use self::forwarded::Peer;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY: HeaderName = HeaderName::from_static("proxy");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Fields that a `Connection` cannot take away by naming them: framing, Host, and those that gogeta itself sets
/// (a client could otherwise strip what the next proxy relies on, as in CVE-2024-45410).
const NOT_NOMINABLE: [HeaderName; 10] = [
    HOST,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    forwarded::FOR,
    forwarded::PROTO,
    forwarded::HOST,
    forwarded::PORT,
    forwarded::REAL_IP,
    forwarded::FORWARDED,
    VIA,
];

/// Which fields that need care a head has. One look at each name instead of a look-up for each rule: most heads
/// have none of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Survey {
    connection: bool,
    upgrade: bool,
    te: bool,
    /// Another field that is for one hop only.
    hop: bool,
    length: bool,
    /// `Expect`, `Proxy`, `Forwarded`.
    other: bool,
    /// A name with an underscore.
    underscore: bool,
}

impl Survey {
    fn of(headers: &HeaderMap) -> Self {
        let mut survey = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "connection" => survey.connection = true,
                "upgrade" => survey.upgrade = true,
                "te" => survey.te = true,
                "keep-alive"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "trailer"
                | "transfer-encoding" => survey.hop = true,
                "content-length" => survey.length = true,
                "expect" | "proxy" | "forwarded" => survey.other = true,
                name => survey.underscore |= name.contains('_'),
            }
        }
        survey
    }
}

/// What the operator decides about header fields.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Names with an underscore go on.
    pub underscores: bool,
    /// RFC 7239's `Forwarded` is written.
    pub forwarded: bool,
    /// `X-Request-Id` is kept, or made.
    pub request_id: bool,
    /// What we are called in `Via`.
    pub name: String,
    /// What we add to `Via`.
    pub via: HeaderValue,
}

/// Makes a client's header fields those of the request to its upstream. Framing is deleted: the side that writes
/// the request makes its own.
///
/// `port` is the one in the request's Host. Gives the protocol to upgrade to, where the client asked for one that
/// may be relayed.
pub fn to_upstream(
    headers: &mut HeaderMap,
    peer: &Peer,
    port: Option<u16>,
    rules: &Rules,
) -> Option<HeaderValue> {
    let survey = Survey::of(headers);
    let upgrade = if survey.upgrade { take_upgrade(headers) } else { None };
    let trailers = survey.te && accepts_trailers(headers);
    strip(headers, survey);
    if survey.length {
        headers.remove(CONTENT_LENGTH);
    }
    if survey.other {
        headers.remove(EXPECT);
        headers.remove(&PROXY);
        if !peer.trusted {
            headers.remove(forwarded::FORWARDED);
        }
    }
    if survey.underscore && !rules.underscores {
        drop_underscores(headers);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if rules.forwarded {
        let host = headers.get(HOST).cloned();
        forwarded::append_element(headers, peer, host.as_ref());
    }
    forwarded::set(headers, peer, port);
    headers.append(VIA, rules.via.clone());
    if let Some(protocol) = &upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    upgrade
}

/// CGI and its heirs take `X_Forwarded_For` for `X-Forwarded-For`: a way past whoever sets the latter.
fn drop_underscores(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Makes an upstream's header fields those of the response to the client.
pub fn to_client(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
}

/// RFC 9110, 7.6.1: what is meant for one hop only goes no further. All lines of `Connection` count.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    strip(headers, Survey::of(headers));
}

fn strip(headers: &mut HeaderMap, survey: Survey) {
    if survey.connection {
        for name in nominated(headers) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    if survey.upgrade {
        headers.remove(UPGRADE);
    }
    if survey.te {
        headers.remove(TE);
    }
    if survey.hop {
        let others = [
            KEEP_ALIVE,
            PROXY_CONNECTION,
            PROXY_AUTHENTICATE,
            PROXY_AUTHORIZATION,
            TRAILER,
            TRANSFER_ENCODING,
        ];
        for name in others {
            headers.remove(name);
        }
    }
}

/// The fields that `Connection` names, without those that it cannot.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    connection_options(headers)
        // By far the most frequent ones, and no fields.
        .filter(|option| !["keep-alive", "close"].contains(option))
        .filter_map(|option| HeaderName::from_bytes(option.as_bytes()).ok())
        .filter(|name| !NOT_NOMINABLE.contains(name))
        .collect()
}

/// The options in all `Connection` lines; a line that is not text has none.
fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(CONNECTION).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|option| !option.is_empty())
}

/// RFC 9110, 7.8: `Upgrade` counts only where `Connection` names it. `h2c` is never relayed: it would open a way
/// past everything that looks at requests.
fn take_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let asked = connection_options(headers).any(|option| option.eq_ignore_ascii_case("upgrade"));
    let text = protocol.to_str().ok()?;
    let single =
        headers.get_all(UPGRADE).iter().count() == 1 && !text.contains(',') && !text.trim().is_empty();
    let h2c = text.trim().to_ascii_lowercase().starts_with("h2");
    (asked && single && !h2c).then(|| protocol.clone())
}

/// RFC 9110, 10.1.4: of `TE`, only `trailers` may be passed on.
fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().filter_map(|line| line.to_str().ok()).any(|line| {
        line.split(',')
            .any(|coding| coding.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("trailers"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::IpNet;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        headers
    }

    fn peer(trusted: bool) -> Peer {
        let trusted: Vec<IpNet> =
            if trusted { vec!["10.0.0.0/8".parse().expect("a network")] } else { vec![] };
        Peer::new("10.1.2.3".parse().expect("an address"), &trusted)
    }

    fn rules() -> Rules {
        let via = HeaderValue::from_static("1.1 gogeta");
        Rules { underscores: false, forwarded: false, request_id: false, name: "gogeta".to_owned(), via }
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let text = |value: &HeaderValue| value.to_str().unwrap_or("?").to_owned();
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
        lines.sort();
        lines
    }

    #[test]
    fn hop_by_hop_fields_go_no_further() {
        type Row<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
        let rows: [Row<'_>; 8] = [
            (&[("connection", "close, x-a"), ("x-a", "1"), ("x-b", "1")], &["x-b: 1"]),
            (&[("connection", "close"), ("connection", "X-A"), ("x-a", "1")], &[]),
            (
                &[
                    ("keep-alive", "1"),
                    ("proxy-connection", "x"),
                    ("te", "gzip"),
                    ("trailer", "x"),
                    ("upgrade", "x"),
                ],
                &[],
            ),
            (
                &[
                    ("proxy-authorization", "x"),
                    ("proxy-authenticate", "x"),
                    ("transfer-encoding", "chunked"),
                ],
                &[],
            ),
            (
                &[
                    ("connection", "x-forwarded-for, host, content-length"),
                    ("host", "a"),
                    ("x-forwarded-for", "1"),
                    ("content-length", "5"),
                ],
                &["content-length: 5", "host: a", "x-forwarded-for: 1"],
            ),
            (&[("connection", "\"close"), ("x-a", "1")], &["x-a: 1"]),
            (&[("connection", ", ,"), ("x-a", "1")], &["x-a: 1"]),
            (&[("cookie", "a=1"), ("cookie", "b=2")], &["cookie: a=1", "cookie: b=2"]),
        ];
        for (given, kept) in rows {
            let mut headers = headers(given);
            strip_hop_by_hop(&mut headers);
            assert_eq!(lines(&headers), kept, "{given:?}");
        }
    }

    #[test]
    fn upgrades() {
        let asks =
            |lines: &[(&str, &str)]| to_upstream(&mut headers(lines), &peer(false), None, &rules()).is_some();
        assert!(asks(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]));
        assert!(!asks(&[("upgrade", "websocket")]), "without Connection");
        assert!(!asks(&[("connection", "upgrade"), ("upgrade", "h2c")]), "h2c");
        assert!(!asks(&[("connection", "upgrade"), ("upgrade", "websocket, h2c")]), "a list");
        assert!(!asks(&[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "x")]), "two");
        let mut plain = headers(&[("upgrade", "websocket"), ("http2-settings", "x")]);
        to_upstream(&mut plain, &peer(false), None, &rules());
        assert!(!plain.contains_key(UPGRADE) && !plain.contains_key(CONNECTION));
    }

    #[test]
    fn who_asked_for_what() {
        let forged = [
            ("host", "a.test"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
        ];
        let mut from_anyone = headers(&forged);
        to_upstream(&mut from_anyone, &peer(false), Some(7777), &rules());
        assert_eq!(
            lines(&from_anyone),
            [
                "host: a.test",
                "via: 1.1 gogeta",
                "x-forwarded-for: 10.1.2.3",
                "x-forwarded-host: a.test",
                "x-forwarded-port: 7777",
                "x-forwarded-proto: http",
                "x-real-ip: 10.1.2.3"
            ]
        );
        let mut from_a_proxy = headers(&forged);
        from_a_proxy.append(forwarded::FOR, HeaderValue::from_static("7.7.7.7"));
        to_upstream(&mut from_a_proxy, &peer(true), None, &rules());
        assert_eq!(
            lines(&from_a_proxy),
            [
                "forwarded: for=6.6.6.6",
                "host: a.test",
                "via: 1.1 gogeta",
                "x-forwarded-for: 6.6.6.6, 7.7.7.7, 10.1.2.3",
                "x-forwarded-host: a.test",
                "x-forwarded-port: 443",
                "x-forwarded-proto: https",
                "x-real-ip: 6.6.6.6"
            ]
        );
    }

    #[test]
    fn what_is_stripped_by_name_is_set_afterwards() {
        let mut headers = headers(&[
            ("host", "a.test"),
            ("connection", "x-forwarded-for, x-real-ip"),
            ("proxy", "evil"),
            ("te", "gzip, trailers"),
        ]);
        to_upstream(&mut headers, &peer(false), None, &rules());
        assert_eq!(headers.get(forwarded::FOR), Some(&HeaderValue::from_static("10.1.2.3")));
        assert_eq!(headers.get(TE), Some(&HeaderValue::from_static("trailers")));
        assert!(!headers.contains_key("proxy") && !headers.contains_key(CONNECTION));
    }

    #[test]
    fn underscores_are_an_alias_of_dashes_for_some() {
        let with = |underscores| {
            let mut headers = headers(&[("host", "a.test"), ("x_forwarded_for", "6.6.6.6"), ("a_b", "1")]);
            to_upstream(&mut headers, &peer(false), None, &Rules { underscores, ..rules() });
            headers.keys().filter(|name| name.as_str().contains('_')).count()
        };
        assert_eq!((with(false), with(true)), (0, 2));
    }

    #[test]
    fn addresses() {
        let shown = |text: &str| Peer::new(text.parse().expect("an address"), &[]).address;
        assert_eq!(shown("::ffff:1.2.3.4"), "1.2.3.4");
        assert_eq!(shown("2001:db8::1"), "2001:db8::1");
    }

    #[test]
    fn the_root_of_the_original_url() {
        let root = |lines: &[(&str, &str)]| {
            let lines = headers(lines);
            let root = forwarded::url_root(&lines, lines.get(HOST)?)?;
            root.to_str().map(str::to_owned).ok()
        };
        let https = [("host", "a.test"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "443")];
        assert_eq!(root(&https).as_deref(), Some("https://a.test/"));
        let odd = [("host", "a.test"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "8443")];
        assert_eq!(root(&odd).as_deref(), Some("https://a.test:8443/"));
        assert_eq!(root(&[("host", "a.test")]).as_deref(), Some("http://a.test/"));
        assert_eq!(root(&[("host", "a.test:80")]).as_deref(), Some("http://a.test/"));
        assert_eq!(root(&[("host", "a.test:8080")]).as_deref(), Some("http://a.test:8080/"));
        assert_eq!(root(&[]), None);
    }
}
