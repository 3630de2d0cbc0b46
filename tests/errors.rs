//! Every error response is valid HTTP, ends the connection where the request is not clean, and its reason stands in
//! the log and in a counter.

use std::net::SocketAddr;

use http::StatusCode;

use crate::support::backend::{Backend, Peer, refusing, service};
use crate::support::client::{Client, get};
use crate::support::etcd::free_port;
use crate::support::gogeta::{Builder, Gogeta};
use crate::support::wait::until;

/// A request that must fail: its bytes, the status, the error's name among the counters, and whether the connection
/// goes on. In the log its reason has this text.
struct Row {
    raw: String,
    status: u16,
    kind: &'static str,
    keeps: bool,
    told: &'static str,
}

/// One whose connection ends.
fn closes(raw: impl Into<String>, status: u16, kind: &'static str, told: &'static str) -> Row {
    Row { raw: raw.into(), status, kind, keeps: false, told }
}

/// One whose connection goes on.
fn keeps(raw: impl Into<String>, status: u16, kind: &'static str, told: &'static str) -> Row {
    Row { raw: raw.into(), status, kind, keeps: true, told }
}

fn to(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn with(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
}

/// How often an error was counted.
async fn count(gogeta: &Gogeta, kind: &str) -> u64 {
    let metrics = get(gogeta.admin, "admin", "/metrics").await.text();
    let name = format!("gogeta_errors_total{{reason=\"{kind}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

/// Reads one response, and judges it: by a strict parser, and by rules of its own for what frames it.
async fn judged(client: &mut Client, row: &Row) {
    let raw = &row.raw;
    let head = client.take_until(b"\r\n\r\n").await.unwrap_or_else(|error| panic!("{raw:?}: {error}"));
    let shown = String::from_utf8(head.clone()).expect("an ASCII head");
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(&head).unwrap_or_else(|error| panic!("{raw:?}: {error}: {shown}"));
    assert_eq!(parsed, httparse::Status::Complete(head.len()), "{raw:?}: {shown}");
    assert_eq!((response.version, response.code), (Some(1), Some(row.status)), "{raw:?}: {shown}");
    let reason = StatusCode::from_u16(row.status).expect("a status").canonical_reason();
    assert_eq!(response.reason, reason, "{raw:?}");
    let all = |name: &str| -> Vec<&str> {
        let named = response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| std::str::from_utf8(field.value).expect("text")).collect()
    };
    assert_eq!(all("connection"), if row.keeps { vec![] } else { vec!["close"] }, "{raw:?}: {shown}");
    assert_eq!(all("transfer-encoding"), [""; 0], "{raw:?}: {shown}");
    let [length] = all("content-length")[..] else { panic!("{raw:?}: not one Content-Length: {shown}") };
    assert!(length.bytes().all(|byte| byte.is_ascii_digit()), "{raw:?}: {shown}");
    if row.status == 405 {
        assert!(all("allow").len() == 1, "RFC 9110, 15.5.6: {shown}");
    }
    if length != "0" {
        assert_eq!(
            (all("content-type").len(), all("cache-control")),
            (1, vec!["no-store"]),
            "{raw:?}: {shown}"
        );
        assert_eq!(all("x-gogeta-page").len(), 1, "{raw:?}: {shown}");
    }
    if !raw.starts_with("HEAD ") {
        client.take(length.parse().expect("a length")).await;
    }
}

/// Provokes each row on a connection of its own.
async fn provoke(gogeta: &Gogeta, rows: Vec<Row>) {
    for row in rows {
        let (counted, logged) = (count(gogeta, row.kind).await, gogeta.log().len());
        let mut client = Client::connect(gogeta.proxy).await;
        client.send(&row.raw).await;
        judged(&mut client, &row).await;
        if row.keeps {
            let reply = client.get("up.test", "/").await;
            assert_eq!((reply.status, &*reply.text()), (200, "up"), "the next request after {:?}", row.raw);
        } else {
            // Whatever else the client has to say, nobody listens.
            let _ = client.try_send(to("up.test")).await;
            assert_eq!(client.rest().await, b"", "behind the answer to {:?}", row.raw);
        }
        // hyper ends the connection by itself before it says that it could not parse.
        let what = format!("{} is counted for {:?}", row.kind, row.raw);
        let now =
            until(&what, async || Some(count(gogeta, row.kind).await).filter(|now| *now > counted)).await;
        assert_eq!(now, counted + 1, "{what}");
        let what = format!("{:?} is logged for {:?}", row.told, row.raw);
        until(&what, async || gogeta.log()[logged..].contains(row.told).then_some(())).await;
    }
}

fn debugging(builder: Builder) -> Builder {
    builder.args(["--log", "debug,hyper=info,mio=info"])
}

#[tokio::test]
async fn what_a_client_does_wrong_ends_its_connection() {
    let up = Backend::named("up").await;
    let routes = service("a.test", &[up.port]) + &service("up.test", &[up.port]);
    let flags =
        ["--max-head=1024", "--max-headers=10", "--max-target=64", "--max-body=100", "--connect=a.test:1"];
    let times = ["--head-timeout=1s", "--body-timeout=1s"];
    let gogeta = debugging(Gogeta::routes(&routes).args(flags).args(times)).start().await;
    let long = "a".repeat(1100);
    let rows = vec![
        closes("GET / HTTP/1.1\nHost: a.test\n\n", 400, "line", "a line ends without CR"),
        closes("G(T / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "line", "the method is not a token"),
        closes("GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", 505, "line", "the version is not supported"),
        closes("GET / HTTX\r\n\r\n", 400, "line", "the version is not one"),
        closes("GET /<> HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "line", "that is not allowed in one"),
        closes(
            "GET http://[::1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
            400,
            "client_parse",
            "the connection ended",
        ),
        closes(with("Bad : x\r\n"), 400, "field", "a field's name is not a token"),
        closes(with("A: b\r\n c\r\n"), 400, "field", "a field is folded"),
        closes(with("Content-Length: 1\r\nContent-Length: 1\r\n"), 400, "framing", "several Content-Length"),
        closes(with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400, "framing", "there are both"),
        closes(with("Transfer-Encoding: gzip\r\n"), 501, "framing", "the Transfer-Encoding is not chunked"),
        closes(with("Transfer-Encoding: chunked\r\n") + "x\r\n", 400, "chunk", "a chunk's size is not one"),
        closes(format!("GET /{long} HTTP/1.1\r\n\r\n"), 414, "size", "the target is too long"),
        closes(with(&format!("A: {long}\r\n")), 431, "size", "the head is too large"),
        closes(with(&"A: b\r\n".repeat(10)), 431, "size", "there are too many fields"),
        closes(with("Content-Length: 101\r\n"), 413, "size", "the body is too large"),
        closes(with("Transfer-Encoding: chunked\r\n") + "65\r\n", 413, "size", "the body is too large"),
        closes("GET / HTTP/1.1\r\n\r\n", 400, "host", "the request has no Host"),
        closes("HEAD / HTTP/1.1\r\n\r\n", 400, "host", "the request has no Host"),
        closes("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host", "more than one Host"),
        closes(to("a b"), 400, "host", "the host has a character"),
        closes(
            "TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            405,
            "method",
            "the method TRACE is not passed on",
        ),
        closes("CONNECT b.test:1 HTTP/1.1\r\nHost: b\r\n\r\n", 403, "not_allowed", "is not allowed"),
        closes("GET * HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "target", "the request's target has a form"),
        closes(with("Expect: x\r\n"), 417, "expectation", "cannot be met"),
        closes(with("Via: 1.1 gogeta, 1.1 gogeta\r\n"), 508, "circle", "the request runs in circles"),
        closes(with("Content-Length: 9\r\n") + "half", 408, "client_stalled", "did not come in time"),
        closes("GET / HTTP/1.1\r\nHost: a.te", 408, "client_timeout", "the client took too long"),
    ];
    provoke(&gogeta, rows).await;
    assert_eq!(up.count(), 0, "and nothing of it goes anywhere");
}

#[tokio::test]
async fn a_body_that_is_broken_on_its_way_is_the_clients_fault() {
    let backend = Backend::scripted(|mut peer: Peer| async move {
        peer.head().await;
        peer.ended().await;
    })
    .await;
    let routes = service("a.test", &[backend.port]);
    let gogeta = debugging(Gogeta::routes(&routes).arg("--max-body=100")).start().await;
    for (chunk, status, kind, told) in [
        ("x\r\n", 400, "chunk", "a chunk's size is not one"),
        ("65\r\n", 413, "size", "the body is too large"),
        // The client ends its side.
        ("", 400, "client_body", "the request's body is broken"),
    ] {
        let row = closes(with("Transfer-Encoding: chunked\r\n") + "4\r\nhalf\r\n", status, kind, told);
        let mut client = Client::connect(gogeta.proxy).await;
        let seen = backend.count();
        client.send(&row.raw).await;
        backend.seen(seen + 1).await;
        client.send(chunk).await;
        if chunk.is_empty() {
            client.half_close().await;
        }
        judged(&mut client, &row).await;
        assert_eq!(client.rest().await, b"", "{chunk:?}");
        assert_eq!(count(&gogeta, kind).await, 1);
        gogeta.log_has(told).await;
    }
}

/// The routes of an instance in each state that gets no requests.
fn states(port: u16) -> String {
    let state = |name: &str, current: &str, expected: &str| {
        let status = format!("status = {{ current = \"{current}\", expected = \"{expected}\" }}\n");
        service(&format!("{name}.test"), &[port]) + &status
    };
    state("starting", "starting", "started")
        + &state("passivated", "passivated", "passivated")
        + &state("stopped", "stopped", "stopped")
        + &state("error", "nonsense", "started")
}

#[tokio::test]
async fn what_is_not_there_is_told_and_a_clean_connection_goes_on() {
    let up = Backend::named("up").await;
    let missing = "[domains.\"missing.test\"]\ntype = \"service\"\nvalue = \"missing\"\n";
    let routes = service("up.test", &[up.port]) + &states(up.port) + missing;
    let gogeta = debugging(Gogeta::routes(&routes)).start().await;
    let unread = |host: &str, framing: &str| format!("POST / HTTP/1.1\r\nHost: {host}\r\n{framing}\r\n\r\n");
    let rows = vec![
        keeps(to("unknown.test"), 404, "unknown_domain", "there is no such domain"),
        keeps(
            "HEAD / HTTP/1.1\r\nHost: unknown.test\r\n\r\n",
            404,
            "unknown_domain",
            "there is no such domain",
        ),
        keeps(to("missing.test"), 500, "no_service", "which does not exist"),
        keeps(to("starting.test"), 503, "not_started", "is started"),
        keeps(to("passivated.test"), 503, "not_started", "is started"),
        keeps(to("stopped.test"), 503, "not_started", "is started"),
        keeps(to("error.test"), 500, "not_started", "is started"),
        // What was not read cannot be told from the next request.
        closes(unread("unknown.test", "Content-Length: 9"), 404, "unknown_domain", "there is no such domain"),
        closes(unread("stopped.test", "Transfer-Encoding: chunked"), 503, "not_started", "is started"),
        closes(
            "CONNECT up.test:1 HTTP/1.1\r\nHost: up.test\r\n\r\n",
            405,
            "method",
            "CONNECT is not passed on",
        ),
    ];
    provoke(&gogeta, rows).await;
    let legacy = debugging(Gogeta::routes(&routes).arg("--legacy-codes")).start().await;
    provoke(&legacy, vec![keeps(to("stopped.test"), 500, "not_started", "is started")]).await;
    // Without routes nobody is up to be asked next.
    let nowhere = ["--etcd-address".to_owned(), format!("http://127.0.0.1:{}", free_port())];
    let blind = debugging(Gogeta::bare().args(nowhere)).start().await;
    let unread = unread("a.test", "Content-Length: 9");
    provoke(&blind, vec![closes(unread, 503, "no_routes", "no routes have been read")]).await;
}

#[tokio::test]
async fn what_a_backend_does_wrong_ends_no_clean_connection() {
    let up = Backend::named("up").await;
    let (_socket, dead) = refusing();
    let answering = |answer: &'static str| {
        Backend::scripted(move |mut peer: Peer| async move {
            peer.request().await;
            let _ = peer.send(answer).await;
        })
    };
    let (garbage, switching) = (
        answering("nonsense\r\n\r\n").await,
        answering("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await,
    );
    let slow = Backend::scripted(|mut peer: Peer| async move {
        peer.request().await;
        peer.ended().await;
    })
    .await;
    // It hangs up with the body still on its way.
    let rude = Backend::scripted(|mut peer: Peer| async move {
        peer.head().await;
        peer.take(4).await;
        peer.reset();
    })
    .await;
    let routes = service("up.test", &[up.port])
        + &service("dead.test", &[dead])
        + &service("garbage.test", &[garbage.port])
        + &service("switching.test", &[switching.port])
        + &service("slow.test", &[slow.port])
        + &service("rude.test", &[rude.port]);
    let gogeta = debugging(Gogeta::routes(&routes).arg("--response-timeout=1s")).start().await;
    let post = |host: &str, length: usize, body: &str| {
        format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let rows = vec![
        keeps(to("dead.test"), 502, "connect", "cannot connect to"),
        keeps(to("garbage.test"), 502, "bad_response", "sent a bad response"),
        keeps(to("switching.test"), 502, "bad_response", "switched to a protocol"),
        keeps(to("slow.test"), 504, "response_timeout", "did not answer in time"),
        keeps(post("garbage.test", 5, "whole"), 502, "bad_response", "sent a bad response"),
        closes(post("rude.test", 9, "half"), 502, "broken", "broke the exchange off"),
        closes(post("dead.test", 9, "half"), 502, "connect", "cannot connect to"),
    ];
    provoke(&gogeta, rows).await;
}

#[tokio::test]
async fn one_too_many_is_told_so() {
    let gogeta =
        debugging(Gogeta::routes("").args(["--max-connections-per-client=1", "--threads=1"])).start().await;
    let mut first = Client::connect(gogeta.proxy).await;
    assert_eq!(first.get("a.test", "/").await.status, 404);
    // Closed at once: what is sent now would only reset the connection.
    let row = closes("", 429, "too_many", "too many connections from this address");
    let mut client = Client::connect(gogeta.proxy).await;
    judged(&mut client, &row).await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(count(&gogeta, row.kind).await, 1);
    gogeta.log_has(row.told).await;
}

#[tokio::test]
async fn an_instance_that_does_not_let_in_is_a_504() {
    // A listener whose queue is full lets nobody in.
    let (socket, port) = refusing();
    let _listener = socket.listen(0).expect("to listen");
    let mut queued = Vec::new();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let wait = std::time::Duration::from_millis(200);
    while let Ok(Ok(stream)) = tokio::time::timeout(wait, tokio::net::TcpStream::connect(address)).await {
        queued.push(stream);
    }
    let up = Backend::named("up").await;
    let routes = service("full.test", &[port]) + &service("up.test", &[up.port]);
    let gogeta = debugging(Gogeta::routes(&routes).arg("--connect-timeout=500ms")).start().await;
    let row = keeps(to("full.test"), 504, "connect_timeout", "cannot connect to");
    provoke(&gogeta, vec![row]).await;
}

#[tokio::test]
async fn nothing_is_answered_behind_the_last_response() {
    let gogeta = Gogeta::routes("").start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    let expecting = "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 200-ok\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{expecting}1\r\nx\r\n0\r\n\r\n\u{1}garbage\r\n\r\n")).await;
    let reply = client.reply().await;
    assert!(reply.status == 417 && !reply.keeps(), "{reply:?}");
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn an_answer_of_our_own_to_a_body_that_nobody_reads_is_the_last() {
    let gogeta = Gogeta::routes("").arg("--force-fw-ssl").start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nhalf").await;
    let reply = client.reply().await;
    assert!(reply.status == 301 && !reply.keeps(), "{reply:?}");
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn an_old_client_is_told_one_thing_about_its_connection() {
    let gogeta = Gogeta::routes("").start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("POST / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nExpect: 200-ok\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.all("connection")), (417, vec!["close"]));
    assert_eq!(client.rest().await, b"");
}
