//! Neighbours that get another address of Ethernet's while their connections are parked.

use gogeta::splice::Kind;

use super::talk::get;
use super::world::World;
use crate::support::backend::service_at;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_by};

/// Requests in a row, more than one of which leave as the one before did.
const IN_A_ROW: u32 = 20;

#[tokio::test]
async fn what_the_wire_carries_finds_a_neighbour_that_has_got_another_address() {
    let Some(world) = World::new().await else { return };
    let (_web, at_web) = world.backend("web", world.back);
    let builder = Gogeta::routes(&service_at("a.test", &[at_web]));
    let Some(gogeta) = parking_by(Kind::Wire, world.place(builder)).await else { return };
    let mut client = world.client(world.front()).await;
    get(&mut client, "a.test", "/first", "web").await;
    parked(&gogeta, 1.0).await;
    let neighbours = [
        (&world.backends, world.back, world.near_back),
        (&world.clients, world.client_address(), world.front().ip()),
    ];
    for (number, (host, address, near)) in neighbours.into_iter().enumerate() {
        let before = carried(&gogeta).await;
        for request in 0..IN_A_ROW {
            get(&mut client, "a.test", &format!("/{number}/{request}/before"), "web").await;
        }
        let device = host.device(address).await;
        host.shell(&format!("ip link set {device} address 02:00:00:00:00:0{number}")).await;
        // The kernel would ask again by itself, after a minute or so.
        let device = world.proxy.device(near).await;
        world.proxy.shell(&format!("ip neighbour del {address} dev {device}")).await;
        for request in 0..IN_A_ROW {
            get(&mut client, "a.test", &format!("/{number}/{request}/behind"), "web").await;
        }
        assert_eq!(carried(&gogeta).await, before + f64::from(2 * IN_A_ROW), "all are carried");
    }
}
