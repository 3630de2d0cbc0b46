//! Whatever passes the gate, the parsers behind it take for what the gate took it for, in whatever parts it came.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const LIMITS: ResponseLimits = ResponseLimits { head: 1024, fields: 10 };

/// What became of a response.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// What passed.
    passed: Vec<u8>,
    interims: Vec<Vec<u8>>,
    surplus: usize,
    refused: bool,
    /// Whether it would be whole if the connection ended here.
    whole: bool,
}

/// Judges the parts one after the other.
fn judge<'a>(parts: impl IntoIterator<Item = &'a [u8]>, head: bool) -> Outcome {
    let mut gate = ResponseGate::new(LIMITS);
    gate.expect(Asked { head, upgrade: false });
    let mut outcome = Outcome::default();
    for mut bytes in parts {
        while !bytes.is_empty() && !outcome.refused {
            let Ok((count, piece)) = gate.take(bytes) else {
                outcome.refused = true;
                break;
            };
            match piece {
                Piece::Part => outcome.passed.extend_from_slice(&bytes[..count]),
                Piece::Head(head) => outcome.passed.extend_from_slice(&head),
                Piece::Interim(head) => outcome.interims.push(head),
                Piece::Held => {}
                Piece::Surplus => outcome.surplus += count,
            }
            bytes = &bytes[count..];
        }
    }
    outcome.whole = !outcome.refused && matches!(gate.state, State::Idle | State::UntilClose);
    outcome
}

/// A response as a parser sees it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    fields: usize,
    body: Vec<u8>,
}

/// hyper's opinion of these bytes and the connection's end behind them; `None` if they are no whole response.
fn by_hyper(bytes: &[u8], head: bool) -> Option<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(ours)).await.expect("a connection");
        let method = if head { "HEAD" } else { "GET" };
        let request = http::Request::builder().method(method).uri("/").body(Empty::<Bytes>::new());
        let upstream = async move {
            let mut asked = [0; 1024];
            let mut count = 0;
            while !asked[..count].ends_with(b"\r\n\r\n") {
                count += theirs.read(&mut asked[count..]).await.expect("to read");
            }
            theirs.write_all(bytes).await.expect("to write");
            drop(theirs);
        };
        let client = async move {
            let response = sender.send_request(request.expect("a request")).await.ok()?;
            let (status, fields) = (response.status().as_u16(), response.headers().len());
            let body = response.into_body().collect().await.ok()?.to_bytes().to_vec();
            Some(Seen { status, fields, body })
        };
        let (_, (), seen) = tokio::join!(connection, upstream, client);
        seen
    })
}

/// The same by httparse and a few lines: the head's fields, and a body that is delimited as they say.
fn by_httparse(bytes: &[u8], head: bool) -> Option<Seen> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(end)) = response.parse(bytes) else { return None };
    let status = response.code?;
    let named = |name: &str| {
        let mut fields = response.headers.iter();
        fields.find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    };
    let (mut rest, mut body) = (&bytes[end..], Vec::new());
    if head || status == 204 || status == 304 {
    } else if named("transfer-encoding").is_some() {
        loop {
            let Ok(httparse::Status::Complete((at, size))) = httparse::parse_chunk_size(rest) else {
                return None;
            };
            rest = &rest[at..];
            if size == 0 {
                break;
            }
            let size = usize::try_from(size).ok()?;
            let (data, behind) = rest.split_at_checked(size)?;
            body.extend_from_slice(data);
            rest = behind.strip_prefix(b"\r\n")?;
        }
        let mut trailers = [httparse::EMPTY_HEADER; 32];
        let Ok(httparse::Status::Complete((at, _))) = httparse::parse_headers(rest, &mut trailers) else {
            return None;
        };
        rest = &rest[at..];
    } else if let Some(length) = named("content-length") {
        let length = std::str::from_utf8(length).ok()?.parse().ok()?;
        let (data, behind) = rest.split_at_checked(length)?;
        (body, rest) = (data.to_vec(), behind);
    } else {
        (body, rest) = (rest.to_vec(), b"");
    }
    rest.is_empty().then_some(Seen { status, fields: response.headers.len(), body })
}

