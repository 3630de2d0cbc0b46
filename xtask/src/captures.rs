//! `cargo xtask captures`: fills `docs/terminal.md` anew with what is seen in a terminal.

use anyhow::{Result, bail};

use crate::{command, test, tools, workspace};

/// Runs the test that looks, and has it write.
///
/// # Errors
/// When it fails, or tmux is neither here nor installable.
pub(crate) fn run() -> Result<()> {
    if let Some(instruction) = tools::provide(&[tools::named("tmux")], true)? {
        bail!("there is no terminal to look at: {instruction}");
    }
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--locked", "-p", "gogeta", "--test", "integration", "--", "terminal::captures"]);
    command::run(cargo.env(test::REQUIRE, "all").env("GOGETA_TEST_CAPTURES", "1"))
}
