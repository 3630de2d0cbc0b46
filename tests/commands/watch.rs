//! `gogeta watch`: every change once, with what was there before, also when etcd goes and comes.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::run;
use crate::support::etcd::{Etcd, Op};
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

/// Waits until it has said this on standard output.
async fn says(watch: &Gogeta, text: &str) {
    until(&format!("{text:?} is said"), async || watch.said().contains(text).then_some(())).await;
}

#[tokio::test]
async fn changes_in_words() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.put("/domains/a.test/value", "blue").await;
    let watch = Gogeta::etcd(&etcd).arg("watch").spawn();
    watch.log_has("watching /domains/ and /services/").await;
    etcd.put("/domains/a.test/value", "green").await;
    let revision = etcd.written_at("/domains/a.test/value").await;
    says(&watch, &format!("{revision}  /domains/a.test/value  \"blue\" -> \"green\"")).await;
    etcd.txn(&[Op::Put("/services/web/1/status/alive", "1"), Op::Del("/domains/a.test/value")]).await;
    says(&watch, "/services/web/1/status/alive  is new: \"1\"").await;
    says(&watch, "/domains/a.test/value  is gone, was \"green\"").await;
}

#[tokio::test]
async fn it_goes_on_when_etcd_is_back() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let watch = Gogeta::etcd(&etcd).args(["watch", "/services/web/", "--json"]).spawn();
    watch.log_has("watching /services/web/").await;
    etcd.put("/services/web/1/domain", "1").await;
    says(&watch, "\"new\":\"1\"").await;
    etcd.kill().await;
    watch.log_has("etcd is away").await;
    etcd.restart().await;
    etcd.put("/services/other/1/domain", "elsewhere").await;
    etcd.put("/services/web/1/domain", "2").await;
    says(&watch, "\"new\":\"2\"").await;
    let lines: Vec<Value> =
        watch.said().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let values: Vec<_> = lines.iter().filter_map(|line| line["new"].as_str()).collect();
    assert_eq!(values, ["1", "2"], "each once");
    assert!(lines.iter().any(|line| line["note"].as_str().is_some_and(|note| note.contains("away"))));
}

#[tokio::test]
async fn another_etcd_is_noticed() {
    let Some(mut etcd) = Etcd::start().await else { return };
    for number in 0..5 {
        etcd.put("/services/web/1/domain", &number.to_string()).await;
    }
    let watch = Gogeta::etcd(&etcd).arg("watch").spawn();
    watch.log_has("watching").await;
    etcd.kill().await;
    watch.log_has("etcd is away").await;
    etcd.wipe();
    etcd.restart().await;
    watch.log_has("back with other data").await;
    etcd.put("/services/web/1/domain", "new").await;
    says(&watch, "is new: \"new\"").await;
}

#[tokio::test]
async fn it_ends_when_nobody_listens() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut command = Command::new(env!("CARGO_BIN_EXE_gogeta"));
    command.args(["watch", "--json", "--etcd-address", &etcd.url()]).stderr(Stdio::null());
    let mut watch = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("gogeta starts");
    // A reader that takes one line and leaves.
    let mut lines = BufReader::new(watch.stdout.take().expect("it is piped")).lines();
    assert!(lines.next_line().await.expect("it can be read").is_some_and(|line| line.contains("watching")));
    drop(lines);
    let status = until("it ends", async || {
        etcd.put("/services/web/1/domain", "x").await;
        watch.try_wait().expect("it can be asked")
    })
    .await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn no_etcd_to_start_with() {
    let Some(etcd) = Etcd::absent() else { return };
    run(&etcd, "watch").await.badly(2, &["--etcd-address"]);
}
