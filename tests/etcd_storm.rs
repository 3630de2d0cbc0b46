//! Many changes, many routes, and faults in any order.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::backend::Backend;
use crate::support::client::{Client, get};
use crate::support::etcd::{Etcd, Op, location};
use crate::support::gogeta::Gogeta;
use crate::support::link::Link;
use crate::support::truth::{BACK, agrees, agrees_within, metric, sum};
use crate::support::wait::{until, within};

#[tokio::test]
async fn ten_thousand_swaps_and_no_mixed_answer() {
    let Some(etcd) = Etcd::start().await else { return };
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    etcd.locate("one", "1", one.port).await;
    etcd.route("a.test", "one").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    gogeta.ready().await;
    // The service that is left goes at the same moment: who sees half of a swap sees an error.
    let done = AtomicBool::new(false);
    let swapping = async {
        let mut session = etcd.session().await;
        let mut last = 0;
        for turn in 0..10_000 {
            let (from, to, port) =
                if turn % 2 == 0 { ("one", "two", two.port) } else { ("two", "one", one.port) };
            last = session
                .txn(&[
                    Op::Put("/domains/a.test/value", to),
                    Op::Put(&format!("/services/{to}/1/location"), &location(port)),
                    Op::Del(&format!("/services/{from}/1/location")),
                ])
                .await;
        }
        done.store(true, Ordering::Relaxed);
        last
    };
    let asking = async || {
        let mut client = Client::connect(gogeta.proxy).await;
        let mut answers = 0_u32;
        while !done.load(Ordering::Relaxed) {
            let reply = client.get("a.test", "/").await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            answers += 1;
        }
        answers
    };
    let (last, first, second) = tokio::join!(swapping, asking(), asking());
    assert!(first + second > 1000, "it was asked all the while: {first} and {second}");
    agrees(&gogeta, &etcd).await;
    assert!(
        metric(&gogeta, "gogeta_config_revision").await >= f64::from(i32::try_from(last).expect("small"))
    );
    assert_eq!(metric(&gogeta, "gogeta_config_changes_total").await, 10_001.0, "each swap was applied, once");
}

#[tokio::test]
async fn a_hundred_thousand_domains() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut session = etcd.session().await;
    let mut ops: Vec<(String, String)> = Vec::new();
    for number in 0..100_000 {
        ops.push((format!("/domains/host-{number}.example.com/type"), "service".to_owned()));
        ops.push((
            format!("/domains/host-{number}.example.com/value"),
            format!("service-{}", number % 10_000),
        ));
    }
    for number in 0..20_000 {
        let key = format!("/services/service-{}/{}", number % 10_000, number / 10_000);
        ops.push((
            format!("{key}/location"),
            location(1000 + u16::try_from(number % 50_000).expect("small")),
        ));
        for status in ["current", "expected"] {
            ops.push((format!("{key}/status/{status}"), "started".to_owned()));
        }
        ops.push((format!("{key}/status/alive"), "1".to_owned()));
    }
    // As many as etcd takes at once.
    for chunk in ops.chunks(120) {
        let chunk: Vec<Op<'_>> = chunk.iter().map(|(key, value)| Op::Put(key, value)).collect();
        session.txn(&chunk).await;
    }
    let gogeta = Gogeta::etcd(&etcd).start().await;
    let begun = Instant::now();
    within(Duration::from_secs(30), "all is loaded", async || {
        (sum(&gogeta, "gogeta_domains", "").await == 100_000.0).then_some(())
    })
    .await;
    let loaded = begun.elapsed();
    // One change costs what it touches: were it a walk over everything, a thousand would take minutes.
    let web = Backend::named("web").await;
    etcd.locate("web", "1", web.port).await;
    let begun = Instant::now();
    for number in 0..500 {
        let key = format!("/domains/host-{number}.example.com/value");
        session.txn(&[Op::Put(&key, "web")]).await;
        until("the change is served", async || {
            let reply = get(gogeta.proxy, &format!("host-{number}.example.com"), "/").await;
            (reply.text() == "web").then_some(())
        })
        .await;
    }
    let changed = begun.elapsed();
    assert!(changed < Duration::from_secs(15), "500 changes took {changed:?}");
    assert!(loaded < Duration::from_secs(20), "loading took {loaded:?}");
    let rss = gogeta.rss_kib();
    assert!(rss < 200 << 10, "{rss} KiB");
}

/// Numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A config, of which one in four is wrong.
fn splice(dice: &mut Dice) -> String {
    format!("{{\"splice\":\"{}\"}}", ["auto", "sockmap", "off", "on"][dice.below(4) as usize])
}

