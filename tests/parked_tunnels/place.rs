//! A gogeta that parks tunnels to one backend: all on this machine, or each on a host of its own, as the engine needs
//! it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use gogeta::splice::Kind;
use tokio::net::TcpStream;

use crate::parked_network::world::World;
use crate::support::backend::{Backend, Peer, service_at};
use crate::support::client::Client;
use crate::support::gogeta::{Builder, Gogeta};
use crate::support::netns::Router;
use crate::support::parking::{carried_bytes, parked, parking_by};
use crate::support::tunnel::{web_socket, web_socket_on};
use crate::support::wait::until;

/// The three of them. None of it is made where the kernel, or whoever runs the tests, cannot.
pub(super) struct Place {
    pub(super) gogeta: Gogeta,
    pub(super) backend: Backend,
    pub(super) world: Option<World>,
}

impl Place {
    /// With a backend that does this with each connection, reached by CONNECT.
    pub(super) async fn of<F>(
        kind: Kind,
        script: impl Fn(Peer) -> F + Send + 'static,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Option<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let world = world(kind).await?;
        Self::within(kind, world, script, change).await
    }

    /// The same with a router on either way, for the wire engine.
    pub(super) async fn routed<F>(script: impl Fn(Peer) -> F + Send + 'static) -> Option<(Self, [Router; 2])>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (world, routers) = World::routed().await?;
        let place = Self::within(Kind::Wire, Some(world), script, |builder| builder).await?;
        Some((place, routers))
    }

    async fn within<F>(
        kind: Kind,
        world: Option<World>,
        script: impl Fn(Peer) -> F + Send + 'static,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Option<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (backend, address) = match &world {
            Some(world) => world.scripted(script),
            None => {
                let backend = Backend::scripted(script).await;
                let address = (Ipv4Addr::LOCALHOST, backend.port).into();
                (backend, address)
            }
        };
        let gogeta = start(kind, world.as_ref(), address, change).await?;
        Some(Self { gogeta, backend, world })
    }

    /// A client whose tunnel is open, and parked. The first bytes have shown the engine by which ways they come and go.
    pub(super) async fn open(&self) -> Client {
        let mut client = Client::new(self.connect().await.expect("a connection"));
        client.send("CONNECT a.test:1 HTTP/1.1\r\nHost: a.test:1\r\n\r\n").await;
        assert_eq!(client.head().await.expect("a head").status, 200);
        parked(&self.gogeta, 1.0).await;
        client
    }

    /// Connects to gogeta, if it takes connections.
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        match &self.world {
            Some(world) => world.clients.socket(world.front().ip()).connect(world.front()).await,
            None => TcpStream::connect(self.gogeta.proxy).await,
        }
    }

    /// A client to whom the backend sends back one byte at a time, until the kernel has carried some.
    pub(super) async fn carried(&self) -> Client {
        let mut client = self.open().await;
        let before = carried_bytes(&self.gogeta).await;
        until("the kernel carries some", async || {
            client.send("?").await;
            assert_eq!(client.take(1).await, b"?");
            (carried_bytes(&self.gogeta).await > before).then_some(())
        })
        .await;
        client
    }
}

/// A gogeta before a WebSocket server, and a client of it.
pub(super) async fn before_web_socket(kind: Kind) -> Option<(Gogeta, Option<World>, Client)> {
    let world = world(kind).await?;
    let address = match &world {
        Some(world) => {
            let listener = world.backends.listener(world.back);
            let address = listener.local_addr().expect("an address");
            let listener = listener.into_std().expect("a listener");
            listener.set_nonblocking(false).expect("to wait");
            web_socket_on(listener);
            address
        }
        None => web_socket(),
    };
    let gogeta = start(kind, world.as_ref(), address, |builder| builder).await?;
    let client = client(&gogeta, world.as_ref()).await;
    Some((gogeta, world, client))
}

async fn world(kind: Kind) -> Option<Option<World>> {
    match kind {
        Kind::Sockmap => Some(None),
        Kind::Wire => World::new().await.map(Some),
    }
}

async fn start(
    kind: Kind,
    world: Option<&World>,
    address: SocketAddr,
    change: impl FnOnce(Builder) -> Builder,
) -> Option<Gogeta> {
    let builder = Gogeta::routes(&service_at("a.test", &[address])).args(["--connect", "*:*"]);
    let builder = match world {
        Some(world) => world.place(builder),
        None => builder,
    };
    parking_by(kind, change(builder)).await
}

async fn client(gogeta: &Gogeta, world: Option<&World>) -> Client {
    match world {
        Some(world) => world.client(world.front()).await,
        None => Client::connect(gogeta.proxy).await,
    }
}
