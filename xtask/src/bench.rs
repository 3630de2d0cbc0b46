//! `cargo xtask bench`: what gogeta takes and gives, in release, measured on this machine.

use anyhow::{Result, bail};

use crate::{command, tools, workspace};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure
    what: What,
    /// A first look in a minute or two, which writes no results
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// Routes: loading them, and changes on their way from etcd to requests
    ControlPlane,
}

/// Builds gogeta in release and measures it.
///
/// # Errors
/// When what it takes is not here and cannot be installed, or the benchmark fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let What::ControlPlane = args.what;
    if let Some(instruction) = tools::provide(&[tools::named("etcd")], true)? {
        bail!("what the benchmark needs is missing: {instruction}");
    }
    let mut cargo = workspace::cargo();
    cargo.args(["bench", "--locked", "-p", "gogeta", "--bench", "control-plane", "--"]);
    command::run(cargo.args(args.quick.then_some("--quick")))
}
