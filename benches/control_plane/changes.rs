//! A thousand changes a second: whether each arrives, and what requests see of them.
//!
//! etcd and who writes to it take their share of the machine, whether or not gogeta follows. So requests are timed
//! three ways in turn: with nothing written, with the same writes beside gogeta's keys, and with the writes to its
//! keys. The second and the third differ by what gogeta does for a change, and by nothing else.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::percentiles::{Micros, Percentiles};
use crate::report::{Changes, Part};
use crate::support::etcd::{Etcd, Op, Session};
use crate::support::gogeta::Gogeta;
use crate::support::truth::{agrees_within, metric};
use crate::support::wait::within;

/// Changes in a second, by so many who write at once.
const RATE: u32 = 1_000;
const WRITERS: u32 = 4;
/// Requests in a second, over so many connections: far from what gogeta can, so that time is service, not queueing.
const REQUESTS: u32 = 2_000;
const CONNECTIONS: u32 = 8;
/// Every part uses the same hosts over and over.
const HOSTS: u32 = 1_000;

/// Each round is the three ways, one after the other, `seconds` each.
pub(crate) async fn measure(etcd: &Etcd, gogeta: &Gogeta, rounds: u32, seconds: u32) -> Changes {
    let before = metric(gogeta, "gogeta_config_changes_total").await;
    let (mut quiet, mut beside, mut followed) = (Part::default(), Part::default(), Part::default());
    let mut made = 0;
    let mut catching_up = Vec::new();
    for round in 1..=rounds {
        println!("{RATE} changes a second for {seconds} s, round {round} of {rounds}");
        let time = Duration::from_secs(u64::from(seconds));
        let load = Load::start(gogeta.proxy);
        tokio::time::sleep(time).await;
        quiet.add(load.stop().await, 0.0);
        let load = Load::start(gogeta.proxy);
        let rate = write(etcd, "/elsewhere", round, seconds).await;
        beside.add(load.stop().await, rate);
        let load = Load::start(gogeta.proxy);
        let rate = write(etcd, "/domains", round, seconds).await;
        let written = Instant::now();
        followed.add(load.stop().await, rate);
        made += RATE * seconds;
        let wanted = before + f64::from(made);
        within(Duration::from_secs(10), "each change is applied", async || {
            (metric(gogeta, "gogeta_config_changes_total").await >= wanted).then_some(())
        })
        .await;
        catching_up.push(Micros::since(written));
    }
    // Counted, and each where it belongs.
    agrees_within(Duration::from_secs(10), gogeta, etcd).await;
    let applied = metric(gogeta, "gogeta_config_changes_total").await - before;
    Changes {
        rate: RATE,
        seconds: seconds * rounds,
        made,
        applied,
        resyncs: metric(gogeta, "gogeta_store_resyncs_total{reason=\"compacted\"}").await,
        caught_up: Percentiles::of(catching_up),
        quiet,
        beside,
        followed,
    }
}

/// Writes at the rate, and gives the rate that it came to: each change is a transaction, and a revision, of its own.
async fn write(etcd: &Etcd, prefix: &str, round: u32, seconds: u32) -> f64 {
    let begun = Instant::now();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let session = etcd.session().await;
        writers.push(tokio::spawn(write_share(session, prefix.to_owned(), writer, round, seconds)));
    }
    for writer in writers {
        writer.await.expect("it writes to its end");
    }
    f64::from(RATE * seconds) / begun.elapsed().as_secs_f64()
}

async fn write_share(mut session: Session, prefix: String, writer: u32, round: u32, seconds: u32) {
    let begun = Instant::now();
    for number in 0..RATE / WRITERS * seconds {
        let due = begun + Duration::from_secs(1) * number / (RATE / WRITERS);
        tokio::time::sleep_until(due.into()).await;
        let host = (number * WRITERS + writer) % HOSTS;
        let key = format!("{prefix}/host-{host}.example.com/value");
        session.txn(&[Op::Put(&key, &format!("service-{round}-{number}"))]).await;
    }
}

/// Clients that ask at a fixed rate, on threads of their own.
struct Load {
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Micros>>>,
}

impl Load {
    fn start(proxy: SocketAddr) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let clients = (0..CONNECTIONS).map(|client| {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || ask(proxy, client, &is_over))
        });
        Self { clients: clients.collect(), is_over }
    }

    /// How long each request took.
    async fn stop(self) -> Vec<Micros> {
        self.is_over.store(true, Ordering::Relaxed);
        let join = || self.clients.into_iter().flat_map(|client| client.join().expect("each is answered"));
        // Their backend goes on meanwhile.
        tokio::task::spawn_blocking(|| join().collect()).await.expect("they end")
    }
}

/// Asks when it is due, be it late: the time counts from then on, so that a stall is counted by all that it holds up.
fn ask(proxy: SocketAddr, client: u32, is_over: &AtomicBool) -> Vec<Micros> {
    let mut stream = TcpStream::connect(proxy).expect("a connection");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    let period = Duration::from_secs(1) * CONNECTIONS / REQUESTS;
    let begun = Instant::now() + period * client / CONNECTIONS;
    let mut times = Vec::new();
    let mut buffer = [0; 4096];
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let due = begun + period * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(b"GET / HTTP/1.1\r\nHost: load.test\r\n\r\n").expect("to send");
        // The answer is short: it comes in one piece.
        let count = stream.read(&mut buffer).expect("an answer");
        assert!(
            buffer[..count].starts_with(b"HTTP/1.1 200 ") && buffer[..count].ends_with(b"web"),
            "{count}"
        );
        times.push(Micros::since(due));
    }
    times
}
