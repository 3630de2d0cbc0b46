//! What gogeta forwards is what was meant: 10,000 generated requests, valid ones and slightly broken ones, and what of
//! them reaches an origin, in the reading of three parsers (httparse, h11, and whoever generated them).
//!
//! `GOGETA_TEST_SEED` and `GOGETA_TEST_COUNT` set the generator's seed and how many requests it makes.

mod message;
mod requests;

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use self::message::{Message, Reading, latin};
use self::requests::{break_it, valid};
use crate::support::backend::{Backend, Peer, service};
use crate::support::client::Client;
use crate::support::etcd::skip;
use crate::support::gogeta::Gogeta;
use crate::support::random::{Random, number, seed};

const H11: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/differential/h11_reads.py");
const DOMAINS: [&str; 4] = ["alpha.test", "bravo.test", "gamma.test", "delta.test"];
/// Larger than any valid body here.
const MAX_BODY: usize = 1024;

#[tokio::test]
async fn what_is_forwarded_is_what_was_meant() {
    let Some(python) = python_with_h11().await else {
        return skip("there is no python3 with h11 (Debian: python3-h11)");
    };
    let seed = seed();
    let count = number("COUNT").map_or(10_000, |count| count as usize);

    let mut origins = Vec::new();
    for _ in DOMAINS {
        origins.push(Origin::start().await);
    }
    let routes: Vec<String> = DOMAINS
        .iter()
        .zip(&origins)
        .map(|(domain, origin)| service(domain, &[origin.backend.port]))
        .collect();
    let gogeta = Gogeta::routes(&routes.join("\n")).args(["--max-body", &MAX_BODY.to_string()]).start().await;

    let clients = DOMAINS.iter().zip(&origins).zip(0..).map(|((domain, origin), index)| {
        let random = Random(seed.wrapping_add(index << 48));
        let session = Session { proxy: gogeta.proxy, domain, random, exchanges: vec![] };
        let records = origin.records.clone();
        tokio::spawn(async move { session.run(count / DOMAINS.len()).await.with_records(&records) })
    });
    let mut exchanges = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        exchanges.extend(client.await.expect("a session"));
    }
    let (sent, forwarded): (Vec<_>, Vec<_>) =
        exchanges.iter().map(|exchange| (&exchange.sent[..], &exchange.forwarded[..])).unzip();
    let sent = h11_reads(python, &sent).await;
    let forwarded = h11_reads(python, &forwarded).await;
    for ((exchange, sent), forwarded) in exchanges.iter().zip(&sent).zip(&forwarded) {
        exchange.agrees(sent, forwarded);
    }
}

/// An origin that keeps the bytes of each request.
struct Origin {
    backend: Backend,
    records: Arc<Mutex<Records>>,
}

#[derive(Default)]
struct Records {
    requests: Vec<Vec<u8>>,
    /// What was no request.
    garbage: Vec<String>,
}

impl Origin {
    async fn start() -> Self {
        let records = Arc::<Mutex<Records>>::default();
        let kept = records.clone();
        let backend = Backend::scripted(move |peer| serve(peer, kept.clone())).await;
        Self { backend, records }
    }
}

/// Answers each whole request with its number.
async fn serve(mut peer: Peer, records: Arc<Mutex<Records>>) {
    let (mut bytes, mut continued) = (Vec::new(), false);
    while let Some(more) = peer.some().await {
        bytes.extend(more);
        loop {
            let length = match Message::first(&bytes) {
                Ok(Some((_, length))) => length,
                Ok(None) => break,
                Err(fault) => {
                    let shown = bytes.escape_ascii();
                    return records.lock().expect("the records").garbage.push(format!("{fault}: {shown}"));
                }
            };
            continued = false;
            let request = bytes.drain(..length).collect();
            let number = {
                let requests = &mut records.lock().expect("the records").requests;
                requests.push(request);
                requests.len() - 1
            };
            let reply = format!("HTTP/1.1 200 OK\r\nX-Seen: {number}\r\nContent-Length: 0\r\n\r\n");
            if peer.send(reply).await.is_err() {
                return;
            }
        }
        let head = latin(&bytes).to_ascii_lowercase();
        if !continued && head.contains("\r\nexpect: 100-continue\r\n") && head.contains("\r\n\r\n") {
            continued = true;
            let _ = peer.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        }
    }
}

