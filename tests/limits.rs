//! How much one client may send, and how many may come.

use crate::support::backend::{Backend, service};
use crate::support::client::{Client, get, request};
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

async fn before(backend: &Backend, flags: &[&str]) -> Gogeta {
    Gogeta::routes(&service("a.test", &[backend.port])).args(flags).start().await
}

#[tokio::test]
async fn what_is_too_much_is_said_and_nothing_of_it_goes_on() {
    let backend = Backend::named("a").await;
    let flags = ["--max-head", "2048", "--max-headers", "10", "--max-target", "100", "--max-body", "1000"];
    let gogeta = before(&backend, &flags).await;
    let long = "a".repeat(3000);
    let rows = [
        (format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "a".repeat(100)), 414),
        (format!("GET /{long} HTTP/1.1\r\nHost: a.test\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n", "X: a\r\n".repeat(10)), 431),
        ("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1001\r\n\r\n".to_owned(), 413),
        ("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n".to_owned(), 413),
    ];
    for (raw, status) in rows {
        let reply = request(gogeta.proxy, &raw).await;
        assert!(reply.status == status && reply.whole && !reply.keeps(), "{status}: {reply:?}");
        assert_eq!(reply.header("x-gogeta-page"), Some("badrequest"), "{reply:?}");
    }
    assert_eq!(backend.count(), 0);
    let fits = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n{}", "a".repeat(1000));
    assert_eq!(request(gogeta.proxy, &fits).await.status, 200);
}

#[tokio::test]
async fn a_body_that_grows_too_large_on_the_way_is_broken_off() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &["--max-body", "1000"]).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    until("the request is at the backend", async || (backend.connections() > 0).then_some(())).await;
    client.send("3e9\r\n").await;
    let reply = client.reply().await;
    assert!(reply.status == 413 && !reply.keeps(), "{reply:?}");
}

#[tokio::test]
async fn a_request_before_a_refused_one_is_answered_first() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &[]).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HTTP/1.1\r\nHost : a.test\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 200);
    let reply = client.reply().await;
    assert!(reply.status == 400 && !reply.keeps(), "{reply:?}");
    assert_eq!(client.rest().await, b"");
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn an_address_has_so_many_connections() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &["--max-connections-per-client", "2"]).await;
    let (mut first, mut second) = (Client::connect(gogeta.proxy).await, Client::connect(gogeta.proxy).await);
    assert_eq!(first.get("a.test", "/").await.status, 200);
    assert_eq!(second.get("a.test", "/").await.status, 200);
    let reply = Client::connect(gogeta.proxy).await.reply().await;
    assert!(reply.status == 429 && reply.whole && !reply.keeps(), "{reply:?}");
    drop(first);
    until("the place is free", async || (get(gogeta.proxy, "a.test", "/").await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_many() {
    let backend = Backend::named("a").await;
    let flags = ["--max-connections-per-client", "1", "--trusted-proxies", "127.0.0.0/8"];
    let gogeta = before(&backend, &flags).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(gogeta.proxy).await;
        assert_eq!(client.get("a.test", "/").await.status, 200);
        clients.push(client);
    }
}

#[tokio::test]
async fn at_the_bound_new_clients_wait_and_are_served_then() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &["--threads", "1", "--max-connections", "1"]).await;
    let mut first = Client::connect(gogeta.proxy).await;
    assert_eq!(first.get("a.test", "/").await.status, 200);
    let mut second = Client::connect(gogeta.proxy).await;
    second.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(first.get("a.test", "/").await.status, 200);
    assert!(!second.has_something(), "it waits");
    drop(first);
    assert_eq!(second.reply().await.status, 200);
}

#[tokio::test]
async fn a_thread_that_waits_for_clients_takes_no_place_from_the_others() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, &["--threads", "4", "--max-connections", "1"]).await;
    // The kernel chooses at whose door each of them is.
    for _ in 0..32 {
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 200);
    }
}