/// A random write, which may be of half an entity.
fn churn(dice: &mut Dice) -> (String, Option<String>) {
    let number = dice.below(40);
    let delete = dice.below(4) == 0;
    let (key, value) = match dice.below(7) {
        0 => (format!("/domains/h{number}.test/type"), "service".to_owned()),
        1 => (format!("/domains/h{number}.test/value"), format!("s{}", dice.below(20))),
        2 => (format!("/services/s{}/{}/location", number / 2, number % 2), location(1000 + number as u16)),
        3 => (format!("/services/s{}/{}/status/alive", number / 2, number % 2), dice.below(1000).to_string()),
        4 => (format!("/domains/h{number}.test/config"), splice(dice)),
        5 => (format!("/services/s{}/{}/config/gogeta", number / 2, number % 2), splice(dice)),
        _ => {
            let state = ["started", "stopped", "passivated"][dice.below(3) as usize];
            (format!("/services/s{}/{}/status/current", number / 2, number % 2), state.to_owned())
        }
    };
    (key, (!delete).then_some(value))
}

async fn write(etcd: &Etcd, dice: &mut Dice) {
    let mut session = etcd.session().await;
    for _ in 0..dice.below(40) {
        let mut writes: Vec<(String, Option<String>)> = (0..=dice.below(4)).map(|_| churn(dice)).collect();
        writes.sort();
        // A transaction may write a key once.
        writes.dedup_by(|one, other| one.0 == other.0);
        let ops: Vec<Op<'_>> = writes
            .iter()
            .map(|(key, value)| match value {
                Some(value) => Op::Put(key, value),
                None => Op::Del(key),
            })
            .collect();
        session.txn(&ops).await;
    }
}

/// `GOGETA_TEST_SEED` makes a run happen again; `GOGETA_TEST_SECONDS` says how long it goes on.
#[tokio::test]
async fn faults_in_any_order() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let given = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = given("GOGETA_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 0x9e37_79b9 + 1);
    let length = Duration::from_secs(given("GOGETA_TEST_SECONDS").unwrap_or(50));
    let mut dice = Dice(seed);
    eprintln!("GOGETA_TEST_SEED={seed}");
    let link = Link::to(etcd.port()).await;
    let directory = tempfile::tempdir().expect("a directory");
    let start = async || {
        let gogeta = Gogeta::bare()
            .args(["--etcd-address", &link.url(), "--resync-interval=0", "--log=info"])
            .arg("--state-dir")
            .arg(directory.path())
            .start()
            .await;
        gogeta.ready().await;
        gogeta
    };
    let mut gogeta = start().await;
    let mut backup = etcd.back_up().await;
    let begun = Instant::now();
    let mut story = String::new();
    while begun.elapsed() < length {
        write(&etcd, &mut dice).await;
        let fault = dice.below(9);
        let _ = write!(story, " {fault}");
        eprint!(" {fault}");
        match fault {
            0 => {
                etcd.kill().await;
                etcd.restart().await;
            }
            1 => {
                link.cut();
                write(&etcd, &mut dice).await;
                link.mend();
            }
            2 => {
                link.cut();
                write(&etcd, &mut dice).await;
                etcd.compact_if_new().await;
                link.mend();
            }
            3 => {
                gogeta.signal(Signal::STOP);
                write(&etcd, &mut dice).await;
                etcd.kill().await;
                etcd.restart().await;
                write(&etcd, &mut dice).await;
                gogeta.signal(Signal::CONT);
            }
            4 => backup = etcd.back_up().await,
            5 => {
                etcd.kill().await;
                etcd.restore(&backup).await;
                etcd.restart().await;
                write(&etcd, &mut dice).await;
            }
            6 => {
                etcd.kill().await;
                etcd.wipe();
                etcd.restart().await;
                write(&etcd, &mut dice).await;
            }
            7 => {
                gogeta.signal(Signal::KILL);
                gogeta.wait().await;
                write(&etcd, &mut dice).await;
                gogeta = start().await;
            }
            _ => {
                etcd.stop();
                get(gogeta.proxy, "h1.test", "/").await;
                etcd.cont();
            }
        }
        write(&etcd, &mut dice).await;
        // A second look takes its time.
        let limit = if matches!(fault, 5 | 6) { 2 * BACK } else { BACK };
        agrees_within(limit, &gogeta, &etcd).await;
        let drifted = metric(&gogeta, "gogeta_store_drift_total").await;
        assert_eq!(drifted, 0.0, "after{story}");
    }
    eprintln!();
}
