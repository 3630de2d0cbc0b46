//! Many clients that are slow, or do nothing at all: they cost little, and nobody else pays for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::support::backend::{Backend, service};
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;
use crate::support::limit::raise_the_limit;
use crate::support::wait::within;

/// One crowd at a time: each is as much as a small machine can take.
static CROWD: Mutex<()> = Mutex::const_new(());
/// The pace of slow clients: so long between two bytes.
const PACE: Duration = Duration::from_secs(1);
/// How long a crowd may take for what takes each of it some seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many slow clients there are.
const MANY: usize = 2000;
/// How much memory one of gogeta's connections may cost, in KiB: hyper has a buffer of 8 KiB for writing, and one of
/// as much, or twice as much while a head is read, for reading; the rest is ours.
const CONNECTION: u64 = 32;
/// How much more one may cost whose other side is faster: hyper reads 408 KiB ahead, and has
/// 128 KiB of unsent bytes.
const BACKLOG: u64 = 408 + 128;

async fn before(backend: &Backend, others: &str, flags: &[&str]) -> Gogeta {
    let room = ["--max-connections-per-client=100000", "--max-connections=100000", "--idle-timeout=10m"];
    Gogeta::routes(&(service("a.test", &[backend.port]) + others)).args(room).args(flags).start().await
}

