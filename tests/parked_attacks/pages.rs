//! A client on the same machine, which still has the pages that its requests are made of.

use gogeta::splice::Kind;

use crate::parked_network::world::World;
use crate::support::backend::service_at;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parking_by};

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
