//! `cargo xtask bench`: what gogeta takes and gives, in release, measured on this machine.

use anyhow::{Result, bail};

use crate::{command, counts, micro, tools, workspace};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(default_value = "data-plane")]
    what: What,
    /// A first look in a few minutes, which writes no results
    #[arg(long)]
    quick: bool,
    /// Of the data plane, only rows with this in their title; writes no results
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Of the data plane, how often each row is measured: 3 times without this
    #[arg(long, value_name = "COUNT")]
    rounds: Option<u32>,
    /// With `micro`: only count instructions and allocations, and keep the counts for `cargo xtask ci` to compare with
    #[arg(long, conflicts_with = "quick")]
    update: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// Requests: gogeta beside its peers
    DataPlane,
    /// Routes: loading them, and changes on their way from etcd to requests
    ControlPlane,
    /// Memory of connections that do nothing
    Idle,
    /// Single steps of a request, and the instructions and allocations that a whole one takes
    Micro,
}

/// Builds gogeta in release and measures it.
///
/// # Errors
/// When what it takes is not here and cannot be installed, or the benchmark fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let needed = match args.what {
        What::DataPlane | What::Idle => &["ip", "nginx", "wrk", "haproxy"][..],
        What::ControlPlane => &["etcd"],
        What::Micro => &["valgrind"],
    };
    let needed: Vec<_> = needed.iter().copied().map(tools::named).collect();
    if let Some(instruction) = tools::provide(&needed, true)? {
        bail!("what the benchmark needs is missing: {instruction}");
    }
    match args.what {
        What::ControlPlane => {
            let mut cargo = workspace::cargo();
            cargo.args(["bench", "--locked", "-p", "gogeta", "--bench", "control-plane", "--"]);
            command::run(cargo.args(args.quick.then_some("--quick")))
        }
        What::DataPlane => beside_peers("data-plane", args),
        What::Idle => beside_peers("idle", args),
        What::Micro if args.update => counts::update(),
        What::Micro => micro::run(args.quick),
    }
}

/// Runs gogeta-bench, which knows the peers.
fn beside_peers(task: &str, args: &Args) -> Result<()> {
    // Not every distribution has it; the tables say who is missing.
    if let Err(error) = tools::provide(&[tools::named("caddy")], true) {
        println!("no Caddy: {error:#}");
    }
    let release = workspace::build("release", &["gogeta", "gogeta-bench"])?;
    let mut bench = std::process::Command::new(release.join("gogeta-bench"));
    bench.arg(task).arg("--gogeta").arg(release.join("gogeta"));
    bench.arg("--output").arg(workspace::root().join("docs/benchmarks"));
    bench.args(args.quick.then_some("--quick"));
    bench.args(args.only.iter().flat_map(|only| ["--only", only]));
    bench.args(args.rounds.map(|rounds| format!("--rounds={rounds}")));
    command::run(&mut bench)
}
