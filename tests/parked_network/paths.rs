//! Ways on which packets are too long, as only a router on it knows, and says.

use std::net::{IpAddr, SocketAddr};

use gogeta::splice::Kind;

use super::talk::{get, is_told};
use super::world::{PORT, World};
use crate::support::backend::service_at;
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;
use crate::support::netns::{Namespace, Router, v6};
use crate::support::parking::{carried, parked, parking_by};

/// Bytes of a body that needs many packets.
const LARGE: usize = 300_000;

/// Longest packet that the routers send on, in bytes.
const NARROW: u32 = 1300;

/// Lets that router send on to hosts only what is short.
async fn narrow(router: &Router) {
    let shown = router.namespace().shell("ip -o link show type veth").await;
    for line in shown.lines() {
        let device = line.split([':', '@']).nth(1).expect("a name").trim();
        router.namespace().shell(&format!("ip link set {device} mtu {NARROW}")).await;
    }
}

/// The other end of a cable's: both are two of four addresses.
fn other_end(address: IpAddr) -> IpAddr {
    let IpAddr::V4(address) = address else { panic!("{address}") };
    std::net::Ipv4Addr::from(u32::from(address) ^ 3).into()
}

/// Makes the ways from one to the other ones of IPv6, too; false where there is none.
fn lead_six(router: &Router, ends: [(&Namespace, IpAddr); 2]) -> bool {
    let [Some(one), Some(other)] = ends.map(|(_, address)| v6(address)) else { return false };
    router.namespace().set_variable("ipv6/conf/all/forwarding", "1");
    for ((host, address), to) in ends.into_iter().zip([other, one]) {
        host.lead(to, v6(other_end(address)).expect("as before"));
    }
    true
}

/// A request whose body makes it userspace's, and its answer.
async fn post(client: &mut Client, host: &str, target: &str) {
    client.send(format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhi")).await;
    is_told(client, "web", &format!("POST {target} HTTP/1.1"), b"hi").await;
}

/// Large answers come, whoever sends them, when the ways have become narrow.
async fn all_come(world: &World, routers: &[Router; 2], gogeta: &Gogeta, front: SocketAddr) {
    let mut client = world.client(front).await;
    get(&mut client, "a.test", "/first", "web").await;
    parked(gogeta, 1.0).await;
    get(&mut client, "a.test", "/wide/50000", "web").await;
    for router in routers {
        narrow(router).await;
    }
    // What the kernel carries: the backend has to hear of it.
    get(&mut client, "a.test", &format!("/narrow/{LARGE}"), "web").await;
    assert_eq!(carried(gogeta).await, 2.0);
    // What gogeta's socket sends, which is behind: nobody has told it yet.
    post(&mut client, "a.test", &format!("/narrow/{LARGE}")).await;
}

#[tokio::test]
async fn whoever_sends_packets_that_are_too_long_for_the_way_hears_of_it() {
    let Some((world, routers)) = World::routed().await else { return };
    let (_web, at_web) = world.backend("web", world.back);
    let builder = Gogeta::routes(&service_at("a.test", &[at_web]));
    let Some(gogeta) = parking_by(Kind::Wire, world.place(builder)).await else { return };
    all_come(&world, &routers, &gogeta, world.front()).await;
}

#[tokio::test]
async fn whoever_sends_packets_of_ipv6_that_are_too_long_for_the_way_hears_of_it() {
    let Some((world, routers)) = World::routed().await else { return };
    let (client, front) = (world.client_address(), world.front().ip());
    if !lead_six(&routers[0], [(&world.clients, client), (&world.proxy, front)])
        || !lead_six(&routers[1], [(&world.proxy, world.near_back), (&world.backends, world.back)])
    {
        return;
    }
    let (front, back) = (v6(front).expect("as before"), v6(world.back).expect("as before"));
    let (_web, at_web) = world.backend("web", back);
    let builder = Gogeta::routes(&service_at("a.test", &[at_web]));
    let Some(gogeta) = parking_by(Kind::Wire, world.place_dual(builder)).await else { return };
    all_come(&world, &routers, &gogeta, SocketAddr::new(front, PORT)).await;
}
