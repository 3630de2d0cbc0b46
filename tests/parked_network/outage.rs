//! A network that loses everything for a while, under connections that are parked.

use std::collections::HashSet;

use gogeta::splice::Kind;

use super::talk::{get, web_socket};
use super::world::World;
use crate::support::backend::{Seen, service_at};
use crate::support::gogeta::Gogeta;
use crate::support::netns::Router;
use crate::support::parking::{carried, parked, parking_by};
use crate::support::wait::until;

/// Packets that are lost in each outage; who sends repeats them later and later.
const LOST: u64 = 3;

#[tokio::test]
async fn what_sockmap_carries_and_is_lost_on_the_way_comes_once_when_the_way_is_mended() {
    what_is_lost_comes_once(Kind::Sockmap).await;
}

#[tokio::test]
async fn what_the_wire_carries_and_is_lost_on_the_way_comes_once_when_the_way_is_mended() {
    what_is_lost_comes_once(Kind::Wire).await;
}

async fn what_is_lost_comes_once(kind: Kind) {
    let Some((world, routers)) = World::routed().await else { return };
    let (web, at_web) = world.backend("web", world.back);
    let builder = Gogeta::routes(&service_at("a.test", &[at_web]));
    // What is lost here would be too much for a link that always loses so much.
    let builder = world.place(builder).args(["--splice-max-loss", "100"]);
    let Some(gogeta) = parking_by(kind, builder).await else { return };
    let mut client = world.client(world.front()).await;
    get(&mut client, "a.test", "/first", "web").await;
    parked(&gogeta, 1.0).await;
    for (index, router) in routers.iter().enumerate() {
        // When the way is cut, nothing is on it.
        let before = carried(&gogeta).await;
        let target = format!("/quiet/{index}/2000");
        tokio::join!(lose_some(router), get(&mut client, "a.test", &target, "web"));
        assert_eq!(carried(&gogeta).await, before + 1.0, "it is carried, late");
    }
    for (index, router) in routers.iter().enumerate() {
        // Something is on it most of the time.
        let outages = async {
            for _ in 0..4 {
                let seen = router.packets();
                until("packets are under way", async || (router.packets() > seen + 50).then_some(())).await;
                lose_some(router).await;
            }
        };
        tokio::pin!(outages);
        for number in 0.. {
            let target = format!("/busy/{index}/{number}/{}", 1000 + number * 7919 % 300_000);
            let asking = get(&mut client, "a.test", &target, "web");
            tokio::pin!(asking);
            tokio::select! {
                () = &mut outages => {
                    asking.await;
                    break;
                }
                () = &mut asking => {}
            }
        }
    }
    let requests = web.requests();
    let lines: HashSet<_> = requests.iter().map(|request| request.line()).collect();
    assert_eq!(lines.len(), requests.len(), "each was sent once");
    if kind == Kind::Wire {
        let is_told = |request: &Seen| request.all("x-forwarded-for").len() == 1;
        assert!(requests.iter().all(is_told), "also of those that were sent again, it is told who asks");
    }
    get(&mut client, "a.test", "/last", "web").await;
    parked(&gogeta, 1.0).await;
    web_socket(client, &gogeta, "a.test").await;
}

/// The router loses all that comes, until that was something; then it passes on what is sent again.
pub(crate) async fn lose_some(router: &Router) {
    router.lose();
    let seen = router.packets();
    until("something is lost", async || (router.packets() >= seen + LOST).then_some(())).await;
    router.pass();
}
