//! Whoever takes too long is told so, or cut off; whoever is slow but steady is not.

use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};

use crate::support::backend::{Backend, service};
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;

/// A gogeta with one service at `a.test`, and these flags.
async fn before(backend: &Backend, flags: &[&str]) -> Gogeta {
    Gogeta::routes(&service("a.test", &[backend.port])).args(flags).start().await
}

/// A listener whose queue is full: whoever connects waits for ever.
async fn black_hole() -> (tokio::net::TcpListener, Vec<TcpStream>, u16) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = socket.listen(0).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        queued.push(stream);
    }
    (listener, queued, address.port())
}

#[tokio::test]
async fn a_head_that_does_not_end_is_a_408() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &["--head-timeout", "1s"]).await;
    let mut client = Client::connect(gogeta.proxy).await;
    assert_eq!(client.get("a.test", "/").await.status, 200);
    client.send("GET / HTTP/1.1\r\nHost: a.te").await;
    let reply = client.reply().await;
    assert!(reply.status == 408 && !reply.keeps() && reply.whole, "{reply:?}");
    assert_eq!(client.rest().await, b"");
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn a_head_that_trickles_is_a_408_too() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &["--head-timeout", "1s"]).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n").await;
    let start = Instant::now();
    while !client.has_something() {
        assert!(start.elapsed() < Duration::from_secs(5), "it goes on for ever");
        client.send("X-A: b\r\n").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.reply().await.status, 408);
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &["--idle-timeout", "1s"]).await;
    let (mut used, mut fresh) = (Client::connect(gogeta.proxy).await, Client::connect(gogeta.proxy).await);
    assert_eq!(used.get("a.test", "/").await.status, 200);
    assert_eq!((used.rest().await, fresh.rest().await), (vec![], vec![]));
}

#[tokio::test]
async fn an_instance_that_cannot_be_connected_to_in_time_is_a_504() {
    let (_listener, _queued, port) = black_hole().await;
    let gogeta =
        Gogeta::routes(&service("a.test", &[port])).args(["--connect-timeout", "500ms"]).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    let reply = client.get("a.test", "/").await;
    assert_eq!((reply.status, reply.header("x-gogeta-page")), (504, Some("timeout")));
    assert!(reply.keeps());

    // Where there is another instance, it is asked.
    let other = Backend::named("other").await;
    let gogeta = Gogeta::routes(&service("a.test", &[port, other.port]))
        .args(["--connect-timeout", "500ms"])
        .start()
        .await;
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..2 {
        assert_eq!(client.get("a.test", "/").await.text(), "other");
    }
}

#[tokio::test]
async fn a_response_that_does_not_come_is_a_504() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.request().await;
        peer.ended().await;
    })
    .await;
    let gogeta = before(&backend, &["--response-timeout", "1s"]).await;
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..2 {
        let reply = client.get("a.test", "/").await;
        assert_eq!((reply.status, reply.header("x-gogeta-page")), (504, Some("timeout")));
        assert!(reply.keeps());
        backend.open(0).await;
    }
    // It is asked once: who knows how far it got.
    assert_eq!(backend.count(), 2);
}

#[tokio::test]
async fn an_upload_that_takes_its_time_does_not_count_as_the_responses() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &["--response-timeout", "1s"]).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 20\r\n\r\n").await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.send("x").await;
    }
    assert_eq!(client.reply().await.status, 200);
}

#[tokio::test]
async fn a_body_that_stalls_is_a_408() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &["--body-timeout", "1s"]).await;
    for framing in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut client = Client::connect(gogeta.proxy).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{framing}")).await;
        let reply = client.reply().await;
        assert!(reply.status == 408 && !reply.keeps(), "{framing:?}: {reply:?}");
        assert_eq!(client.rest().await, b"");
        backend.open(0).await;
    }
    assert_eq!(backend.count(), 0, "half a request is none");
}

