//! What each setting of a network is asked: many requests on a few connections, that go to userspace and back, and end.

use std::net::SocketAddr;

use gogeta::splice::Kind;

use super::talk::{get, is_told};
use super::world::World;
use crate::support::backend::{Backend, service_at};
use crate::support::client::Client;
use crate::support::gogeta::{Builder, Gogeta};
use crate::support::parking::{carried, parked, parking_by};
use crate::support::truth::metric;
use crate::support::wait::until;

/// Connections, and requests that are carried on each between two that are not.
const CLIENTS: usize = 4;
const REQUESTS: usize = 12;
const ROUNDS: usize = 5;

/// What becomes of requests there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// From the third of a connection on, each that may be is carried.
    Carried,
    /// Userspace serves all, for this reason.
    Stays(&'static str),
}

/// A gogeta in some setting, with a backend.
pub(super) struct Setting {
    pub(super) gogeta: Gogeta,
    pub(super) web: Backend,
}

impl Setting {
    /// Starts them; none where the kernel has no engine.
    pub(super) async fn new(world: &World) -> Option<Self> {
        Self::with(world, |builder| builder).await
    }

    /// The same, with a gogeta that is told more.
    pub(super) async fn with(world: &World, more: impl FnOnce(Builder) -> Builder) -> Option<Self> {
        let (web, at_web) = world.backend("web", world.back);
        let builder = world.place(more(Gogeta::routes(&service_at("a.test", &[at_web]))));
        let gogeta = parking_by(Kind::Wire, builder).await?;
        Some(Self { gogeta, web })
    }

    /// Connections on which two requests were answered.
    pub(super) async fn connect(&self, world: &World, address: SocketAddr) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = world.client(address).await;
            get(&mut client, "a.test", "/first", "web").await;
            clients.push(client);
        }
        clients
    }

    /// Asks by these connections, and looks what becomes of it.
    pub(super) async fn ask(&self, clients: &mut [Client], expected: Expected) {
        let count = clients.len();
        self.settle(clients, expected).await;
        for round in 0..ROUNDS {
            let before = carried(&self.gogeta).await;
            for number in 0..REQUESTS {
                for client in clients.iter_mut() {
                    let size = (round + number * number) * 700;
                    get(client, "a.test", &format!("/{round}/{number}/{size}"), "web").await;
                }
            }
            let more = if expected == Expected::Carried { (REQUESTS * count) as f64 } else { 0.0 };
            assert_eq!(carried(&self.gogeta).await, before + more, "carried in round {round}");
            for (number, client) in clients.iter_mut().enumerate() {
                // Each of them in another way.
                match (round + number) % 3 {
                    0 => {
                        let head =
                            "POST /post/50000 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc";
                        client.send(head).await;
                        is_told(client, "web", "POST /post/50000 HTTP/1.1", b"abc").await;
                    }
                    1 => get(client, "a.test", "/apart/3000", "web").await,
                    _ => get(client, "a.test", &format!("/{}/90000", "long".repeat(800)), "web").await,
                }
            }
            self.settle(clients, expected).await;
        }
    }

    /// The connections are parked again, where they are parked at all.
    async fn settle(&self, clients: &mut [Client], expected: Expected) {
        if expected == Expected::Carried {
            parked(&self.gogeta, clients.len() as f64).await;
        }
        for client in clients.iter_mut() {
            get(client, "a.test", "/settled", "web").await;
        }
        if expected == Expected::Carried {
            parked(&self.gogeta, clients.len() as f64).await;
        }
    }

    /// The clients close, and everybody hears of it.
    pub(super) async fn end(&self, clients: Vec<Client>) {
        drop(clients);
        until("no connection is open", async || {
            (metric(&self.gogeta, "gogeta_connections_open").await == 0.0).then_some(())
        })
        .await;
    }

    /// All of that, at this address.
    pub(super) async fn expect(&self, world: &World, address: SocketAddr, expected: Expected) {
        let mut clients = self.connect(world, address).await;
        self.ask(&mut clients, expected).await;
        let asked = CLIENTS * (2 + ROUNDS * (REQUESTS + 2));
        assert_eq!(self.web.count(), asked, "each was sent once");
        self.end(clients).await;
        if let Expected::Stays(reason) = expected {
            let series = format!("gogeta_splice_unfit_total{{reason=\"{reason}\"}}");
            assert!(metric(&self.gogeta, &series).await > 0.0, "{series}");
        }
    }
}
