//! `gogeta route`: written as one, read back, removed; what is wrong is refused.

use serde_json::json;

use super::{on_a_terminal, run, run_args};
use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::etcd::Etcd;
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

#[tokio::test]
async fn set_is_one_transaction_and_the_proxy_follows() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.locate("web", "1", web.port).await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    let set = ["route", "set", "A.test", "service", "web", "--config", "{\"splice\": \"off\"}", "--json"];
    let said = run_args(&etcd, &set).await.well(&[]);
    let revision = said.json()["revision"].as_i64().expect("a revision");
    until("it is routed", async || (get(gogeta.proxy, "a.test", "/").await.text() == "web").then_some(()))
        .await;
    for field in ["type", "value", "config"] {
        assert_eq!(etcd.written_at(&format!("/domains/a.test/{field}")).await, revision, "{field}");
    }
    run(&etcd, "route set a.test uri http://b.test/base")
        .await
        .well(&["a.test goes to uri http://b.test/base"]);
    assert_eq!(
        etcd.get("/domains/a.test/config").await.as_deref(),
        Some("{\"splice\": \"off\"}"),
        "it stays"
    );
    run_args(&etcd, &["route", "set", "a.test", "uri", "http://b.test/", "--config", ""]).await.well(&[]);
    assert_eq!(etcd.get("/domains/a.test/config").await, None);
}

#[tokio::test]
async fn splice_is_set_and_removed_and_the_options_beside_it_stay() {
    let Some(etcd) = Etcd::start().await else { return };
    let config = async || etcd.get("/domains/a.test/config").await;
    run(&etcd, "route set a.test service web --splice off").await.well(&["a.test goes to service web"]);
    assert_eq!(config().await.as_deref(), Some("{\"splice\":\"off\"}"));
    assert_eq!(
        etcd.written_at("/domains/a.test/config").await,
        etcd.written_at("/domains/a.test/value").await,
        "as one"
    );
    etcd.put("/domains/a.test/config", "{\"colour\":\"red\",\"forceSsl\":true}").await;
    run(&etcd, "route set a.test service web --splice sockmap").await.well(&[]);
    let wanted = "{\"colour\":\"red\",\"forceSsl\":true,\"splice\":\"sockmap\"}";
    assert_eq!(config().await.as_deref(), Some(wanted));
    let list = run(&etcd, "route ls a.test --json").await.json();
    assert_eq!(list["domains"][0]["config"]["splice"], "sockmap");
    for (arguments, code, says) in [
        (["--splice", "on"].as_slice(), 2, ["--splice", "on"]),
        (&["--splice", "off", "--config", "{}"], 2, ["--splice", "--config"]),
        (&["--config", "{\"splice\":\"on\"}"], 1, ["auto, wire, sockmap or off", "\"on\""]),
        (&["--splice", "off", "--create"], 1, ["already", "--create"]),
    ] {
        let all = [["route", "set", "a.test", "service", "web"].as_slice(), arguments].concat();
        run_args(&etcd, &all).await.badly(code, &says);
    }
    assert_eq!(config().await.as_deref(), Some(wanted));
    run_args(&etcd, &["route", "set", "a.test", "service", "web", "--splice", ""]).await.well(&[]);
    assert_eq!(config().await.as_deref(), Some("{\"colour\":\"red\",\"forceSsl\":true}"));
    run(&etcd, "route set b.test service web --create --splice off").await.well(&[]);
    run_args(&etcd, &["route", "set", "b.test", "service", "web", "--splice", ""]).await.well(&[]);
    assert_eq!(etcd.get("/domains/b.test/config").await, None, "nothing is left of it");
    etcd.put("/domains/a.test/config", "{").await;
    run(&etcd, "route set a.test service web --splice off").await.badly(1, &["/domains/a.test", "broken"]);
}

#[tokio::test]
async fn bad_values_are_refused_and_nothing_is_written() {
    let Some(etcd) = Etcd::start().await else { return };
    run(&etcd, "route set a.test uri ftp://b.test").await.badly(1, &["ftp://b.test", "scheme"]);
    run(&etcd, "route set a.test service a/b").await.badly(1, &["a/b"]);
    run(&etcd, "route set a.test:80 service web").await.badly(2, &["a.test:80"]);
    run(&etcd, "route set a.*.test service web").await.badly(2, &["a.*.test"]);
    run(&etcd, "route set a.test service web --config {").await.badly(1, &["config"]);
    run(&etcd, "route ls a.test").await.badly(1, &["no route"]);
    run(&etcd, "route set a.test service web --config {\"forceSSL\":true}").await.badly(0, &["forceSSL"]);
    run(&etcd, "route set a.test service other --create").await.badly(1, &["already"]);
    assert_eq!(etcd.get("/domains/a.test/value").await.as_deref(), Some("web"));
}

#[tokio::test]
async fn ls_tells_states_and_why() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.locate("web", "1", 80).await;
    etcd.route("a.test", "web").await;
    etcd.route("b.test", "nobody").await;
    etcd.put("/domains/c.test/type", "uri").await;
    let table = run(&etcd, "route ls").await.well(&["HOST", "1 of 1 instances", "nobody does not exist"]).out;
    assert!(!table.contains('\x1b'), "no colours but on a terminal: {table}");
    let list = run(&etcd, "route ls --json").await.json();
    let states: Vec<_> =
        list["domains"].as_array().expect("a list").iter().map(|one| &one["state"]).collect();
    assert_eq!(states, [&json!("started"), &json!("error"), &json!("pending")]);
    let one = run(&etcd, "route ls b.test --json").await.json();
    assert_eq!(one["domains"], json!([list["domains"][1]]));
}

#[tokio::test]
async fn rm_removes_all_of_it_once() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.route("a.test", "web").await;
    etcd.put("/domains/a.test/config", "{}").await;
    etcd.route("B.test", "web").await;
    etcd.route("a.tests", "web").await;
    run(&etcd, "route rm a.test").await.well(&["a.test"]);
    run(&etcd, "route rm a.test").await.badly(1, &["no route for a.test"]);
    run(&etcd, "route rm B.test").await.well(&[]);
    let left = run(&etcd, "route ls --json").await.json();
    assert_eq!(left["domains"].as_array().map(Vec::len), Some(1), "{left}");
}

#[tokio::test]
async fn colours_are_for_terminals_that_want_them() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.route("a.test", "nobody").await;
    let Some(coloured) = on_a_terminal(&etcd, "route ls", &[]).await else { return };
    assert!(coloured.contains("\x1b[31merror\x1b[0m"), "{coloured}");
    for variables in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = on_a_terminal(&etcd, "route ls", &[variables]).await.expect("it ran before");
        assert!(plain.contains("error") && !plain.contains('\x1b'), "{variables:?}: {plain}");
    }
    let json = on_a_terminal(&etcd, "route ls --json", &[]).await.expect("it ran before");
    assert!(!json.contains('\x1b'), "{json}");
}
