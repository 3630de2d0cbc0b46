//! Origins that break the rules in a body, or behind it: their clients see a visible cut, and nobody sees what nobody
//! asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::support::backend::{Backend, ok, service};
use crate::support::client::Client;
use crate::support::origin::Want::{Again, Cut, Once};
use crate::support::origin::{Ask, CHUNKED, POISON, Row, Then, before, serve, try_all};
use crate::support::wait::until;

fn lines(line: &str, count: usize) -> String {
    format!("{line}\r\n").repeat(count)
}

#[tokio::test]
async fn broken_chunks() {
    let broken = [
        "zz\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "\r\n\r\n",
        ";a\r\nhello\r\n0\r\n\r\n",
        "5g\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFF\r\nhello",
        "5;a\0b\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
    ];
    let mut rows: Vec<Row> =
        broken.iter().map(|rest| Row::new(format!("{CHUNKED}4\r\nhalf\r\n{rest}"), Cut("half"))).collect();
    let long = "a".repeat(5000);
    rows.push(Row::new(format!("{CHUNKED}4\r\nhalf\r\n5;{long}\r\nhello\r\n0\r\n\r\n"), Cut("half")));
    let many = format!("1;{}\r\nx\r\n", "a".repeat(1000)).repeat(10);
    rows.push(Row::new(format!("{CHUNKED}{many}0\r\n\r\n"), Cut("xxxx")));
    // Where the data of a chunk does not end with it.
    for rest in [
        "\n5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "\r5\r\nhello\r\n0\r\n\r\n",
        "!\r\n0\r\n\r\n",
    ] {
        rows.push(Row::new(format!("{CHUNKED}4\r\nhalf{rest}"), Cut("half")));
    }
    rows.extend([
        Row::new(format!("{CHUNKED}4;a=\"b\"\r\nhalf\r\n00\r\n\r\n"), Again(200, "half")),
        Row::new(format!("{CHUNKED}0000000000000004\r\nhalf\r\n0\r\n\r\n"), Again(200, "half")),
        Row::new(
            format!("{CHUNKED}A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n"),
            Again(200, "01234567890123456789a"),
        ),
        Row::new(format!("{CHUNKED}0\r\n\r\n"), Again(200, "")),
    ]);
    try_all(rows).await;
}

#[tokio::test]
async fn broken_trailers() {
    let many = lines("X-A: 1", 101);
    let long = format!("X-A: {}\r\n", "a".repeat(66 << 10));
    let broken = [
        "X-A\r\n\r\n",
        "X-A : 1\r\n\r\n",
        ": 1\r\n\r\n",
        "X A: 1\r\n\r\n",
        "X-A: a\0b\r\n\r\n",
        "X-A: a\rb\r\n\r\n",
        "X-A: a\r\n b\r\n\r\n",
        " X-A: 1\r\n\r\n",
        "X-A: 1\n\r\n",
        "X-A: 1\r\n\n",
        "\n",
        &(many + "\r\n"),
        &(long + "\r\n"),
    ];
    let mut rows: Vec<Row> = broken
        .iter()
        .map(|rest| Row::new(format!("{CHUNKED}4\r\nhalf\r\n0\r\n{rest}"), Cut("half")))
        .collect();
    // What is not nominated does not go on (RFC 9110, 6.5.1), and does no harm either.
    rows.push(Row::new(format!("{CHUNKED}4\r\nhalf\r\n0\r\nX-A: 1\r\nX-B:\r\n\r\n"), Again(200, "half")));
    rows.push(Row::new(format!("{CHUNKED}4\r\nhalf\r\n0\r\nContent-Length: 9\r\n\r\n"), Again(200, "half")));
    try_all(rows).await;
}

#[tokio::test]
async fn truncated_bodies() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let whole = [
        (length, "", ""),
        (length, "half", "half"),
        (length, "012345678", "012345678"),
        (CHUNKED, "", ""),
        (CHUNKED, "4\r\nhalf\r\n", "half"),
        (CHUNKED, "4\r\nhalf", "half"),
        (CHUNKED, "A\r\nhalf", "half"),
        (CHUNKED, "4\r\nhalf\r\nA", "half"),
        (CHUNKED, "4\r\nhalf\r\n0", "half"),
        (CHUNKED, "4\r\nhalf\r\n0\r\n", "half"),
        (CHUNKED, "4\r\nhalf\r\n0\r\nX-A: 1\r\n", "half"),
        (CHUNKED, "4\r\nhalf\r\n0\r\n\r", "half"),
    ];
    let mut rows = Vec::new();
    for (head, body, got) in whole {
        for then in [Then::Close, Then::Reset] {
            rows.push(Row::new(head.to_owned() + body, Cut(got)).then(then));
        }
    }
    // An end that only a close tells of is none if it is a reset.
    rows.push(Row::new("HTTP/1.1 200 OK\r\n\r\nhalf", Cut("half")).then(Then::Reset));
    rows.push(Row::new("HTTP/1.0 200 OK\r\n\r\nhalf", Cut("half")).then(Then::Reset));
    try_all(rows).await;
}

