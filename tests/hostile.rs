//! Origins that break the rules of HTTP: their clients see a 502 or a visible cut, and nobody else sees anything.

use crate::support::backend::{Backend, ok, service};
use crate::support::client::Client;
use crate::support::origin::Want::{Again, Cut, Refused};
use crate::support::origin::{Ask, CHUNKED, POISON, Row, Then, before, try_all};

/// A 200 with these lines in its head, and the body "hello".
fn head(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\nhello")
}

/// The same with a length, so that the lines are all that could be wrong.
fn fields(lines: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", lines, b"\r\nhello"].concat()
}

/// Status lines, in a response with nothing else that could be wrong.
fn status(line: &str) -> String {
    format!("{line}\r\nContent-Length: 5\r\n\r\nhello")
}

fn lines(line: &str, count: usize) -> String {
    format!("{line}\r\n").repeat(count)
}

#[tokio::test]
async fn lengths() {
    let bad = [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nX-A: 1\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: -0\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5a\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: \"5\"\r\n",
        "Content-Length: five\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length: 00000000000000000005\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n",
    ];
    let mut rows: Vec<Row> = bad.iter().map(|lines| Row::new(head(lines), Refused)).collect();
    // It delimits nothing here, and is to be right all the same.
    let heads = ["Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: +5\r\n"];
    rows.extend(
        heads.map(|lines| Row::new(format!("HTTP/1.1 200 OK\r\n{lines}\r\n"), Refused).asked(Ask::Head)),
    );
    rows.extend(heads.map(|lines| Row::new(format!("HTTP/1.1 304 Not Modified\r\n{lines}\r\n"), Refused)));
    rows.extend([
        Row::new(head("content-length:\t5 \r\n"), Again(200, "hello")),
        Row::new(head("CONTENT-LENGTH:5\r\n"), Again(200, "hello")),
        Row::new(head("Content-Length: 005\r\n"), Again(200, "hello")),
        Row::new("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Again(200, "")),
    ]);
    try_all(rows).await;
}

#[tokio::test]
async fn codings() {
    let bad = [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked, identity",
        "chunked,",
        "identity",
        "xchunked",
        "\"chunked\"",
        "chunked;q=1",
        "\x0bchunked",
        "",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "identity\r\nTransfer-Encoding: chunked",
        "\r\n chunked",
    ];
    let body = "5\r\nhello\r\n0\r\n\r\n";
    let mut rows: Vec<Row> = Vec::new();
    for coding in bad {
        for version in ["1.1", "1.0"] {
            let head = format!("HTTP/{version} 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n");
            rows.push(Row::new(head + body, Refused));
        }
    }
    rows.extend([
        Row::new(format!("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"), Refused),
        Row::new(format!("{CHUNKED}{body}"), Again(200, "hello")),
        Row::new(
            format!("HTTP/1.1 200 OK\r\nTRANSFER-ENCODING:\tChunked \r\n\r\n{body}"),
            Again(200, "hello"),
        ),
    ]);
    try_all(rows).await;
}

#[tokio::test]
async fn status_lines() {
    let bad = [
        "HTTP/1.1 abc OK",
        "HTTP/1.1 20",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 -20 OK",
        "HTTP/1.1 20\u{b2} OK",
        "HTTP/1.1 000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 OK 200",
        "HTTP/1.1\t200\tOK",
        " HTTP/1.1 200 OK",
        "HTTP/2 200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1.10 200 OK",
        "HTTP/11 200 OK",
        "HTTP/1,1 200 OK",
        "HTTPS/1.1 200 OK",
        "http/1.1 200 OK",
        "ICY 200 OK",
        "200 OK",
        "OK",
        ": 200",
        "GET / HTTP/1.1",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\x07K",
        "HTTP/1.1 200 O\x7fK",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1\0 200 OK",
        "\0HTTP/1.1 200 OK",
        "\u{feff}HTTP/1.1 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "\nHTTP/1.1 200 OK",
        "\r\n\r\nHTTP/1.1 200 OK",
    ];
    let mut rows: Vec<Row> = bad.iter().map(|line| Row::new(status(line), Refused)).collect();
    let good = ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1 200 All is well\t, really", "HTTP/1.1 200 \u{e4}"];
    rows.extend(good.map(|line| Row::new(status(line), Again(200, "hello"))));
    rows.push(Row::new(status("HTTP/1.1 599 What?"), Again(599, "hello")));
    try_all(rows).await;
}

#[tokio::test]
async fn what_is_not_http() {
    let rows = [
        // HTTP/0.9 had no heads.
        Row::new("<html>hello</html>\n", Refused).then(Then::Close),
        Row::new("hello", Refused),
        Row::new("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03", Refused),
        Row::new("\0\0\0\0", Refused),
        Row::new("220 mail.example ESMTP\r\n", Refused),
        Row::new("SSH-2.0-OpenSSH_9.6\r\n", Refused),
        Row::new("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refused),
        Row::new("\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64", Refused),
        Row::new("\r\n\r\n\r\n\r\n", Refused),
        // Nothing, or not all of it.
        Row::new("", Refused).then(Then::Close),
        Row::new("", Refused).then(Then::Reset),
        Row::new("H", Refused).then(Then::Close),
        Row::new("H", Refused).then(Then::Reset),
        Row::new("HTTP/1.1 200 OK", Refused).then(Then::Close),
        Row::new("HTTP/1.1 200 OK\r\n", Refused).then(Then::Close),
        Row::new("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Refused).then(Then::Close),
        Row::new("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Refused).then(Then::Reset),
        Row::new("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r", Refused).then(Then::Close),
    ];
    try_all(rows).await;
}

#[tokio::test]
async fn field_lines() {
    let bad: [&[u8]; 27] = [
        b"X-A\r\n",
        b"X-A 1\r\n",
        b"X-A : 1\r\n",
        b"X-A\t: 1\r\n",
        b"Content-Type : text/plain\r\n",
        b": 1\r\n",
        b" : 1\r\n",
        b"X\0A: 1\r\n",
        b"X\x01A: 1\r\n",
        b"X(A): 1\r\n",
        b"X A: 1\r\n",
        b"X\xe9: 1\r\n",
        b"\"X\": 1\r\n",
        b"X-A: a\0b\r\n",
        b"X-A: \0\r\n",
        b"X-A: a\x0bb\r\n",
        b"X-A: a\x1bb\r\n",
        b"X-A: a\x7f\r\n",
        b"X-A: a\r\n b\r\n",
        b"X-A: a\r\n\tb\r\n",
        b"X-A: a\r\n \r\n",
        b"X-A: a\nX-B: b\r\n",
        b"X-A: a\n b\r\n",
        b"X-A: a\rb\r\n",
        b"X-A: a\rX-B: b\r\n",
        b"X-A: a\r\r\n",
        b"X\rA: 1\r\n",
    ];
    let mut rows: Vec<Row> = bad.iter().map(|lines| Row::new(fields(lines), Refused)).collect();
    rows.extend([
        // Folded, or ended by LF alone, from the first line on.
        Row::new("HTTP/1.1 200 OK\r\n X-A: 1\r\nContent-Length: 5\r\n\r\nhello", Refused),
        Row::new("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", Refused),
        Row::new("HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello", Refused),
        Row::new("HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\nhello", Refused),
        Row::new("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello", Refused),
        Row::new("HTTP/1.1 200 OK\rContent-Length: 5\r\rhello", Refused).then(Then::Close),
    ]);
    let good: [&[u8]; 8] = [
        b"",
        b"X-A: 1\r\n",
        b"X-A:1\r\n",
        b"X-A:\t1 2\t\r\n",
        b"X-A:\r\n",
        b"X-A: \xe4\xff\r\n",
        b"x_a!#$%&'*+.^`|~: (){}[]<>@\"\\\r\n",
        b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n",
    ];
    rows.extend(good.map(|lines| Row::new(fields(lines), Again(200, "hello"))));
    try_all(rows).await;
}

#[tokio::test]
async fn sizes_of_heads() {
    let long = |size: usize| format!("X-A: {}\r\n", "a".repeat(size));
    let rows = [
        Row::new(head(&(long(60 << 10) + "Content-Length: 5\r\n")), Again(200, "hello")),
        Row::new(head(&(long(66 << 10) + "Content-Length: 5\r\n")), Refused),
        Row::new(head(&(long(600 << 10) + "Content-Length: 5\r\n")), Refused),
        Row::new(head(&("Content-Length: 5\r\n".to_owned() + &long(600 << 10))), Refused),
        Row::new(
            head(&(lines(&format!("X-A: {}", "a".repeat(8000)), 75) + "Content-Length: 5\r\n")),
            Refused,
        ),
        Row::new(status(&format!("HTTP/1.1 200 {}", "a".repeat(600 << 10))), Refused),
        Row::new(format!("HTTP/1.1 200 OK\r\n{}: 1\r\n", "a".repeat(600 << 10)), Refused),
        Row::new(head(&(lines("X-A: 1", 99) + "Content-Length: 5\r\n")), Again(200, "hello")),
        Row::new(head(&(lines("X-A: 1", 100) + "Content-Length: 5\r\n")), Refused),
        Row::new(head(&(lines("X-A: 1", 5000) + "Content-Length: 5\r\n")), Refused),
    ];
    try_all(rows).await;
}

#[tokio::test]
async fn bodies_where_there_is_none() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let rows = [
        Row::new("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", Refused),
        Row::new("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Refused),
        Row::new("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Refused).asked(Ask::Head),
        Row::new(format!("HTTP/1.1 204 No Content\r\n{chunked}\r\n5\r\nhello\r\n0\r\n\r\n"), Refused),
        Row::new(format!("HTTP/1.1 204 No Content\r\n{chunked}\r\n0\r\n\r\n"), Refused),
        Row::new("HTTP/1.1 204 No Content\r\n\r\n", Again(204, "")),
        Row::new("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Again(204, "")),
        Row::new("HTTP/1.1 304 Not Modified\r\n\r\n", Again(304, "")),
        Row::new("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Again(304, "")),
        Row::new(format!("HTTP/1.1 304 Not Modified\r\n{chunked}\r\n"), Again(304, "")),
        Row::new("HTTP/1.1 200 OK\r\n\r\n", Again(200, "")).asked(Ask::Head),
        Row::new("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Again(200, "")).asked(Ask::Head),
        Row::new(CHUNKED, Again(200, "")).asked(Ask::Head),
    ];
    try_all(rows).await;
}

#[tokio::test]
async fn interim_responses() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let rows = [
        Row::new(early.to_owned() + &ok("hello"), Again(200, "hello")),
        Row::new(early.repeat(32) + &ok("hello"), Again(200, "hello")),
        Row::new(early.repeat(33) + &ok("hello"), Refused),
        Row::new("HTTP/1.1 100 Continue\r\n\r\n".repeat(33) + &ok("hello"), Refused),
        Row::new("HTTP/1.1 199 Other\r\n\r\n".repeat(5000), Refused),
        Row::new(
            "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello".to_owned() + &ok("hello"),
            Refused,
        ),
        Row::new(
            "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()
                + &ok("hello"),
            Refused,
        ),
        Row::new("HTTP/1.1 103 Early Hints\r\nX-A : 1\r\n\r\n".to_owned() + &ok("hello"), Refused),
        Row::new(early.to_owned() + "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Refused),
        Row::new(early, Refused).then(Then::Close),
        Row::new(early, Refused).then(Then::Reset),
        Row::new(early.to_owned() + "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Cut("half"))
            .then(Then::Close),
        Row::new(early.to_owned() + &ok("hello"), Again(200, "hello")).asked(Ask::Old),
        Row::new(early.to_owned() + "HTTP/1.1 304 Not Modified\r\n\r\n", Again(304, "")),
    ];
    try_all(rows).await;
}

#[tokio::test]
async fn switches_that_nobody_asked_for() {
    let switch = |fields: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
    let mut rows = vec![
        Row::new(switch("Connection: Upgrade\r\nUpgrade: test\r\n"), Refused),
        Row::new(switch("Connection: Upgrade\r\nUpgrade: test\r\n") + &ok("hello"), Refused),
        Row::new(switch(""), Refused),
        Row::new(switch("Connection: Upgrade\r\nUpgrade: h2c\r\n"), Refused),
        Row::new(switch("Connection: Upgrade\r\nUpgrade: test\r\n"), Refused).asked(Ask::Head),
        Row::new(ok("hello"), Again(200, "hello")).asked(Ask::Upgrade),
    ];
    let others = [
        "",
        "Connection: Upgrade\r\nUpgrade: other\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: test, other\r\n",
        "Connection: Upgrade\r\nUpgrade: test\r\nUpgrade: other\r\n",
        "Connection: Upgrade\r\nUpgrade: test\r\nContent-Length: 5\r\n",
        "Connection: Upgrade\r\nUpgrade: test\r\nTransfer-Encoding: chunked\r\n",
    ];
    rows.extend(others.map(|fields| Row::new(switch(fields) + "poison", Refused).asked(Ask::Upgrade)));
    try_all(rows).await;
}

#[tokio::test]
async fn a_request_behind_one_that_fails_gets_its_own_answer() {
    let backend = Backend::scripted(|mut peer| async move {
        while let Some(seen) = peer.request().await {
            let bad = seen.line().starts_with("GET /bad");
            let answer = if bad { format!("HTTP/1.1 abc OK\r\n\r\n{POISON}") } else { ok("clean") };
            let _ = peer.send(answer).await;
        }
    })
    .await;
    let gogeta = before(&service("a.test", &[backend.port])).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.send(["/1", "/bad", "/2", "/bad", "/3"].map(ask).concat()).await;
    for status in [200, 502, 200, 502, 200] {
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.whole), (status, true));
        assert!(status == 502 || reply.text() == "clean", "{reply:?}");
    }
    assert_eq!(backend.count(), 5);
}

#[tokio::test]
async fn all_interim_responses_arrive_and_none_where_they_are_not_known() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nContent-Length: 0\r\n\r\n".repeat(32);
    let backend = Backend::replying(&(hints + &ok("hello"))).await;
    let gogeta = before(&service("a.test", &[backend.port])).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        for _ in 0..32 {
            let hints = client.head().await.expect("an interim head");
            assert_eq!((hints.status, hints.header("content-length")), (103, None));
        }
        let head = client.head().await.expect("the final head");
        assert_eq!((head.status, client.take(5).await), (200, b"hello".to_vec()));
    }
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.head().await.expect("the only head").status, 200);
}

#[tokio::test]
async fn what_a_204_says_of_its_length_does_not_go_on() {
    let backend =
        Backend::replying("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX-A: \u{e4}\r\n\r\n").await;
    let gogeta = before(&service("a.test", &[backend.port])).start().await;
    let reply = Client::connect(gogeta.proxy).await.get("a.test", "/").await;
    assert_eq!(
        (reply.status, reply.header("content-length"), reply.header("x-a")),
        (204, None, Some("\u{e4}"))
    );
}

#[tokio::test]
async fn an_answer_to_head_keeps_the_length_that_it_tells_of() {
    let backend = Backend::replying("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
    let gogeta = before(&service("a.test", &[backend.port])).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(client.bodiless_reply().await.header("content-length"), Some("5"));
    }
    assert_eq!(backend.connections(), 1);
}
