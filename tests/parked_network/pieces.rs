//! Bytes that come in other pieces than they were sent in.

use gogeta::splice::Kind;

use super::talk::{get, web_socket};
use super::world::World;
use crate::support::backend::service_at;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_by};
use crate::support::truth::metric;

/// Bytes of bodies, about those that a segment has, and up to what a parked connection takes.
const SIZES: [usize; 12] =
    [0, 1, 1300, 1340, 1390, 1400, 3000, 20_000, 65_000, 200_000, 400_000, (512 << 10) - 200];

#[tokio::test]
async fn packets_of_tens_of_kilobytes_are_carried_by_sockmap_as_they_were_sent() {
    all_are_right(Kind::Sockmap, false).await;
}

#[tokio::test]
async fn packets_of_tens_of_kilobytes_are_carried_by_the_wire_as_they_were_sent() {
    all_are_right(Kind::Wire, false).await;
}

#[tokio::test]
async fn segments_that_come_one_by_one_are_carried_by_sockmap_as_they_were_sent() {
    all_are_right(Kind::Sockmap, true).await;
}

#[tokio::test]
async fn segments_that_come_one_by_one_are_carried_by_the_wire_as_they_were_sent() {
    all_are_right(Kind::Wire, true).await;
}

async fn all_are_right(kind: Kind, segments: bool) {
    let Some(world) = World::new().await else { return };
    if segments {
        for namespace in [&world.clients, &world.proxy, &world.backends] {
            namespace.segment();
        }
    }
    let (web, at_web) = world.backend("web", world.back);
    let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web])));
    let Some(gogeta) = parking_by(kind, builder).await else { return };
    let mut client = world.client(world.front()).await;
    get(&mut client, "a.test", "/first", "web").await;
    let (packets, mut bytes, mut asked) = (world.clients.packets(), 0, 0_u32);
    for round in 0..4 {
        for size in SIZES {
            for way in ["whole", "apart", "whole", "long"] {
                // A small one before each, for what has to be served by userspace again and again is left to it.
                for (way, size) in [("small", 100), (way, size)] {
                    parked(&gogeta, 1.0).await;
                    get(&mut client, "a.test", &format!("/{way}/{round}/{size}"), "web").await;
                    bytes += size;
                    asked += 1;
                }
            }
        }
    }
    assert_eq!(web.count(), 1 + asked as usize, "each was sent once");
    // Userspace answers where a head comes in pieces or is too long, what the kernel has sent on.
    let answered = metric(&gogeta, "gogeta_splice_unparked_total{reason=\"answer\"}").await;
    let sent = carried(&gogeta).await + answered;
    assert!(sent == f64::from(asked), "{sent} of {asked} were sent by the kernel");
    let packets = world.clients.packets() - packets;
    let full = bytes as u64 / 1448;
    assert_eq!(packets > full, segments, "{packets} packets for {full} segments");
    get(&mut client, "a.test", "/", "web").await;
    parked(&gogeta, 1.0).await;
    web_socket(client, &gogeta, "a.test").await;
}
