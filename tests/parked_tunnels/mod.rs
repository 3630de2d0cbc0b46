//! Parked tunnels: the kernel carries them, and nobody can tell.

mod place;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gogeta::splice::Kind;
use rustix::process::Signal;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::{self, Message};

use self::place::{Place, before_web_socket};
use super::support::backend::Peer;
use super::support::gogeta::Builder;
use super::support::parking::{carried_bytes, parked};
use super::support::tunnel::{echo, reverse};
use super::support::wait::{DEADLINE, until};

/// Each of these promises is kept by both engines.
macro_rules! by_both {
    ($($promise:ident)*) => {
        mod by_sockmap {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(gogeta::splice::Kind::Sockmap).await;
            })*
        }
        mod by_wire {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(gogeta::splice::Kind::Wire).await;
            })*
        }
    };
}

by_both! {
    bytes_pass_both_ways_as_they_are
    web_socket_messages_pass
    a_slow_reader_holds_back_who_sends_and_misses_nothing
    each_side_may_end_its_half
    whoever_breaks_off_ends_the_tunnel
    a_quiet_tunnel_ends_and_one_that_the_kernel_carries_is_not_quiet
    a_tunnel_is_carried_on_while_gogeta_is_on_its_way_out
    its_bytes_are_logged
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from(at % 251).expect("small")).collect()
}

async fn bytes_pass_both_ways_as_they_are(kind: Kind) {
    let Some(place) = Place::of(kind, echo, |builder| builder).await else { return };
    let mut client = place.open().await;
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
    assert_eq!(place.backend.noted(), sum as u64);
    assert!(carried_bytes(&place.gogeta).await > sum as f64, "the kernel carried little");
    parked(&place.gogeta, 0.0).await;
}

async fn web_socket_messages_pass(kind: Kind) {
    let Some((gogeta, _world, client)) = before_web_socket(kind).await else { return };
    let stream = client.into_std();
    let (go, gone) = std::sync::mpsc::channel();
    let client = tokio::task::spawn_blocking(move || {
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

async fn a_slow_reader_holds_back_who_sends_and_misses_nothing(kind: Kind) {
    const ALL: usize = 32 << 20;
    // The client reads late.
    let script = |mut peer: Peer| async move {
        peer.some().await;
        for chunk in pattern(ALL).chunks(100_000) {
            peer.send(chunk).await.expect("to send");
            peer.note(chunk.len());
        }
    };
    let Some(place) = Place::of(kind, script, |builder| builder).await else { return };
    let mut client = place.open().await;
    client.send("go").await;
    stands(|| place.backend.noted()).await;
    assert!(place.backend.noted() < ALL as u64 / 2, "{} bytes under way", place.backend.noted());
    assert!(client.rest().await == pattern(ALL));

    // The backend reads late.
    let late = Arc::new(Notify::new());
    let reads = late.clone();
    let script = move |mut peer: Peer| {
        let reads = reads.clone();
        async move {
            reads.notified().await;
            let mut all = Vec::new();
            while let Some(bytes) = peer.some().await {
                all.extend(bytes);
            }
            peer.send(if all == pattern(ALL) { "all" } else { "not all" }).await.expect("to send");
        }
    };
    let Some(place) = Place::of(kind, script, |builder| builder).await else { return };
    let mut client = place.open().await;
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

async fn each_side_may_end_its_half(kind: Kind) {
    let Some(place) = Place::of(kind, reverse, |builder| builder).await else { return };
    let mut client = place.open().await;
    client.send("abc").await;
    client.half_close().await;
    assert_eq!(client.rest().await, b"cba");

    let script = |mut peer: Peer| async move {
        peer.some().await;
        peer.send("over").await.expect("to send");
        peer.half_close().await;
        let heard = peer.take(4).await.expect("the client's word");
        peer.note(usize::from(heard == b"last"));
    };
    let Some(place) = Place::of(kind, script, |builder| builder).await else { return };
    let mut client = place.open().await;
    client.send("go").await;
    assert_eq!(client.rest().await, b"over");
    client.send("last").await;
    until("the backend has heard it", async || (place.backend.noted() == 1).then_some(())).await;
}

async fn whoever_breaks_off_ends_the_tunnel(kind: Kind) {
    let script = |mut peer: Peer| async move {
        peer.take(1).await;
        peer.reset();
    };
    let Some(place) = Place::of(kind, script, |builder| builder).await else { return };
    let mut client = place.open().await;
    client.send("x").await;
    assert_eq!(client.rest().await, b"");
    parked(&place.gogeta, 0.0).await;

    let Some(place) = Place::of(kind, echo, |builder| builder).await else { return };
    let client = place.open().await;
    drop(client);
    place.backend.open(0).await;
    parked(&place.gogeta, 0.0).await;
}

async fn a_quiet_tunnel_ends_and_one_that_the_kernel_carries_is_not_quiet(kind: Kind) {
    let Some(place) = Place::of(kind, echo, |builder| builder.args(["--tunnel-idle-timeout", "2s"])).await
    else {
        return;
    };
    let mut client = place.open().await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        client.send("x").await;
        assert_eq!(client.take(1).await, b"x");
    }
    parked(&place.gogeta, 1.0).await;
    assert_eq!(client.rest().await, b"");
    place.backend.open(0).await;
    assert!(begun.elapsed() > Duration::from_secs(6), "{:?}", begun.elapsed());
}

async fn a_tunnel_is_carried_on_while_gogeta_is_on_its_way_out(kind: Kind) {
    let Some(mut place) = Place::of(kind, echo, |builder| builder).await else { return };
    let mut client = place.open().await;
    client.send("by the kernel").await;
    assert_eq!(client.take(13).await, b"by the kernel");
    place.gogeta.signal(Signal::TERM);
    until("nobody else gets in", async || place.connect().await.err()).await;
    client.send("still here").await;
    assert_eq!(client.take(10).await, b"still here");
    client.half_close().await;
    assert_eq!(client.rest().await, b"");
    assert!(place.gogeta.wait().await.success());
}

async fn its_bytes_are_logged(kind: Kind) {
    let mut log = PathBuf::new();
    let change = |builder: Builder| {
        log = builder.file("access.log", "");
        builder.args(["--access-log-format", "json"]).arg("--access-log").arg(&log)
    };
    let Some(place) = Place::of(kind, echo, change).await else { return };
    let mut client = place.open().await;
    for _ in 0..3 {
        client.send("0123456789").await;
        assert_eq!(client.take(10).await, b"0123456789");
        parked(&place.gogeta, 1.0).await;
    }
    drop(client);
    let line = until("the tunnel is logged", async || {
        std::fs::read_to_string(&log).ok().filter(|text| !text.is_empty())
    })
    .await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(
        (line["bytes_received"].as_u64(), line["bytes_sent"].as_u64()),
        (Some(30), Some(30)),
        "{line}"
    );
    assert!(carried_bytes(&place.gogeta).await >= 40.0, "the kernel carried little");
}