/// A client of one domain; what it does is made up.
struct Session {
    proxy: std::net::SocketAddr,
    domain: &'static str,
    random: Random,
    exchanges: Vec<Exchange>,
}

/// One request that was forwarded.
#[derive(Debug)]
struct Exchange {
    /// What the client sent on its connection, or of it this request where that is known.
    sent: Vec<u8>,
    /// The how manieth request of these bytes it is.
    index: usize,
    /// What it was made to mean.
    meant: Option<Message>,
    /// Its number at the origin.
    seen: usize,
    forwarded: Vec<u8>,
}

impl Session {
    async fn run(mut self, count: usize) -> Self {
        let mut made = 0;
        while made < count {
            if self.random.once_in(3) {
                self.broken().await;
                made += 1;
            } else {
                made += self.valid().await;
            }
        }
        self
    }

    /// A connection with some valid requests, one by one or in a row; all are answered. How many there were.
    async fn valid(&mut self) -> usize {
        let mut client = Client::connect(self.proxy).await;
        let (mut count, mut open) = (0, true);
        for _ in 0..1 + self.random.below(4) {
            let mut group = Vec::new();
            while open && group.len() < 5 && (group.is_empty() || self.random.once_in(2)) {
                let (raw, meant) = valid(&mut self.random, self.domain);
                assert_eq!(
                    Reading::of(&raw).requests,
                    std::slice::from_ref(&meant),
                    "the generator: {}",
                    shown(&raw)
                );
                open = !meant.closes();
                group.push((raw, meant));
            }
            let wire: Vec<u8> = group.iter().flat_map(|(raw, _)| raw).copied().collect();
            send(&mut self.random, &mut client, &wire).await;
            count += group.len();
            for (number, (sent, meant)) in group.into_iter().enumerate() {
                let reply = client.try_reply().await;
                let seen = reply.as_ref().ok().and_then(|reply| reply.header("x-seen")?.parse().ok());
                let seen = seen.unwrap_or_else(|| {
                    panic!("request {number} is not forwarded, but {reply:?}: {}", shown(&wire))
                });
                let meant = Some(meant);
                self.exchanges.push(Exchange { sent, index: 0, meant, seen, forwarded: vec![] });
            }
        }
        count
    }

    /// A connection with a request that is broken, or not any more what it was. Whatever a reader believes to be in
    /// the middle of behind it, what follows ends that: it fills any body that is allowed, and begins nothing.
    async fn broken(&mut self) {
        let (mut sent, _) = valid(&mut self.random, self.domain);
        break_it(&mut self.random, &mut sent);
        sent.extend(b"\x01\r\n\r\n".repeat(MAX_BODY / 5 + 1));
        let mut client = Client::connect(self.proxy).await;
        send(&mut self.random, &mut client, &sent).await;
        let got = client.rest().await;
        let requests = Reading::of(&sent).requests;
        let is_head = sent.trim_ascii_start().starts_with(b"HEAD ");
        let replies = replies(&got, &requests, is_head)
            .unwrap_or_else(|fault| panic!("{fault}, in reply to {}\n{}", shown(&sent), shown(&got)));
        for (index, seen) in replies.into_iter().enumerate() {
            if let Some(seen) = seen {
                let sent = sent.clone();
                self.exchanges.push(Exchange { sent, index, meant: None, seen, forwarded: vec![] });
            }
        }
    }

    /// The exchanges, with what the origin got. Each request there was answered, and nothing else came.
    fn with_records(mut self, records: &Mutex<Records>) -> Vec<Exchange> {
        let records = records.lock().expect("the records");
        assert!(records.garbage.is_empty(), "at the origin: {:?}", records.garbage);
        let mut seen = vec![0; records.requests.len()];
        for exchange in &mut self.exchanges {
            seen[exchange.seen] += 1;
            exchange.forwarded.clone_from(&records.requests[exchange.seen]);
        }
        for (count, request) in seen.iter().zip(&records.requests) {
            assert_eq!(*count, 1, "answers to what the origin got: {}", shown(request));
        }
        self.exchanges
    }
}

/// The beginning of it: a page or what follows a broken request is long, and says nothing.
fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(2000)].escape_ascii().to_string()
}

/// Sends bytes in a few writes.
async fn send(random: &mut Random, client: &mut Client, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let count = if random.once_in(3) { bytes.len() } else { 1 + random.below(bytes.len()) };
        // What was refused already need not be taken.
        if client.try_send(&bytes[..count]).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
        bytes = &bytes[count..];
    }
}

