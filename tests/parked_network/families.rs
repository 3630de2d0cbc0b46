//! IPv6 on either side, on both, and IPv4 by a listener of IPv6.

use gogeta::splice::Kind;

use super::talk::{get, is_told, web_socket};
use super::world::World;
use crate::support::backend::service_at;
use crate::support::client::get as fetch;
use crate::support::gogeta::Gogeta;
use crate::support::netns::v6;
use crate::support::parking::{carried, parked, parking_as, parking_by, parking_with};

#[tokio::test]
async fn sockmap_carries_connections_of_ipv6_as_those_of_ipv4() {
    let Some(world) = World::new().await else { return };
    let (Some(front), Some(back)) = (v6(world.front().ip()), v6(world.back)) else { return };
    let (four, at_four) = world.backend("four", world.back);
    let (six, at_six) = world.backend("six", back);
    let routes = service_at("four.test", &[at_four]) + &service_at("six.test", &[at_six]);
    let Some(gogeta) = parking_with(world.place_dual(Gogeta::routes(&routes))).await else { return };
    let mut asked = 0;
    for address in [world.at(front), world.front()] {
        for (host, name) in [("six.test", "six"), ("four.test", "four")] {
            let mut client = world.client(address).await;
            get(&mut client, host, "/first", name).await;
            parked(&gogeta, 1.0).await;
            let before = carried(&gogeta).await;
            for number in 0..20 {
                get(&mut client, host, &format!("/{}", number * 100), name).await;
            }
            assert_eq!(carried(&gogeta).await, before + 20.0, "{name} for {address}");
            // While the client's socket has no room for a whole one, it is userspace's.
            get(&mut client, host, "/250000", name).await;
            parked(&gogeta, 1.0).await;

            client.send(format!("POST /post HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc")).await;
            is_told(&mut client, name, "POST /post HTTP/1.1", b"abc").await;
            parked(&gogeta, 1.0).await;
            get(&mut client, host, "/apart/3000", name).await;
            parked(&gogeta, 1.0).await;
            asked += 24;
            // The other one is of the other family.
            for (host, name) in [("four.test", "four"), ("six.test", "six"), (host, name)] {
                get(&mut client, host, "/1000", name).await;
                parked(&gogeta, 1.0).await;
                get(&mut client, host, "/2000", name).await;
                asked += 2;
            }
            web_socket(client, &gogeta, host).await;
            parked(&gogeta, 0.0).await;
        }
    }
    assert_eq!(four.count() + six.count(), asked + 4, "each was sent once");
}

#[tokio::test]
async fn the_wire_carries_connections_of_one_family_and_leaves_others_to_userspace() {
    let Some(world) = World::new().await else { return };
    let (Some(front), Some(back)) = (v6(world.front().ip()), v6(world.back)) else { return };
    let (four, at_four) = world.backend("four", world.back);
    let (six, at_six) = world.backend("six", back);
    let routes = service_at("four.test", &[at_four]) + &service_at("six.test", &[at_six]);
    let builder = world.place_dual(Gogeta::routes(&routes));
    let Some(gogeta) = parking_by(Kind::Wire, builder).await else { return };
    for (address, own) in [(world.at(front), "six"), (world.front(), "four")] {
        let mut client = world.client(address).await;
        for (host, name) in [("six.test", "six"), ("four.test", "four"), ("six.test", "six")] {
            get(&mut client, host, "/first", name).await;
            if name == own {
                parked(&gogeta, 1.0).await;
            }
            let before = carried(&gogeta).await;
            for number in 0..20 {
                get(&mut client, host, &format!("/{}", number * number * 700), name).await;
            }
            let expected = if name == own { 20.0 } else { 0.0 };
            assert_eq!(carried(&gogeta).await, before + expected, "{name} for {address}");
        }
    }
    assert_eq!(four.count() + six.count(), 2 * 3 * 21, "each was sent once");
}

#[tokio::test]
async fn whoever_says_nothing_is_carried_by_the_wire_where_there_is_one() {
    let Some(world) = World::new().await else { return };
    let (backend, address) = world.backend("back", world.back);
    let routes = service_at("a.test", &[address]);
    let builder = world.place(Gogeta::routes(&routes));
    let Some(gogeta) = parking_as("auto", builder).await else { return };
    let mut client = world.client(world.front()).await;
    for number in 0..22 {
        get(&mut client, "a.test", &format!("/{number}"), "back").await;
        // A client on the same machine may be faster than a gogeta that is being parked.
        parked(&gogeta, 1.0).await;
    }
    assert_eq!(carried(&gogeta).await, 21.0);
    let pairs = fetch(gogeta.admin, "localhost", "/api/pairs").await.text();
    assert!(pairs.contains("\"wire\""), "{pairs}");
    assert_eq!(backend.count(), 22);
}
