//! A passivated service sleeps until someone means it, and is woken exactly once.

use std::time::{Duration, Instant};

use crate::support::backend::Backend;
use crate::support::client::{get, request};
use crate::support::etcd::Etcd;
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

const EXPECTED: &str = "/services/web/1/status/expected";

/// A service that sleeps, with its backend.
async fn asleep(etcd: &Etcd) -> Backend {
    let web = Backend::named("web").await;
    etcd.route("a.test", "web").await;
    etcd.locate("web", "1", web.port).await;
    etcd.status("web", "1", ["passivated", "passivated", "-"]).await;
    web
}

async fn page(gogeta: &Gogeta) -> Option<String> {
    // HEAD wakes nobody.
    let raw = "HEAD / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    request(gogeta.proxy, raw).await.header("x-gogeta-page").map(str::to_owned)
}

async fn shows(gogeta: &Gogeta, wanted: Option<&str>) {
    until(&format!("the page is {wanted:?}"), async || {
        (page(gogeta).await.as_deref() == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_service_starts_sleeps_and_wakes() {
    let Some(etcd) = Etcd::start().await else { return };
    let _web = asleep(&etcd).await;
    etcd.status("web", "1", ["starting", "started", "-"]).await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    shows(&gogeta, Some("starting")).await;
    etcd.status("web", "1", ["started", "started", "1"]).await;
    shows(&gogeta, None).await;
    etcd.status("web", "1", ["stopping", "passivated", "-"]).await;
    shows(&gogeta, Some("passivated")).await;
    etcd.status("web", "1", ["passivated", "passivated", "-"]).await;
    shows(&gogeta, Some("passivated")).await;
    // Someone comes.
    let reply = get(gogeta.proxy, "a.test", "/").await;
    assert_eq!((reply.status, reply.header("x-gogeta-page")), (503, Some("passivated")));
    until("it is woken", async || (etcd.get(EXPECTED).await? == "started").then_some(())).await;
    shows(&gogeta, Some("starting")).await;
    // Whoever supervises it sees that, and starts it.
    etcd.status("web", "1", ["started", "started", "1"]).await;
    shows(&gogeta, None).await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_to_fifty_gogetas_wake_it_once() {
    let Some(etcd) = Etcd::start().await else { return };
    let _web = asleep(&etcd).await;
    let mut gogetas = Vec::new();
    while gogetas.len() < 50 {
        // A few at a time: a start has its deadline.
        let few = || Gogeta::etcd(&etcd).args(["--threads", "1", "--publish-dir", "off"]).start();
        let (one, two, three, four, five) = tokio::join!(few(), few(), few(), few(), few());
        gogetas.extend([one, two, three, four, five]);
    }
    for gogeta in &gogetas {
        shows(gogeta, Some("passivated")).await;
    }
    let before = etcd.version(EXPECTED).await;
    let ask = |number: usize| tokio::spawn(get(gogetas[number % gogetas.len()].proxy, "a.test", "/"));
    let requests: Vec<_> = (0..1000).map(ask).collect();
    for request in requests {
        assert_eq!(request.await.expect("an answer").status, 503);
    }
    for gogeta in &gogetas {
        shows(gogeta, Some("starting")).await;
    }
    // Whoever came later finds it woken: nothing to write.
    assert_eq!(get(gogetas[0].proxy, "a.test", "/").await.status, 503);
    assert_eq!(etcd.version(EXPECTED).await, before + 1);
    assert_eq!(etcd.get(EXPECTED).await.as_deref(), Some("started"));
    let woken = gogetas.iter().map(|gogeta| gogeta.lines_with("woke a passivated instance").len());
    assert_eq!(woken.sum::<usize>(), 1);
}

#[tokio::test]
async fn machines_that_only_look_do_not_wake() {
    let Some(etcd) = Etcd::start().await else { return };
    let _web = asleep(&etcd).await;
    let gogeta = Gogeta::etcd(&etcd).arg("--log=debug").start().await;
    shows(&gogeta, Some("passivated")).await;
    let before = etcd.version(EXPECTED).await;
    for (line, agent) in [
        ("HEAD /", "Mozilla/5.0"),
        ("GET /robots.txt", "Mozilla/5.0"),
        ("GET /favicon.ico", "Mozilla/5.0"),
        ("GET /", "kube-probe/1.30"),
        ("GET /health", "ELB-HealthChecker/2.0"),
        ("GET /", "Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"),
        ("GET /", "Blackbox Exporter/0.25"),
    ] {
        let raw =
            format!("{line} HTTP/1.1\r\nHost: a.test\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n");
        let reply = request(gogeta.proxy, &raw).await;
        assert_eq!(
            (reply.status, reply.header("x-gogeta-page")),
            (503, Some("passivated")),
            "{line} {agent}"
        );
    }
    // A wake-up of another service is behind all that those could have asked for.
    etcd.route("other.test", "other").await;
    etcd.status("other", "1", ["passivated", "passivated", "-"]).await;
    until("the other one is woken", async || {
        get(gogeta.proxy, "other.test", "/").await;
        (etcd.get("/services/other/1/status/expected").await? == "started").then_some(())
    })
    .await;
    assert_eq!(etcd.version(EXPECTED).await, before);
}

#[tokio::test]
async fn a_post_wakes_too() {
    let Some(etcd) = Etcd::start().await else { return };
    let _web = asleep(&etcd).await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    shows(&gogeta, Some("passivated")).await;
    let raw = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    assert_eq!(request(gogeta.proxy, raw).await.status, 503);
    until("it is woken", async || (etcd.get(EXPECTED).await? == "started").then_some(())).await;
}

#[tokio::test]
async fn a_held_request_is_answered_by_the_instance() {
    let Some(etcd) = Etcd::start().await else { return };
    let _web = asleep(&etcd).await;
    let gogeta = Gogeta::etcd(&etcd).arg("--wake-hold=5s").start().await;
    shows(&gogeta, Some("passivated")).await;
    let begun = Instant::now();
    let held = tokio::spawn(get(gogeta.proxy, "a.test", "/"));
    until("it is woken", async || (etcd.get(EXPECTED).await? == "started").then_some(())).await;
    // Changes elsewhere, and on the way up, are not yet it.
    etcd.locate("other", "1", 1).await;
    etcd.status("web", "1", ["starting", "started", "-"]).await;
    shows_starting_to_those_who_do_not_wait(&gogeta).await;
    assert!(!held.is_finished());
    etcd.status("web", "1", ["started", "started", "1"]).await;
    let reply = held.await.expect("an answer");
    assert_eq!((reply.status, reply.text().as_str()), (200, "web"));
    assert!(begun.elapsed() < Duration::from_secs(5), "it was not the time-out that let it go");
}

/// By the API: every request that is proxied would be held.
async fn shows_starting_to_those_who_do_not_wait(gogeta: &Gogeta) {
    until("it is starting", async || {
        let api = get(gogeta.admin, "localhost", "/api/routes").await;
        let api: serde_json::Value = serde_json::from_slice(&api.body).ok()?;
        let web = api["services"].as_array()?.iter().find(|service| service["name"] == "web")?;
        (web["instances"][0]["current"] == "starting").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_held_request_gets_the_page_when_its_time_is_up() {
    let Some(etcd) = Etcd::start().await else { return };
    let _web = asleep(&etcd).await;
    let gogeta = Gogeta::etcd(&etcd).arg("--wake-hold=300ms").start().await;
    shows(&gogeta, Some("passivated")).await;
    let begun = Instant::now();
    let reply = get(gogeta.proxy, "a.test", "/").await;
    assert_eq!((reply.status, reply.header("x-gogeta-page")), (503, Some("starting")));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn no_more_are_held_than_allowed() {
    let Some(etcd) = Etcd::start().await else { return };
    let _web = asleep(&etcd).await;
    let gogeta = Gogeta::etcd(&etcd).args(["--wake-hold=8s", "--wake-hold-max=1"]).start().await;
    shows(&gogeta, Some("passivated")).await;
    let held = tokio::spawn(get(gogeta.proxy, "a.test", "/"));
    until("it is woken", async || (etcd.get(EXPECTED).await? == "started").then_some(())).await;
    // Others get the page at once, and their coming does not cost the first one its place.
    let begun = Instant::now();
    for turn in 0..10 {
        let (one, two) = tokio::join!(get(gogeta.proxy, "a.test", "/"), get(gogeta.proxy, "a.test", "/"));
        assert_eq!((one.status, two.status), (503, 503));
        // Each change of the routes lets the held one look again.
        etcd.locate("other", &turn.to_string(), 1).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "they were not held");
    assert!(!held.is_finished());
    etcd.status("web", "1", ["started", "started", "1"]).await;
    assert_eq!(held.await.expect("an answer").text(), "web");
    // Its place is free again.
    etcd.status("web", "1", ["starting", "started", "-"]).await;
    until("it is starting", async || {
        let api = get(gogeta.admin, "localhost", "/api/routes").await.text();
        api.contains("\"current\":\"starting\"").then_some(())
    })
    .await;
    let held = tokio::spawn(get(gogeta.proxy, "a.test", "/"));
    etcd.status("web", "1", ["started", "started", "1"]).await;
    assert_eq!(held.await.expect("an answer").text(), "web");
}