/// Reads all that came on a connection, up to its end: of each answer the number that the origin gave. Others must be
/// refusals, and the last of them says that the connection ends.
fn replies(mut bytes: &[u8], requests: &[Message], is_head: bool) -> Result<Vec<Option<usize>>, String> {
    let mut seen = Vec::new();
    let mut ends = false;
    while !bytes.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut reply = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(head) = reply.parse(bytes).map_err(|error| error.to_string())? else {
            return Err("half a head".to_owned());
        };
        bytes = &bytes[head..];
        let status = reply.code.ok_or("no status")?;
        if (100..200).contains(&status) {
            continue;
        }
        let field = |name: &str| {
            let field = reply.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(field.value).ok()
        };
        let request = requests.get(seen.len());
        let number: Option<usize> = field("x-seen").and_then(|seen| seen.parse().ok());
        let length: usize =
            field("content-length").and_then(|length| length.parse().ok()).ok_or("no length")?;
        // No page begins like an answer.
        let bodiless = is_head && (bytes.is_empty() || bytes.starts_with(b"HTTP/1."));
        // Behind an answer that says so the connection ends.
        if ends {
            return Err("more behind the end".to_owned());
        }
        bytes = bytes.get(if bodiless { 0 } else { length }..).ok_or("half a body")?;
        ends = field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
            || request.is_some_and(Message::closes);
        if number.is_none() && !(400..500).contains(&status) && ![501, 505].contains(&status) {
            return Err(format!("a {status}"));
        }
        seen.push(number);
    }
    if ends { Ok(seen) } else { Err("it ended and did not say so".to_owned()) }
}

impl Exchange {
    /// All readers read the same in what was sent, and the same in what was forwarded; and that is what gogeta
    /// should have made of it.
    fn agrees(&self, sent: &Reading, forwarded: &Reading) {
        let shown = format!(
            "sent {}\nforwarded {}\nh11: {:?}, {:?}",
            shown(&self.sent),
            shown(&self.forwarded),
            sent.fault,
            forwarded.fault
        );
        let own = Reading::of(&self.sent).requests;
        let ours = own.get(self.index).unwrap_or_else(|| panic!("httparse sees no request\n{shown}"));
        let theirs = sent.requests.get(self.index).unwrap_or_else(|| panic!("h11 sees no request\n{shown}"));
        assert_eq!(ours.clone().sorted(), theirs.clone().sorted(), "as it was sent\n{shown}");
        if let Some(meant) = &self.meant {
            assert_eq!(meant, ours, "{shown}");
        }
        let expected = ours.through_gogeta().sorted();
        let arrived = Reading::of(&self.forwarded);
        for (reader, reading) in [("httparse", &arrived), ("h11", forwarded)] {
            let [request] = &*reading.requests else { panic!("not one request for {reader}\n{shown}") };
            assert_eq!(reading.fault, None, "{reader}\n{shown}");
            assert_eq!(request.clone().sorted(), expected, "{reader}\n{shown}");
        }
    }
}

/// A Python that has h11: the first on the PATH may not be the one that the system's packages are for.
async fn python_with_h11() -> Option<&'static str> {
    for python in ["python3", "/usr/bin/python3"] {
        let mut command = Command::new(python);
        command.args(["-c", "import h11"]).stdin(Stdio::null()).stderr(Stdio::null());
        if command.status().await.is_ok_and(|status| status.success()) {
            return Some(python);
        }
    }
    None
}

/// What h11 reads in each of these.
async fn h11_reads(python: &str, streams: &[&[u8]]) -> Vec<Reading> {
    let mut child = Command::new(python)
        .arg(H11)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 runs");
    let mut stdin = child.stdin.take().expect("its input");
    let lines: String =
        streams.iter().map(|bytes| serde_json::Value::from(latin(bytes)).to_string() + "\n").collect();
    let feed = tokio::spawn(async move { stdin.write_all(lines.as_bytes()).await });
    let outcome = child.wait_with_output().await.expect("it ends");
    assert!(outcome.status.success(), "h11_reads.py failed");
    feed.await.expect("a task").expect("it reads all");
    let text = String::from_utf8(outcome.stdout).expect("JSON");
    let readings: Vec<Reading> =
        text.lines().map(|line| serde_json::from_str(line).expect("a reading")).collect();
    assert_eq!(readings.len(), streams.len());
    readings
}
