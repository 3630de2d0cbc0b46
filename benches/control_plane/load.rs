//! From the start of the process to the first routes, and the memory that they take.

use std::time::Instant;

use crate::percentiles::{Micros, Percentiles};
use crate::report::Load;
use crate::support::etcd::Etcd;
use crate::support::gogeta::{Builder, Gogeta};
use crate::support::truth::sum;

/// Starts gogeta `times` times on this tree with etcd, and as often from the state on disk with etcd away.
pub(crate) async fn measure(etcd: &Etcd, domains: u32, times: u32) -> Load {
    let (mut from_etcd, mut from_disk) = (Vec::new(), Vec::new());
    let (mut rss, mut peak) = (0, 0);
    for turn in 0..times {
        println!("loading {domains} domains, {} of {times}", turn + 1);
        let state = tempfile::tempdir().expect("a directory");
        let with_state = |builder: Builder| builder.arg("--state-dir").arg(state.path());
        let (first, time) = start(with_state(Gogeta::etcd(etcd)), domains).await;
        from_etcd.push(time);
        rss = rss.max(first.rss_kib());
        peak = peak.max(peak_kib(&first));
        // The end writes what is not written yet.
        let mut first = first;
        first.signal(rustix::process::Signal::TERM);
        first.wait().await;
        let nowhere = format!("http://127.0.0.1:{}", crate::support::etcd::free_port());
        let away = with_state(Gogeta::bare().args(["--etcd-address", &nowhere]));
        from_disk.push(start(away, domains).await.1);
    }
    Load {
        domains,
        instances: domains / 5,
        from_etcd: Percentiles::of(from_etcd),
        from_disk: Percentiles::of(from_disk),
        rss_kib: rss,
        peak_rss_kib: peak,
    }
}

/// A gogeta that serves them all, and how long that took from the start of its process.
async fn start(builder: Builder, domains: u32) -> (Gogeta, Micros) {
    let begun = Instant::now();
    let gogeta = builder.start().await;
    gogeta.ready().await;
    let time = Micros::since(begun);
    let served = sum(&gogeta, "gogeta_domains", "").await;
    assert!((served - f64::from(domains)).abs() < 0.5, "{served} domains are served");
    (gogeta, time)
}

fn peak_kib(gogeta: &Gogeta) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gogeta.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
