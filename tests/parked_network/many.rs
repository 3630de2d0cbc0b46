//! Many pairs, pairs that come and go, and more connections than pairs.

use std::time::{Duration, Instant};

use gogeta::splice::Kind;

use super::talk::{get, is_told};
use super::world::World;
use crate::support::backend::service_at;
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;
use crate::support::limit::raise_the_limit;
use crate::support::parking::{carried, parked, parking_by};
use crate::support::random::number;
use crate::support::truth::{metric, sum};
use crate::support::wait::{all, within};

const ROOM: [&str; 3] =
    ["--max-connections=100000", "--max-connections-per-client=100000", "--idle-timeout=10m"];

/// Memory of gogeta's own for a pair, in KiB: what two idle connections have without being parked.
const PAIR: u64 = 48;

#[tokio::test]
async fn where_as_many_pairs_are_parked_as_may_be_others_stay_in_userspace_until_one_leaves() {
    let Some(world) = World::new().await else { return };
    let (web, at_web) = world.backend("web", world.back);
    let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web])));
    let Some(gogeta) = parking_by(Kind::Wire, builder.args(["--splice-max-pairs", "8"])).await else {
        return;
    };
    let full = async || metric(&gogeta, "gogeta_splice_unfit_total{reason=\"full\"}").await;
    let mut clients = Vec::new();
    for number in 0..50 {
        let mut client = world.client(world.front()).await;
        get(&mut client, "a.test", &format!("/first/{number}"), "web").await;
        parked(&gogeta, f64::from(number + 1).min(8.0)).await;
        clients.push(client);
    }
    // What is counted comes behind the answer.
    within(Duration::from_secs(5), "42 have found no room", async || (full().await == 42.0).then_some(()))
        .await;
    for client in &mut clients {
        get(client, "a.test", "/second/3000", "web").await;
    }
    assert_eq!(carried(&gogeta).await, 8.0);

    drop(clients.drain(..5));
    parked(&gogeta, 3.0).await;
    for client in &mut clients {
        get(client, "a.test", "/third/3000", "web").await;
    }
    parked(&gogeta, 8.0).await;
    let before = carried(&gogeta).await;
    for client in &mut clients {
        get(client, "a.test", "/fourth/3000", "web").await;
    }
    assert_eq!(carried(&gogeta).await, before + 8.0);
    assert_eq!(web.count(), 50 + 50 + 45 + 45, "each was sent once");
}

#[tokio::test]
async fn ten_thousand_pairs_are_parked_at_once_and_each_is_answered_with_its_own() {
    // Two ends of each pair are this process's, and two gogeta's.
    let most = (raise_the_limit() as u64).saturating_sub(200) / 2;
    let many = number("PAIRS").unwrap_or(10_000).min(most);
    let Some(world) = World::new().await else { return };
    let (web, at_web) = world.backend("web", world.back);
    let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web]))).args(ROOM);
    let builder = builder.args(["--splice-max-pairs", &many.to_string()]);
    let Some(gogeta) = parking_by(Kind::Wire, builder).await else { return };
    let before = gogeta.own_kib();
    let mut clients = Vec::new();
    while (clients.len() as u64) < many {
        let count = (many - clients.len() as u64).min(100);
        world.stock_up(usize::try_from(count).expect("few"));
        let comers = (0..count).map(|_| async {
            let mut client = world.client(world.front()).await;
            get(&mut client, "a.test", "/first", "web").await;
            client
        });
        clients.extend(all(comers).await);
    }
    within(Duration::from_secs(30), "all are parked", async || {
        (sum(&gogeta, "gogeta_splice_pairs", "").await == many as f64).then_some(())
    })
    .await;
    let asked = Instant::now();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /{number}/1000 HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
    }
    for (number, client) in clients.iter_mut().enumerate() {
        is_told(client, "web", &format!("GET /{number}/1000 HTTP/1.1"), b"").await;
    }
    let took = asked.elapsed();
    assert_eq!(carried(&gogeta).await, many as f64);
    assert_eq!(web.count() as u64, 2 * many, "each was sent once");
    let own = (gogeta.own_kib() - before) as f64 / many as f64;
    report(&format!(
        "{many} pairs: {own:.1} KiB of gogeta's own memory each; one request of each took {took:?}"
    ));
    assert!(own < PAIR as f64, "{own} KiB for each pair");
    drop(clients);
    within(Duration::from_secs(30), "nothing is parked", async || {
        (sum(&gogeta, "gogeta_splice_pairs", "").await == 0.0).then_some(())
    })
    .await;
}

/// Clients that are parked and taken back as fast as they can.
const CHURNING: u64 = 32;

/// Pairs that there may be: no more than clients.
const PLACES: &str = "32";

#[tokio::test]
async fn a_connection_that_is_parked_and_taken_back_again_and_again_takes_no_more_than_one_place() {
    churn("again and again", async |client, world, number| {
        if number % 500 == 499 {
            // Not even one that comes anew.
            *client = world.client(world.front()).await;
        }
        get(client, "a.test", &format!("/{number}/100"), "web").await;
        client.send("POST /post/100 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc").await;
        is_told(client, "web", "POST /post/100 HTTP/1.1", b"abc").await;
    })
    .await;
}

#[tokio::test]
async fn connections_that_are_parked_and_gone_leave_their_places_and_ports_to_the_next_ones() {
    let Some((world, gogeta)) = churn("come and go", async |client, world, number| {
        // Some are gone before anything is carried.
        for _ in 0..=number % 3 {
            get(client, "a.test", &format!("/{number}/100"), "web").await;
        }
        *client = world.client(world.front()).await;
    })
    .await
    else {
        return;
    };
    parked(&gogeta, 0.0).await;
    let waiting = world.proxy.waiting_to(world.back);
    assert_eq!(waiting, 0, "connections to backends are in TIME_WAIT");
}

async fn churn(what: &str, turn: impl AsyncFn(&mut Client, &World, u64) + Copy) -> Option<(World, Gogeta)> {
    let length = Duration::from_secs(number("SECONDS").unwrap_or(3));
    let world = World::new().await?;
    let (_web, at_web) = world.backend("web", world.back);
    let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web]))).args(ROOM);
    // One that is gone may keep its place until gogeta has noticed.
    let builder = builder.args(["--splice-max-pairs", PLACES]);
    let gogeta = parking_by(Kind::Wire, builder).await?;
    let begun = Instant::now();
    let clients = (0..CHURNING).map(|_| async {
        let mut client = world.client(world.front()).await;
        let mut number = 0;
        while begun.elapsed() < length {
            if world.in_stock() == 0 {
                world.stock_up(500);
            }
            turn(&mut client, &world, number).await;
            number += 1;
        }
        number
    });
    let turns: u64 = all(clients).await.into_iter().sum();
    let seconds = begun.elapsed().as_secs_f64();
    let parks = metric(&gogeta, "gogeta_splice_parked_total").await;
    let carried = carried(&gogeta).await;
    report(&format!(
        "{what}: {:.0} parked in a second, {:.0} carried, {:.0} turns",
        parks / seconds,
        carried / seconds,
        turns as f64 / seconds
    ));
    assert!(parks > turns as f64 / 2.0, "{parks} were parked in {turns} turns");
    assert!(carried > turns as f64 / 3.0, "{carried} were carried in {turns} turns");
    Some((world, gogeta))
}

#[expect(clippy::print_stdout, reason = "it is measured, and not only judged")]
fn report(text: &str) {
    println!("{text}");
}
