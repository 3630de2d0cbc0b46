//! A real etcd of one member or three, spoken to by its JSON gateway.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::client;
use super::netns::{Namespace, Place};
use super::wait::until;

/// Where `etcd` and `etcdctl` are, if not on the `PATH`: a folder, seen from the repository's root.
const FOLDER: &str = "GOGETA_TEST_ETCD";

/// A running etcd; killed on drop.
pub(crate) struct Etcd {
    name: String,
    host: IpAddr,
    port: u16,
    peer_port: u16,
    /// All members, as `--initial-cluster` wants them.
    cluster: String,
    place: Place,
    arguments: Vec<String>,
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
        let etcd = program("etcd");
        if let Err(error) = std::process::Command::new(&etcd).arg("--version").output() {
            // Whoever names one wants that one.
            assert!(std::env::var_os(FOLDER).is_none(), "{FOLDER}: {}: {error}", etcd.display());
            skip("etcd is not installed");
            return None;
        }
        // Nothing of it has to survive the machine, and a disk's fsync takes its time.
        let directory =
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        let (port, peer_port) = (free_port(), free_port());
        let cluster = format!("default=http://127.0.0.1:{peer_port}");
        let name = "default".to_owned();
        Some(Self {
            name,
            host: Ipv4Addr::LOCALHOST.into(),
            port,
            peer_port,
            cluster,
            place: Place::default(),
            arguments: vec![],
            directory,
            child: None,
        })
    }

    /// Three members of one cluster, running.
    pub(crate) async fn three() -> Option<[Self; 3]> {
        let mut members = [Self::absent()?, Self::absent()?, Self::absent()?];
        for (member, name) in members.iter_mut().zip(["a", "b", "c"]) {
            member.name = name.to_owned();
        }
        let all: Vec<String> = members
            .iter()
            .map(|member| format!("{}=http://127.0.0.1:{}", member.name, member.peer_port))
            .collect();
        for member in &mut members {
            member.cluster = all.join(",");
            // They are healthy together only.
            member.launch();
        }
        for member in &mut members {
            member.healthy().await;
        }
        Some(members)
    }

    /// What else to start it with.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Where to start it, and that host's address.
    pub(crate) fn on(mut self, namespace: &Namespace, host: IpAddr) -> Self {
        self.place = namespace.place().clone();
        self.host = host;
        self
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts it on the same port and data, and waits until it is healthy.
    pub(crate) async fn restart(&mut self) {
        self.launch();
        self.healthy().await;
    }

    fn launch(&mut self) {
        let url = self.url();
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let log = std::fs::File::create(self.directory.path().join("log")).expect("the log is made");
        let mut command = self.place.command(program("etcd"));
        command.arg("--data-dir").arg(self.directory.path().join("data"));
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--name", &self.name, "--initial-cluster", &self.cluster, "--log-level", "error"]);
        // It votes alone: there is nobody to wait for.
        command.args(["--heartbeat-interval", "50", "--election-timeout", "250"]);
        command.args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn().expect("etcd starts"));
    }

    /// Waits until it is healthy.
    async fn healthy(&mut self) {
        let mut child = self.child.take().expect("it is started");
        until("etcd is healthy", async || {
            if let Ok(Some(status)) = child.try_wait() {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                panic!("etcd did not start, {status}:\n{log}");
            }
            TcpStream::connect(self.address()).await.ok()?;
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

    /// Whether it leads its cluster.
    pub(crate) async fn leads(&self) -> bool {
        let status = self.call("maintenance/status", &json!({})).await;
        status["leader"] == status["header"]["member_id"]
    }

    /// A backup of what it has now.
    pub(crate) async fn back_up(&self) -> PathBuf {
        let file = self.directory.path().join("backup");
        ctl(&["--endpoints", &self.url(), "snapshot", "save", &file.display().to_string()]).await;
        file
    }

    /// Replaces its data by those of a backup; it must not run.
    pub(crate) async fn restore(&self, backup: &Path) {
        self.wipe();
        let data = self.directory.path().join("data").display().to_string();
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        ctl(&[
            "snapshot",
            "restore",
            &backup.display().to_string(),
            "--data-dir",
            &data,
            "--name",
            &self.name,
            "--initial-cluster",
            &self.cluster,
            "--initial-advertise-peer-urls",
            &peer,
        ])
        .await;
    }

    /// Its revision.
    pub(crate) async fn revision(&self) -> i64 {
        let answer = self.call("kv/range", &json!({ "key": encode("/"), "count_only": true })).await;
        number(&answer["header"]["revision"])
    }

    /// All keys with a prefix and their values, and when the last of them was written.
    pub(crate) async fn all(&self, prefix: &str) -> (BTreeMap<String, String>, i64) {
        let end = end_of(prefix);
        let answer = self.call("kv/range", &json!({ "key": encode(prefix), "range_end": encode(end) })).await;
        let text =
            |value: &Value| String::from_utf8_lossy(&decode(value.as_str().unwrap_or(""))).into_owned();
        let pairs = answer["kvs"].as_array().cloned().unwrap_or_default();
        let last = pairs.iter().map(|pair| number(&pair["mod_revision"])).max().unwrap_or(0);
        (pairs.iter().map(|pair| (text(&pair["key"]), text(&pair["value"]))).collect(), last)
    }

    /// A connection for many transactions.
    pub(crate) async fn session(&self) -> Session {
        Session { client: client::Client::connect(self.address()).await, fields: String::new() }
    }

    /// The same, from another host.
    pub(crate) async fn session_from(&self, namespace: &Namespace) -> Session {
        let stream = namespace.enter(|| std::net::TcpStream::connect(self.address())).expect("a connection");
        stream.set_nonblocking(true).expect("it does not block");
        let stream = TcpStream::from_std(stream).expect("a stream");
        Session { client: client::Client::new(stream), fields: String::new() }
    }

    /// The same, by a user.
    pub(crate) async fn session_of(&self, user: &str, password: &str) -> Session {
        let answer = self.call("auth/authenticate", &json!({ "name": user, "password": password })).await;
        let fields = format!("Authorization: {}\r\n", answer["token"].as_str().expect("a token"));
        Session { fields, ..self.session().await }
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
    pub(crate) async fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        let value = |pair: &Value| decode(pair["value"].as_str().unwrap_or(""));
        self.pairs().await.iter().map(|pair| (key_of(pair), value(pair))).collect()
    }

    /// All keys, and when each was last written.
    pub(crate) async fn all_revisions(&self) -> BTreeMap<String, i64> {
        let revision = |pair: &Value| pair["mod_revision"].as_str().and_then(|text| text.parse().ok());
        self.pairs().await.iter().map(|pair| (key_of(pair), revision(pair).unwrap_or(0))).collect()
    }

    /// Writes, if the cluster has a leader.
    pub(crate) async fn try_put(&self, key: &str, value: &str) -> Option<()> {
        let body = json!({ "key": encode(key), "value": encode(value) });
        let mut client = client::Client::connect(self.address()).await;
        client.send(post("kv/put", "", &body)).await;
        // An error has trailers, which the client does not read.
        (client.head().await.ok()?.status == 200).then_some(())
    }

    pub(crate) async fn del(&self, key: &str) {
        self.call("kv/deleterange", &json!({ "key": encode(key) })).await;
    }

    pub(crate) async fn del_prefix(&self, prefix: &str) {
        let end = end_of(prefix);
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
    pub(crate) async fn written_at(&self, key: &str) -> i64 {
        let revision = |pair: Value| pair["mod_revision"].as_str().and_then(|text| text.parse().ok());
        self.pair(key).await.and_then(revision).unwrap_or(0)
    }

    /// All of these, or none: one revision.
    pub(crate) async fn txn(&self, ops: &[Op<'_>]) {
        let answer = self.call("kv/txn", &transaction(ops)).await;
        assert_eq!(answer["succeeded"], true, "{answer}");
    }

    /// Forgets all revisions before the current one.
    pub(crate) async fn compact(&self) {
        let answer = self.call("kv/range", &json!({ "key": encode("/") })).await;
        let revision = answer["header"]["revision"].as_str().expect("a revision");
        self.call("kv/compaction", &json!({ "revision": revision, "physical": true })).await;
    }

    /// The same, unless that is done already, which etcd takes for a mistake.
    pub(crate) async fn compact_if_new(&self) {
        self.put("/other", "x").await;
        self.compact().await;
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
        let reply = client::request(self.address(), &post(path, "Connection: close\r\n", body)).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        serde_json::from_slice(&reply.body).expect("etcd answers JSON")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (self.host, self.port).into()
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

/// A connection to etcd that stays open.
pub(crate) struct Session {
    client: client::Client,
    fields: String,
}

impl Session {
    /// All of these, or none; gives the revision.
    pub(crate) async fn txn(&mut self, ops: &[Op<'_>]) -> i64 {
        self.client.send(&post("kv/txn", &self.fields, &transaction(ops))).await;
        let reply = self.client.reply().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer: Value = serde_json::from_slice(&reply.body).expect("etcd answers JSON");
        number(&answer["header"]["revision"])
    }
}

fn transaction(ops: &[Op<'_>]) -> Value {
    let steps: Vec<Value> = ops
        .iter()
        .map(|op| match op {
            Op::Put(key, value) => {
                json!({ "requestPut": { "key": encode(key), "value": encode(value) } })
            }
            Op::Del(key) => json!({ "requestDeleteRange": { "key": encode(key) } }),
        })
        .collect();
    json!({ "success": steps })
}

fn post(path: &str, fields: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("POST /v3/{path} HTTP/1.1\r\nHost: etcd\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The gateway writes large numbers as text.
fn number(value: &Value) -> i64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}

fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix") += 1;
    end
}

/// A program of the etcd that is tested with.
fn program(name: &str) -> PathBuf {
    folder().map_or_else(|| name.into(), |folder| folder.join(name))
}

/// Where the etcd is that is tested with; none where it is on the `PATH`.
pub(crate) fn folder() -> Option<PathBuf> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    std::env::var_os(FOLDER).map(|folder| root.join(folder))
}

/// Runs etcdctl, and wants it to succeed; gives what it says.
pub(crate) async fn ctl(line: &[&str]) -> String {
    let output = Command::new(program("etcdctl")).env("ETCDCTL_API", "3").args(line).output().await;
    let output = output.expect("etcdctl runs");
    assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An instance's location on this machine, as in its key.
pub(crate) fn location(port: u16) -> String {
    json!({ "host": "127.0.0.1", "port": port }).to_string()
}

/// Says why a test cannot run here; an error where it must.
#[expect(clippy::print_stdout, reason = "this is how a test says that it did not run")]
pub(crate) fn skip(reason: &str) {
    assert!(!requires_all(), "{reason}");
    println!("SKIPPED: {reason}");
}

/// Whether nothing may be skipped, as in CI.
pub(crate) fn requires_all() -> bool {
    std::env::var("GOGETA_TEST_REQUIRE").as_deref() == Ok("all")
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

pub(crate) fn decode(text: &str) -> Vec<u8> {
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
