//! CONNECT opens a tunnel to where its host is routed, if that is allowed, and to nowhere else.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::backend::{Backend, Peer, refusing, service, uri};
use crate::support::client::{Client, Reply, get};
use crate::support::gogeta::Gogeta;
use crate::support::tunnel::{self, reverse};
use crate::support::wait::until;

/// A backend that speaks no HTTP: it sends back what comes, and ends when that ends.
async fn echo(name: &'static str) -> Backend {
    Backend::scripted(move |mut peer: Peer| async move {
        if peer.send(name).await.is_ok() {
            tunnel::echo(peer).await;
        }
    })
    .await
}

fn ask(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// A client whose tunnel is open.
async fn open(gogeta: &Gogeta, target: &str) -> Client {
    let mut client = Client::connect(gogeta.proxy).await;
    client.send(ask(target)).await;
    tunnel(&mut client).await;
    client
}

/// Reads the answer that begins a tunnel.
async fn tunnel(client: &mut Client) {
    let head = client.head().await.expect("a head");
    assert_eq!(head.status, 200, "{head:?}");
    // RFC 9110, 9.3.6: nothing frames what follows.
    for name in ["content-length", "transfer-encoding", "connection"] {
        assert_eq!(head.header(name), None, "{head:?}");
    }
}

/// The answer to a CONNECT that gets no tunnel: the connection ends with it, whatever the client had sent along.
async fn refused(gogeta: &Gogeta, raw: &str) -> Reply {
    let mut client = Client::connect(gogeta.proxy).await;
    client.send(format!("{raw}GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
    let reply = client.reply().await;
    assert!(reply.whole && !reply.keeps(), "{raw}: {reply:?}");
    assert_eq!(client.rest().await, b"", "{raw}");
    reply
}

#[tokio::test]
async fn without_leave_there_is_no_tunnel() {
    let backend = echo("").await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    let reply = refused(&gogeta, &ask("a.test:80")).await;
    assert_eq!(reply.status, 405);
    assert!(reply.header("allow").is_some_and(|allow| !allow.contains("CONNECT")), "{reply:?}");
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn a_tunnel_leads_to_the_instances_in_turn_and_to_fixed_places() {
    let (one, two, fixed) = (echo("one").await, echo("two").await, echo("fix").await);
    // An https target is connected to as it is: TLS is what the client speaks through the tunnel.
    let uris = uri("uri.test", &format!("http://127.0.0.1:{}/base", fixed.port))
        + &uri("tls.test", &format!("https://127.0.0.1:{}/", fixed.port));
    let gogeta = Gogeta::routes(&(service("a.test", &[one.port, two.port]) + &uris))
        .args(["--connect", "a.test:443,*.test:22", "--force-fw-ssl"])
        .start()
        .await;
    for (target, name) in [
        ("a.test:443", "one"),
        ("A.TEST:443", "two"),
        ("a.test:22", "one"),
        ("uri.test:22", "fix"),
        ("tls.test:22", "fix"),
    ] {
        let mut client = open(&gogeta, target).await;
        assert_eq!(client.take(3).await, name.as_bytes(), "{target}");
        client.send("\0\r\n\r\n\x01").await;
        assert_eq!(client.take(6).await, b"\0\r\n\r\n\x01", "{target}");
        client.half_close().await;
        assert_eq!(client.rest().await, b"", "{target}");
    }
    assert_eq!((one.connections(), two.connections(), fixed.connections()), (2, 1, 2));
}

#[tokio::test]
async fn what_the_client_sends_ahead_is_the_tunnels_first() {
    let backend = echo("").await;
    let gogeta =
        Gogeta::routes(&service("a.test", &[backend.port])).args(["--connect", "a.test:1"]).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    // What looks like a request in a tunnel is none.
    let first = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    client.send(ask("a.test:1") + first).await;
    tunnel(&mut client).await;
    assert_eq!(client.take(first.len()).await, first.as_bytes());
}

#[tokio::test]
async fn each_side_may_end_its_half() {
    // The client first: all of what it has said comes back.
    let backend = Backend::scripted(reverse).await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).args(["--connect", "*:*"]).start().await;
    let mut client = open(&gogeta, "a.test:1").await;
    client.send("abc").await;
    client.half_close().await;
    assert_eq!(client.rest().await, b"cba");

    // The backend first: it still hears the client.
    let backend = Backend::scripted(|mut peer: Peer| async move {
        peer.send("over").await.expect("to send");
        peer.half_close().await;
        let heard = peer.take(4).await.expect("the client's word");
        peer.note(usize::from(heard == b"last"));
    })
    .await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).args(["--connect", "*:*"]).start().await;
    let mut client = open(&gogeta, "a.test:1").await;
    assert_eq!(client.rest().await, b"over");
    client.send("last").await;
    until("the backend has heard it", async || (backend.noted() == 1).then_some(())).await;
    drop(client);
    backend.open(0).await;
}

#[tokio::test]
async fn whoever_gets_no_tunnel_gets_a_page_and_no_second_request() {
    let (_socket, dead) = refusing();
    let alive = echo("").await;
    let stopped = service("stopped.test", &[alive.port])
        + "status = { current = \"stopped\", expected = \"stopped\", alive = \"\" }\n";
    let routes = service("a.test", &[alive.port]) + &service("dead.test", &[dead]) + &stopped;
    let gogeta =
        Gogeta::routes(&routes).args(["--connect", "*.test:443", "--connect", "a.test:*"]).start().await;
    let rows = [
        ("a.test:443 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0", 400, "framing"),
        ("a.test:443 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99", 400, "framing"),
        ("a.test:443 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0", 400, "framing"),
        ("a.test HTTP/1.1\r\nHost: a.test", 400, "target"),
        ("a.test:0 HTTP/1.1\r\nHost: a.test", 400, "target"),
        ("/ HTTP/1.1\r\nHost: a.test", 400, "target"),
        ("http://a.test:443/ HTTP/1.1\r\nHost: a.test", 400, "target"),
        ("u:p@a.test:443 HTTP/1.1\r\nHost: a.test", 400, "host"),
        ("a.test:443 HTTP/1.1", 400, "host"),
        ("a.test:443 HTTP/1.1\r\nHost: a b", 400, "host"),
        ("a.test:443 HTTP/1.1\r\nHost: a.test\r\nHost: a.test", 400, "host"),
        ("a.test:443 HTTP/1.1\r\nHost: a.test\r\nExpect: x", 417, "expectation"),
        ("dead.test:80 HTTP/1.1\r\nHost: dead.test", 403, "not_allowed"),
        ("127.0.0.1:443 HTTP/1.1\r\nHost: a.test", 403, "not_allowed"),
        ("unknown.test:443 HTTP/1.1\r\nHost: a.test", 404, "unknown_domain"),
        ("dead.test:443 HTTP/1.1\r\nHost: a.test", 502, "connect"),
        ("stopped.test:443 HTTP/1.1\r\nHost: a.test", 503, "not_started"),
    ];
    let mut counts = std::collections::BTreeMap::new();
    for (head, status, kind) in rows {
        let reply = refused(&gogeta, &format!("CONNECT {head}\r\n\r\n")).await;
        assert_eq!(reply.status, status, "{head}: {reply:?}");
        *counts.entry(kind).or_insert(0) += 1;
    }
    assert_eq!(alive.connections(), 0);
    let metrics = get(gogeta.admin, "admin", "/metrics").await.text();
    for (kind, count) in counts {
        let line = format!("gogeta_errors_total{{reason=\"{kind}\"}} {count}");
        assert!(metrics.contains(&line), "{line}:\n{metrics}");
    }
}

#[tokio::test]
async fn where_one_instance_is_dead_a_tunnel_leads_to_another() {
    let (_socket, dead) = refusing();
    let alive = echo("alive").await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("access.log");
    let gogeta = Gogeta::routes(&service("a.test", &[dead, alive.port]))
        .args(["--connect", "a.test:*", "--access-log-format", "json", "--access-log"])
        .arg(&file)
        .start()
        .await;
    let mut client = open(&gogeta, "a.test:5").await;
    assert_eq!(client.take(5).await, b"alive");
    client.send("0123456789").await;
    assert_eq!(client.take(10).await, b"0123456789");
    drop(client);
    let line = until("the tunnel is logged", async || {
        std::fs::read_to_string(&file).ok().filter(|log| !log.is_empty())
    })
    .await;
    let line: Value = serde_json::from_str(&line).expect("one line of JSON");
    for (field, value) in [
        ("method", "CONNECT".into()),
        ("target", "a.test:5".into()),
        ("status", 200.into()),
        ("bytes_received", 10.into()),
        ("bytes_sent", 15.into()),
        ("retries", 1.into()),
        ("upstream", Value::from(format!("127.0.0.1:{}", alive.port))),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
}

#[tokio::test]
async fn a_quiet_tunnel_ends_and_so_does_one_whose_backend_is_reset() {
    let backend = echo("").await;
    let reset = Backend::scripted(|mut peer: Peer| async move {
        peer.take(1).await;
        peer.reset();
    })
    .await;
    let gogeta = Gogeta::routes(&(service("a.test", &[backend.port]) + &service("b.test", &[reset.port])))
        .args(["--connect", "*:*", "--tunnel-idle-timeout", "1s"])
        .start()
        .await;
    let mut client = open(&gogeta, "a.test:1").await;
    assert_eq!(client.rest().await, b"");
    backend.open(0).await;
    let mut client = open(&gogeta, "b.test:1").await;
    client.send("x").await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_tunnel_is_carried_on_while_gogeta_is_on_its_way_out() {
    let backend = echo("").await;
    let mut gogeta =
        Gogeta::routes(&service("a.test", &[backend.port])).args(["--connect", "*:*"]).start().await;
    let mut client = open(&gogeta, "a.test:1").await;
    gogeta.signal(Signal::TERM);
    until("nobody else gets in", async || tokio::net::TcpStream::connect(gogeta.proxy).await.err()).await;
    client.send("still here").await;
    assert_eq!(client.take(10).await, b"still here");
    client.half_close().await;
    assert_eq!(client.rest().await, b"");
    assert!(gogeta.wait().await.success());
}
