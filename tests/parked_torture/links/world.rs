//! The hosts: clients, a proxy, backends, and bad cables from one to the next.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use tokio::net::TcpStream;

use super::cable::Cable;
use super::weather::Weather;
use crate::parked_torture::origin::origin_on;
use crate::support::backend::Backend;
use crate::support::etcd::skip;
use crate::support::gogeta::Builder;
use crate::support::netns::{Namespace, Router, connect, v6};

/// Where TUN devices come from.
const DEVICES: &str = "/dev/net/tun";

/// Where gogeta listens.
const PORT: u16 = 8080;

/// What lies between the hosts. Of two, the first is the clients' cable, the other the backends'.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terrain {
    pub(super) weather: [Weather; 2],
    /// Longest packet of each cable, in bytes.
    pub(super) mtu: [i32; 2],
    /// Whether clients, the proxy and the backends have timestamps.
    pub(super) timestamps: [bool; 3],
    /// Whether they acknowledge selectively.
    pub(super) sack: [bool; 3],
    /// Whether the backends' cable is a good one, and one to a router, with the clients' bad one behind it.
    pub(super) good: Good,
    /// Whether all of it is IPv6.
    pub(super) six: bool,
}

/// Good cables, besides bad ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Good {
    None,
    /// By these, many segments go together in one packet.
    Together,
    /// The same, but each segment goes alone.
    Alone,
}

/// All is well.
pub(super) const PLAIN: Terrain = Terrain {
    weather: [FAIR; 2],
    mtu: [1500; 2],
    timestamps: [true; 3],
    sack: [true; 3],
    good: Good::None,
    six: false,
};

const FAIR: Weather = Weather {
    lost: 0,
    damaged: 0,
    doubled: 0,
    overtaken: 0,
    delay: std::time::Duration::ZERO,
    jitter: std::time::Duration::ZERO,
    rate: 0,
};

/// The hosts.
pub(super) struct World {
    pub(super) clients: Namespace,
    pub(super) proxy: Namespace,
    pub(super) backends: Namespace,
    /// The bad ones.
    pub(super) cables: Vec<Cable>,
    router: Option<Router>,
    /// The client's address, the proxy's for clients, the backends', and the proxy's for the tests themselves.
    pub(super) client: IpAddr,
    front: IpAddr,
    back: IpAddr,
    admin: IpAddr,
}

impl World {
    /// None where it cannot be made.
    pub(super) async fn new(terrain: &Terrain, seed: u64) -> Option<Self> {
        if !Path::new(DEVICES).exists() {
            skip(&format!("bad cables need {DEVICES}"));
            return None;
        }
        let [Some(clients), Some(proxy), Some(backends)] = [(); 3].map(|()| Namespace::new()) else {
            return None;
        };
        let hosts = [&clients, &proxy, &backends];
        for ((host, timestamps), sack) in hosts.into_iter().zip(terrain.timestamps).zip(terrain.sack) {
            host.set_variable("ipv4/tcp_timestamps", if timestamps { "1" } else { "0" });
            host.set_variable("ipv4/tcp_sack", if sack { "1" } else { "0" });
        }
        let cable = |ends, at: usize| {
            Cable::between(ends, terrain.weather[at], terrain.mtu[at], seed.rotate_left(at as u32))
        };
        let (cables, mut addresses, router) = if terrain.good == Good::None {
            let (before, behind) = (cable([&clients, &proxy], 0), cable([&proxy, &backends], 1));
            (vec![before.0, behind.0], [before.1[0], before.1[1], behind.1[1]], None)
        } else {
            let between = Namespace::new()?;
            let (bad, [client, far]) = cable([&clients, &between], 0);
            let (near, front) = connect(&between, &proxy).await;
            let (_, back) = connect(&proxy, &backends).await;
            clients.lead(front, far);
            proxy.lead(client, near);
            (vec![bad], [client, front, back], Some(Router::of(between)))
        };
        if terrain.good == Good::Alone {
            router.iter().for_each(Router::segment);
            [&proxy, &backends].into_iter().for_each(Namespace::segment);
        }
        if terrain.six {
            let [Some(client), Some(front), Some(back)] = addresses.map(v6) else { return None };
            addresses = [client, front, back];
        }
        let (_, admin) = connect(&Namespace::host(), &proxy).await;
        let [client, front, back] = addresses;
        Some(Self { clients, proxy, backends, cables, router, client, front, back, admin })
    }

    /// Packets that the proxy has sent to clients, where there is a router to count them.
    pub(super) fn answers(&self) -> Option<u64> {
        self.router.as_ref().map(Router::packets)
    }

    /// A gogeta on the proxy.
    pub(super) fn place(&self, builder: Builder) -> Builder {
        let listen = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), PORT);
        let admin = SocketAddr::new(self.admin, 0);
        builder.on(&self.proxy).args(["--listen", &listen.to_string(), "--admin", &admin.to_string()])
    }

    /// A client's connection. One that is to hold few bytes that it has not read says so.
    pub(super) async fn connection(&self, buffer: Option<u32>) -> TcpStream {
        let socket = self.clients.socket(self.front);
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).expect("SO_RCVBUF");
        }
        let stream = socket.connect((self.front, PORT).into()).await.expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream
    }

    /// A backend of that name.
    pub(super) fn backend(&self, name: &'static str) -> (Backend, SocketAddr) {
        let backend = origin_on(self.backends.listener(self.back), name);
        let address = (self.back, backend.port).into();
        (backend, address)
    }
}
