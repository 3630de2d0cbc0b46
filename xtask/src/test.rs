//! `cargo xtask test`: installs what the tests need, then runs them.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::{command, kosoku, tools, workspace};

/// Set to `all`, nothing may be skipped: what a test needs and does not find is its failure.
pub(crate) const REQUIRE: &str = "GOGETA_TEST_REQUIRE";

/// Options of `cargo xtask test`.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Install nothing, even where that is possible
    #[arg(long)]
    no_install: bool,
    /// Passed on to `cargo test`, such as `-p gogeta --test integration NAME`
    #[arg(last = true, value_name = "ARGS")]
    cargo_args: Vec<OsString>,
}

/// Runs the tests; with `require_all` none of them may skip itself.
///
/// # Errors
/// When a test fails, or `require_all` and what a test needs is neither here nor installable.
pub(crate) fn run(args: &Args, require_all: bool) -> Result<()> {
    let why = tools::provide(tools::ALL, !args.no_install)?;
    if let Some(instruction) = why {
        if require_all {
            bail!("{REQUIRE}=all, and what tests need is missing: {instruction}");
        }
        println!("to run all tests: {instruction}");
    }
    provide_kosoku(args, require_all)?;
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--locked"]).args(selection(&args.cargo_args)).args(&args.cargo_args);
    if require_all {
        cargo.env(REQUIRE, "all");
    }
    command::run(&mut cargo)
}

/// Installs the suite of WebSocket cases. Unlike programs, it takes no root, but a package index.
fn provide_kosoku(args: &Args, require_all: bool) -> Result<()> {
    if kosoku::is_there() {
        return Ok(());
    }
    let why = if args.no_install {
        "nothing is to be installed".to_owned()
    } else {
        match kosoku::install() {
            Ok(()) => return Ok(()),
            Err(error) => format!("{error:#}"),
        }
    };
    let instruction = kosoku::instruction();
    if require_all {
        bail!("{REQUIRE}=all, and kosoku is missing ({why}): {instruction}");
    }
    println!(
        "missing: kosoku, without which tests are SKIPPED: WebSocket conformance ({why}); {instruction}"
    );
    Ok(())
}

/// All crates but the one for the kernel, unless the arguments choose.
fn selection(cargo_args: &[OsString]) -> &'static [&'static str] {
    let chooses = cargo_args
        .iter()
        .take_while(|arg| *arg != "--")
        .filter_map(|arg| arg.to_str())
        .any(|arg| arg.starts_with("-p") || arg.starts_with("--package") || arg == "--workspace");
    if chooses { &[] } else { &["--workspace", "--exclude", "gogeta-ebpf"] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects_all(args: &[&str]) -> bool {
        let args: Vec<_> = args.iter().map(OsString::from).collect();
        !selection(&args).is_empty()
    }

    #[test]
    fn every_crate_is_tested_unless_one_is_named() {
        assert!(selects_all(&[]));
        assert!(selects_all(&["--release", "some_test", "--", "-p"]));
        assert!(!selects_all(&["-p", "gogeta"]));
        assert!(!selects_all(&["--package=gogeta"]));
    }
}
