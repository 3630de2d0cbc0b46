//! One line a request, in a file that can be rotated.

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::backend::{Backend, refusing, service};
use crate::support::client::{Client, get, request};
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
        ("version", "HTTP/1.1".into()),
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
    let (_socket, dead) = refusing();
    let (gogeta, file, _directory) = before(&backend, &["--access-log-format", "json"]).await;
    gogeta.edit_routes(&service("b.test", &[dead, backend.port]));
    until("b.test is routed", async || (get(gogeta.proxy, "b.test", "/").await.status == 200).then_some(()))
        .await;
    let tried_again = until("a request found the dead one first", async || {
        get(gogeta.proxy, "b.test", "/").await;
        let log = std::fs::read_to_string(&file).unwrap_or_default();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["retries"] == 1)
    })
    .await;
    let up = format!("127.0.0.1:{}", backend.port);
    assert_eq!((&tried_again["upstream"], &tried_again["status"]), (&up.into(), &200.into()));
}

/// A parser of Apache's combined format that takes nothing else: the quoted and the bare parts of a line.
fn combined(line: &str) -> Vec<String> {
    let (mut parts, mut rest) = (Vec::new(), line);
    while !rest.is_empty() {
        let (part, behind) = match (rest.strip_prefix('"'), rest.strip_prefix('[')) {
            (Some(quoted), _) => quoted.split_once('"').expect("the end of a quoted part"),
            (_, Some(time)) => time.split_once(']').expect("the end of a time"),
            _ => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
        };
        assert!(behind.is_empty() || behind.starts_with(' '), "a space behind {part:?}: {line}");
        parts.push(part.to_owned());
        rest = behind.strip_prefix(' ').unwrap_or(behind);
    }
    parts
}

#[tokio::test]
async fn the_combined_form_is_what_apache_writes() {
    let backend = Backend::named("hello").await;
    let (gogeta, file, _directory) = before(&backend, &["--access-log-format", "combined"]).await;
    let raw = "POST /x\"z HTTP/1.0\r\nHost: a.test\r\nUser-Agent: a \"b\" \\\r\nReferer: http://c.test/\r\n\
               Content-Length: 3\r\n\r\nabc";
    assert_eq!(request(gogeta.proxy, raw).await.status, 200);
    let parts = combined(&lines(&file, 1).await[0]);
    let time = parts[3].clone();
    let agent = r"a \x22b\x22 \x5C";
    let request = r"POST /x\x22z HTTP/1.0";
    assert_eq!(parts, ["127.0.0.1", "-", "-", &time, request, "200", "5", "http://c.test/", agent]);
    // 22/Nov/2026:21:31:19 +0000
    let shape: String =
        time.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    assert_eq!((&shape[..3], &shape[6..]), ("00/", "/0000:00:00:00 +0000"), "{time}");
}

#[tokio::test]
async fn whoever_is_refused_has_a_line_too() {
    let backend = Backend::named("hello").await;
    let flags = [
        "--access-log-format",
        "combined",
        "--head-timeout",
        "1s",
        "--max-connections-per-client",
        "3",
        "--threads",
        "1",
    ];
    let (gogeta, file, _directory) = before(&backend, &flags).await;
    let mut slow = Client::connect(gogeta.proxy).await;
    slow.send("GET / HT").await;
    let (mut kept, mut parser) = (Client::connect(gogeta.proxy).await, Client::connect(gogeta.proxy).await);
    assert_eq!(kept.get("b.test", "/").await.status, 404);
    assert_eq!(Client::connect(gogeta.proxy).await.reply().await.status, 429);
    assert_eq!(slow.reply().await.status, 408);
    kept.send("GET / HTTP/1.1\r\nBad : field\r\n\r\n").await;
    let refused = kept.reply().await;
    assert_eq!(refused.status, 400);
    parser.send("GET http://[::1 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(parser.reply().await.status, 400);
    let mut told: Vec<Vec<String>> =
        lines(&file, 5).await.iter().map(|line| combined(line)[4..].to_vec()).collect();
    told.sort();
    let size = refused.body.len().to_string();
    let row = |request: &str, status: &str, bytes: &str| -> Vec<String> {
        [request, status, bytes, "-", "-"].map(str::to_owned).to_vec()
    };
    let mut unread =
        vec![row("-", "400", "0"), row("-", "400", &size), row("-", "408", "0"), row("-", "429", "0")];
    unread.sort();
    assert_eq!(told[..4], unread);
    assert_eq!(told[4][..2], ["GET / HTTP/1.1", "404"]);
    // And they are counted like any other.
    let metrics = get(gogeta.admin, "admin", "/metrics").await.text();
    for (code, count) in [(400, 2), (404, 1), (408, 1), (429, 1)] {
        let line =
            format!("gogeta_requests_total{{engine=\"userspace\",target=\"none\",code=\"{code}\"}} {count}");
        assert!(metrics.contains(&line), "{line}:\n{metrics}");
    }
}

#[tokio::test]
async fn a_tunnel_has_one_line_with_its_bytes_both_ways() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello";
        peer.send(switch).await.expect("to switch");
        assert_eq!(peer.take(6).await.expect("the client's word"), b"abcdef");
        peer.send("bye").await.expect("to send");
    })
    .await;
    let (gogeta, file, _directory) = before(&backend, &["--access-log-format", "json"]).await;
    let mut client = Client::connect(gogeta.proxy).await;
    assert_eq!(client.get("b.test", "/").await.status, 404, "a request before it does not count");
    client.send("GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc").await;
    assert_eq!(client.head().await.expect("a head").status, 101);
    client.send("def").await;
    assert_eq!(client.rest().await, b"hellobye");
    drop(client);
    let line: Value = serde_json::from_str(&lines(&file, 2).await[1]).expect("JSON");
    for (field, value) in [("status", 101), ("bytes_received", 6), ("bytes_sent", 8)] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
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
