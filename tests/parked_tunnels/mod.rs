//! Parked tunnels: the kernel carries them, and nobody can tell.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::{self, Message};

use super::support::backend::{Backend, Peer, service};
use super::support::client::Client;
use super::support::gogeta::Gogeta;
use super::support::parking::{carried_bytes, parked, parking_with};
use super::support::tunnel::{echo, reverse, web_socket};
use super::support::wait::{DEADLINE, until};

/// A gogeta that parks tunnels to this backend, by CONNECT.
async fn parking(backend: &Backend, flags: &[&str]) -> Option<Gogeta> {
    let builder = Gogeta::routes(&service("a.test", &[backend.port])).args(["--connect", "*:*"]).args(flags);
    parking_with(builder).await
}

/// A client whose tunnel is open, and parked.
async fn open(gogeta: &Gogeta) -> Client {
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("CONNECT a.test:1 HTTP/1.1\r\nHost: a.test:1\r\n\r\n").await;
    assert_eq!(client.head().await.expect("a head").status, 200);
    parked(gogeta, 1.0).await;
    client
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from(at % 251).expect("small")).collect()
}

#[tokio::test]
async fn bytes_pass_both_ways_as_they_are() {
    let backend = Backend::scripted(echo).await;
    let Some(gogeta) = parking(&backend, &[]).await else { return };
    let mut client = open(&gogeta).await;
    let (mut size, mut sum) = (1_usize, 0);
    for round in 0..200 {
        size = size * 7919 % 60_013;
        let bytes = pattern(size);
        client.send(&bytes).await;
        assert!(client.take(size).await == bytes, "round {round}: {size} bytes");
        sum += size;
    }
    client.half_close().await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(backend.noted(), sum as u64);
    assert!(carried_bytes(&gogeta).await > sum as f64, "the kernel carried little");
    parked(&gogeta, 0.0).await;
}

#[tokio::test]
async fn web_socket_messages_pass() {
    let Some(gogeta) = parking_with(Gogeta::routes(&service("a.test", &[web_socket().port()]))).await else {
        return;
    };
    let proxy = gogeta.proxy;
    let (go, gone) = std::sync::mpsc::channel();
    let client = tokio::task::spawn_blocking(move || {
        let stream = TcpStream::connect(proxy).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        let (mut socket, _) = tungstenite::client("ws://a.test/chat", stream).expect("a WebSocket");
        gone.recv().expect("it is parked");
        for round in 0..100 {
            let big = if round % 10 == 0 { 1 << 20 } else { 10 };
            for message in [Message::text("hello"), Message::text(""), Message::binary(vec![7; big])] {
                socket.send(message.clone()).expect("to send");
                assert!(socket.read().expect("a message") == message);
            }
        }
        socket.close(None).expect("to close");
        assert!(socket.read().expect("a close").is_close());
        assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
    });
    parked(&gogeta, 1.0).await;
    go.send(()).expect("it waits");
    client.await.expect("the client");
    assert!(carried_bytes(&gogeta).await > 0.0);
    parked(&gogeta, 0.0).await;
}

