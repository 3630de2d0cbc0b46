//! `gogeta service`: instances set, shown and removed, each as one.

use serde_json::json;

use super::{run, run_args};
use crate::support::etcd::{Etcd, Op};

#[tokio::test]
async fn set_show_and_remove() {
    let Some(etcd) = Etcd::start().await else { return };
    let line =
        "service set web 1 --location [::1]:8080 --current started --expected started --alive 1 --weight 2";
    run(&etcd, line).await.well(&["web/1 is set"]);
    let keys = ["location", "status/current", "status/expected", "status/alive", "config/gogeta"];
    let mut revisions = Vec::new();
    for key in keys {
        revisions.push(etcd.written_at(&format!("/services/web/1/{key}")).await);
    }
    assert!(revisions.iter().all(|one| *one == revisions[0] && *one > 0), "{revisions:?}");
    run(&etcd, "service set web 2 --location 10.0.0.5:80").await.well(&[]);
    run(&etcd, "service ls").await.well(&["[::1]:8080", "10.0.0.5:80", "started"]);
    let list = run(&etcd, "service ls web --json").await.json();
    assert_eq!(list["services"][0]["instances"][0]["config"], json!({ "weight": 2 }));
    run(&etcd, "service rm web 2").await.well(&["web/2"]);
    run(&etcd, "service rm web 2").await.badly(1, &["no web/2"]);
    run(&etcd, "service rm web").await.well(&[]);
    run(&etcd, "service ls web").await.badly(1, &["no service web"]);
}

#[tokio::test]
async fn options_that_are_there_stay() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.txn(&[
        Op::Put("/services/web/1/location", "{\"host\":\"a\",\"port\":\"80\"}"),
        Op::Put("/services/web/1/config/gogeta", "{\"colour\":\"red\",\"weight\":7}"),
    ])
    .await;
    run_args(&etcd, &["service", "set", "web", "1", "--robots", "User-agent: *"]).await.well(&[]);
    let config = etcd.get("/services/web/1/config/gogeta").await.expect("a config");
    let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config, json!({ "colour": "red", "weight": 7, "robots": "User-agent: *" }));
    run(&etcd, "service set web 1 --splice off").await.well(&[]);
    let list = run(&etcd, "service ls web --json").await.json();
    let config = &list["services"][0]["instances"][0]["config"];
    assert_eq!(
        (&config["splice"], &config["weight"], &config["colour"]),
        (&json!("off"), &json!(7), &json!("red"))
    );
    run_args(&etcd, &["service", "set", "web", "1", "--splice", "", "--weight", "8"]).await.well(&[]);
    let config = etcd.get("/services/web/1/config/gogeta").await.expect("a config");
    assert!(config.contains("\"weight\":8") && !config.contains("splice"), "{config}");
    run(&etcd, "service set web 1 --splice on").await.badly(2, &["--splice", "on"]);
    run(&etcd, "service set web 1 --weight 101").await.badly(1, &["weight", "101"]);
    run(&etcd, "service set web 1 --location nowhere").await.badly(2, &["nowhere", "HOST:PORT"]);
    run(&etcd, "service set web 1").await.badly(2, &["--location"]);
    assert_eq!(
        etcd.get("/services/web/1/location").await.as_deref(),
        Some("{\"host\":\"a\",\"port\":\"80\"}")
    );
}

#[tokio::test]
async fn status_is_computed_and_set() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.locate("web", "1", 80).await;
    run(&etcd, "service status web 1").await.well(&["started", "no status"]);
    run(&etcd, "service status web 1 --current started --expected started").await.well(&[]);
    run(&etcd, "service status web").await.well(&["error", "heartbeat is gone"]);
    run(&etcd, "service status web 1 --alive 1").await.well(&[]);
    let state = run(&etcd, "service status web 1 --json").await.json();
    assert_eq!(state["services"][0]["instances"][0]["state"], "started");
    run(&etcd, "service status web 2 --alive 1").await.badly(1, &["no instance 2"]);
    run(&etcd, "service status web --alive 1").await.badly(2, &["INDEX"]);
    run(&etcd, "service status web 1 --current sleeping").await.badly(2, &["sleeping"]);
}
