//! Requests that nobody thought of: valid ones of all kinds, and such as are slightly broken.

use super::message::{Message, latin};
use crate::support::random::Random;

const TOKEN: &[u8] = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// RFC 3986: what a path has, besides `%` and slashes.
const PATH: &[u8] = b"abcxyzABCXYZ0189-._~!$&'()*+,;=:@////";
const METHODS: [&str; 14] = [
    "GET",
    "GET",
    "GET",
    "HEAD",
    "POST",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "PROPFIND",
    "M-SEARCH",
    "get",
    "!#$%&'*+-.^_`|~",
];

/// A valid request for `domain`, and what it means.
pub(super) fn valid(random: &mut Random, domain: &str) -> (Vec<u8>, Message) {
    let old = random.once_in(12);
    let host = host(random, domain);
    let path = target(random);
    let method = random.of(&METHODS);
    let (target, meant) = match random.below(10) {
        // OPTIONS without a path is about the whole server (RFC 9112, 3.2.4).
        2 | 3 if method == "OPTIONS" => (path, host.clone()),
        0 => (format!("http://{host}{path}"), host.clone()),
        1 => (format!("https://{host}{path}"), "else.test".to_owned()),
        2 => (format!("http://{host}"), "else.test".to_owned()),
        3 => (format!("http://{host}?a=/?"), host.clone()),
        _ => (path, host.clone()),
    };
    let mut message = Message {
        method: method.to_owned(),
        target,
        version: if old { "1.0" } else { "1.1" }.to_owned(),
        ..Message::default()
    };
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = vec![(b"Host".to_vec(), meant.into_bytes())];
    let count = if random.once_in(20) { 60 + random.below(30) } else { random.below(8) };
    fields.extend((0..count).map(|_| field(random)));
    if random.once_in(5) {
        fields.extend(known(random));
    }
    let (body, wire) = body(random, old, &mut fields);
    // Anywhere among the others.
    let at = random.below(fields.len());
    fields.rotate_left(at);

    let mut raw = if random.once_in(30) { b"\r\n".to_vec() } else { vec![] };
    raw.extend(format!("{} {} HTTP/{}\r\n", message.method, message.target, message.version).bytes());
    for (name, value) in fields {
        let spaces: [&str; 6] = ["", " ", " ", " ", "\t", " \t  "];
        let (before, behind) = (random.of(&spaces), random.of(&["", "", "", " ", "\t "]));
        raw.extend([&name[..], b":", before.as_bytes(), &value, behind.as_bytes(), b"\r\n"].concat());
        message.fields.push((latin(&name).to_ascii_lowercase(), latin(&value)));
    }
    raw.extend(b"\r\n");
    raw.extend(wire);
    message.body = latin(&body);
    (raw, message)
}

fn host(random: &mut Random, domain: &str) -> String {
    match random.below(8) {
        0 => domain.to_uppercase(),
        1 => format!("{domain}:80"),
        2 => format!("{domain}."),
        3 => format!("{domain}:8080"),
        _ => domain.to_owned(),
    }
}

fn target(random: &mut Random) -> String {
    let mut target = "/".to_owned();
    for _ in 0..random.below(12) {
        match random.below(6) {
            0 => target += random.of(&["%20", "%2F", "%00", "%0d%0a", "%ff", "%e4", "%25"]),
            1 => target += random.of(&["/../", "/./", "//", ";p=1", "*"]),
            _ => {
                let length = 1 + random.below(8);
                target += &latin(&text(random, PATH, length));
            }
        }
    }
    if random.once_in(3) {
        let length = random.below(12);
        target += &format!("?{}", latin(&text(random, b"abc123=&/?:@+!$'", length)));
    }
    target
}

fn field(random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let name = match random.below(3) {
        0 => {
            let length = 1 + random.below(20);
            text(random, TOKEN, length)
        }
        _ => random.of(&["Accept", "Cookie", "X-Repeated", "x-repeated", "Referer", "X"]).as_bytes().to_vec(),
    };
    (name, value(random))
}

/// RFC 9110, 5.5: visible, or beyond ASCII; blanks within.
fn value(random: &mut Random) -> Vec<u8> {
    let length = if random.once_in(40) { 400 } else { random.below(30) };
    let mut value: Vec<u8> = (0..length)
        .map(|_| match random.below(8) {
            0 => b" \t"[random.below(2)],
            1 => 0x80 + u8::try_from(random.below(0x80)).expect("it is small"),
            _ => b'!' + u8::try_from(random.below(94)).expect("it is small"),
        })
        .collect();
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    while blank(value.last()) {
        value.pop();
    }
    while blank(value.first()) {
        value.remove(0);
    }
    value
}

/// Fields that mean something on the way.
fn known(random: &mut Random) -> Vec<(Vec<u8>, Vec<u8>)> {
    let sets: [&[(&str, &str)]; 16] = [
        &[("Connection", "keep-alive"), ("Keep-Alive", "timeout=5")],
        &[("Connection", "x-gone, X"), ("X-Gone", "1"), ("X", "2")],
        &[("Connection", "x-gone"), ("connection", ",, host , via"), ("X-Gone", "1"), ("x-stays", "2")],
        &[("Connection", "close")],
        &[("TE", "trailers"), ("Connection", "TE")],
        &[("TE", "gzip;q=0.1, Trailers")],
        &[("Proxy-Connection", "keep-alive"), ("Proxy-Authorization", "Basic eA=="), ("Proxy", "http://x/")],
        &[("Connection", "Upgrade"), ("Upgrade", "websocket")],
        &[("Connection", "keep-alive, upgrade"), ("Upgrade", "odd/1.0"), ("Connection", "x-gone")],
        &[("Connection", "upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")],
        &[("Upgrade", "websocket")],
        &[("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https"), ("X-Real-IP", "1.2.3.4")],
        &[("X-Forwarded-Host", "evil.test"), ("X-Forwarded-Port", "1"), ("Forwarded", "for=1.2.3.4")],
        &[("Via", "1.1 a, 1.0 b (c)"), ("via", "HTTP/2 d")],
        &[("X_Forwarded_For", "1.2.3.4"), ("Connection", "close, x-forwarded-for")],
        &[("Expect", "100-continue")],
    ];
    let own = |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    random.of(&sets).iter().map(own).collect()
}

