//! Origins that send what they should not: what each sends, what a client must see of it, and what must stay right
//! behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::{JoinError, JoinSet, LocalSet, spawn_local};

use super::backend::{Backend, Peer, ok, service};
use super::client::{Client, Reply};
use super::gogeta::{Builder, Gogeta};
use super::wait::until;

/// The head of a chunked response.
pub(crate) const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What follows a response that is over: nobody's answer.
pub(crate) const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

/// What the client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A page.
    Get,
    /// Its head.
    Head,
    /// Another protocol.
    Upgrade,
    /// A page, of one who knows HTTP/1.0 only.
    Old,
}

/// What the origin does once it has sent its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Waits for more requests.
    Keep,
    /// Closes.
    Close,
    /// Resets.
    Reset,
}

/// What the client must see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Want {
    /// A 502, and gogeta's page.
    Refused,
    /// A 200 with this body, which breaks off behind it.
    Cut(&'static str),
    /// This response, whole; with nothing more on that connection.
    Once(u16, &'static str),
    /// This response, whole; and the next request comes on the same connection.
    Again(u16, &'static str),
}

/// One origin.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    ask: Ask,
    sends: Arc<[u8]>,
    then: Then,
    want: Want,
}

impl Row {
    /// One that answers a GET with these bytes and waits.
    pub(crate) fn new(sends: impl AsRef<[u8]>, want: Want) -> Self {
        Self { ask: Ask::Get, sends: sends.as_ref().into(), then: Then::Keep, want }
    }

    /// One that is asked for this.
    pub(crate) fn asked(mut self, ask: Ask) -> Self {
        self.ask = ask;
        self
    }

    /// One that does this when it has sent its part.
    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    fn request(&self, host: &str) -> String {
        let (method, version, fields) = match self.ask {
            Ask::Get => ("GET", "1.1", ""),
            Ask::Head => ("HEAD", "1.1", ""),
            Ask::Upgrade => ("GET", "1.1", "Connection: Upgrade\r\nUpgrade: test\r\n"),
            Ask::Old => ("GET", "1.0", ""),
        };
        format!("{method} /asked HTTP/{version}\r\nHost: {host}\r\n{fields}\r\n")
    }

    fn can(&self, way: Way) -> bool {
        match way {
            Way::Fresh => true,
            // A connection from the pool that says nothing more may have died before: that is tried again.
            Way::Pooled => !self.sends.is_empty(),
            // A reset overtakes what has not been acknowledged.
            Way::Dripping => (2..DRIP).contains(&self.sends.len()) && self.then != Then::Reset,
        }
    }

    /// What it is, for whoever reads that it failed.
    fn name(&self, way: Way) -> String {
        let sends = self.sends[..self.sends.len().min(200)].escape_ascii();
        format!("{:?}, {way:?}, then {:?}: \"{sends}\" ({} bytes)", self.ask, self.then, self.sends.len())
    }
}

/// How an origin comes to send its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To the first request on a new connection, all at once.
    Fresh,
    /// To the second one, on a connection from the pool.
    Pooled,
    /// Byte by byte.
    Dripping,
}

/// From so many on, bytes are not sent one by one.
const DRIP: usize = 1000;

