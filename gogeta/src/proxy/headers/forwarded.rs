//! The fields by which a backend learns who asked for what.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

/// The client's address, appended by each proxy.
pub const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `http` or `https`.
pub const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The Host that the client asked for.
pub const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The port that the client asked.
pub const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// The client's address, alone.
pub const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// RFC 7239's form of them all.
pub const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// What gogeta knows of a client, made once a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address, as a header's value.
    pub address: HeaderValue,
    /// Whether it is a proxy whose `X-Forwarded-*` are believed.
    pub trusted: bool,
}

impl Peer {
    /// The peer at an address.
    pub fn new(address: IpAddr, trusted: &[IpNet]) -> Self {
        // IPv4 clients of an IPv6 socket are IPv4 clients.
        let address = address.to_canonical();
        Self {
            address: HeaderValue::from_str(&address.to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            trusted: is_trusted(address, trusted),
        }
    }
}

/// Whether an address is that of a proxy whose word counts.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// Who asked for what. From a trusted proxy the fields are kept, and the list of addresses appended to; what
/// anyone else says of himself is replaced.
pub(super) fn set(headers: &mut HeaderMap, peer: &Peer, port: Option<u16>, host: Option<HeaderValue>) {
    if peer.trusted {
        append_address(headers, peer);
        keep_or_insert(headers, REAL_IP, || Some(peer.address.clone()));
        keep_or_insert(headers, PROTO, || Some(HeaderValue::from_static("http")));
        let default = if came_by_https(headers) { 443 } else { 80 };
        keep_or_insert(headers, PORT, || Some(port.unwrap_or(default).into()));
        keep_or_insert(headers, HOST, || host);
        return;
    }
    headers.insert(FOR, peer.address.clone());
    headers.insert(REAL_IP, peer.address.clone());
    headers.insert(PROTO, HeaderValue::from_static("http"));
    headers.insert(PORT, port.map_or(HeaderValue::from_static("80"), HeaderValue::from));
    match host {
        Some(host) => headers.insert(HOST, host),
        None => headers.remove(HOST),
    };
}

/// RFC 7239: this hop as one more element of `Forwarded`, behind those of a trusted proxy.
pub(super) fn append_element(headers: &mut HeaderMap, peer: &Peer, host: Option<&HeaderValue>) {
    let address = peer.address.to_str().unwrap_or("unknown");
    // An IPv6 address stands in brackets, and in quotes because of its colons (RFC 7239, 6).
    let node = if address.contains(':') { format!("\"[{address}]\"") } else { address.to_owned() };
    let host =
        host.and_then(|host| host.to_str().ok()).map(|host| format!(";host=\"{host}\"")).unwrap_or_default();
    if let Ok(element) = HeaderValue::from_str(&format!("for={node}{host};proto=http")) {
        headers.append(FORWARDED, element);
    }
}

fn keep_or_insert(headers: &mut HeaderMap, name: HeaderName, value: impl FnOnce() -> Option<HeaderValue>) {
    if !headers.contains_key(&name)
        && let Some(value) = value()
    {
        headers.insert(name, value);
    }
}

/// Appends the peer to `X-Forwarded-For`, as one line (RFC 9110, 5.3).
fn append_address(headers: &mut HeaderMap, peer: &Peer) {
    let mut list: Vec<u8> = Vec::new();
    for line in headers.get_all(FOR) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(peer.address.as_bytes());
    let value = HeaderValue::from_bytes(&list).unwrap_or_else(|_| peer.address.clone());
    headers.insert(FOR, value);
}

/// Whether the client says that it came by https, by way of the proxy before us.
pub fn came_by_https(headers: &HeaderMap) -> bool {
    headers.get(PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// The root of the URL that was asked of `host`, as the original gogeta gave it: from what the proxy before us
/// says, trusted or not, for whoever asks for this header has one there. The port is left out where it is the scheme's own.
pub fn url_root(headers: &HeaderMap, host: &HeaderValue) -> Option<HeaderValue> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = crate::routes::host::parse(host.to_str().ok()?).ok()?;
    let proto = if came_by_https(headers) { "https" } else { "http" };
    let given = text(PORT).and_then(|port| port.parse().ok());
    let root = match (proto, given.or(host.port)) {
        (_, None) | ("https", Some(443)) | ("http", Some(80)) => format!("{proto}://{}/", host.host),
        (_, Some(port)) => format!("{proto}://{}:{port}/", host.host),
    };
    HeaderValue::from_str(&root).ok()
}
