//! One line a request, in a file that can be rotated.

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::backend::{Backend, service};
use crate::support::client::{get, request};
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

/// A gogeta with one service at `a.test` and an access log, and that log's file.
async fn before(backend: &Backend, flags: &[&str]) -> (Gogeta, PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("access.log");
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port]))
        .arg("--access-log")
        .arg(&file)
        .args(flags)
        .start()
        .await;
    (gogeta, file, directory)
}

/// The lines of a file, when it has so many.
async fn lines(file: &PathBuf, count: usize) -> Vec<String> {
    until("the lines are written", async || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn a_line_tells_of_a_request_as_json() {
    let backend = Backend::named("hello").await;
    let (gogeta, file, _directory) = before(&backend, &["--access-log-format", "json", "--request-id"]).await;
    let raw = "POST /x?y HTTP/1.1\r\nHost: a.test\r\nUser-Agent: me\r\nX-Request-Id: 7\r\nContent-Length: 3\r\n\
               Connection: close\r\n\r\nabc";
    assert_eq!(request(gogeta.proxy, raw).await.status, 200);
    let line: Value = serde_json::from_str(&lines(&file, 1).await[0]).expect("JSON");
    let port = backend.port;
    for (field, value) in [
        ("client", Value::from("127.0.0.1")),
        ("host", "a.test".into()),
        ("method", "POST".into()),
        ("target", "/x?y".into()),
        ("status", 200.into()),
        ("bytes_sent", 5.into()),
        ("bytes_received", 3.into()),
        ("upstream", format!("127.0.0.1:{port}").into()),
        ("retries", 0.into()),
        ("engine", "relay".into()),
        ("request_id", "7".into()),
        ("user_agent", "me".into()),
        ("cut", false.into()),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    let took = |field: &str| line[field].as_f64().expect(field);
    assert!(took("upstream_duration") > 0.0 && took("upstream_duration") <= took("duration"), "{line}");
}

#[tokio::test]
async fn the_instance_that_answered_is_the_one_that_is_logged() {
    let backend = Backend::named("up").await;
    let refusing = tokio::net::TcpSocket::new_v4().expect("a socket");
    refusing.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let dead = refusing.local_addr().expect("an address").port();
    let (gogeta, file, _directory) = before(&backend, &["--access-log-format", "json"]).await;
    gogeta.edit_routes(&service("b.test", &[dead, backend.port]));
    until("b.test is routed", async || (get(gogeta.proxy, "b.test", "/").await.status == 200).then_some(()))
        .await;
    get(gogeta.proxy, "b.test", "/last").await;
    get(gogeta.proxy, "b.test", "/last").await;
    let last = until("both are logged", async || {
        let last: Vec<Value> = std::fs::read_to_string(&file)
            .unwrap_or_default()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["target"] == "/last")
            .collect();
        (last.len() == 2).then_some(last)
    })
    .await;
    let up = format!("127.0.0.1:{}", backend.port);
    assert!(last.iter().all(|line| line["upstream"] == up.as_str()), "{last:?}");
    let retries: Vec<u64> = last.iter().filter_map(|line| line["retries"].as_u64()).collect();
    assert_eq!(retries.iter().sum::<u64>(), 1, "one of two turns fell on the dead one: {last:?}");
}

#[tokio::test]
async fn after_a_rotation_hup_opens_the_file_anew() {
    let backend = Backend::named("a").await;
    let (gogeta, file, _directory) = before(&backend, &[]).await;
    get(gogeta.proxy, "a.test", "/before").await;
    assert!(lines(&file, 1).await[0].contains("\"GET /before HTTP/1.1\" 200 1 "));
    let old = file.with_extension("old");
    std::fs::rename(&file, &old).expect("it is renamed");
    gogeta.signal(Signal::HUP);
    until("there is a new file", async || file.exists().then_some(())).await;
    get(gogeta.proxy, "a.test", "/after").await;
    assert!(lines(&file, 1).await[0].contains("/after"));
    assert_eq!(lines(&old, 1).await.len(), 1);
}