/// Tries every row in every way, all of them over one gogeta.
pub(crate) async fn try_all(rows: impl IntoIterator<Item = Row>) {
    let (mut tries, mut routes) = (Vec::new(), String::new());
    for row in rows {
        for way in [Way::Fresh, Way::Pooled, Way::Dripping] {
            if !row.can(way) {
                continue;
            }
            let host = format!("row{}.test", tries.len());
            let backend = origin(row.clone(), way).await;
            routes += &service(&host, &[backend.port]);
            tries.push((row.clone(), way, host, backend));
        }
    }
    let gogeta = before(&routes).start().await;
    let proxy = gogeta.proxy;
    let trying = async move {
        let mut trying = JoinSet::new();
        for (row, way, host, backend) in tries {
            trying.spawn_local(async move {
                let name = row.name(way);
                let attempt = spawn_local(async move { attempt(proxy, &host, &row, way, &backend).await });
                attempt.await.err().map(|error| format!("{name}\n    {}", why(error)))
            });
        }
        trying.join_all().await
    };
    let failures: Vec<String> = LocalSet::new().run_until(trying).await.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// A gogeta with one pool only: what is idle there is what the next request gets.
pub(crate) fn before(routes: &str) -> Builder {
    Gogeta::routes(routes).args(["--threads", "1"])
}

async fn origin(row: Row, way: Way) -> Backend {
    let visits = Arc::new(AtomicUsize::new(0));
    Backend::scripted(move |peer| {
        let (first, row) = (visits.fetch_add(1, Ordering::SeqCst) == 0, row.clone());
        async move { if first { misbehave(peer, &row, way).await } else { serve(peer, "clean").await } }
    })
    .await
}

/// Answers with this body, as often as it is asked.
pub(crate) async fn serve(mut peer: Peer, body: &str) {
    while peer.request().await.is_some() && peer.send(ok(body)).await.is_ok() {}
}

async fn misbehave(mut peer: Peer, row: &Row, way: Way) {
    if way == Way::Pooled {
        peer.request().await;
        peer.send(ok("clean")).await.expect("to send");
    }
    peer.request().await;
    let step = if way == Way::Dripping { 1 } else { row.sends.len().max(1) };
    for piece in row.sends.chunks(step) {
        if peer.send(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    peer.note(1);
    match row.then {
        Then::Keep if matches!(row.want, Want::Again(..)) => serve(peer, "clean").await,
        Then::Keep => serve(peer, "reused").await,
        Then::Close => {}
        Then::Reset => peer.reset(),
    }
}

async fn attempt(proxy: SocketAddr, host: &str, row: &Row, way: Way, origin: &Backend) {
    let mut client = Client::connect(proxy).await;
    let mut asked = 1;
    if way == Way::Pooled {
        assert_eq!(client.get(host, "/warm").await.text(), "clean");
        asked = 2;
    }
    client.send(row.request(host)).await;
    let lives = judge(&mut client, row).await;
    until("the origin to have done its part", async || (origin.noted() == 1).then_some(())).await;
    assert_eq!(origin.count(), asked, "requests at the origin");

    // What comes behind it, from the same client and from another one, gets its own answer.
    let clean = Client::connect(proxy).await.get(host, "/clean").await;
    assert_eq!((clean.status, &*clean.text(), clean.whole), (200, "clean", true), "a new client's");
    if lives {
        let clean = client.get(host, "/clean").await;
        assert_eq!((clean.status, &*clean.text(), clean.whole), (200, "clean", true), "the same client's");
    }
    let connections = if matches!(row.want, Want::Again(..)) { 1 } else { 2 };
    assert_eq!(origin.connections(), connections, "connections to the origin");
    origin.open(1).await;
}

/// Judges the answer; gives whether the client's connection goes on.
async fn judge(client: &mut Client, row: &Row) -> bool {
    let reply = reply(client, row.ask).await;
    let seen = (reply.status, &*reply.text(), reply.whole);
    match row.want {
        Want::Refused => {
            assert_eq!((reply.status, reply.whole), (502, true), "{reply:?}");
            assert_eq!(reply.header("x-gogeta-page"), Some("badgateway"));
        }
        Want::Cut(body) => {
            assert_eq!(seen, (200, body, false));
            assert_eq!(client.rest().await, b"", "behind the cut");
        }
        Want::Once(status, body) | Want::Again(status, body) => assert_eq!(seen, (status, body, true)),
    }
    if row.ask == Ask::Old {
        assert_eq!(client.rest().await, b"", "behind the answer");
    }
    reply.whole && reply.keeps() && row.ask != Ask::Old
}

async fn reply(client: &mut Client, ask: Ask) -> Reply {
    if ask == Ask::Head { client.bodiless_reply().await } else { client.reply().await }
}

/// What a task that panicked had to say.
fn why(error: JoinError) -> String {
    let panic = error.into_panic();
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").replace('\n', "\n    ")
}
