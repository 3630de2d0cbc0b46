//! `cargo xtask torture`: what CI does briefly to parked connections, at length.
//!
//! Anything at once in any order, by either engine; then bad cables of each kind on both sides; pairs that come and go;
//! and containers of Docker.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{command, test, tools, workspace};

/// Options of `cargo xtask torture`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long anything at once is done to each engine
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Exchanges over each kind of bad cable, and as many in userspace to compare with
    #[arg(long, default_value_t = 10_000)]
    exchanges: u32,
    /// What chance begins with, to bring a run back; another one each time otherwise
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the tests. None of them may skip itself, for then there is nothing left.
///
/// # Errors
/// When a test fails, or what it needs is neither here nor installable.
pub(crate) fn run(args: &Args) -> Result<()> {
    let tools: Vec<_> = tools::ALL.iter().copied().chain([tools::named("dockerd")]).collect();
    if let Some(instruction) = tools::provide(&tools, true)? {
        bail!("what tests need is missing: {instruction}");
    }
    // One after the other: what is compared is not to be disturbed.
    for part in
        ["parked_torture::each_", "parked_torture::links::", "parked_network::many", "parked_network::docker"]
    {
        command::run(cargo(args).args(["--test-threads=1", "--nocapture", part]))?;
    }
    Ok(())
}

fn cargo(args: &Args) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--locked", "-p", "gogeta", "--test", "integration", "--"]);
    cargo.env(test::REQUIRE, "all");
    cargo.env(test::SECONDS, args.seconds.to_string());
    cargo.env("GOGETA_TEST_DOCKER", "1");
    cargo.env("GOGETA_TEST_EXCHANGES", args.exchanges.to_string());
    if let Some(seed) = args.seed {
        cargo.env("GOGETA_TEST_SEED", seed.to_string());
    }
    cargo
}
