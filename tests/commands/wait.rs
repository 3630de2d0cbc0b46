//! `gogeta wait`: until the running gogetas have applied what was asked for.

use serde_json::json;

use super::run;
use crate::support::etcd::{Etcd, Op};
use crate::support::gogeta::Gogeta;

/// What a gogeta publishes.
async fn publish(etcd: &Etcd, id: &str, revision: i64) {
    etcd.put(&format!("/gogeta/applied/{id}"), &json!({ "revision": revision, "since": 0 }).to_string())
        .await;
}

/// A wait on its way.
async fn waiting(etcd: &Etcd, line: &str) -> Gogeta {
    Gogeta::etcd(etcd).arg("wait").args(line.split_whitespace()).spawn()
}

#[tokio::test]
async fn for_a_revision_by_all_that_are_alive() {
    let Some(etcd) = Etcd::start().await else { return };
    publish(&etcd, "one", 100).await;
    publish(&etcd, "two", 99).await;
    run(&etcd, "wait --revision 99").await.well(&["revision 99 is applied by 2 gogetas"]);
    run(&etcd, "wait --revision 100 --count 1").await.well(&[]);
    run(&etcd, "wait --revision 100 --timeout 100ms").await.badly(1, &["two is at 99", "100ms"]);
    let mut wait = waiting(&etcd, "--revision 100 --json").await;
    publish(&etcd, "two", 100).await;
    assert_eq!(wait.wait().await.code(), Some(0), "{}", wait.log());
    assert_eq!(wait.said_json(), json!({ "revision": 100, "applied": ["one", "two"] }));
    let mut wait = waiting(&etcd, "--revision 101").await;
    publish(&etcd, "one", 101).await;
    etcd.del("/gogeta/applied/two").await;
    assert_eq!(wait.wait().await.code(), Some(0), "who is gone is not waited for: {}", wait.log());
}

#[tokio::test]
async fn for_nobody() {
    let Some(etcd) = Etcd::start().await else { return };
    run(&etcd, "wait --revision 1 --timeout 100ms")
        .await
        .badly(1, &["no gogeta says below /gogeta/applied/"]);
    etcd.put("/other/applied/one", "nonsense").await;
    let line = "wait --revision 1 --timeout 100ms --publish-dir /other";
    run(&etcd, line).await.badly(1, &["one does not say"]);
    run(&etcd, "wait a.test").await.badly(2, &["STATE"]);
    run(&etcd, "wait a.test up").await.badly(2, &["up"]);
    run(&etcd, "wait").await.badly(2, &["--revision"]);
}

#[tokio::test]
async fn for_a_hosts_state() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.route("*.a.test", "web").await;
    etcd.status("web", "1", ["starting", "started", "-"]).await;
    publish(&etcd, "one", 1000).await;
    run(&etcd, "wait x.a.test starting").await.well(&[]);
    run(&etcd, "wait x.a.test started --timeout 100ms")
        .await
        .badly(1, &["x.a.test is starting, not started"]);
    let mut wait = waiting(&etcd, "x.a.test started --json").await;
    etcd.txn(&[
        Op::Put("/services/web/1/location", "{\"host\":\"a\",\"port\":80}"),
        Op::Put("/services/web/1/status/current", "started"),
        Op::Put("/services/web/1/status/alive", "1"),
    ])
    .await;
    let revision = etcd.written_at("/services/web/1/status/alive").await;
    assert_eq!(wait.wait().await.code(), Some(0), "{}", wait.log());
    assert_eq!(wait.said_json()["revision"], revision);
}

#[tokio::test]
async fn what_was_removed_must_be_known_too() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.route("a.test", "web").await;
    etcd.locate("web", "1", 80).await;
    etcd.locate("web", "2", 81).await;
    let before = etcd.revision().await;
    publish(&etcd, "one", before).await;
    for number in 0..9 {
        etcd.put("/elsewhere", &number.to_string()).await;
    }
    etcd.del_prefix("/services/web/").await;
    let removed = etcd.revision().await;
    etcd.put("/elsewhere", "and on").await;
    run(&etcd, "wait a.test error --timeout 100ms")
        .await
        .badly(1, &[&format!("revision {removed} is applied by 0")]);
    publish(&etcd, "one", removed).await;
    run(&etcd, "wait a.test error").await.well(&[&format!("revision {removed} ")]);
    etcd.compact().await;
    run(&etcd, "wait a.test error").await.well(&[]);
    etcd.del_prefix("/domains/a.test/").await;
    publish(&etcd, "one", removed + 1).await;
    run(&etcd, "wait a.test unknown --timeout 100ms").await.badly(1, &["is applied by 0"]);
}

#[tokio::test]
async fn a_running_gogeta_says_what_it_has_applied() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.route("a.test", "web").await;
    etcd.locate("web", "1", 80).await;
    let _gogeta = Gogeta::etcd(&etcd).start().await;
    run(&etcd, "wait a.test started").await.well(&["applied by 1 gogeta"]);
    etcd.status("web", "1", ["stopped", "stopped", "-"]).await;
    let revision = etcd.revision().await;
    // Of this no route depends, and nobody says that he has seen it.
    etcd.put("/services/web/1/lastAccess", "2026-01-01 00:00:00").await;
    run(&etcd, "wait a.test stopped").await.well(&[&format!("revision {revision} is applied by 1 gogeta")]);
}
