//! What a request carries from hop to hop: `Via`, its id, and who asked for it.

use crate::support::backend::{Backend, service};
use crate::support::client::{get, request};
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

async fn before(backend: &Backend, flags: &[&str]) -> Gogeta {
    Gogeta::routes(&service("a.test", &[backend.port])).args(flags).start().await
}

#[tokio::test]
async fn each_proxy_adds_itself() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &["--via", "edge"]).await;
    request(gogeta.proxy, "GET / HTTP/1.1\r\nHost: a.test\r\nVia: 1.0 first\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(backend.request().all("via"), ["1.0 first", "1.1 edge"]);
}

#[tokio::test]
async fn a_response_names_the_proxy_only_where_that_is_asked_for() {
    let backend = Backend::replying("HTTP/1.1 200 OK\r\nVia: 1.1 cache\r\nContent-Length: 0\r\n\r\n").await;
    let gogeta = before(&backend, &[]).await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.all("via"), ["1.1 cache"]);
    let gogeta = before(&backend, &["--via-response", "--via", "edge"]).await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.all("via"), ["1.1 cache", "1.1 edge"]);
    // What it says by itself came by nobody.
    assert_eq!(get(gogeta.proxy, "b.test", "/").await.all("via"), [""; 0]);
}

#[tokio::test]
async fn a_circle_is_seen() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &[]).await;
    // The service's only instance is gogeta itself.
    gogeta.edit_routes(&service("a.test", &[gogeta.proxy.port()]));
    until("it is refused", async || (get(gogeta.proxy, "a.test", "/").await.status == 508).then_some(()))
        .await;
}

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &["--request-id"]).await;
    request(
        gogeta.proxy,
        "GET / HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: mine\r\nConnection: close\r\n\r\n",
    )
    .await;
    get(gogeta.proxy, "a.test", "/").await;
    get(gogeta.proxy, "a.test", "/").await;
    let ids: Vec<String> =
        backend.requests().iter().filter_map(|seen| seen.header("x-request-id").map(str::to_owned)).collect();
    assert_eq!((ids.len(), ids[0].as_str(), ids[1].len()), (3, "mine", 32), "{ids:?}");
    assert_ne!(ids[1], ids[2]);
    let raw = "GET / HTTP/1.1\r\nHost: b.test\r\nAccept: application/json\r\nX-Request-Id: mine\r\nConnection: close\r\n\r\n";
    assert!(request(gogeta.proxy, raw).await.text().contains("\"requestId\":\"mine\""));
}

#[tokio::test]
async fn who_asked_is_told_by_forwarded_too() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &["--forwarded"]).await;
    request(
        gogeta.proxy,
        "GET / HTTP/1.1\r\nHost: a.test:81\r\nForwarded: for=6.6.6.6\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(backend.request().all("forwarded"), ["for=127.0.0.1;host=\"a.test:81\";proto=http"]);
}
