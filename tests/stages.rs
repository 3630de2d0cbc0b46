//! A backend ends or hangs at each stage of an exchange: its client gets a 502, a 504 or a visible cut, and whoever
//! asks at the same time and after gets an answer of their own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

use crate::support::backend::{Backend, Peer, service};
use crate::support::client::{Client, Reply};
use crate::support::etcd::{free_port, skip};
use crate::support::gogeta::Gogeta;
use crate::support::origin::before;
use crate::support::wait::{DEADLINE, until};

/// How far the exchange has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Upload,
    BeforeHead,
    Head,
    Body,
    Chunk,
    BetweenChunks,
    Tunnel,
}

/// What the backend does then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Close,
    HalfClose,
    Reset,
    Freeze,
}

/// What becomes of the process that is the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Killed,
    Stopped,
}

macro_rules! stages {
    ($($name:ident: $stage:ident,)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn closed() {
                act(Stage::$stage, Act::Close).await;
            }

            #[tokio::test]
            async fn half_closed() {
                act(Stage::$stage, Act::HalfClose).await;
            }

            #[tokio::test]
            async fn reset() {
                act(Stage::$stage, Act::Reset).await;
            }

            #[tokio::test]
            async fn frozen() {
                act(Stage::$stage, Act::Freeze).await;
            }

            #[tokio::test]
            async fn killed() {
                fate(Stage::$stage, Fate::Killed).await;
            }

            #[tokio::test]
            async fn stopped() {
                fate(Stage::$stage, Fate::Stopped).await;
            }
        }
    )*};
}

stages! {
    in_the_upload: Upload,
    before_the_head: BeforeHead,
    in_the_head: Head,
    in_the_body: Body,
    in_a_chunk: Chunk,
    between_chunks: BetweenChunks,
    in_a_tunnel: Tunnel,
}

/// So much of an upload is read before it comes to something.
const READ: usize = 1000;

/// More than all buffers on the way hold.
const UPLOAD: usize = 64 << 20;

/// Requests that each of the neighbours makes at least, and how many of them there are.
const TURNS: usize = 10;
const NEIGHBOURS: usize = 6;

