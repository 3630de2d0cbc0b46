//! Clients and backends of bad manners, on connections that the wire carries.

use gogeta::splice::Kind;

use super::talk::{get, is_told, told};
use super::world::World;
use crate::support::backend::{Backend, Peer, service_at};
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_by};
use crate::support::wait::until;

#[tokio::test]
async fn a_client_that_asks_for_another_host_each_time_is_told_by_the_right_one() {
    let Some(world) = World::new().await else { return };
    let (web, at_web) = world.backend("web", world.back);
    let (other, at_other) = world.backend("other", world.back);
    let routes = service_at("a.test", &[at_web]) + &service_at("b.test", &[at_other]);
    let Some(gogeta) = parking_by(Kind::Wire, world.place(Gogeta::routes(&routes))).await else { return };
    let mut client = world.client(world.front()).await;
    let mut asked = 0;
    for number in 0..100 {
        let target = format!("/{number}/{}", number * 300);
        let (host, name) = [("a.test", "web"), ("b.test", "other")][number % 2];
        get(&mut client, host, &target, name).await;
        asked += 1;
        // Once in a while it stays until it is carried: whoever never is, is parked ever more rarely.
        let before = carried(&gogeta).await;
        while number % 10 == 0 && carried(&gogeta).await == before {
            assert!(asked < 2000, "nothing is carried");
            get(&mut client, host, &target, name).await;
            asked += 1;
        }
    }
    assert_eq!(web.count() + other.count(), asked, "each was sent once");
    assert!(carried(&gogeta).await >= 10.0);
    // One for each host, and one more each time that something was carried: none for all the changes between them.
    let connections = web.connections() + other.connections();
    assert!(connections <= 2 + 2 * 10, "{connections} connections");
}

#[tokio::test]
async fn heads_that_come_byte_by_byte_and_uploads_that_are_broken_off_hurt_nobody_else() {
    let Some(world) = World::new().await else { return };
    let (web, at_web) = world.backend("web", world.back);
    let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web])));
    let Some(gogeta) = parking_by(Kind::Wire, builder).await else { return };
    let mut client = world.client(world.front()).await;
    for number in 0..3 {
        get(&mut client, "a.test", "/whole", "web").await;
        parked(&gogeta, 1.0).await;
        let request = format!("GET /bytes/{number} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        client.send_in_packets(&request, 1).await;
        is_told(&mut client, "web", &format!("GET /bytes/{number} HTTP/1.1"), b"").await;
    }
    for resets in [true, false] {
        let mut leaving = world.client(world.front()).await;
        get(&mut leaving, "a.test", "/first", "web").await;
        parked(&gogeta, 2.0).await;
        leaving.send("POST /cut HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nabc").await;
        parked(&gogeta, 1.0).await;
        if resets {
            leaving.reset();
        }
    }
    // And one that has asked for much and reads nothing of it.
    let mut leaving = world.client(world.front()).await;
    get(&mut leaving, "a.test", "/first", "web").await;
    parked(&gogeta, 2.0).await;
    leaving.send("GET /much/9000000 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    leaving.head().await.expect("a head");
    drop(leaving);
    parked(&gogeta, 1.0).await;
    get(&mut client, "a.test", "/last", "web").await;
    drop(client);
    parked(&gogeta, 0.0).await;
    assert!(web.requests().iter().all(|request| !request.line().contains("/cut")), "never whole");
}

/// Answers what does not end, what is cut off, and the rest well, and closes behind it if asked to.
async fn rude(mut peer: Peer) {
    while let Some(request) = peer.request().await {
        let line = request.line().to_owned();
        let body = told("rude", &line, b"");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if line.contains("/endless") {
            let mut sent = peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while sent.is_ok() {
                sent = peer.send("5\r\nagain\r\n").await;
            }
            return;
        }
        let whole = [head.as_bytes(), &body].concat();
        let bytes = if line.contains("/dies") { &whole[..whole.len() - 10] } else { &whole[..] };
        if peer.send(bytes).await.is_err() || line.contains("/dies") || line.contains("/leaves") {
            return;
        }
    }
}

#[tokio::test]
async fn backends_that_leave_after_each_answer_that_die_and_that_never_end_are_seen_for_what_they_are() {
    let Some(world) = World::new().await else { return };
    let listener = world.backends.listener(world.back);
    let at_web = listener.local_addr().expect("an address");
    let web = Backend::listening(listener, rude);
    let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web])));
    let Some(gogeta) = parking_by(Kind::Wire, builder).await else { return };
    let ready = async || {
        let mut client: Client = world.client(world.front()).await;
        get(&mut client, "a.test", "/first", "rude").await;
        parked(&gogeta, 1.0).await;
        client
    };
    let mut client = ready().await;
    for number in 0..20 {
        get(&mut client, "a.test", &format!("/leaves/{number}/{}", number * 500), "rude").await;
    }
    assert!(carried(&gogeta).await >= 1.0);
    drop(client);
    parked(&gogeta, 0.0).await;

    let mut client = ready().await;
    client.send("GET /dies/30000 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.try_reply().await.expect_err("it is cut, and seen to be");
    drop(client);
    parked(&gogeta, 0.0).await;

    let mut client = ready().await;
    client.send("GET /endless HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.head().await.expect("a head");
    let mut body = Vec::new();
    while body.len() < 100_000 {
        // They may be others than the backend's.
        body.extend(client.chunk().await.expect("a chunk").expect("not the last"));
    }
    let expected = b"again".iter().cycle().take(body.len());
    assert!(body.iter().eq(expected), "{}..", body[..100].escape_ascii());
    assert!(!web.is_alone());
    drop(client);
    until("the backend hears that nobody listens", async || web.is_alone().then_some(())).await;
}