/// A body, and how it is on the wire; its framing is added to the fields.
fn body(random: &mut Random, old: bool, fields: &mut Vec<(Vec<u8>, Vec<u8>)>) -> (Vec<u8>, Vec<u8>) {
    let kind = random.below(5);
    if kind < 2 {
        return (vec![], vec![]);
    }
    let length = if random.once_in(6) { 0 } else { random.below(600) };
    let body: Vec<u8> = (0..length).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect();
    if kind == 2 || old {
        let zeros = "0".repeat(if random.once_in(5) { random.below(8) } else { 0 });
        fields.push((b"Content-Length".to_vec(), format!("{zeros}{length}").into_bytes()));
        return (body.clone(), body);
    }
    let coding = random.of(&["chunked", "Chunked", "CHUNKED"]);
    fields.push((b"transfer-encoding".to_vec(), coding.into()));
    let mut wire = Vec::new();
    let mut rest = &body[..];
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(1 + random.below(rest.len()));
        wire.extend(size(random, chunk.len()));
        wire.extend([chunk, b"\r\n"].concat());
        rest = behind;
    }
    wire.extend(size(random, 0));
    for _ in 0..if random.once_in(4) { random.below(4) } else { 0 } {
        wire.extend([b"X-Trailer: ", &value(random)[..], b"\r\n"].concat());
    }
    wire.extend(b"\r\n");
    (body, wire)
}

fn size(random: &mut Random, size: usize) -> Vec<u8> {
    let zeros = "0".repeat(if random.once_in(6) { random.below(5) } else { 0 });
    let size = if random.once_in(2) { format!("{size:x}") } else { format!("{size:X}") };
    let extensions = ["", "", "", ";a", ";a=b", ";a=\"b;\\\" c\"", ";a;b=c"];
    format!("{zeros}{size}{}\r\n", random.of(&extensions)).into_bytes()
}

/// Breaks a request in one to three places, or does not: what comes out may be valid.
pub(super) fn break_it(random: &mut Random, raw: &mut Vec<u8>) {
    for _ in 0..1 + random.below(3) {
        let head = raw.windows(4).position(|window| window == b"\r\n\r\n").map_or(raw.len(), |at| at + 4);
        // Most that can be misread is in the head.
        let end = if random.once_in(4) { raw.len() } else { head };
        if end < 4 {
            return;
        }
        let at = random.below(end);
        let line_ends: Vec<usize> =
            (1..head).filter(|at| &raw[at - 1..=*at] == b"\r\n").map(|at| at - 1).collect();
        let line_end = line_ends.get(random.below(line_ends.len().max(1))).copied().unwrap_or(at);
        match random.below(11) {
            0 => raw[at] = odd(random),
            1 => raw.insert(at, odd(random)),
            2 => drop(raw.remove(at)),
            3 => raw.truncate(at),
            4 => {
                let copy = raw[at..end.min(at + 1 + random.below(20))].to_vec();
                raw.splice(at..at, copy);
            }
            5 => drop(raw.remove(line_end)),
            6 => drop(raw.remove((line_end + 1).min(raw.len() - 1))),
            7 => {
                drop(raw.splice(
                    line_end..line_end,
                    random.of(&[&b"\r\n "[..], b" ", b"\r", b"\0"]).iter().copied(),
                ))
            }
            8 | 9 => {
                let nasty = random.of(&NASTY).as_bytes();
                let at = (line_end + 2).min(raw.len());
                raw.splice(at..at, [nasty, b"\r\n"].concat());
            }
            _ => {
                if let Some(digit) = raw[at..].iter().position(u8::is_ascii_digit) {
                    raw[at + digit] = b'0' + u8::try_from(random.below(10)).expect("a digit");
                }
            }
        }
    }
}

fn odd(random: &mut Random) -> u8 {
    let odd = b"\r\n\0\t \x0b\x0c\x1f\x7f\x80\xa0\xff:;,\"#\\/?%<>[]{}()09azAZ_";
    odd[random.below(odd.len())]
}

/// Lines on which parsers differ.
const NASTY: [&str; 26] = [
    "Content-Length: 5",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length: 0x5",
    "Content-Length:",
    "Content-Length : 5",
    "Content_Length: 5",
    "content-length: 18446744073709551617",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding : chunked",
    " Transfer-Encoding: chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: chunked;a=b",
    "Host: else.test",
    "Host: alpha.test, else.test",
    "Host:",
    "Connection: close, content-length, host",
    "Expect: 200-ok",
    ": empty",
    "No colon",
    "",
];

fn text(random: &mut Random, alphabet: &[u8], length: usize) -> Vec<u8> {
    (0..length).map(|_| alphabet[random.below(alphabet.len())]).collect()
}
