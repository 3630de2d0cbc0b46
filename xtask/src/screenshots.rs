//! `cargo xtask screenshots`: the pictures of the dashboard in the documents, drawn anew by the test that sees to them.

use anyhow::{Result, bail};

use crate::{command, test, tools, workspace};

/// Where the pictures are, seen from the repository's root.
const FOLDER: &str = "docs/dashboard";

/// Options of `cargo xtask screenshots`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// For how long there is traffic before; charts go back five minutes
    #[arg(long, default_value_t = 310)]
    seconds: u32,
}

/// Draws them.
///
/// # Errors
/// When Chromium is neither here nor installable, or the page cannot be shown.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(instruction) = tools::provide(&[tools::named("chromium")], true)? {
        bail!("it takes a browser: {instruction}");
    }
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--locked", "-p", "gogeta", "--test", "integration", "--"]);
    cargo.args(["--nocapture", "page::screenshots::"]);
    cargo.env("GOGETA_TEST_SCREENSHOTS", FOLDER).env(test::SECONDS, args.seconds.to_string());
    cargo.env(test::REQUIRE, "all");
    command::run(&mut cargo)
}