#[tokio::test]
async fn more_than_was_promised() {
    let mut rows = Vec::new();
    for surplus in [POISON, "x", "\r\n", "\n", "\0", "0\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        rows.extend([
            Row::new(ok("hello") + surplus, Once(200, "hello")),
            Row::new(ok("hello") + surplus, Once(200, "hello")).then(Then::Close),
            Row::new(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{surplus}"), Once(200, "")),
            Row::new(format!("{CHUNKED}5\r\nhello\r\n0\r\n\r\n{surplus}"), Once(200, "hello")),
            Row::new(format!("HTTP/1.1 204 No Content\r\n\r\n{surplus}"), Once(204, "")),
            Row::new(
                format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n{surplus}"),
                Once(304, ""),
            ),
        ]);
        rows.push(Row::new(format!("{}{surplus}", ok("hello")), Once(200, "")).asked(Ask::Head));
        rows.push(Row::new(format!("{}{surplus}", ok("")), Once(200, "")).asked(Ask::Head));
    }
    // Enough of it to fill more than one buffer.
    rows.push(Row::new(ok("hello") + &POISON.repeat(5000), Once(200, "hello")));
    try_all(rows).await;
}

#[tokio::test]
async fn connections_that_end() {
    let body = "Content-Length: 5\r\n\r\nhello";
    let rows = [
        Row::new(format!("HTTP/1.0 200 OK\r\n{body}"), Once(200, "hello")),
        Row::new(format!("HTTP/1.0 200 OK\r\n{body}"), Once(200, "hello")).then(Then::Close),
        Row::new(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{body}"), Once(200, "hello")),
        Row::new(format!("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n{body}"), Once(200, "hello")),
        Row::new(
            format!("HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: close\r\n{body}"),
            Once(200, "hello"),
        ),
        Row::new("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", Once(204, "")),
        Row::new("HTTP/1.1 200 OK\r\n\r\nhello", Once(200, "hello")).then(Then::Close),
        Row::new("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhello", Once(200, "hello"))
            .then(Then::Close),
        Row::new(format!("HTTP/1.1 200 OK\r\n\r\n{POISON}"), Once(200, POISON)).then(Then::Close),
        Row::new("HTTP/1.0 200 OK\r\n\r\nhello", Once(200, "hello")).then(Then::Close),
        Row::new("HTTP/1.0 200 OK\r\n\r\n", Once(200, "")).then(Then::Close),
        Row::new("HTTP/1.1 200 OK\r\n\r\nhello", Once(200, "hello")).then(Then::Close).asked(Ask::Old),
    ];
    try_all(rows).await;
}

/// An origin that answers well, and says this when told to, on the idle connection.
async fn talkative(surplus: &'static str, tell: Arc<Notify>) -> Backend {
    let first = Arc::new(AtomicBool::new(true));
    Backend::scripted(move |mut peer| {
        let (tell, first) = (tell.clone(), first.swap(false, Ordering::SeqCst));
        async move {
            if first {
                peer.request().await;
                peer.send(ok("clean")).await.expect("to send");
                tell.notified().await;
                peer.send(surplus).await.expect("to send");
                peer.note(1);
            }
            serve(peer, if first { "reused" } else { "clean" }).await;
        }
    })
    .await
}

#[tokio::test]
async fn what_an_idle_connection_says_is_nobodys_answer() {
    for surplus in
        [POISON, "x", "\r\n", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", "HTTP/1.1 1"]
    {
        let tell = Arc::new(Notify::new());
        let backend = talkative(surplus, tell.clone()).await;
        let gogeta = before(&service("a.test", &[backend.port])).start().await;
        let mut client = Client::connect(gogeta.proxy).await;
        assert_eq!(client.get("a.test", "/").await.text(), "clean");
        tell.notify_one();
        until("it to be said", async || (backend.noted() == 1).then_some(())).await;
        // An upload is not sent twice, and need not be: it was not sent at all.
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody").await;
        let reply = client.reply().await;
        assert_eq!((reply.status, &*reply.text()), (200, "clean"), "{surplus:?}");
        assert_eq!((backend.connections(), backend.count()), (2, 2), "{surplus:?}");
        backend.open(1).await;
    }
}

#[tokio::test]
async fn an_idle_connection_that_says_something_is_closed() {
    let tell = Arc::new(Notify::new());
    let backend = talkative(POISON, tell.clone()).await;
    let gogeta = before(&service("a.test", &[backend.port])).start().await;
    assert_eq!(Client::connect(gogeta.proxy).await.get("a.test", "/").await.text(), "clean");
    tell.notify_one();
    backend.open(0).await;
}

#[tokio::test]
async fn one_who_knows_no_chunks_sees_a_cut_too() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.request().await;
        let _ = peer.send(format!("{CHUNKED}4\r\nhalf\r\n")).await;
    })
    .await;
    let gogeta = before(&service("a.test", &[backend.port])).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    // Where only the end of the connection ends a body, a reset is all that tells of a cut.
    let error = client.try_reply().await.expect_err("it looks whole");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
