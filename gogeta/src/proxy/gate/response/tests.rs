//! Which responses pass, where they end, and what is behind their end.

use super::*;

const LIMITS: ResponseLimits = ResponseLimits { head: 1024, fields: 10 };
const GET: Asked = Asked { head: false, upgrade: false };
const HEAD: Asked = Asked { head: true, upgrade: false };
const UPGRADE: Asked = Asked { head: false, upgrade: true };

/// What came of bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    passed: String,
    interims: usize,
    surplus: usize,
    refused: Option<&'static str>,
    owed: bool,
}

/// Judges `raw`, `step` bytes at a time.
fn judge(raw: &[u8], asked: Asked, step: usize) -> Outcome {
    let mut gate = ResponseGate::new(LIMITS);
    gate.expect(asked);
    let mut outcome = Outcome::default();
    let mut passed = Vec::new();
    'all: for mut bytes in raw.chunks(step) {
        while !bytes.is_empty() {
            let (count, piece) = match gate.take(bytes) {
                Ok(taken) => taken,
                Err(refusal) => {
                    outcome.refused = Some(refusal.why);
                    break 'all;
                }
            };
            match piece {
                Piece::Part => passed.extend_from_slice(&bytes[..count]),
                Piece::Head(head) => passed.extend_from_slice(&head),
                Piece::Interim(_) => outcome.interims += 1,
                Piece::Held => {}
                Piece::Surplus => outcome.surplus += count,
            }
            bytes = &bytes[count..];
        }
    }
    outcome.passed = String::from_utf8_lossy(&passed).into_owned();
    outcome.owed = gate.is_owed();
    outcome
}

/// The same, however the bytes are cut.
fn judged(raw: &str, asked: Asked) -> Outcome {
    let whole = judge(raw.as_bytes(), asked, usize::MAX);
    for step in [1, 2, 3, 7] {
        let parts = judge(raw.as_bytes(), asked, step);
        let told = |outcome: &Outcome| (outcome.interims, outcome.surplus, outcome.refused.is_some());
        assert_eq!(told(&parts), told(&whole), "{raw:?} in steps of {step}");
        if whole.refused.is_none() {
            assert_eq!(parts, whole, "{raw:?} in steps of {step}");
        }
    }
    whole
}

#[test]
fn what_passes_whole() {
    let rows = [
        (GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (GET, "HTTP/1.1 200 \r\ncontent-length:0\r\n\r\n"),
        (GET, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
        (GET, "HTTP/1.1 999 \u{fc}ber\r\nX: \u{e4}\tb\r\nContent-Length: 0\r\n\r\n"),
        (GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n"),
        (GET, "HTTP/1.1 200 OK\r\n\r\nuntil the end"),
        (GET, "HTTP/1.0 200 OK\r\n\r\nuntil the end"),
        (GET, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        (GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
        (GET, "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        (HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (UPGRADE, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\0\x01anything"),
        (UPGRADE, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"),
    ];
    for (asked, raw) in rows {
        let passed = raw.to_owned();
        assert_eq!(judged(raw, asked), Outcome { passed, ..Outcome::default() });
    }
}

#[test]
fn what_is_behind_the_end_is_nobodys() {
    let rows = [
        (GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n\r\n"),
        (GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "\r\n"),
        (GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "x"),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n", "body"),
        (GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", "body"),
        (HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "body"),
    ];
    for (asked, raw, surplus) in rows {
        let outcome = judged(&format!("{raw}{surplus}"), asked);
        assert_eq!((&*outcome.passed, outcome.surplus), (raw, surplus.len()), "{raw:?}");
    }
    let mut idle = ResponseGate::new(LIMITS);
    assert_eq!(idle.take(b"HTTP/1.1 408 Too Late\r\n\r\n"), Ok((25, Piece::Surplus)));
}

#[test]
fn what_is_refused() {
    let fields = [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2, 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: +2",
        "Content-Length: -2",
        "Content-Length: 0x2",
        "Content-Length: 2a",
        "Content-Length: ",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "X",
        "X : y",
        ": y",
        "X: \0",
        "X: a\x0bb",
        "X\0: y",
        " X: y",
        "X: y\r\n z",
        "X: y\nY: z",
        "X: y\rY: z",
    ];
    for field in fields {
        let outcome = judged(&format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\nok"), GET);
        assert!(outcome.refused.is_some() && outcome.passed.is_empty(), "{field:?}: {outcome:?}");
    }
    let heads = [
        "<html>hello</html>\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "\0HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 103 Early Hints\r\n\r\n",
    ];
    for head in heads {
        let outcome = judged(head, GET);
        assert!(outcome.refused.is_some() && outcome.passed.is_empty(), "{head:?}: {outcome:?}");
    }
    let early = judged("HTTP/1.1 101 Switching Protocols\r\nContent-Length: 2\r\n\r\nok", UPGRADE);
    assert!(early.refused.is_some());
}

#[test]
fn broken_chunks_are_cut_where_they_break() {
    for bad in
        ["zz\r\n", "-1\r\nx", "0x1\r\nx", "\r\n", "11112222333344445\r\n", "1 \r\nx", "1\nx", "2\r\nabc"]
    {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
        let outcome = judged(&format!("{head}{bad}\r\n"), GET);
        assert!(outcome.refused.is_some() && outcome.passed.starts_with(head), "{bad:?}: {outcome:?}");
    }
}

#[test]
fn sizes() {
    let head = |field: String| judged(&format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 0\r\n\r\n"), GET);
    assert!(head(format!("X: {}\r\n", "x".repeat(900))).refused.is_none());
    assert!(head(format!("X: {}\r\n", "x".repeat(1000))).refused.is_some());
    assert!(head("X: y\r\n".repeat(9)).refused.is_none());
    assert!(head("X: y\r\n".repeat(10)).refused.is_some());
    let endless = judge("HTTP/1.1 200 OK\r\n".as_bytes(), GET, usize::MAX);
    assert_eq!(endless, Outcome { owed: true, ..Outcome::default() });
    assert!(
        judge(format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(1000)).as_bytes(), GET, 100)
            .refused
            .is_some()
    );
}

#[test]
fn interim_responses() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for count in [0, 1, INTERIMS] {
        let outcome = judged(&format!("{}{last}", hints.repeat(count)), GET);
        assert_eq!(outcome, Outcome { passed: last.to_owned(), interims: count, ..Outcome::default() });
    }
    let flood = judged(&format!("{}{last}", hints.repeat(INTERIMS + 1)), GET);
    assert!(flood.refused.is_some() && flood.passed.is_empty());
}

#[test]
fn what_is_owed() {
    let rows = [
        ("HTTP/1.1 2", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", true),
    ];
    for (raw, owed) in rows {
        assert_eq!(judged(raw, GET).owed, owed, "{raw:?}");
    }
}
