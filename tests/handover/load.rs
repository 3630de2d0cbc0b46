//! Under load.

use std::net::SocketAddr;

use gogeta::splice::Kind;
use tokio::task::JoinSet;

use super::{Meeting, is_over};
use crate::parked_network::world::World;
use crate::support::backend::{Backend, service, service_at};
use crate::support::client::get;
use crate::support::gogeta::{Builder, Gogeta};
use crate::support::netns::Place;
use crate::support::parking::{carried, parked, parking_by};
use crate::support::wait::until;
use crate::support::wrk::Wrk;

/// Upgrades while there is load.
const TIMES: usize = 3;

/// Clients each of which connects anew for each request: whoever is refused panics.
fn newcomers(proxy: SocketAddr) -> JoinSet<()> {
    let client = move |_| async move {
        loop {
            assert_eq!(get(proxy, "a.test", "/").await.status, 200);
        }
    };
    (0..4).map(client).collect()
}

/// Nobody of them has failed so far.
fn are_well(clients: &mut JoinSet<()>) {
    if let Some(ended) = clients.try_join_next() {
        panic!("a client failed: {ended:?}");
    }
}

async fn goes_on(backend: &Backend, count: usize) {
    let goal = backend.count() + count;
    until(&format!("{count} more requests"), async || (backend.count() >= goal).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_in_userspace_refuses_nobody_and_fails_no_request() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let mut old = meeting.routes(&routes).start().await;
    let Some(wrk) = Wrk::start(&Place::default(), old.proxy) else { return };
    let mut clients = newcomers(old.proxy);
    for _ in 0..TIMES {
        goes_on(&backend, 500).await;
        let new = meeting.next(&old, &routes).start().await;
        assert_eq!((new.proxy, new.admin), (old.proxy, old.admin));
        goes_on(&backend, 500).await;
        is_over(old).await;
        are_well(&mut clients);
        old = new;
    }
    goes_on(&backend, 500).await;
    are_well(&mut clients);
    clients.shutdown().await;
    assert!(wrk.saw_no_error().await > 1000);
}

/// What each gogeta is started with, by an engine.
async fn upgrades_with_parked_pairs(
    kind: Kind,
    meeting: &Meeting,
    first: Builder,
    next: impl Fn() -> Builder,
    (place, front): (&Place, Option<SocketAddr>),
) {
    let Some(mut old) = parking_by(kind, meeting.meets(first)).await else { return };
    let Some(wrk) = Wrk::start(place, front.unwrap_or(old.proxy)) else { return };
    for _ in 0..TIMES {
        parked(&old, 64.0).await;
        let before = carried(&old).await;
        until("the kernel carries them", async || (carried(&old).await > before + 500.0).then_some(())).await;
        let new = meeting.after(&old, next()).args(["--splice", kind.name()]).start().await;
        is_over(old).await;
        old = new;
    }
    parked(&old, 64.0).await;
    assert!(wrk.saw_no_error().await > 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_with_pairs_that_are_parked_by_sockets_fails_no_request() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let gogeta = || Gogeta::routes(&routes);
    upgrades_with_parked_pairs(Kind::Sockmap, &meeting, gogeta(), gogeta, (&Place::default(), None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_with_pairs_that_are_parked_by_packets_fails_no_request() {
    let Some(world) = World::new().await else { return };
    let meeting = Meeting::new();
    let (_backend, address) = world.backend("web", world.back);
    let routes = service_at("a.test", &[address]);
    let first = world.place(Gogeta::routes(&routes));
    let next = || Gogeta::routes(&routes).on(&world.proxy);
    let at = (world.clients.place(), Some(world.front()));
    upgrades_with_parked_pairs(Kind::Wire, &meeting, first, next, at).await;
}
