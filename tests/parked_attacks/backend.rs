//! A backend that wants to be heard where nobody has asked it.

use gogeta::splice::Kind;

use crate::parked_network::world::World;
use crate::support::backend::{Backend, Peer, service_at};
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_by};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

/// How each of its answers to `/odd/..` is sent, in pieces that come one by one.
const ODD: [&[&str]; 8] = [
    // More than it has announced, and a second answer: in the same packet, in the next, behind half of a body.
    &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"],
    &[OK, EVIL],
    &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", "kHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"],
    // Of two lengths.
    &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 44\r\n\r\nok", EVIL],
    &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", EVIL],
    // An answer that ends with its head, and one behind it.
    &["HTTP/1.1 204 No Content\r\n\r\n", EVIL],
    &["HTTP/1.1 304 Not Modified\r\nContent-Length: 41\r\n\r\n", EVIL],
    // An interim one that is none, and what it would have clients believe of the next hop.
    &[
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        EVIL,
    ],
];

async fn talk(mut peer: Peer) {
    while let Some(request) = peer.request().await {
        let number = request.line().split(['/', ' ']).nth(3).and_then(|number| number.parse().ok());
        let pieces = number.and_then(|number: usize| ODD.get(number)).map_or(&[OK][..], |pieces| pieces);
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        if peer.send_apart(&pieces).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn what_a_backend_says_without_being_asked_is_nobodys_answer_by_sockmap() {
    it_is_nobodys_answer(Kind::Sockmap).await;
}

#[tokio::test]
async fn what_a_backend_says_without_being_asked_is_nobodys_answer_by_the_wire() {
    it_is_nobodys_answer(Kind::Wire).await;
}

async fn it_is_nobodys_answer(kind: Kind) {
    let Some(world) = World::new().await else { return };
    let backend = Backend::listening(world.backends.listener(world.back), talk);
    let routes = service_at("a.test", &[(world.back, backend.port).into()]);
    let Some(gogeta) = parking_by(kind, world.place(Gogeta::routes(&routes))).await else { return };
    for number in 0..ODD.len() {
        let mut client = world.client(world.front()).await;
        let before = carried(&gogeta).await;
        for _ in 0..2 {
            assert_eq!(client.get("a.test", "/").await.text(), "ok");
            parked(&gogeta, 1.0).await;
        }
        assert_eq!(carried(&gogeta).await, before + 1.0);
        client.send(format!("GET /odd/{number} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        // It is answered, or told that the answer is none, or cut off; and then the connection is closed, or good.
        if answer(&mut client, number).await {
            // Behind that request, it would be its answer to it.
            parked(&gogeta, 0.0).await;
            let _ = client.try_send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
            answer(&mut client, number).await;
        }
        drop(client);
        parked(&gogeta, 0.0).await;
    }
    // Nor is it somebody else's.
    let mut client = world.client(world.front()).await;
    assert_eq!(client.get("a.test", "/").await.text(), "ok");
}

/// Reads an answer; says whether there may be another one.
async fn answer(client: &mut Client, number: usize) -> bool {
    let Ok(reply) = client.try_reply().await else { return false };
    assert!(!reply.text().contains("evil"), "{:?}: {reply:?}", ODD[number]);
    reply.whole && reply.keeps()
}
