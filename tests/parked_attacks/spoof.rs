//! Somebody who knows the addresses and the ports of others' connections, but not their numbers: not on the way.

use std::net::{SocketAddr, SocketAddrV4};

use gogeta::splice::Kind;
use gogeta_common::wire::segment::{ACK, FIN, PSH, RST, SYN, URG};

use super::cable::Cable;
use super::segment::Segment;
use crate::parked_network::talk::get;
use crate::parked_network::world::World;
use crate::support::backend::service_at;
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;
use crate::support::netns::{Namespace, v6};
use crate::support::parking::{carried, parked, parking_by};

/// Numbers that are tried, all over their circle.
const GUESSES: u32 = 256;

fn v4(address: SocketAddr) -> SocketAddrV4 {
    let SocketAddr::V4(address) = address else { panic!("{address} is no address of IPv4") };
    address
}

/// The ports from which connections to that one have come, of a host's.
fn peers(host: &Namespace, port: u16) -> Vec<SocketAddrV4> {
    let table = host.enter(|| std::fs::read_to_string("/proc/thread-self/net/tcp")).expect("it is there");
    let address = |text: &str| {
        let (ip, port) = text.split_once(':')?;
        let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
        Some(SocketAddrV4::new(ip.into(), u16::from_str_radix(port, 16).ok()?))
    };
    let of = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (near, far, state) = (address(words.next()?)?, address(words.next()?)?, words.next()?);
        (near.port() == port && state == "01").then_some(far)
    };
    table.lines().filter_map(of).collect()
}

/// All that may be tried in one's name towards the other.
async fn try_all(cable: &mut Cable, from: SocketAddrV4, to: SocketAddrV4) {
    for guess in 0..GUESSES {
        let seq = (guess << 24).wrapping_add(0x5a_a5a5);
        for flags in [RST, RST | ACK, FIN | ACK, ACK, ACK | PSH, ACK | URG, FIN | PSH | ACK] {
            // With a time that is far from the right one.
            let segment = Segment::new(from, to, seq, seq ^ 0x1234_5678).flags(flags);
            let mut segment = segment.at(0x7000_0000_u32.wrapping_mul(guess), 1);
            if flags & PSH != 0 {
                segment.data = b"GET /forged HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec();
            }
            cable.send(&segment).await;
        }
    }
    // What was sent has come there when an answer to what is behind it has.
    cable.pass().await;
}

/// A client whose requests are carried.
async fn carried_client(world: &World, gogeta: &Gogeta) -> Client {
    let mut client = world.client(world.front()).await;
    get(&mut client, "a.test", "/first", "web").await;
    parked(gogeta, 1.0).await;
    goes_on(&mut client, gogeta, "a.test", true).await;
    client
}

/// Asks some more, and all of it is carried.
async fn goes_on(client: &mut Client, gogeta: &Gogeta, host: &str, is_carried: bool) {
    let before = carried(gogeta).await;
    for number in 0..10 {
        get(client, host, &format!("/on/{number}/20000"), "web").await;
    }
    if is_carried {
        assert_eq!(carried(gogeta).await, before + 10.0);
    }
}

#[tokio::test]
async fn who_guesses_numbers_ends_no_pair_and_gets_nothing_to_either_end() {
    let Some(world) = World::new().await else { return };
    let Some(mut cable) = Cable::to(&world.proxy).await else { return };
    let (web, at_web) = world.backend("web", world.back);
    let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web])));
    let Some(gogeta) = parking_by(Kind::Wire, builder).await else { return };
    let mut client = carried_client(&world, &gogeta).await;
    let near = v4(client.address());
    let [far] = peers(&world.backends, at_web.port())[..] else { panic!("there is one connection") };
    for (from, to) in [(near, v4(world.front())), (v4(at_web), far)] {
        try_all(&mut cable, from, to).await;
        goes_on(&mut client, &gogeta, "a.test", true).await;
    }
    // Who begins a connection that is there brings the pair back to userspace, and nothing else.
    for (from, to) in [(near, v4(world.front())), (v4(at_web), far)] {
        cable.send(&Segment::new(from, to, 77, 0).flags(SYN)).await;
        cable.pass().await;
        goes_on(&mut client, &gogeta, "a.test", false).await;
        parked(&gogeta, 1.0).await;
    }
    assert!(web.requests().iter().all(|request| !request.line().contains("forged")));
}

#[tokio::test]
async fn who_guesses_does_not_end_a_connection_that_was_carried_once() {
    let Some(world) = World::new().await else { return };
    let Some(six) = v6(world.back) else { return };
    let Some(mut cable) = Cable::to(&world.proxy).await else { return };
    let (_four, at_four) = world.backend("web", world.back);
    let (_six, at_six) = world.backend("web", six);
    let routes = service_at("a.test", &[at_four]) + &service_at("six.test", &[at_six]);
    let Some(gogeta) = parking_by(Kind::Wire, world.place(Gogeta::routes(&routes))).await else { return };
    let mut client = carried_client(&world, &gogeta).await;
    // To an instance that the wire does not carry it to: it is userspace's, and its packets are moved as before.
    get(&mut client, "six.test", "/six", "web").await;
    parked(&gogeta, 0.0).await;
    let (near, front) = (v4(client.address()), v4(world.front()));
    for guess in 0..GUESSES {
        cable.send(&Segment::new(near, front, guess << 24, 0).flags(SYN)).await;
    }
    cable.pass().await;
    goes_on(&mut client, &gogeta, "six.test", false).await;
}

#[tokio::test]
async fn what_comes_in_gogetas_own_name_is_not_taken_for_its_own() {
    let Some(world) = World::new().await else { return };
    let Some(mut cable) = Cable::to(&world.proxy).await else { return };
    // A host that passes on what comes in its own name, as others do with IPv6.
    world.proxy.enter(|| {
        for (key, value) in
            [("ip_forward", "1"), ("conf/all/accept_local", "1"), ("conf/far/accept_local", "1")]
        {
            std::fs::write(format!("/proc/sys/net/ipv4/{key}"), value).expect("it is set");
        }
        for key in ["conf/all/rp_filter", "conf/far/rp_filter"] {
            std::fs::write(format!("/proc/sys/net/ipv4/{key}"), "0").expect("it is set");
        }
    });
    let (_web, at_web) = world.backend("web", world.back);
    let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web])));
    let Some(gogeta) = parking_by(Kind::Wire, builder).await else { return };
    let mut client = carried_client(&world, &gogeta).await;
    let near = v4(client.address());
    let [far] = peers(&world.backends, at_web.port())[..] else { panic!("there is one connection") };
    let before = world.clients.packets();
    for (from, to) in [(v4(world.front()), near), (far, v4(at_web))] {
        for flags in [RST, RST | ACK, FIN | ACK, ACK] {
            cable.send(&Segment::new(from, to, 1, 1).flags(flags)).await;
        }
        cable.pass().await;
        goes_on(&mut client, &gogeta, "a.test", true).await;
    }
    assert!(world.clients.packets() >= before + 14, "they have come by");
}