/// Bytes that look like a response, whole or spoilt.
fn any_response() -> impl Strategy<Value = Vec<u8>> {
    let interims = prop_oneof![
        8 => Just(""),
        1 => Just("HTTP/1.1 100 Continue\r\n\r\n"),
        1 => Just("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        1 => Just("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello"),
    ];
    let line = prop_oneof![
        8 => Just("HTTP/1.1 200 OK\r\n"),
        1 => Just("HTTP/1.0 200 OK\r\n"),
        1 => Just("HTTP/1.1 200\r\n"),
        1 => Just("HTTP/1.1 204 No Content\r\n"),
        1 => Just("HTTP/1.1 304 Not Modified\r\n"),
        1 => Just("HTTP/1.1 101 Switching Protocols\r\n"),
    ];
    let field = prop_oneof![
        4 => Just("Content-Length: 5\r\n".to_owned()),
        4 => Just("Transfer-Encoding: chunked\r\n".to_owned()),
        1 => Just("Content-Length: 0\r\n".to_owned()),
        1 => Just("Content-Length: 10\r\n".to_owned()),
        1 => Just("Connection: close\r\n".to_owned()),
        1 => Just("Connection: keep-alive\r\n".to_owned()),
        1 => Just("Trailer: X\r\n".to_owned()),
        1 => Just("Upgrade: x\r\n".to_owned()),
        1 => Just("X: \u{e4}\r\n".to_owned()),
        1 => "[A-Za-z -]{0,3}:?[ -~\t]{0,8}\r?\n",
    ];
    let body = prop_oneof![
        4 => Just("hello".to_owned()),
        4 => Just("5\r\nhello\r\n".to_owned()),
        4 => Just("0\r\n\r\n".to_owned()),
        1 => Just("00A;x=\"y\"\r\n0123456789\r\n".to_owned()),
        1 => Just("0\r\nX: 1\r\n\r\n".to_owned()),
        4 => "5[ ;\r]{0,1}\r?\nhello[!\r]{1,2}[!\n]{0,1}0\r\n\r\n",
        1 => Just("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned()),
        1 => "[0-9a-f ;x\r\n]{0,8}",
    ];
    let fields = prop::collection::vec(field, 0..3).prop_map(|fields| fields.concat());
    let bodies = prop::collection::vec(body, 0..4).prop_map(|parts| parts.concat());
    let spoil = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (interims, line, fields, bodies, spoil).prop_map(|(interims, line, fields, body, spoil)| {
        let mut bytes = format!("{interims}{line}{fields}\r\n{body}").into_bytes();
        if let Some((at, byte)) = spoil {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// However the bytes are cut into reads, the same ones pass.
    #[test]
    fn cuts_do_not_matter(
        bytes in any_response(),
        head in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let whole = judge([&*bytes], head);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let parts: Vec<&[u8]> = std::iter::once(0).chain(cuts.iter().copied()).zip(ends).map(|(a, b)| &bytes[a..b]).collect();
        let parts = judge(parts, head);
        if whole.refused {
            // What is known to be bad at its end only has passed up to there.
            prop_assert!(parts.refused && parts.passed.starts_with(&whole.passed), "{whole:?} {parts:?}");
            prop_assert_eq!(parts.interims, whole.interims);
        } else {
            prop_assert_eq!(parts, whole);
        }
    }

    /// What passes is the same response to every parser, if it is one; and what was refused on its way never looks
    /// whole, whatever of it has passed.
    #[test]
    fn parsers_agree(bytes in any_response(), head in any::<bool>(), bytewise in any::<bool>()) {
        let outcome = judge(bytes.chunks(if bytewise { 1 } else { bytes.len() }), head);
        let (by_hyper, by_httparse) = (by_hyper(&outcome.passed, head), by_httparse(&outcome.passed, head));
        prop_assert_eq!(by_hyper.is_some(), outcome.whole, "{:?} of {:?}", outcome, by_hyper);
        prop_assert_eq!(by_hyper, by_httparse);
    }

    /// Nothing is lost or made up: what passes, what went another way and what came behind are all that came.
    #[test]
    fn nothing_is_lost(bytes in any_response(), head in any::<bool>()) {
        let outcome = judge([&*bytes], head);
        let told = [outcome.interims.concat(), outcome.passed].concat();
        prop_assert!(bytes.starts_with(&told));
        if outcome.whole {
            prop_assert_eq!(told.len() + outcome.surplus, bytes.len());
        }
    }
}