impl Stage {
    /// What the client has been sent when it comes to something.
    fn sends(self) -> &'static str {
        match self {
            Self::Upload | Self::BeforeHead => "",
            Self::Head => "HTTP/1.1 200 OK\r\nContent-Le",
            Self::Body => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            Self::Chunk => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nhalf",
            Self::BetweenChunks => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            Self::Tunnel => {
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nhalf"
            }
        }
    }

    /// How much of the request's body is read before.
    fn reads(self) -> usize {
        if self == Self::Upload { READ } else { 0 }
    }

    /// Asks for it, and judges what comes; gives the client, if its connection goes on.
    async fn ask(self, proxy: SocketAddr, frozen: bool) -> Option<Client> {
        let stream = std::net::TcpStream::connect(proxy).expect("a connection");
        stream.set_nonblocking(true).expect("O_NONBLOCK");
        let other = stream.try_clone().expect("the same connection");
        let mut client = Client::new(TcpStream::from_std(stream).expect("a stream"));
        match self {
            Self::Upload => {
                client
                    .send(format!("POST /stage HTTP/1.1\r\nHost: a.test\r\nContent-Length: {UPLOAD}\r\n\r\n"))
                    .await;
                // It is sent for as long as somebody takes it.
                let mut writer = TcpStream::from_std(other).expect("a stream");
                tokio::spawn(async move { writer.write_all(&vec![b'x'; UPLOAD]).await });
                let reply = client.reply().await;
                self.judge(&reply, frozen);
                None
            }
            Self::Tunnel => {
                client
                    .send(
                        "GET /stage HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n",
                    )
                    .await;
                assert_eq!(client.head().await.expect("a head").status, 101);
                assert_eq!(client.rest().await, b"half");
                None
            }
            _ => {
                // What was sent whole may be sent again if that is as good as once (RFC 9110, 9.2.2): this is not.
                let method = if self == Self::BeforeHead { "POST" } else { "GET" };
                client.send(format!("{method} /stage HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
                let reply = client.reply().await;
                self.judge(&reply, frozen);
                if reply.whole {
                    assert!(reply.keeps(), "{reply:?}");
                    return Some(client);
                }
                assert_eq!(client.rest().await, b"", "behind the cut");
                None
            }
        }
    }

    fn judge(self, reply: &Reply, frozen: bool) {
        let seen = (reply.status, reply.header("x-gogeta-page"), reply.whole);
        match self {
            Self::Upload | Self::BeforeHead | Self::Head if frozen => {
                assert_eq!(seen, (504, Some("timeout"), true));
            }
            Self::Upload | Self::BeforeHead | Self::Head => {
                assert_eq!(seen, (502, Some("badgateway"), true));
            }
            _ => assert_eq!((seen, &*reply.text()), ((200, None, false), "half")),
        }
    }
}

/// A gogeta that waits for nothing longer than two seconds.
async fn impatient(port: u16) -> Gogeta {
    let patience = ["response", "body", "stream", "tunnel-idle"].map(|name| format!("--{name}-timeout=2s"));
    before(&service("a.test", &[port])).args(patience).start().await
}

/// A backend in this process.
async fn act(stage: Stage, act: Act) {
    let backend = Backend::scripted(move |peer| play(peer, stage, act)).await;
    let gogeta = impatient(backend.port).await;
    let neighbours = Neighbours::of(gogeta.proxy, None).await;
    let client = stage.ask(gogeta.proxy, act == Act::Freeze).await;
    neighbours.end().await;
    all_is_well(gogeta.proxy, client).await;
    let asked = backend.requests().iter().filter(|seen| seen.line().contains(" /stage ")).count();
    assert_eq!(asked, 1, "it was asked again");
}

/// Answers requests with their path, but for the one that it comes to something in.
async fn play(mut peer: Peer, stage: Stage, act: Act) {
    while let Some(seen) = peer.head().await {
        let path = seen.line().split(' ').nth(1).expect("a target").to_owned();
        if path != "/stage" {
            let length = path.len();
            // Of one kind and of the other: what is left of one would spoil the other.
            let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{path}\r\n0\r\n\r\n");
            let counted = format!("Content-Length: {length}\r\n\r\n{path}");
            let rest = if length % 2 == 0 { chunked } else { counted };
            if peer.send(format!("HTTP/1.1 200 OK\r\n{rest}")).await.is_err() {
                return;
            }
            continue;
        }
        peer.take(stage.reads()).await;
        peer.send(stage.sends()).await.expect("to send");
        return match act {
            Act::Close => {}
            Act::HalfClose => {
                peer.half_close().await;
                peer.skip(u64::MAX).await;
            }
            Act::Reset => peer.reset(),
            Act::Freeze => std::future::pending().await,
        };
    }
}

/// A backend that is a process.
async fn fate(stage: Stage, fate: Fate) {
    let port = free_port();
    let Some(mut process) = Process::start(port, stage).await else {
        return skip("there is no python3");
    };
    let gogeta = impatient(port).await;
    let may = if fate == Fate::Killed { 502 } else { 504 };
    let neighbours = Neighbours::of(gogeta.proxy, Some(may)).await;
    let ask = stage.ask(gogeta.proxy, fate == Fate::Stopped);
    let strike = async {
        process.says("there").await;
        process.signal(if fate == Fate::Killed { Signal::KILL } else { Signal::STOP });
        if fate == Fate::Killed {
            process.child.wait().await.expect("its end");
            process = Process::start(port, Stage::Tunnel).await.expect("another one");
        }
    };
    let (client, ()) = tokio::join!(ask, strike);
    if fate == Fate::Stopped {
        process.signal(Signal::CONT);
    }
    neighbours.end().await;
    all_is_well(gogeta.proxy, client).await;
}

/// What every client gets when it is over: the right answer, at once.
async fn all_is_well(proxy: SocketAddr, client: Option<Client>) {
    if let Some(mut client) = client {
        assert_eq!(client.get("a.test", "/behind").await.text(), "/behind");
    }
    for turn in 0..TURNS {
        let path = format!("/well{turn}");
        let reply = Client::connect(proxy).await.get("a.test", &path).await;
        assert_eq!((reply.status, reply.text(), reply.whole), (200, path, true));
    }
}

/// Clients that ask for other things all the while.
struct Neighbours {
    asking: JoinSet<()>,
    over: Arc<AtomicBool>,
}

impl Neighbours {
    /// Some that are in the middle of it. They may get that status too, if any.
    async fn of(proxy: SocketAddr, may: Option<u16>) -> Self {
        let (over, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut asking = JoinSet::new();
        for name in 0..NEIGHBOURS {
            let (over, turns) = (over.clone(), turns.clone());
            asking.spawn(async move {
                let mut client = Client::connect(proxy).await;
                let mut turn = 0;
                while turn < TURNS || !over.load(Ordering::SeqCst) {
                    let path = format!("/neighbour{name}/{turn}");
                    let reply = client.get("a.test", &path).await;
                    let right = (reply.status, reply.text()) == (200, path) && reply.whole;
                    assert!(right || Some(reply.status) == may, "neighbour {name}, {turn}: {reply:?}");
                    assert!(reply.keeps(), "neighbour {name}, {turn}: {reply:?}");
                    turns.fetch_add(1, Ordering::SeqCst);
                    turn += 1;
                }
            });
        }
        until("the neighbours to be busy", async || {
            (turns.load(Ordering::SeqCst) > NEIGHBOURS).then_some(())
        })
        .await;
        Self { asking, over }
    }

    /// Waits for their last answers.
    async fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        self.asking.join_all().await;
    }
}

/// A backend like the one of this process, which can be killed.
struct Process {
    child: Child,
    told: Lines<BufReader<ChildStdout>>,
}

const SCRIPT: &str = r#"
import socket, sys, threading
port, reads, sends = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
def serve(connection):
    requests = connection.makefile("rb")
    while line := requests.readline():
        path = line.split()[1]
        while requests.readline().strip():
            pass
        if path == b"/stage":
            requests.read(reads)
            connection.sendall(sends)
            print("there", flush=True)
            threading.Event().wait()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))
listener = socket.create_server(("127.0.0.1", port), backlog=100)
print("up", flush=True)
while True:
    threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
"#;

impl Process {
    /// Starts it; `None` where there is no python.
    async fn start(port: u16, stage: Stage) -> Option<Self> {
        let (port, reads) = (port.to_string(), stage.reads().to_string());
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT, &port, &reads, stage.sends()]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("python3 does not start: {error}"),
        };
        let told = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut process = Self { child, told };
        process.says("up").await;
        Some(process)
    }

    /// Waits until it says so.
    async fn says(&mut self, what: &str) {
        let line = tokio::time::timeout(DEADLINE, self.told.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("it does not say {what:?}"));
        assert_eq!(line.expect("to read").as_deref(), Some(what));
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("it runs"), signal).expect("the signal is sent");
    }
}
