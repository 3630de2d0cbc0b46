//! An instance that cannot be reached rests, so that hardly anybody is sent to it; and what is sent once more is
//! bounded.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::support::backend::{Backend, Peer, ok, refusing, refusing_at, service};
use crate::support::client::{Client, get};
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

/// What a metric has come to; 0 where it is not there.
async fn metric(gogeta: &Gogeta, name: &str) -> u64 {
    let metrics = get(gogeta.admin, "admin", "/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |count| count.parse().expect("a number"))
}

/// Answers each request of a connection with its name.
async fn answer(mut peer: Peer, name: &str) {
    while peer.request().await.is_some() && peer.send(ok(name)).await.is_ok() {}
}

#[tokio::test]
async fn an_instance_that_is_dead_rests_and_nobody_notices() {
    let (_socket, dead) = refusing();
    let alive = Backend::named("alive").await;
    let gogeta = Gogeta::routes(&service("a.test", &[dead, alive.port])).start().await;
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..5 {
        let mut client = Client::connect(gogeta.proxy).await;
        clients.spawn(async move {
            for _ in 0..100 {
                let reply = client.get("a.test", "/").await;
                assert_eq!((reply.status, &*reply.text()), (200, "alive"));
            }
        });
    }
    clients.join_all().await;
    assert_eq!(alive.count(), 500);
    // At first each client may be on its way there; from then on one at the end of each rest.
    let retries = metric(&gogeta, "gogeta_upstream_retries_total").await;
    assert!((1..=5 + begun.elapsed().as_secs()).contains(&retries), "{retries} retries");
    let told = gogeta.lines_with("cannot be connected to and rests");
    assert_eq!(told.len(), 1, "{told:?}");
    for part in
        ["\"service\":\"a-test\"", "\"instance\":\"1\"", &format!("\"location\":\"127.0.0.1:{dead}\"")]
    {
        assert!(told[0].contains(part), "{part} in {}", told[0]);
    }
    assert_eq!(metric(&gogeta, "gogeta_instances_resting").await, 1);
    let routes = get(gogeta.admin, "localhost", "/api/routes").await.text();
    let routes: serde_json::Value = serde_json::from_str(&routes).expect("JSON");
    let instances = &routes["services"][0]["instances"];
    assert_eq!((&instances[0]["resting"], &instances[1]["resting"]), (&true.into(), &false.into()));
}

#[tokio::test]
async fn an_instance_that_is_back_gets_its_share_again_and_again() {
    let (socket, port) = refusing();
    let alive = Backend::named("alive").await;
    let gogeta = Gogeta::routes(&service("a.test", &[port, alive.port])).start().await;
    let mut socket = Some(socket);
    for turn in 1..=2 {
        until("it rests", async || {
            assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 200);
            (metric(&gogeta, "gogeta_instances_resting").await == 1).then_some(())
        })
        .await;
        let listener = socket.take().expect("a socket").listen(16).expect("to listen");
        let back = Backend::listening(listener, async |peer| answer(peer, "back").await);
        until("it gets a request", async || {
            (get(gogeta.proxy, "a.test", "/").await.text() == "back").then_some(())
        })
        .await;
        assert_eq!(metric(&gogeta, "gogeta_instances_resting").await, 0);
        let before = back.count();
        for _ in 0..10 {
            assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 200);
        }
        assert_eq!(back.count() - before, 5, "every other one");
        // One line each time, whatever the number of requests.
        assert_eq!(gogeta.lines_with("cannot be connected to and rests").len(), turn);
        assert_eq!(gogeta.lines_with("the instance is back").len(), turn);
        // It goes again, with its connections.
        drop(back);
        socket = Some(until("the port is free", async || refusing_at(port).ok()).await);
    }
}

#[tokio::test]
async fn where_all_are_dead_they_are_asked_nevertheless() {
    let ((one, first), (_two, second)) = (refusing(), refusing());
    let gogeta = Gogeta::routes(&service("a.test", &[first, second])).start().await;
    let begun = Instant::now();
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..30 {
        let reply = client.get("a.test", "/").await;
        assert_eq!((reply.status, reply.header("x-gogeta-page")), (502, Some("badgateway")));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waits for the end of a rest");
    assert_eq!(gogeta.lines_with("cannot be connected to and rests").len(), 2);
    let back =
        Backend::listening(one.listen(16).expect("to listen"), async |peer| answer(peer, "back").await);
    // It is found by its turn, at the second request at the latest, whoever rests for how long.
    let mut statuses = [0; 3];
    for status in &mut statuses {
        *status = client.get("a.test", "/").await.status;
    }
    assert_eq!(statuses[1..], [200, 200], "{statuses:?}");
    assert!(back.count() >= 2);
}

#[tokio::test]
async fn what_is_sent_once_more_is_a_part_of_all() {
    // Each connection answers one request, reads a second and is reset: each request but the first needs a retry.
    let backend = Backend::scripted(async |mut peer: Peer| {
        if peer.request().await.is_some()
            && peer.send(ok("a")).await.is_ok()
            && peer.request().await.is_some()
        {
            peer.reset();
        }
    })
    .await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).args(["--threads", "1"]).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    let mut good = 0;
    let refused = until("the budget is spent", async || {
        let reply = client.get("a.test", "/").await;
        good += u32::from(reply.status == 200);
        (reply.status != 200).then_some(reply)
    })
    .await;
    assert_eq!((refused.status, refused.header("x-gogeta-page")), (502, Some("badgateway")));
    assert!(good >= 11, "it lasts for ten: {good}");
    assert_eq!(metric(&gogeta, "gogeta_retry_budget_exhausted_total").await, 1);
    assert_eq!(metric(&gogeta, "gogeta_upstream_retries_total").await, u64::from(good) - 1);
    // Time brings retries back. Each answer leaves a connection behind that the next one dies on.
    until("a request is sent once more", async || {
        let before = backend.connections();
        let pair = [client.get("a.test", "/").await.status, client.get("a.test", "/").await.status];
        (pair == [200, 200] && backend.connections() > before).then_some(())
    })
    .await;
}
