//! The results, as JSON and as tables.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::machine::machine;
use crate::percentiles::{Micros, Percentiles};

/// One size of tree.
#[derive(Serialize)]
pub(crate) struct Load {
    pub(crate) domains: u32,
    pub(crate) instances: u32,
    pub(crate) from_etcd: Percentiles,
    pub(crate) from_disk: Percentiles,
    pub(crate) rss_kib: u64,
    pub(crate) peak_rss_kib: u64,
}

/// From a put to the first request that it routes.
#[derive(Serialize)]
pub(crate) struct Routed {
    pub(crate) puts: u32,
    /// From when the put was sent: etcd's own time is in it.
    pub(crate) since_sent: Percentiles,
    /// From when etcd had confirmed it.
    pub(crate) since_stored: Percentiles,
}

/// Requests, while a rate of writes was held.
#[derive(Serialize, Default)]
pub(crate) struct Part {
    /// The rate of writes that each round came to, in changes a second.
    rates: Vec<f64>,
    rounds: Vec<Percentiles>,
}

impl Part {
    pub(crate) fn add(&mut self, times: Vec<Micros>, rate: f64) {
        self.rates.push(rate);
        self.rounds.push(Percentiles::of(times));
    }

    /// This percentile of the middle round, in microseconds.
    fn median(&self, percentile: impl Fn(&Percentiles) -> Micros) -> Micros {
        let mut all: Vec<Micros> = self.rounds.iter().map(percentile).collect();
        all.sort_unstable();
        all[all.len() / 2]
    }
}

/// Changes at a rate.
#[derive(Serialize)]
pub(crate) struct Changes {
    pub(crate) rate: u32,
    pub(crate) seconds: u32,
    pub(crate) made: u32,
    pub(crate) applied: f64,
    pub(crate) resyncs: f64,
    /// From the last write to the last change applied.
    pub(crate) caught_up: Percentiles,
    pub(crate) quiet: Part,
    pub(crate) beside: Part,
    pub(crate) followed: Part,
}

/// All of it.
#[derive(Serialize)]
pub(crate) struct Results {
    machine: String,
    etcd: String,
    /// Domains in the tree while puts and changes were measured.
    domains: u32,
    load: Vec<Load>,
    routed: Routed,
    changes: Changes,
}

impl Results {
    pub(crate) fn new(load: Vec<Load>, routed: Routed, changes: Changes, domains: u32) -> Self {
        Self { machine: machine(), etcd: etcd(), domains, load, routed, changes }
    }

    pub(crate) fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("the folder is made");
        let json = serde_json::to_string_pretty(self).expect("it is JSON");
        std::fs::write(folder.join("control-plane.json"), json + "\n").expect("the results are written");
        std::fs::write(folder.join("control-plane.md"), self.markdown()).expect("the tables are written");
        println!("written to docs/benchmarks/control-plane.json and control-plane.md");
    }

    /// A page of tables.
    pub(crate) fn markdown(&self) -> String {
        let mut page = String::from("# The control plane, measured\n\n");
        let mut line = |text: std::fmt::Arguments<'_>| writeln!(page, "{text}").expect("text can be written");
        line(format_args!("By `cargo xtask bench control-plane`, which writes this page; [how](README.md)."));
        line(format_args!("{}; etcd {}.\n", self.machine, self.etcd));
        line(format_args!("## Start\n"));
        line(format_args!("From the start of the process to all routes served, and the memory then.\n"));
        line(format_args!(
            "| domains | instances | from etcd, p50 | longest | from disk, p50 | RSS | peak |"
        ));
        line(format_args!("| --- | --- | --- | --- | --- | --- | --- |"));
        for load in &self.load {
            line(format_args!(
                "| {} | {} | {} | {} | {} | {} MB | {} MB |",
                load.domains,
                load.instances,
                load.from_etcd.p50().show(),
                load.from_etcd.max().show(),
                load.from_disk.p50().show(),
                load.rss_kib / 1024,
                load.peak_rss_kib / 1024
            ));
        }
        line(format_args!("\n## From a put to the first request routed\n"));
        line(format_args!("{} puts, in a tree of {} domains.\n", self.routed.puts, self.domains));
        line(format_args!("| from | p50 | p90 | p99 | longest |\n| --- | --- | --- | --- | --- |"));
        line(format_args!("| the put is sent | {} |", self.routed.since_sent.cells()));
        line(format_args!("| etcd has confirmed it | {} |", self.routed.since_stored.cells()));
        let changes = &self.changes;
        line(format_args!("\n## {} changes a second\n", changes.rate));
        line(format_args!(
            "{} s, in a tree of {} domains: {} changes written, {} applied one by one, none lost; the last one {} after \
             its write (longest of the rounds). Requests meanwhile, at a fixed rate, medians of {} rounds:\n",
            changes.seconds,
            self.domains,
            changes.made,
            changes.applied,
            changes.caught_up.max().show(),
            changes.quiet.rounds.len()
        ));
        line(format_args!(
            "| while | p50 | p99 | p99 to that of the line above |\n| --- | --- | --- | --- |"
        ));
        let mut above: Option<Micros> = None;
        for (name, part) in [
            ("nothing is written", &changes.quiet),
            ("as much is written to keys that are not gogeta's", &changes.beside),
            ("it is written to gogeta's keys", &changes.followed),
        ] {
            let p99 = part.median(Percentiles::p99);
            let ratio = above.map_or_else(String::new, |above| format!("{:.2}", ratio(p99, above)));
            line(format_args!(
                "| {name} | {} | {} | {ratio} |",
                part.median(Percentiles::p50).show(),
                p99.show()
            ));
            above = Some(p99);
        }
        page
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 microseconds")]
fn ratio(one: Micros, other: Micros) -> f64 {
    one.0 as f64 / other.0 as f64
}

fn etcd() -> String {
    let said = std::process::Command::new("etcd").arg("--version").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    said.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap_or("of an unknown version").to_owned()
}
