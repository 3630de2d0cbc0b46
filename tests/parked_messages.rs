//! What the program in the kernel says in gogeta's log: on demand.

use std::sync::Arc;

use rustix::process::Signal;
use tokio::sync::Notify;

use super::support::backend::{Backend, Peer, ok, service};
use super::support::client::Client;
use super::support::gogeta::Gogeta;
use super::support::parking::{parked, parking_with};

const ON: [&str; 2] = ["--log", "info,gogeta::kernel=debug"];

const POST: &str = "POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc";

const OTHER: &str = "GET /p HTTP/1.1\r\nHost: b.test\r\n\r\n";

/// Has these requests refused by the guard.
async fn refused(gogeta: &Gogeta, requests: &[&str]) {
    let mut client = Client::connect(gogeta.proxy).await;
    for request in requests {
        client.get("a.test", "/").await;
        parked(gogeta, 1.0).await;
        client.send(request).await;
        client.reply().await;
    }
}

#[tokio::test]
async fn whoever_wants_to_know_is_told_what_the_guard_refuses() {
    let web = Backend::named("web").await;
    let builder = Gogeta::routes(&service("a.test", &[web.port])).args(ON);
    let Some(gogeta) = parking_with(builder).await else { return };
    refused(&gogeta, &[POST, OTHER]).await;
    let says = |request: &str, at| {
        format!(
            r#""DEBUG","message":"pair 0: the guard refuses a request of {} bytes, at byte {at}""#,
            request.len()
        )
    };
    gogeta.log_has(&says(POST, 1)).await;
    gogeta.log_has(&says(OTHER, OTHER.find("b.test").expect("it is there") + 1)).await;
}

#[tokio::test]
async fn whoever_wants_to_know_is_told_why_a_pair_is_broken() {
    let goes_on = Arc::new(Notify::new());
    let told = goes_on.clone();
    let web = Backend::scripted(move |mut peer: Peer| {
        let told = told.clone();
        async move {
            while let Some(request) = peer.request().await {
                if !request.line().contains("/much") {
                    if peer.send(ok("web")).await.is_err() {
                        return;
                    }
                    continue;
                }
                if peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe").await.is_err() {
                    return;
                }
                told.notified().await;
                // The client may have seen enough of it.
                let _ = peer.send("llo, and more").await;
            }
        }
    })
    .await;
    let builder = Gogeta::routes(&service("a.test", &[web.port])).args(ON);
    let Some(gogeta) = parking_with(builder).await else { return };
    let mut client = Client::connect(gogeta.proxy).await;
    client.get("a.test", "/").await;
    parked(&gogeta, 1.0).await;
    client.send("GET /much HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.take_until(b"\r\n\r\nhe").await.expect("it begins");
    goes_on.notify_one();
    gogeta.log_has(r#""WARN","message":"pair 0: broken by 13 bytes of a response where 3 are left""#).await;
}

#[tokio::test]
async fn nobody_else_is() {
    let web = Backend::named("web").await;
    let routes = service("a.test", &[web.port]);
    for log in ["info", "debug,gogeta::kernel=info"] {
        let Some(mut gogeta) = parking_with(Gogeta::routes(&routes).args(["--log", log])).await else {
            return;
        };
        refused(&gogeta, &[POST]).await;
        gogeta.signal(Signal::TERM);
        assert!(gogeta.wait().await.success());
        assert_eq!(gogeta.lines_with("the guard refuses"), Vec::<String>::new());
    }
}
