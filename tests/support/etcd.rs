//! A real etcd of one member, spoken to by its JSON gateway.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::client;
use super::wait::until;

/// A running etcd; killed on drop.
pub(crate) struct Etcd {
    port: u16,
    peer_port: u16,
    directory: TempDir,
    child: Option<Child>,
}

/// One step of a transaction.
#[derive(Clone, Copy)]
pub(crate) enum Op<'a> {
    Put(&'a str, &'a str),
    Del(&'a str),
}

impl Etcd {
    /// Starts one; none where etcd is not installed, which is an error if `GOGETA_TEST_REQUIRE` says so.
    pub(crate) async fn start() -> Option<Self> {
        let mut etcd = Self::absent()?;
        etcd.restart().await;
        Some(etcd)
    }

    /// One that is not started yet: its address is there, and nobody listens.
    pub(crate) fn absent() -> Option<Self> {
        if std::process::Command::new("etcd").arg("--version").output().is_err() {
            skip("etcd is not installed");
            return None;
        }
        // Nothing of it has to survive the machine, and a disk's fsync takes its time.
        let directory =
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        Some(Self { port: free_port(), peer_port: free_port(), directory, child: None })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it on the same port and data, and waits until it is healthy.
    pub(crate) async fn restart(&mut self) {
        let url = self.url();
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let log = std::fs::File::create(self.directory.path().join("log")).expect("the log is made");
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(self.directory.path().join("data"));
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"]);
        // It votes alone: there is nobody to wait for.
        command.args(["--heartbeat-interval", "50", "--election-timeout", "250"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().expect("etcd starts");
        until("etcd is healthy", async || {
            if let Ok(Some(status)) = child.try_wait() {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                panic!("etcd did not start, {status}:\n{log}");
            }
            tokio::net::TcpStream::connect(self.address()).await.ok()?;
            let health = client::get(self.address(), "etcd", "/health").await;
            health.text().contains("true").then_some(())
        })
        .await;
        self.child = Some(child);
    }

    /// Ends it as a crash would.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("etcd is killed");
        }
    }

    /// Throws its data away; it must not run.
    pub(crate) fn wipe(&self) {
        std::fs::remove_dir_all(self.directory.path().join("data")).expect("the data are gone");
    }

    pub(crate) async fn put(&self, key: &str, value: &str) {
        self.call("kv/put", &json!({ "key": encode(key), "value": encode(value) })).await;
    }

    pub(crate) async fn put_bytes(&self, key: &str, value: &[u8]) {
        self.call("kv/put", &json!({ "key": encode(key), "value": encode(value) })).await;
    }

    /// Puts a key under a lease of its own, of so many seconds; gives the lease.
    pub(crate) async fn lease(&self, key: &str, value: &str, seconds: u64) -> Value {
        let lease = self.call("lease/grant", &json!({ "TTL": seconds })).await["ID"].take();
        self.call("kv/put", &json!({ "key": encode(key), "value": encode(value), "lease": lease })).await;
        lease
    }

    /// All keys, and their values as they are.
    pub(crate) async fn all(&self) -> BTreeMap<String, Vec<u8>> {
        let value = |pair: &Value| decode(pair["value"].as_str().unwrap_or(""));
        self.pairs().await.iter().map(|pair| (key_of(pair), value(pair))).collect()
    }

    /// All keys, and when each was last written.
    pub(crate) async fn all_revisions(&self) -> BTreeMap<String, i64> {
        let revision = |pair: &Value| pair["mod_revision"].as_str().and_then(|text| text.parse().ok());
        self.pairs().await.iter().map(|pair| (key_of(pair), revision(pair).unwrap_or(0))).collect()
    }

    pub(crate) async fn current_revision(&self) -> i64 {
        let answer = self.call("kv/range", &json!({ "key": encode("/") })).await;
        answer["header"]["revision"].as_str().and_then(|text| text.parse().ok()).expect("a revision")
    }

    pub(crate) async fn del(&self, key: &str) {
        self.call("kv/deleterange", &json!({ "key": encode(key) })).await;
    }

    pub(crate) async fn del_prefix(&self, prefix: &str) {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().expect("a prefix") += 1;
        self.call("kv/deleterange", &json!({ "key": encode(prefix), "range_end": encode(end) })).await;
    }

    pub(crate) async fn get(&self, key: &str) -> Option<String> {
        let pair = self.pair(key).await?;
        Some(String::from_utf8_lossy(&decode(pair["value"].as_str().unwrap_or(""))).into_owned())
    }

    /// How often the key has been written since it was made; 0 where it is not there.
    pub(crate) async fn version(&self, key: &str) -> u64 {
        let version = |pair: Value| pair["version"].as_str().and_then(|text| text.parse().ok());
        self.pair(key).await.and_then(version).unwrap_or(0)
    }

    /// When the key was last written; 0 where it is not there.
    pub(crate) async fn revision(&self, key: &str) -> i64 {
        let revision = |pair: Value| pair["mod_revision"].as_str().and_then(|text| text.parse().ok());
        self.pair(key).await.and_then(revision).unwrap_or(0)
    }

    /// All of these, or none: one revision.
    pub(crate) async fn txn(&self, ops: &[Op<'_>]) {
        let steps: Vec<Value> = ops
            .iter()
            .map(|op| match op {
                Op::Put(key, value) => {
                    json!({ "requestPut": { "key": encode(key), "value": encode(value) } })
                }
                Op::Del(key) => json!({ "requestDeleteRange": { "key": encode(key) } }),
            })
            .collect();
        let answer = self.call("kv/txn", &json!({ "success": steps })).await;
        assert_eq!(answer["succeeded"], true, "{answer}");
    }

    /// Forgets all revisions before the current one.
    pub(crate) async fn compact(&self) {
        let answer = self.call("kv/range", &json!({ "key": encode("/") })).await;
        let revision = answer["header"]["revision"].as_str().expect("a revision");
        self.call("kv/compaction", &json!({ "revision": revision, "physical": true })).await;
    }

    /// Freezes it: connections stay, and nothing is answered.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// A domain of type service.
    pub(crate) async fn route(&self, host: &str, service: &str) {
        self.txn(&[
            Op::Put(&format!("/domains/{host}/type"), "service"),
            Op::Put(&format!("/domains/{host}/value"), service),
        ])
        .await;
    }

    /// An instance on this machine, without a status.
    pub(crate) async fn locate(&self, service: &str, index: &str, port: u16) {
        self.put(&format!("/services/{service}/{index}/location"), &location(port)).await;
    }

    /// An instance's status keys; `-` is for one that is not there.
    pub(crate) async fn status(&self, service: &str, index: &str, status: [&str; 3]) {
        let keys =
            ["current", "expected", "alive"].map(|key| format!("/services/{service}/{index}/status/{key}"));
        let ops: Vec<Op<'_>> = keys
            .iter()
            .zip(status)
            .map(|(key, value)| if value == "-" { Op::Del(key) } else { Op::Put(key, value) })
            .collect();
        self.txn(&ops).await;
    }

    async fn pairs(&self) -> Vec<Value> {
        let mut answer =
            self.call("kv/range", &json!({ "key": encode("/"), "range_end": encode("0") })).await;
        match answer["kvs"].take() {
            Value::Array(pairs) => pairs,
            _ => vec![],
        }
    }

    async fn pair(&self, key: &str) -> Option<Value> {
        let mut answer = self.call("kv/range", &json!({ "key": encode(key) })).await;
        answer["kvs"].as_array_mut()?.pop()
    }

    async fn call(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let head = format!(
            "POST /v3/{path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let reply = client::request(self.address(), &format!("{head}{body}")).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        serde_json::from_slice(&reply.body).expect("etcd answers JSON")
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().and_then(Child::id).expect("etcd runs");
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("the signal is sent");
    }
}

fn key_of(pair: &Value) -> String {
    String::from_utf8_lossy(&decode(pair["key"].as_str().unwrap_or(""))).into_owned()
}

/// An instance's location on this machine, as in its key.
pub(crate) fn location(port: u16) -> String {
    json!({ "host": "127.0.0.1", "port": port }).to_string()
}

/// Says why a test cannot run here; an error where it must.
#[expect(clippy::print_stdout, reason = "this is how a test says that it did not run")]
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var("GOGETA_TEST_REQUIRE").as_deref() != Ok("all"), "{reason}");
    println!("SKIPPED: {reason}");
}

/// A port that nobody listens on, below those that the kernel hands out by itself: a restart finds it free.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 11_000).expect("it is small");
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64, in which the gateway wants keys and values.
fn encode(bytes: impl AsRef<[u8]>) -> String {
    let mut text = String::new();
    for three in bytes.as_ref().chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > three.len() { '=' } else { letter.into() });
        }
    }
    text
}

fn decode(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = ALPHABET.iter().position(|known| *known == letter).expect("base64");
        bits = bits << 6 | u32::try_from(value).expect("it is below 64");
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 255) as u8);
        }
    }
    bytes
}