/// How long the slowest one in a hundred requests of a well-behaved client takes: the median of some rounds.
async fn slowest(proxy: SocketAddr) -> Duration {
    let mut rounds = Vec::new();
    let mut client = Client::connect(proxy).await;
    for _ in 0..5 {
        let mut times = Vec::new();
        for _ in 0..500 {
            let begun = Instant::now();
            assert_eq!(client.get("a.test", "/").await.status, 200);
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        rounds.push(times[times.len() * 99 / 100]);
    }
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

/// What a crowd does to memory and to others. The time is told, and only bounded where no noise can reach: it is
/// another machine each time, with other tests on it.
struct Toll {
    idle: u64,
    alone: Duration,
}

impl Toll {
    async fn before(gogeta: &Gogeta) -> Self {
        let alone = slowest(gogeta.proxy).await;
        Self { idle: gogeta.rss_kib(), alone }
    }

    /// While there are so many, of whom each may cost so much.
    #[expect(clippy::print_stdout, reason = "measured; of more use than whether it was within bounds")]
    async fn is_small(&self, gogeta: &Gogeta, who: &str, many: usize, allowance: u64) {
        let among = slowest(gogeta.proxy).await;
        let more = gogeta.rss_kib().saturating_sub(self.idle);
        let (alone, each) = (self.alone, more / many as u64);
        println!(
            "{many} {who}: {more} KiB, {each} KiB each; p99 of others {among:?}, and {alone:?} without them"
        );
        assert!(each < allowance, "{who} cost {each} KiB each");
        assert!(
            among < Duration::from_secs(1) + 2 * alone,
            "{who} make others wait {among:?}, not {alone:?}"
        );
    }
}

/// Slow clients are not to do everything in the same moment.
fn out_of_step(index: usize, many: usize) -> Duration {
    PACE.mul_f64(index as f64 / many as f64)
}

/// Slow clients, until they are told to stop; counts what they were told to count.
struct Crowd {
    count: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Crowd {
    /// `many` clients that each do the same again and again.
    fn gather<F>(many: usize, visit: impl Fn(Arc<AtomicUsize>) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send,
    {
        let (count, enough) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut clients = JoinSet::new();
        for index in 0..many {
            let (count, enough, visit) = (count.clone(), enough.clone(), visit.clone());
            clients.spawn(async move {
                tokio::time::sleep(out_of_step(index, many)).await;
                while !enough.load(Ordering::SeqCst) {
                    visit(count.clone()).await;
                }
            });
        }
        Self { count, enough, clients }
    }

    async fn counts(&self, goal: usize, what: &str) {
        let reached = async || (self.count.load(Ordering::SeqCst) >= goal).then_some(());
        within(PATIENCE, &format!("{goal} {what}"), reached).await;
    }

    /// Lets all of them come to their end, and looks whether it is a good one.
    async fn goes_home(self) {
        self.enough.store(true, Ordering::SeqCst);
        tokio::time::timeout(PATIENCE, self.clients.join_all()).await.expect("they come to their end");
    }
}

/// Waits until so many connections are open at gogeta.
async fn are_there(gogeta: &Gogeta, count: usize) {
    let open = async || {
        let metrics = crate::support::client::get(gogeta.admin, "admin", "/metrics").await.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix("gogeta_connections_open "));
        line.and_then(|number| number.parse().ok()).filter(|open: &usize| *open >= count)
    };
    within(PATIENCE, &format!("{count} connections to be open"), open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_are_cut_off_and_cost_little() {
    let _crowd = CROWD.lock().await;
    raise_the_limit();
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, "", &["--head-timeout=3s"]).await;
    let proxy = gogeta.proxy;
    let toll = Toll::before(&gogeta).await;
    let crowd = Crowd::gather(MANY, move |cut_off| async move {
        let mut client = Client::connect(proxy).await;
        for byte in b"GET / HTTP/1.1\r\nHost: a.test\r\n".chunks(1) {
            if client.has_something() || client.try_send(byte).await.is_err() {
                break;
            }
            tokio::time::sleep(PACE).await;
        }
        let reply = client.reply().await;
        assert!(reply.status == 408 && !reply.keeps(), "{reply:?}");
        cut_off.fetch_add(1, Ordering::SeqCst);
    });
    are_there(&gogeta, MANY).await;
    toll.is_small(&gogeta, "slow heads", MANY, CONNECTION).await;
    crowd.counts(MANY, "cut off").await;
    // Some are on their way out, while others have come in their place.
    toll.is_small(&gogeta, "slow heads, some time later", MANY, 2 * CONNECTION).await;
    crowd.goes_home().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_cost_little_and_are_cut_off_where_they_stop() {
    let _crowd = CROWD.lock().await;
    raise_the_limit();
    let (backend, other) = (Backend::named("a").await, Backend::named("b").await);
    let others = service("b.test", &[other.port]);
    let gogeta = before(&backend, &others, &["--body-timeout=3s"]).await;
    let proxy = gogeta.proxy;
    let toll = Toll::before(&gogeta).await;
    let crowd = Crowd::gather(MANY, move |_| async move {
        let mut client = Client::connect(proxy).await;
        client.send("POST / HTTP/1.1\r\nHost: b.test\r\nContent-Length: 100000\r\n\r\n").await;
        for _ in 0..5 {
            client.send("x").await;
            tokio::time::sleep(PACE).await;
        }
        let reply = client.reply().await;
        assert!(reply.status == 408 && !reply.keeps(), "{reply:?}");
    });
    are_there(&gogeta, MANY).await;
    toll.is_small(&gogeta, "slow bodies", MANY, 2 * CONNECTION).await;
    crowd.goes_home().await;
    assert_eq!(other.count(), 0, "not one request was whole");
    other.open(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_cost_little_and_are_cut_off() {
    let _crowd = CROWD.lock().await;
    raise_the_limit();
    let backend = Backend::named("a").await;
    let endless = Backend::scripted(|mut peer| async move {
        peer.head().await;
        let block = vec![b'x'; 64 << 10];
        if peer.send("HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
            while peer.send(&block).await.is_ok() {}
        }
    })
    .await;
    let others = service("b.test", &[endless.port]);
    let gogeta = before(&backend, &others, &["--body-timeout=3s"]).await;
    let proxy = gogeta.proxy;
    let toll = Toll::before(&gogeta).await;
    // Fewer: what they do not read fills the system's buffers, too.
    let many = 200;
    let readers: JoinSet<Client> = (0..many)
        .map(|index| async move {
            tokio::time::sleep(out_of_step(index, many)).await;
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_recv_buffer_size(4096).expect("a small buffer");
            let mut client = Client::new(socket.connect(proxy).await.expect("a connection"));
            client.send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
            assert_eq!(client.head().await.expect("a head").status, 200);
            for _ in 0..5 {
                client.take(1024).await;
                tokio::time::sleep(PACE).await;
            }
            client
        })
        .collect();
    within(PATIENCE, "all responses to have begun", async || (endless.count() >= many).then_some(())).await;
    toll.is_small(&gogeta, "slow readers", many, 2 * CONNECTION + BACKLOG).await;
    // From some moment on they do not read at all.
    let readers = readers.join_all().await;
    within(PATIENCE, "all of them to be cut off", async || endless.is_alone().then_some(())).await;
    for mut client in readers {
        while client.try_take(1024).await {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_are_kept_and_cost_little() {
    let _crowd = CROWD.lock().await;
    // Both this process and gogeta need a descriptor for each, and some more.
    let many = raise_the_limit().saturating_sub(3000).min(10_000);
    let backend = Backend::named("a").await;
    let gogeta = before(&backend, "", &[]).await;
    let proxy = gogeta.proxy;
    let toll = Toll::before(&gogeta).await;
    let mut lanes: JoinSet<Vec<Client>> = (0..50)
        .map(|lane| async move {
            let mut clients = Vec::new();
            for _ in (lane..many).step_by(50) {
                let mut client = Client::connect(proxy).await;
                assert_eq!(client.get("a.test", "/").await.status, 200);
                clients.push(client);
            }
            clients
        })
        .collect();
    let mut clients = Vec::new();
    while let Some(more) = lanes.join_next().await {
        clients.append(&mut more.expect("some clients"));
    }
    are_there(&gogeta, many).await;
    toll.is_small(&gogeta, "idle connections", many, CONNECTION).await;
    for client in &mut clients {
        let reply = client.get("a.test", "/").await;
        assert!(reply.status == 200 && reply.keeps(), "{reply:?}");
    }
}

#[tokio::test]
async fn gogeta_raises_its_limit_of_open_files() {
    let nothing = std::fs::File::open("/dev/null").expect("a file");
    let gogeta = Gogeta::routes("")
        .inherits(nothing, "ulimit -S -n 64 && exec \"$@\"")
        .arg("--log=debug")
        .start()
        .await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gogeta.pid())).expect("it runs");
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a line");
    let [soft, hard]: [&str; 2] =
        files.split_whitespace().take(2).collect::<Vec<_>>().try_into().expect("two limits");
    assert!(soft == hard && soft != "64", "{files}");
    gogeta.log_has("the limit of open files is raised").await;
}
