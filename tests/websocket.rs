//! Autobahn's cases for WebSocket servers: each ends through gogeta as it ends without.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::support::backend::service;
use crate::support::etcd::skip;
use crate::support::gogeta::Gogeta;
use crate::support::tunnel::web_socket;

/// Where `cargo xtask test` puts the suite.
const KOSOKU: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/kosoku/bin/kosoku");

/// What the suite says of the server: for each case, of its behaviour and of how it closed.
async fn verdicts(server: SocketAddr) -> BTreeMap<String, [String; 3]> {
    let reports = tempfile::tempdir().expect("a directory");
    let suite = Command::new(KOSOKU)
        .args(["-m", "fuzzingclient", "-p", "4"])
        // Big messages, and compression, which the server does not have.
        .args(["-x", "9.*", "-x", "12.*", "-x", "13.*", "-o"])
        .arg(reports.path())
        .arg(server.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(120), suite).await.expect("it ends");
    let output = output.expect("kosoku runs");
    // Cases that the server fails are among the verdicts, and make it end with 1.
    let index = std::fs::read_to_string(reports.path().join("index.json"))
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
    let index: Value = serde_json::from_str(&index).expect("JSON");
    let servers = index.as_object().expect("a map of servers");
    assert_eq!(servers.len(), 1, "{:?}", servers.keys());
    let cases = servers.values().next().and_then(Value::as_object).expect("a map of cases");
    let verdict =
        |case: &Value| ["behavior", "behaviorClose", "remoteCloseCode"].map(|field| case[field].to_string());
    cases.iter().map(|(name, case)| (name.clone(), verdict(case))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_case_ends_as_it_does_without_gogeta() {
    if !Path::new(KOSOKU).is_file() {
        return skip("kosoku is not installed; cargo xtask test does it");
    }
    let server = web_socket();
    let gogeta = Gogeta::routes(&service("127.0.0.1", &[server.port()])).start().await;
    let direct = verdicts(server).await;
    let through = verdicts(gogeta.proxy).await;
    assert!(direct.len() > 200, "only {} cases", direct.len());
    let mut counts = BTreeMap::<_, usize>::new();
    for [behaviour, ..] in through.values() {
        *counts.entry(behaviour).or_default() += 1;
    }
    println!("{} cases: {counts:?}", through.len());
    let differ: Vec<String> = direct
        .iter()
        .filter(|(case, verdict)| through.get(*case) != Some(verdict))
        .map(|(case, verdict)| format!("{case}: {verdict:?}, through gogeta {:?}", through.get(case)))
        .collect();
    assert!(differ.is_empty() && direct.len() == through.len(), "{}", differ.join("\n"));
}
