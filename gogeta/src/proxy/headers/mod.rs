//! The rules for header fields on their way through, one small function a rule.
//!
//! Pure: `http` types in and out.

pub mod forwarded;
pub mod via;

use http::Version;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};

use self::forwarded::Peer;

/// A request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY: HeaderName = HeaderName::from_static("proxy");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");

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
pub struct Survey {
    connection: bool,
    upgrade: bool,
    te: bool,
    /// Another field that is for one hop only.
    hop: bool,
    length: bool,
    /// `Expect`.
    pub expect: bool,
    /// `Via`.
    pub via: bool,
    /// `Proxy`, `Forwarded`.
    other: bool,
    /// A name with an underscore.
    underscore: bool,
}

impl Survey {
    /// Looks at all names.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut survey = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "connection" => survey.connection = true,
                "upgrade" => survey.upgrade = true,
                "te" => survey.te = true,
                "keep-alive"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authentication-info"
                | "proxy-authorization"
                | "trailer"
                | "transfer-encoding" => survey.hop = true,
                "content-length" => survey.length = true,
                "expect" => survey.expect = true,
                "via" => survey.via = true,
                "proxy" | "forwarded" => survey.other = true,
                name => survey.underscore |= name.bytes().any(|byte| byte == b'_'),
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
    /// What we add to `Via`.
    pub via: via::Entry,
    /// It is added to responses, too.
    pub via_response: bool,
}

/// What a request's fields ask of us.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The protocol to upgrade to, where it is one that may be relayed.
    pub upgrade: Option<HeaderValue>,
    /// Trailers of the response.
    pub trailers: bool,
    /// A length was given.
    pub length: bool,
    /// The body waits for a 100.
    pub expects: bool,
}

/// What a request was as it came; on its way to a fixed place it gets another Host.
#[derive(Debug, Clone)]
pub struct Original {
    /// The version it came by.
    pub version: Version,
    /// The host it asked for.
    pub host: Option<HeaderValue>,
    /// The port in that.
    pub port: Option<u16>,
    /// Which fields it had; those that are gone again do no harm.
    pub survey: Survey,
}

/// Makes a client's header fields those of the request to its upstream. Framing is deleted: the side that writes
/// the request makes its own. Only that a body comes in chunks is said anew, for hyper takes a GET or a HEAD of unknown
/// length for one without a body.
///
/// Gives what the fields ask of us.
pub fn to_upstream(headers: &mut HeaderMap, peer: &Peer, original: Original, rules: &Rules) -> Wishes {
    let survey = original.survey;
    // HTTP/1.0 knows no upgrades.
    let may_upgrade = survey.upgrade && original.version > Version::HTTP_10;
    let upgrade = if may_upgrade { take_upgrade(headers) } else { None };
    let trailers = survey.te && accepts_trailers(headers);
    let chunked = survey.hop && headers.contains_key(TRANSFER_ENCODING);
    // Ours by now, and no field that a Connection could take away.
    let id = if survey.connection && rules.request_id { headers.get(REQUEST_ID).cloned() } else { None };
    strip(headers, survey);
    if chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(id) = id {
        headers.insert(REQUEST_ID, id);
    }
    if survey.length {
        headers.remove(CONTENT_LENGTH);
    }
    if survey.expect {
        headers.remove(EXPECT);
    }
    if survey.other {
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
        // It is for one hop only, and has to say so (RFC 9110, 10.1.4).
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if rules.forwarded {
        forwarded::append_element(headers, peer, original.host.as_ref());
    }
    forwarded::set(headers, peer, original.port, original.host);
    rules.via.append(headers, original.version);
    if let Some(protocol) = &upgrade {
        let options = if trailers { "upgrade, te" } else { "upgrade" };
        headers.insert(CONNECTION, HeaderValue::from_static(options));
        headers.insert(UPGRADE, protocol.clone());
    }
    Wishes { upgrade, trailers, length: survey.length, expects: survey.expect }
}

/// The lines that [`to_upstream`] adds to a request that asks for nothing of us, as they are sent; `host` is what it
/// asked for.
pub fn added(peer: &Peer, port: Option<u16>, host: &HeaderValue, rules: &Rules) -> Vec<u8> {
    let mut headers = HeaderMap::new();
    let (version, survey) = (Version::HTTP_11, Survey::default());
    to_upstream(&mut headers, peer, Original { version, host: Some(host.clone()), port, survey }, rules);
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
    };
    headers.iter().flat_map(line).collect()
}

/// CGI and its heirs take `X_Forwarded_For` for `X-Forwarded-For`: a way past whoever sets the latter.
fn drop_underscores(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Makes the header fields of an upstream's response, which came by `version`, those of the response to the client,
/// who wishes for `trailers` or not: hyper sends those that `Trailer` names.
///
/// A gateway need not name itself in responses (RFC 9110, 7.6.3), and tells clients what stands before the backend
/// if it does.
pub fn to_client(headers: &mut HeaderMap, version: Version, trailers: bool, rules: &Rules) {
    let survey = Survey::of(headers);
    let named: Vec<HeaderValue> =
        if trailers && survey.hop { headers.get_all(TRAILER).iter().cloned().collect() } else { Vec::new() };
    strip(headers, survey);
    for names in named {
        headers.append(TRAILER, names);
    }
    if rules.via_response {
        rules.via.append(headers, version);
    }
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
            PROXY_AUTHENTICATION_INFO,
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
        // By far the most frequent one, and its field goes in any case.
        .filter(|option| !option.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !NOT_NOMINABLE.contains(name))
        .collect()
}

/// Whether nothing is to follow on the connection that this has come by (RFC 9112, 9.6).
pub fn is_last(headers: &HeaderMap) -> bool {
    connection_options(headers).any(|option| option.eq_ignore_ascii_case(b"close"))
}

/// The options in all `Connection` lines. One that is no token does not hide those beside it: the next proxy may
/// see them.
fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(CONNECTION).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// RFC 9110, 7.8: `Upgrade` counts only where `Connection` names it. `h2c` is never relayed: it would open a way
/// past everything that looks at requests.
fn take_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let asked = connection_options(headers).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let text = protocol.to_str().ok()?;
    let single = headers.get_all(UPGRADE).iter().count() == 1 && is_protocol(text);
    let h2c = text.to_ascii_lowercase().starts_with("h2");
    (asked && single && !h2c).then(|| protocol.clone())
}

/// `protocol-name [ "/" protocol-version ]`, both tokens.
fn is_protocol(text: &str) -> bool {
    let (name, version) = text.split_once('/').unwrap_or((text, "1"));
    // What is a name for a field is a token.
    [name, version].iter().all(|part| HeaderName::from_bytes(part.as_bytes()).is_ok())
}

/// RFC 9110, 10.1.4: of `TE`, only `trailers` may be passed on.
fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().filter_map(|line| line.to_str().ok()).any(|line| {
        line.split(',')
            .any(|coding| coding.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("trailers"))
    })
}

#[cfg(test)]
mod tests;