#[tokio::test]
async fn a_body_that_stalls_while_the_response_runs_ends_both() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await.expect("to send");
        peer.ended().await;
    })
    .await;
    let gogeta = before(&backend, &["--body-timeout", "1s"]).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, &*reply.text(), reply.whole), (200, "half", false));
    backend.open(0).await;
}

/// Sends without an end, until it is cut off.
async fn flood() -> Backend {
    Backend::scripted(|mut peer| async move {
        peer.head().await;
        let block = vec![b'x'; 64 << 10];
        if peer.send("HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
            while peer.send(&block).await.is_ok() {}
        }
    })
    .await
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let backend = flood().await;
    let gogeta = before(&backend, &["--body-timeout", "1s"]).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    backend.seen(1).await;
    backend.open(0).await;
    let rest = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "the response looks whole");
}

#[tokio::test]
async fn a_client_that_reads_little_by_little_is_not() {
    let backend = flood().await;
    let gogeta = before(&backend, &["--body-timeout", "1s"]).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    for _ in 0..25 {
        client.skip(1 << 20).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    client.skip(16 << 20).await;
}

#[tokio::test]
async fn a_response_may_be_quiet_for_longer_than_any_time_out() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await.expect("to send");
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            peer.send("data: x\n\n").await.expect("to send");
        }
    })
    .await;
    let flags = ["--body-timeout", "500ms", "--idle-timeout", "500ms", "--head-timeout", "500ms"];
    let gogeta = before(&backend, &[&flags[..], &["--response-timeout", "500ms"]].concat()).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, &*reply.text(), reply.whole), (200, "data: x\n\n".repeat(3).as_str(), true));
}

#[tokio::test]
async fn a_response_that_stops_in_the_middle_is_cut_off() {
    let rows = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nhalf",
    ];
    for reply in rows {
        let backend = Backend::scripted(move |mut peer| async move {
            peer.head().await;
            peer.send(reply).await.expect("to send");
            peer.ended().await;
        })
        .await;
        let gogeta = before(&backend, &["--body-timeout", "500ms"]).await;
        let mut client = Client::connect(gogeta.proxy).await;
        let reply = client.get("a.test", "/").await;
        assert_eq!((reply.status, &*reply.text(), reply.whole), (200, "half", false));
        assert_eq!(client.rest().await, b"", "it looks whole");
        backend.open(0).await;
        gogeta.log_has("it came to a stand").await;
    }
}

#[tokio::test]
async fn a_quiet_stream_is_cut_off_in_its_own_time() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        let _ = peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
        peer.ended().await;
    })
    .await;
    let gogeta = before(&backend, &["--body-timeout", "200ms", "--stream-timeout", "2s"]).await;
    let mut client = Client::connect(gogeta.proxy).await;
    let start = Instant::now();
    let reply = client.get("a.test", "/").await;
    assert_eq!((&*reply.text(), reply.whole), ("half", false));
    assert!(start.elapsed() > Duration::from_millis(1500), "by the time-out for what is promised");
}

/// How long a byte now and then keeps a connection, at the least and at the most: the bytes of ten seconds are
/// looked at.
const TRICKLE: std::ops::Range<Duration> = Duration::from_secs(8)..Duration::from_secs(25);

#[tokio::test]
async fn a_body_that_trickles_is_a_408() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        peer.ended().await;
    })
    .await;
    let gogeta = before(&backend, &[]).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n").await;
    let start = Instant::now();
    while !client.has_something() {
        assert!(start.elapsed() < TRICKLE.end, "it goes on for ever");
        client.send("x").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(start.elapsed() > TRICKLE.start);
    assert_eq!(client.reply().await.status, 408);
    backend.open(0).await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_and_steadily_is_not_cut_off() {
    let backend = flood().await;
    let gogeta = before(&backend, &["--body-timeout", "1s"]).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    // So that what it has not read waits at gogeta, and not in its own buffer.
    socket.set_recv_buffer_size(16 << 10).expect("SO_RCVBUF");
    let mut client = Client::new(socket.connect(gogeta.proxy).await.expect("a connection"));
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        client.skip(8 << 10).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.skip(8 << 20).await;
}
