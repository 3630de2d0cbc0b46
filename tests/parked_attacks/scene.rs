//! A client at the end of a cable, whose pair is carried.

use gogeta::splice::Kind;

use super::cable::Cable;
use super::raw::Raw;
use crate::parked_network::world::{PORT, World};
use crate::support::backend::{Backend, service_at};
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_by};

/// The client's port.
pub(super) const CLIENT: u16 = 40_000;

/// The hosts, and the client.
pub(super) struct Scene {
    pub(super) _world: World,
    pub(super) web: Backend,
    pub(super) gogeta: Gogeta,
    pub(super) raw: Raw,
}

impl Scene {
    /// With these arguments of gogeta's; none where it cannot be.
    pub(super) async fn new(arguments: &[&str]) -> Option<Self> {
        let world = World::new().await?;
        let cable = Cable::to(&world.proxy).await?;
        let (web, at_web) = world.backend("web", world.back);
        let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web]))).args(arguments);
        let gogeta = parking_by(Kind::Wire, builder).await?;
        let raw = Raw::connect(cable, CLIENT, PORT).await;
        let mut scene = Self { _world: world, web, gogeta, raw };
        scene.carry().await;
        Some(scene)
    }

    /// Has one more request carried.
    pub(super) async fn carry(&mut self) {
        self.raw.get("a.test", "/first", "web").await;
        parked(&self.gogeta, 1.0).await;
        let before = self.carried().await;
        self.raw.get("a.test", "/carried", "web").await;
        assert_eq!(self.carried().await, before + 1.0);
    }

    /// How many requests were.
    pub(super) async fn carried(&self) -> f64 {
        carried(&self.gogeta).await
    }

    /// The last request's head, as the backend got it.
    pub(super) fn seen(&self) -> String {
        self.web.requests().pop().expect("a request").head
    }
}
