//! The hosts: clients, a proxy, backends, and cables from one to the next.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;

use tokio::net::TcpSocket;

use super::talk::talk;
use crate::support::backend::{Backend, Peer};
use crate::support::client::Client;
use crate::support::gogeta::Builder;
use crate::support::netns::{Namespace, Router, connect};

/// Where gogeta listens: nobody else does there.
pub(crate) const PORT: u16 = 8080;

/// The hosts.
pub(crate) struct World {
    pub(crate) clients: Namespace,
    pub(crate) backends: Namespace,
    pub(crate) proxy: Namespace,
    /// The clients' own address.
    client: IpAddr,
    /// The proxy's address for clients, and the backends'.
    front: IpAddr,
    pub(crate) back: IpAddr,
    /// The proxy's address for the backends.
    pub(crate) near_back: IpAddr,
    /// Sockets for clients to come.
    stock: Mutex<Vec<TcpSocket>>,
    /// The proxy's address for the tests themselves.
    admin: IpAddr,
}

impl World {
    /// With a cable from the clients to the proxy, and from there to the backends; none where that cannot be made.
    pub(crate) async fn new() -> Option<Self> {
        let (clients, proxy, backends) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        let (client, front) = connect(&clients, &proxy).await;
        let (near_back, back) = connect(&proxy, &backends).await;
        let (_, admin) = connect(&Namespace::host(), &proxy).await;
        Some(Self {
            clients,
            backends,
            proxy,
            client,
            front,
            back,
            near_back,
            admin,
            stock: Mutex::default(),
        })
    }

    /// With a router on each of these ways.
    pub(crate) async fn routed() -> Option<(Self, [Router; 2])> {
        let (clients, proxy, backends) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        let (before, client, front) = Router::between(&clients, &proxy).await?;
        let (behind, near_back, back) = Router::between(&proxy, &backends).await?;
        let (_, admin) = connect(&Namespace::host(), &proxy).await;
        Some((
            Self { clients, backends, proxy, client, front, back, near_back, admin, stock: Mutex::default() },
            [before, behind],
        ))
    }

    /// Puts the proxy's ends of its cables into bridges, which have their addresses then.
    pub(crate) async fn bridge(&self) {
        for (bridge, address) in [("front", self.front), ("back", self.near_back)] {
            let device = self.proxy.device(address).await;
            let lines = format!(
                "ip address flush dev {device}; ip link add {bridge} type bridge; ip link set {device} master {bridge}
                 ip address add {address}/30 dev {bridge}; ip link set {bridge} up"
            );
            self.proxy.shell(&lines).await;
        }
    }

    /// The proxy's address for the tests themselves.
    pub(crate) fn admin_address(&self) -> IpAddr {
        self.admin
    }

    /// Where clients are.
    pub(crate) fn client_address(&self) -> IpAddr {
        self.client
    }

    /// Where a client of IPv4 finds gogeta.
    pub(crate) fn front(&self) -> SocketAddr {
        self.at(self.front)
    }

    /// Where a client finds it at another of the proxy's addresses.
    pub(crate) fn at(&self, address: IpAddr) -> SocketAddr {
        (address, PORT).into()
    }

    /// A gogeta on the proxy, for clients of IPv4.
    pub(crate) fn place(&self, builder: Builder) -> Builder {
        self.listening(builder, Ipv4Addr::UNSPECIFIED.into())
    }

    /// The same for clients of IPv6, too.
    pub(crate) fn place_dual(&self, builder: Builder) -> Builder {
        self.listening(builder, Ipv6Addr::UNSPECIFIED.into())
    }

    fn listening(&self, builder: Builder, address: IpAddr) -> Builder {
        let (listen, admin) = (SocketAddr::new(address, PORT), SocketAddr::new(self.admin, 0));
        let builder = builder.on(&self.proxy);
        let builder =
            if builder.has("admin") { builder } else { builder.args(["--admin", &admin.to_string()]) };
        if builder.has("listen") { builder } else { builder.args(["--listen", &listen.to_string()]) }
    }

    /// A client that is connected to this address.
    pub(crate) async fn client(&self, address: SocketAddr) -> Client {
        let stock = self.stock.lock().expect("it is whole").pop().filter(|_| address.is_ipv4());
        let socket = stock.unwrap_or_else(|| self.clients.socket(address.ip()));
        Client::new(socket.connect(address).await.expect("a connection"))
    }

    /// Makes sockets for so many of the next clients of IPv4: to go to their host takes a while each time.
    pub(crate) fn stock_up(&self, count: usize) {
        let sockets = || (0..count).map(|_| TcpSocket::new_v4().expect("a socket")).collect::<Vec<_>>();
        self.stock.lock().expect("it is whole").extend(self.clients.enter(sockets));
    }

    /// How many are left.
    pub(crate) fn in_stock(&self) -> usize {
        self.stock.lock().expect("it is whole").len()
    }

    /// A backend of that name, at one of the backends' addresses.
    pub(crate) fn backend(&self, name: &'static str, address: IpAddr) -> (Backend, SocketAddr) {
        let backend = Backend::listening(self.backends.listener(address), move |peer| talk(peer, name));
        let address = (address, backend.port).into();
        (backend, address)
    }

    /// A backend that does this with each connection.
    pub(crate) fn scripted<F>(&self, script: impl Fn(Peer) -> F + Send + 'static) -> (Backend, SocketAddr)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let backend = Backend::listening(self.backends.listener(self.back), script);
        let address = (self.back, backend.port).into();
        (backend, address)
    }
}
