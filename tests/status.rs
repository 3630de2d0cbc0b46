//! What the status keys of an instance come to: who answers, with which code and page.

use crate::support::backend::Backend;
use crate::support::client::{Reply, get};
use crate::support::etcd::Etcd;
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

/// The code and the page of a state.
fn wanted(state: &str) -> (u16, Option<&'static str>) {
    match state {
        "started" => (200, None),
        "starting" => (503, Some("starting")),
        "passivated" => (503, Some("passivated")),
        "stopped" => (503, Some("stopped")),
        _ => (500, Some("error")),
    }
}

fn check(what: &str, reply: &Reply, state: &str) {
    let found = (reply.status, reply.header("x-gogeta-page"));
    assert_eq!(found, wanted(state), "{what} is {state}");
    let waits = ["starting", "passivated"].contains(&state);
    assert_eq!(reply.header("retry-after").is_some(), waits, "{what}: {:?}", reply.headers);
    if let (_, Some(_)) = found {
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{what}");
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"), "{what}");
        let text = reply.text();
        assert!(
            text.contains("<html") && text.contains(&format!("/__static__/{state}.svg")),
            "{what}: {text}"
        );
    } else {
        assert_eq!(reply.text(), "web", "{what}");
    }
}

#[tokio::test]
async fn every_row_of_the_table() {
    #[rustfmt::skip]
    const ROWS: [(&str, &str, &str, &str); 24] = [
        ("-",          "-",          "-", "started"),
        ("started",    "started",    "1", "started"),
        ("started",    "started",    "",  "error"),
        ("started",    "started",    "-", "error"),
        ("started",    "stopped",    "1", "error"),
        ("started",    "passivated", "1", "error"),
        ("started",    "-",          "1", "error"),
        ("starting",   "started",    "-", "starting"),
        ("starting",   "started",    "1", "starting"),
        ("starting",   "stopped",    "-", "error"),
        ("starting",   "passivated", "-", "error"),
        ("stopping",   "stopped",    "1", "stopped"),
        ("stopping",   "passivated", "-", "passivated"),
        ("stopping",   "started",    "-", "error"),
        ("stopped",    "stopped",    "-", "stopped"),
        ("stopped",    "passivated", "-", "passivated"),
        ("passivated", "passivated", "-", "passivated"),
        ("stopped",    "started",    "-", "starting"),
        ("passivated", "started",    "-", "starting"),
        ("passivated", "stopped",    "-", "error"),
        ("nonsense",   "started",    "1", "error"),
        ("-",          "-",          "1", "error"),
        ("-",          "started",    "-", "error"),
        ("",           "",           "",  "error"),
    ];
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    for (row, (current, expected, alive, _)) in ROWS.iter().enumerate() {
        let service = format!("s{row}");
        etcd.route(&format!("{service}.test"), &service).await;
        etcd.locate(&service, "1", web.port).await;
        etcd.status(&service, "1", [current, expected, alive]).await;
    }
    let gogeta = Gogeta::etcd(&etcd).start().await;
    gogeta.ready().await;
    for (row, (current, expected, alive, state)) in ROWS.iter().enumerate() {
        // A health checker wakes nobody, so the row stays what it is.
        let raw = format!(
            "GET / HTTP/1.1\r\nHost: s{row}.test\r\nUser-Agent: kube-probe/1.30\r\nConnection: close\r\n\r\n"
        );
        let reply = crate::support::client::request(gogeta.proxy, &raw).await;
        check(&format!("{current}/{expected}/{alive}"), &reply, state);
    }
    // The same rows, written while gogeta runs.
    etcd.route("moving.test", "moving").await;
    etcd.locate("moving", "1", web.port).await;
    for (current, expected, alive, state) in ROWS {
        etcd.status("moving", "1", [current, expected, alive]).await;
        until(&format!("{current}/{expected}/{alive} is {state}"), async || {
            let raw =
                "GET / HTTP/1.1\r\nHost: moving.test\r\nUser-Agent: Zabbix\r\nConnection: close\r\n\r\n";
            let reply = crate::support::client::request(gogeta.proxy, raw).await;
            ((reply.status, reply.header("x-gogeta-page")) == wanted(state)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_page_is_that_of_the_best_instance() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.route("a.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    let steps = [
        ("1", ["nonsense", "stopped", "-"], "error"),
        ("2", ["stopped", "stopped", "-"], "stopped"),
        ("3", ["stopping", "passivated", "-"], "passivated"),
        ("4", ["starting", "started", "-"], "starting"),
        ("5", ["started", "started", "1"], "started"),
    ];
    for (index, status, state) in steps {
        etcd.locate("web", index, web.port).await;
        etcd.status("web", index, status).await;
        let reply = until(&format!("the best is {state}"), async || {
            let raw = "HEAD / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
            let reply = crate::support::client::request(gogeta.proxy, raw).await;
            ((reply.status, reply.header("x-gogeta-page")) == wanted(state)).then_some(reply)
        })
        .await;
        assert!(reply.body.is_empty());
    }
    // And down again: the page of the next best, without the instance that is gone.
    etcd.del_prefix("/services/web/5/").await;
    etcd.del_prefix("/services/web/4/").await;
    etcd.del_prefix("/services/web/3/").await;
    until("the best is stopped", async || {
        (get(gogeta.proxy, "a.test", "/").await.header("x-gogeta-page") == Some("stopped")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn instances_that_cannot_answer_are_errors() {
    let Some(etcd) = Etcd::start().await else { return };
    for service in ["nowhere", "emptied", "missing"] {
        etcd.route(&format!("{service}.test"), service).await;
    }
    // Started, but nobody knows where.
    etcd.status("nowhere", "1", ["started", "started", "1"]).await;
    etcd.locate("emptied", "1", 1).await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    gogeta.ready().await;
    etcd.del_prefix("/services/emptied/").await;
    until("the last instance is gone", async || {
        let api = get(gogeta.admin, "localhost", "/api/routes").await.text();
        (!api.contains("\"name\":\"emptied\"")).then_some(())
    })
    .await;
    for service in ["nowhere", "emptied", "missing"] {
        let host = format!("{service}.test");
        check(&host, &get(gogeta.proxy, &host, "/").await, "error");
    }
    // A service that is not there is worth a line for the operator.
    gogeta.log_has("missing").await;
    assert!(!gogeta.lines_with("a request could not be routed").is_empty(), "{}", gogeta.log());
}
