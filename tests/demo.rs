//! `gogeta demo`: what it prints is true, and nothing is left of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::client::get;
use crate::support::etcd::skip;
use crate::support::wait::{DEADLINE, until, within};

/// A running demo, and what it said.
struct Demo {
    child: Child,
    said: Vec<String>,
    /// Where its own directory goes.
    directory: TempDir,
}

impl Demo {
    async fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut child = Command::new(env!("CARGO_BIN_EXE_gogeta"))
            .arg("demo")
            .args(arguments)
            .env("TMPDIR", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("gogeta starts");
        let mut lines = BufReader::new(child.stdout.take().expect("an output")).lines();
        let begun = Instant::now();
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.contains("Ctrl-C")) {
            let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("it says something");
            said.push(line.expect("it can be read").unwrap_or_else(|| panic!("it ended: {said:?}")));
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "it takes {:?}", begun.elapsed());
        Self { child, said, directory }
    }

    async fn usual() -> Self {
        Self::start(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).await
    }

    /// Its curl lines, as printed.
    fn curls(&self) -> Vec<&str> {
        self.said.iter().map(|line| line.trim()).filter(|line| line.starts_with("curl ")).collect()
    }

    /// Its URLs: host, port, and what is said of them.
    fn urls(&self) -> Vec<(&str, SocketAddr, &str)> {
        let lines = self.said.iter().filter_map(|line| line.trim().strip_prefix("http://"));
        lines
            .map(|line| {
                let (url, what) = line.split_once(' ').expect("a word on it");
                let (host, port) = url.trim_end_matches('/').split_once(':').expect("a port");
                (host, ([127, 0, 0, 1], port.parse().expect("a number")).into(), what.trim())
            })
            .collect()
    }

    fn routes_file(&self) -> PathBuf {
        let line = self.said.iter().find(|line| line.ends_with(".toml")).expect("it names its routes file");
        line.trim().into()
    }

    async fn end(mut self, signal: Signal) -> (ExitStatus, TempDir) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("it runs"), signal).expect("the signal is sent");
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("it ends");
        (status.expect("it can be waited for"), self.directory)
    }
}

/// A line as a person would run it, but for the time.
async fn run(line: &str) -> (String, String) {
    let Output { status, stdout, stderr } =
        Command::new("sh").args(["-c", &format!("{line} --max-time 9")]).output().await.expect("sh runs");
    let said = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{line}: {status}\n{said}\n{}", String::from_utf8_lossy(&stderr));
    let (head, body) = match said.split_once("\r\n\r\n") {
        Some((head, body)) if line.contains(" -i ") => (head.to_owned(), body.to_owned()),
        _ => (String::new(), said),
    };
    (head, body)
}

#[tokio::test]
async fn every_line_does_what_it_says() {
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        return skip("curl is not installed");
    }
    let demo = Demo::usual().await;
    let curls = demo.curls();
    assert_eq!(curls.len(), 6, "{:#?}", demo.said);
    for line in &curls {
        let (head, body) = run(line).await;
        if line.contains("asleep") {
            assert!(head.starts_with("HTTP/1.1 503") && head.contains("x-gogeta-page: passivated"), "{head}");
            assert!(body.starts_with("503 "), "for curl, as text: {body}");
        } else if line.contains("stopped") {
            assert!(head.starts_with("HTTP/1.1 503"), "{head}");
            let problem: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(problem["page"], "stopped");
        } else if line.contains("/events") {
            assert_eq!(body.matches("data: event").count(), 10, "{body}");
        } else if line.ends_with("/api/routes") {
            let api: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(api["domains"].as_array().map(Vec::len), Some(10));
            assert_eq!(api["problems"], serde_json::json!([]));
        } else if line.ends_with("/metrics") {
            assert!(body.contains("gogeta_requests_total{"), "{body}");
        } else {
            assert!(
                line.contains("hello.localhost") && body.starts_with("Hello from instance "),
                "{line}: {body}"
            );
        }
    }
    let (_, first) = run(curls[0]).await;
    let (_, second) = run(curls[0]).await;
    assert_ne!(first, second, "the instances take turns");
}

#[tokio::test]
async fn every_url_is_in_the_state_that_it_says() {
    let demo = Demo::usual().await;
    let urls = demo.urls();
    assert_eq!(urls.len(), 11, "{:#?}", demo.said);
    for (host, proxy, what) in urls {
        let reply = get(proxy, host, "/x?y=1").await;
        match what.split(',').next().and_then(|code| code.parse::<u16>().ok()) {
            Some(code) => assert_eq!(reply.status, code, "{host}: {what}"),
            None if host.starts_with("asleep") => {
                assert_eq!((reply.status, reply.header("x-gogeta-page")), (503, Some("passivated")));
                until("it is starting", async || {
                    let raw = format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
                    let reply = crate::support::client::request(proxy, &raw).await;
                    (reply.header("x-gogeta-page") == Some("starting")).then_some(())
                })
                .await;
                until("it is up", async || (get(proxy, host, "/").await.status == 200).then_some(())).await;
            }
            None => {
                assert_eq!(reply.status, 200, "{host}: {what}");
                let path = if host.starts_with("uri") { "/base/x?from=gogeta&y=1" } else { "/x?y=1" };
                assert!(reply.text().contains(path), "{host}: {}", reply.text());
            }
        }
    }
}

#[tokio::test]
async fn its_routes_can_be_edited() {
    let demo = Demo::usual().await;
    let file = demo.routes_file();
    let proxy = demo.urls()[0].1;
    let text = std::fs::read_to_string(&file).expect("it is there");
    assert_eq!(get(proxy, "mine.localhost", "/").await.status, 404);
    std::fs::write(
        &file,
        format!("{text}\n[domains.\"mine.localhost\"]\ntype = \"service\"\nvalue = \"hello\"\n"),
    )
    .expect("it is written");
    within(Duration::from_secs(2), "the new domain", async || {
        (get(proxy, "mine.localhost", "/").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn it_ends_well_and_leaves_nothing() {
    for signal in [Signal::TERM, Signal::INT] {
        let demo = Demo::usual().await;
        let file = demo.routes_file();
        assert!(file.starts_with(demo.directory.path()) && file.exists());
        let proxy = demo.urls()[0].1;
        assert_eq!(get(proxy, "hello.localhost", "/").await.status, 200);
        let (status, directory) = demo.end(signal).await;
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert!(!file.parent().is_some_and(Path::exists), "its directory is gone");
        let left = std::fs::read_dir(directory.path()).expect("it is there").count();
        assert_eq!(left, 0, "nothing else is left either");
    }
}

#[tokio::test]
async fn a_second_demo_takes_other_ports() {
    let first = Demo::usual().await;
    let taken = first.urls()[0].1.to_string();
    let second = Demo::start(&["--listen", &taken, "--admin", "127.0.0.1:0"]).await;
    let proxy = second.urls()[0].1;
    assert_ne!(proxy.to_string(), taken);
    assert_eq!(get(proxy, "hello.localhost", "/").await.status, 200);
}
