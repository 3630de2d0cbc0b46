//! `cargo xtask torture`: what CI does briefly to parked connections, at length.
//!
//! Anything at once in any order, by either engine; then bad cables of each kind on both sides; pairs that come and go;
//! and what takes too long for CI besides: containers of Docker, the image, and what `cargo xtask dist` makes.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{command, debian, dist, pypi, test, tools, workspace};

/// What is needed beside what all tests are run with.
const TOOLS: [&str; 6] =
    ["dockerd", "docker-compose", "debootstrap", "lintian", "dpkg-shlibdeps", "systemd-nspawn"];

/// Where the files go that users would download, below `target/`.
const DIST: &str = "dist-dev";

/// What is run; one after the other, for what is compared is not to be disturbed.
const PARTS: [&str; 5] =
    ["parked_torture::each_", "parked_torture::links::", "parked_network::many", DOCKER, PACKAGE];
const DOCKER: &str = "parked_network::docker";
const PACKAGE: &str = "deploy::package";

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
    /// Only what has this in its name
    #[arg(long)]
    only: Option<String>,
}

/// Runs the tests. None of them may skip itself, for then there is nothing left.
///
/// # Errors
/// When a test fails, or what it needs is neither here nor installable.
pub(crate) fn run(args: &Args) -> Result<()> {
    let tools: Vec<_> = tools::ALL.iter().copied().chain(TOOLS.map(tools::named)).collect();
    if let Some(instruction) = tools::provide(&tools, true)? {
        bail!("what tests need is missing: {instruction}");
    }
    let only = args.only.as_deref().unwrap_or_default();
    let parts: Vec<_> = PARTS.into_iter().filter(|part| part.contains(only)).collect();
    if parts.is_empty() {
        bail!("--only {only}: no part has that in its name; there are {}", PARTS.join(", "));
    }
    if parts.contains(&DOCKER) || parts.contains(&PACKAGE) {
        debian::provide()?;
    }
    if parts.contains(&PACKAGE) {
        pypi::CYCLONEDX.provide(true)?;
        dist::run(&dist::Args::for_tests(workspace::target().join(DIST)))?;
    }
    for part in parts {
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
    cargo.env("GOGETA_TEST_DIST", workspace::target().join(DIST));
    cargo.env("GOGETA_TEST_EXCHANGES", args.exchanges.to_string());
    if let Some(seed) = args.seed {
        cargo.env("GOGETA_TEST_SEED", seed.to_string());
    }
    cargo
}
