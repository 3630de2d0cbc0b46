//! A client, or a backend, on the same machine, which still has the pages that its requests or answers are made of.

use std::process::Stdio;

use gogeta::splice::Kind;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::parked_network::world::World;
use crate::support::backend::service_at;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parking_by};

const ANSWER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parked_attacks/flipped_answers.py");
const ASK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parked_attacks/flips.py");

/// How often it asks.
const COUNT: usize = 2000;

#[tokio::test]
async fn the_upstream_gets_from_sockmap_what_the_guard_has_seen_though_the_client_writes_to_it() {
    nobody_forges(Kind::Sockmap).await;
}

#[tokio::test]
async fn the_upstream_gets_from_the_wire_what_the_guard_has_seen_though_the_client_writes_to_it() {
    nobody_forges(Kind::Wire).await;
}

async fn nobody_forges(kind: Kind) {
    let Some(world) = World::new().await else { return };
    let (web, at_web) = world.backend("web", world.back);
    let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web])));
    let Some(gogeta) = parking_by(kind, builder).await else { return };
    let front = world.front();
    let mut python = world.clients.place().command("python3");
    python.args([ASK, &front.ip().to_string(), &front.port().to_string(), &COUNT.to_string()]);
    let outcome = python.kill_on_drop(true).output().await.expect("python3 runs");
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    let requests = web.requests();
    assert_eq!(requests.len(), COUNT);
    for request in &requests {
        let forged = request.all("x-forwarded-for").contains(&"6.6.6.6");
        assert!(!forged, "{} of {COUNT} were carried: {}", requests.len(), request.head);
    }
    let simple = carried(&gogeta).await;
    assert!(simple > COUNT as f64 / 10.0, "only {simple} were carried");
}

#[tokio::test]
async fn a_client_sees_a_response_of_sockmaps_end_where_gogeta_does_though_the_backend_writes_to_it() {
    nobody_moves_an_end(Kind::Sockmap).await;
}

#[tokio::test]
async fn a_client_sees_a_response_of_the_wires_end_where_gogeta_does_though_the_backend_writes_to_it() {
    nobody_moves_an_end(Kind::Wire).await;
}

async fn nobody_moves_an_end(kind: Kind) {
    let Some(world) = World::new().await else { return };
    let mut python = world.backends.place().command("python3");
    python.args([ANSWER, &world.back.to_string()]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut backend = python.spawn().expect("python3 runs");
    let mut lines = BufReader::new(backend.stdout.take().expect("a pipe")).lines();
    let port = lines.next_line().await.expect("a line").and_then(|port| port.parse::<u16>().ok());
    let routes = service_at("a.test", &[(world.back, port.expect("a port")).into()]);
    // One backend serves one connection at a time.
    let Some(gogeta) = parking_by(kind, world.place(Gogeta::routes(&routes)).args(["--threads", "1"])).await
    else {
        return;
    };
    let mut asked = 0;
    while asked < COUNT {
        let mut client = world.client(world.front()).await;
        // What is behind an end is no answer, and no head at all.
        while asked < COUNT {
            asked += 1;
            let sent = client.try_send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
            let Ok(reply) = client.try_reply().await else { break };
            if sent.is_err() || !reply.whole || !reply.keeps() {
                break;
            }
            let body = reply.text();
            assert!(reply.status != 200 || body == "0123456789" || body == "01234", "{reply:?}");
        }
    }
    let simple = carried(&gogeta).await;
    assert!(simple > COUNT as f64 / 10.0, "only {simple} were carried");
}
