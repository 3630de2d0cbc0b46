//! A client that is up to no good.

use gogeta::splice::Kind;
use gogeta_common::wire::segment::{ACK, URG};

use super::cable::Cable;
use super::raw::Raw;
use crate::parked_network::world::{PORT, World};
use crate::support::backend::{Backend, service_at};
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_by};

/// The hosts, and a client at the end of a cable whose pair is carried.
struct Scene {
    _world: World,
    web: Backend,
    gogeta: Gogeta,
    raw: Raw,
}

impl Scene {
    async fn new() -> Option<Self> {
        let world = World::new().await?;
        let cable = Cable::to(&world.proxy).await?;
        let (web, at_web) = world.backend("web", world.back);
        let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web])));
        let gogeta = parking_by(Kind::Wire, builder).await?;
        let mut raw = Raw::connect(cable, 40_000, PORT).await;
        raw.get("a.test", "/first", "web").await;
        parked(&gogeta, 1.0).await;
        raw.get("a.test", "/carried", "web").await;
        assert_eq!(carried(&gogeta).await, 1.0);
        Some(Self { _world: world, web, gogeta, raw })
    }

    /// The last request's head, as the backend got it.
    fn seen(&self) -> String {
        self.web.requests().pop().expect("a request").head
    }
}

#[tokio::test]
async fn urgent_data_does_not_take_bytes_out_of_what_the_guard_has_seen() {
    let Some(mut scene) = Scene::new().await else { return };
    let request = b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let honest = scene.seen().replace("/carried", "/next");
    // It says that a byte of the next request is urgent: of its own, and of what gogeta adds. Whoever does not ask for
    // urgent bytes reads on behind them.
    for place in [5, request.len() as u16 - 1, request.len() as u16 + 25] {
        let mut urgent = scene.raw.next().flags(ACK | URG);
        urgent.urgent = place;
        scene.raw.cable.send(&urgent).await;
        scene.raw.send(request).await;
        scene.raw.is_told("/next", "web").await;
        assert_eq!(scene.seen(), honest, "urgent at {place}");
    }
    assert_eq!(carried(&scene.gogeta).await, 4.0);
}
