//! Tunnels that the wire engine carries, from the first byte of a test to its last.

use std::io::{ErrorKind, Read as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gogeta::splice::Kind;
use rustix::process::Signal;
use tokio::sync::Notify;

use super::place::Place;
use super::{pattern, stands};
use crate::parked_network::outage::lose_some;
use crate::support::backend::Peer;
use crate::support::client::Client;
use crate::support::gogeta::Builder;
use crate::support::parking::{carried_bytes, carried_to, parked};
use crate::support::strace::Count;
use crate::support::tunnel::echo;
use crate::support::wait::{DEADLINE, until};

const ALL: usize = 32 << 20;

/// Sends single bytes back, until it is told to go on.
async fn asked(peer: &mut Peer) {
    while peer.take(1).await.expect("a byte") != b"!" {
        peer.send("?").await.expect("to send");
    }
}

/// How the client's connection ends.
async fn end(client: Client) -> Result<usize, ErrorKind> {
    let mut stream = client.into_std();
    let read = move || {
        stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        stream.read(&mut [0; 100]).map_err(|error| error.kind())
    };
    tokio::task::spawn_blocking(read).await.expect("it reads")
}

#[tokio::test]
async fn what_both_sides_send_at_once_is_carried_without_gogeta() {
    let script = |mut peer: Peer| async move {
        asked(&mut peer).await;
        let (mut taken, mut sent) = (0, 0);
        let all = pattern(ALL);
        // In turns, and neither waits for the other: what the client sends fits into nobody's buffer.
        while sent < ALL {
            let count = 50_000.min(ALL - sent);
            peer.send(&all[sent..sent + count]).await.expect("to send");
            sent += count;
            let bytes = peer.take(count).await.expect("as many bytes");
            assert!(bytes == all[taken..taken + count], "at {taken}");
            taken += count;
            peer.note(count);
        }
        peer.half_close().await;
        peer.ended().await;
    };
    let Some(place) = Place::of(Kind::Wire, script, |builder| builder).await else { return };
    let mut client = place.carried().await;
    client.send("!").await;
    let Some(count) = Count::of(place.gogeta.pid()).await else { return };
    let (mut taken, mut sent) = (0, 0);
    let all = pattern(ALL);
    while sent < ALL {
        let count = 50_000.min(ALL - sent);
        client.send(&all[sent..sent + count]).await;
        sent += count;
        assert!(client.take(count).await == all[taken..taken + count], "at {taken}");
        taken += count;
    }
    assert_eq!(client.rest().await, b"");
    let calls = count.end().await;
    assert_eq!(place.backend.noted(), ALL as u64);
    for direction in ["sent", "received"] {
        let bytes = carried_to(&place.gogeta, direction).await;
        assert!((ALL as f64..ALL as f64 + 100.0).contains(&bytes), "{bytes} bytes {direction}");
    }
    assert!(calls < 1000, "{calls} reads and writes for {ALL} bytes each way");
    parked(&place.gogeta, 1.0).await;
    drop(client);
    parked(&place.gogeta, 0.0).await;
}

#[tokio::test]
async fn what_is_lost_on_the_way_is_sent_again_by_who_sent_it() {
    const TURN: usize = 100_000;
    let Some((place, routers)) = Place::routed(echo).await else { return };
    let mut client = place.carried().await;
    let before = carried_bytes(&place.gogeta).await;
    let all = pattern(TURN);
    let mut turns = 0;
    for router in &routers {
        let outages = async {
            for _ in 0..3 {
                let seen = router.packets();
                until("packets are under way", async || (router.packets() > seen + 50).then_some(())).await;
                lose_some(router).await;
            }
        };
        tokio::pin!(outages);
        let mut are_over = false;
        while !are_over {
            let turn = async {
                client.send(&all).await;
                assert!(client.take(TURN).await == all);
            };
            tokio::pin!(turn);
            tokio::select! {
                () = &mut outages => {
                    are_over = true;
                    turn.await;
                }
                () = &mut turn => {}
            }
            turns += 1;
        }
    }
    assert_eq!(carried_bytes(&place.gogeta).await - before, (2 * turns * TURN) as f64);
    client.half_close().await;
    assert_eq!(client.rest().await, b"");
    parked(&place.gogeta, 0.0).await;
}

#[tokio::test]
async fn whoever_reads_late_holds_back_who_sends() {
    let late = Arc::new(Notify::new());
    let reads = late.clone();
    let script = move |mut peer: Peer| {
        let reads = reads.clone();
        async move {
            asked(&mut peer).await;
            for chunk in pattern(ALL).chunks(100_000) {
                peer.send(chunk).await.expect("to send");
                peer.note(chunk.len());
            }
            reads.notified().await;
            assert!(peer.take(ALL).await.expect("all of it") == pattern(ALL));
            peer.send("all").await.expect("to send");
        }
    };
    let Some(place) = Place::of(Kind::Wire, script, |builder| builder).await else { return };
    let mut client = place.carried().await;
    client.send("!").await;
    stands(|| place.backend.noted()).await;
    assert!(place.backend.noted() < ALL as u64 / 2, "{} bytes under way", place.backend.noted());
    assert!(client.take(ALL).await == pattern(ALL));
    let sends = tokio::spawn(async move {
        client.send(pattern(ALL)).await;
        client
    });
    let sent = async || carried_bytes(&place.gogeta).await - ALL as f64;
    let (mut seen, mut times) = (0.0, 0);
    until("the client stands still", async || {
        let now = sent().await;
        times = if now == seen && now > 1000.0 { times + 1 } else { 0 };
        seen = now;
        (times > 50).then_some(())
    })
    .await;
    assert!(seen < ALL as f64 / 2.0, "{seen} bytes under way");
    late.notify_one();
    let mut client = sends.await.expect("it sends");
    assert_eq!(client.rest().await, b"all");
    assert!(carried_bytes(&place.gogeta).await >= 2.0 * ALL as f64);
    drop(client);
    parked(&place.gogeta, 0.0).await;
}

#[tokio::test]
async fn either_half_may_go_on_when_the_other_has_ended() {
    let script = |mut peer: Peer| async move {
        asked(&mut peer).await;
        let mut all = Vec::new();
        while let Some(bytes) = peer.some().await {
            all.extend(bytes);
        }
        for chunk in all.chunks(1000) {
            peer.send(chunk).await.expect("to send");
        }
    };
    let Some(place) = Place::of(Kind::Wire, script, |builder| builder).await else { return };
    let mut client = place.carried().await;
    client.send([&b"!"[..], &pattern(1 << 20)].concat()).await;
    client.half_close().await;
    assert!(client.rest().await == pattern(1 << 20));
    parked(&place.gogeta, 0.0).await;
    assert!(carried_bytes(&place.gogeta).await > f64::from(2 << 20));

    let script = |mut peer: Peer| async move {
        asked(&mut peer).await;
        peer.send("over").await.expect("to send");
        peer.half_close().await;
        let mut sum = 0;
        while let Some(bytes) = peer.some().await {
            sum += bytes.len();
        }
        peer.note(sum);
    };
    let Some(place) = Place::of(Kind::Wire, script, |builder| builder).await else { return };
    let mut client = place.carried().await;
    client.send("!").await;
    assert_eq!(client.rest().await, b"over");
    client.send(pattern(1 << 20)).await;
    parked(&place.gogeta, 1.0).await;
    client.half_close().await;
    until("the backend has heard it", async || (place.backend.noted() == 1 << 20).then_some(())).await;
    parked(&place.gogeta, 0.0).await;
}

#[tokio::test]
async fn a_reset_by_either_end_is_one_for_the_other() {
    let script = |mut peer: Peer| async move {
        asked(&mut peer).await;
        peer.reset();
    };
    let Some(place) = Place::of(Kind::Wire, script, |builder| builder).await else { return };
    let mut client = place.carried().await;
    client.send("!").await;
    assert_eq!(end(client).await, Err(ErrorKind::ConnectionReset));
    parked(&place.gogeta, 0.0).await;

    let Some(place) = Place::of(Kind::Wire, echo, |builder| builder).await else { return };
    let client = place.carried().await;
    client.reset();
    place.backend.open(0).await;
    parked(&place.gogeta, 0.0).await;
}

#[tokio::test]
async fn both_ends_see_the_end_when_gogeta_is_killed() {
    for is_busy in [false, true] {
        let script = |mut peer: Peer| async move {
            asked(&mut peer).await;
            while peer.send(pattern(10_000)).await.is_ok() {
                peer.note(10_000);
            }
        };
        let Some(mut place) = Place::of(Kind::Wire, script, |builder| builder).await else { return };
        let mut client = place.carried().await;
        if is_busy {
            client.send("!").await;
            stands(|| place.backend.noted()).await;
        }
        place.gogeta.signal(Signal::KILL);
        place.gogeta.wait().await;
        let begun = Instant::now();
        if is_busy {
            client.rest().await;
        } else {
            assert_eq!(end(client).await, Err(ErrorKind::ConnectionReset));
        }
        place.backend.open(0).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn what_gets_nowhere_for_too_long_is_reset() {
    let idle = |builder: Builder| builder.args(["--tunnel-idle-timeout", "2s"]);
    let Some(place) = Place::of(Kind::Wire, echo, idle).await else { return };
    let mut client = place.carried().await;
    let Some(world) = &place.world else { return };
    world.backends.cut();
    client.send("it is lost").await;
    assert_eq!(end(client).await, Err(ErrorKind::ConnectionReset));
    parked(&place.gogeta, 0.0).await;
}

#[tokio::test]
async fn a_tunnel_that_is_over_is_in_nobodys_way() {
    let one = |builder: Builder| builder.args(["--splice-max-pairs", "1"]);
    let Some(place) = Place::of(Kind::Wire, echo, one).await else { return };
    for _ in 0..20 {
        let mut client = place.carried().await;
        let before = carried_bytes(&place.gogeta).await;
        client.send("goes by the kernel").await;
        assert_eq!(client.take(18).await, b"goes by the kernel");
        assert!(carried_bytes(&place.gogeta).await >= before + 36.0);
        client.half_close().await;
        assert_eq!(client.rest().await, b"");
        place.backend.open(0).await;
        parked(&place.gogeta, 0.0).await;
    }
}