#[tokio::test]
async fn a_slow_reader_holds_back_who_sends_and_misses_nothing() {
    const ALL: usize = 32 << 20;
    // The client reads late.
    let backend = Backend::scripted(|mut peer: Peer| async move {
        peer.some().await;
        for chunk in pattern(ALL).chunks(100_000) {
            peer.send(chunk).await.expect("to send");
            peer.note(chunk.len());
        }
    })
    .await;
    let Some(gogeta) = parking(&backend, &[]).await else { return };
    let mut client = open(&gogeta).await;
    client.send("go").await;
    stands(|| backend.noted()).await;
    assert!(backend.noted() < ALL as u64 / 2, "{} bytes under way", backend.noted());
    assert!(client.rest().await == pattern(ALL));

    // The backend reads late.
    let late = Arc::new(Notify::new());
    let reads = late.clone();
    let backend = Backend::scripted(move |mut peer: Peer| {
        let reads = reads.clone();
        async move {
            reads.notified().await;
            let mut all = Vec::new();
            while let Some(bytes) = peer.some().await {
                all.extend(bytes);
            }
            peer.send(if all == pattern(ALL) { "all" } else { "not all" }).await.expect("to send");
        }
    })
    .await;
    let Some(gogeta) = parking(&backend, &[]).await else { return };
    let mut client = open(&gogeta).await;
    let sent = Arc::new(AtomicU64::new(0));
    let counted = sent.clone();
    let sends = tokio::spawn(async move {
        for chunk in pattern(ALL).chunks(100_000) {
            client.send(chunk).await;
            counted.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        client.half_close().await;
        client
    });
    stands(|| sent.load(Ordering::Relaxed)).await;
    assert!(sent.load(Ordering::Relaxed) < ALL as u64 / 2, "{sent:?} bytes under way");
    late.notify_one();
    let mut client = sends.await.expect("it sends");
    assert_eq!(client.rest().await, b"all");
}

/// Waits until that does not grow any more.
async fn stands(sent: impl Fn() -> u64) {
    let (mut seen, mut times) = (0, 0);
    until("the sender stands still", async || {
        let now = sent();
        times = if now == seen && now > 0 { times + 1 } else { 0 };
        seen = now;
        (times > 50).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_side_may_end_its_half() {
    let backend = Backend::scripted(reverse).await;
    let Some(gogeta) = parking(&backend, &[]).await else { return };
    let mut client = open(&gogeta).await;
    client.send("abc").await;
    client.half_close().await;
    assert_eq!(client.rest().await, b"cba");

    let backend = Backend::scripted(|mut peer: Peer| async move {
        peer.some().await;
        peer.send("over").await.expect("to send");
        peer.half_close().await;
        let heard = peer.take(4).await.expect("the client's word");
        peer.note(usize::from(heard == b"last"));
    })
    .await;
    let Some(gogeta) = parking(&backend, &[]).await else { return };
    let mut client = open(&gogeta).await;
    client.send("go").await;
    assert_eq!(client.rest().await, b"over");
    client.send("last").await;
    until("the backend has heard it", async || (backend.noted() == 1).then_some(())).await;
}

#[tokio::test]
async fn whoever_breaks_off_ends_the_tunnel() {
    let backend = Backend::scripted(|mut peer: Peer| async move {
        peer.take(1).await;
        peer.reset();
    })
    .await;
    let Some(gogeta) = parking(&backend, &[]).await else { return };
    let mut client = open(&gogeta).await;
    client.send("x").await;
    assert_eq!(client.rest().await, b"");
    parked(&gogeta, 0.0).await;

    let backend = Backend::scripted(echo).await;
    let Some(gogeta) = parking(&backend, &[]).await else { return };
    let client = open(&gogeta).await;
    drop(client);
    backend.open(0).await;
    parked(&gogeta, 0.0).await;
}

#[tokio::test]
async fn a_quiet_tunnel_ends_and_one_that_the_kernel_carries_is_not_quiet() {
    let backend = Backend::scripted(echo).await;
    let Some(gogeta) = parking(&backend, &["--tunnel-idle-timeout", "2s"]).await else { return };
    let mut client = open(&gogeta).await;
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(4) {
        client.send("x").await;
        assert_eq!(client.take(1).await, b"x");
    }
    parked(&gogeta, 1.0).await;
    assert_eq!(client.rest().await, b"");
    backend.open(0).await;
    assert!(begun.elapsed() > std::time::Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_tunnel_is_carried_on_while_gogeta_is_on_its_way_out() {
    let backend = Backend::scripted(echo).await;
    let Some(mut gogeta) = parking(&backend, &[]).await else { return };
    let mut client = open(&gogeta).await;
    client.send("by the kernel").await;
    assert_eq!(client.take(13).await, b"by the kernel");
    gogeta.signal(Signal::TERM);
    until("nobody else gets in", async || tokio::net::TcpStream::connect(gogeta.proxy).await.err()).await;
    client.send("still here").await;
    assert_eq!(client.take(10).await, b"still here");
    client.half_close().await;
    assert_eq!(client.rest().await, b"");
    assert!(gogeta.wait().await.success());
}

#[tokio::test]
async fn its_bytes_are_logged() {
    let backend = Backend::scripted(echo).await;
    let builder = Gogeta::routes(&service("a.test", &[backend.port])).args(["--connect", "*:*"]);
    let log = builder.file("access.log", "");
    let builder = builder.args(["--access-log-format", "json"]).arg("--access-log").arg(&log);
    let Some(gogeta) = parking_with(builder).await else { return };
    let mut client = open(&gogeta).await;
    client.send("0123456789").await;
    assert_eq!(client.take(10).await, b"0123456789");
    drop(client);
    let line = until("the tunnel is logged", async || {
        std::fs::read_to_string(&log).ok().filter(|text| !text.is_empty())
    })
    .await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(
        (line["bytes_received"].as_u64(), line["bytes_sent"].as_u64()),
        (Some(10), Some(10)),
        "{line}"
    );
}
