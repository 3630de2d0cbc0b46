//! What the control plane takes: `cargo xtask bench control-plane`, or `cargo bench -p gogeta --bench control-plane`.
//!
//! A real gogeta in release, a real etcd, and everything on one machine: etcd, who writes to it, and who asks gogeta
//! share its cores, and their time is in the numbers.

#![expect(clippy::print_stdout, reason = "a benchmark's output is what it is for")]

mod changes;
mod load;
#[path = "../machine.rs"]
mod machine;
mod percentiles;
mod report;
mod routed;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod support;
mod tree;

use std::path::PathBuf;

use support::backend::Backend;
use support::etcd::Etcd;
use support::gogeta::Gogeta;

/// How much of everything.
struct Plan {
    /// Trees to load, by their number of domains.
    sizes: &'static [u32],
    /// How often each is loaded.
    loads: u32,
    /// How many puts are followed to the first request that they route.
    puts: u32,
    /// Rounds of changes, and how long each part of one lasts, in seconds.
    rounds: u32,
    seconds: u32,
}

const WHOLE: Plan = Plan { sizes: &[1_000, 10_000, 100_000], loads: 5, puts: 2_000, rounds: 3, seconds: 30 };
const QUICK: Plan = Plan { sizes: &[1_000, 100_000], loads: 2, puts: 500, rounds: 1, seconds: 5 };

/// Where the results go.
const OUTPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks");

#[tokio::main(worker_threads = 2)]
async fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let results = run(if is_quick { &QUICK } else { &WHOLE }).await;
    println!("\n{}", results.markdown());
    // A quick look is no record.
    if !is_quick {
        results.write(&PathBuf::from(OUTPUT));
    }
}

async fn run(plan: &Plan) -> report::Results {
    let mut loads = Vec::new();
    for (size, is_last) in plan.sizes.iter().map(|size| (*size, Some(size) == plan.sizes.last())) {
        println!("writing {size} domains and {} instances to etcd", size / 5);
        let mut etcd = Etcd::start().await.expect("etcd is installed: apt-get install etcd-server");
        tree::write(&etcd, size).await;
        loads.push(load::measure(&etcd, size, plan.loads).await);
        if is_last {
            let web = Backend::named("web").await;
            etcd.locate("web", "1", web.port).await;
            etcd.route("load.test", "web").await;
            let gogeta = Gogeta::etcd(&etcd).args(["--access-log", "off"]).start().await;
            gogeta.ready().await;
            let routed = routed::measure(&etcd, &gogeta, plan.puts).await;
            let changes = changes::measure(&etcd, &gogeta, plan.rounds, plan.seconds).await;
            etcd.kill().await;
            return report::Results::new(loads, routed, changes, size);
        }
    }
    unreachable!("a plan has a last size")
}
