//! `cargo xtask test`: installs what the tests need, then runs them.

use std::{collections::BTreeSet, ffi::OsString, process::Command};

use anyhow::{Result, bail};

use crate::{apt, command, kosoku, workspace};

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

/// Something that tests run, and where it comes from.
struct Tool {
    name: &'static str,
    is_here: fn(&str) -> bool,
    /// The Debian package that has it.
    package: &'static str,
    /// What cannot be tested without it.
    used_for: &'static str,
}

const TOOLS: &[Tool] = &[
    tool("etcd", "etcd-server", "routes from a real etcd"),
    tool("etcdctl", "etcd-client", "routes from a real etcd"),
    tool("nginx", "nginx", "real servers behind the proxy"),
    tool("ip", "iproute2", "several hosts, as network namespaces"),
    tool("wrk", "wrk", "behaviour under load"),
    tool("varnishtest", "varnish", "scripts of clients and servers on both sides of the proxy"),
    tool("curl", "curl", "real clients in front of the proxy"),
    tool("python3", "python3", "backends and clients of odd manners"),
    Tool {
        name: "h11",
        is_here: is_python_module,
        package: "python3-h11",
        used_for: "what is forwarded, as another parser reads it",
    },
];

const fn tool(name: &'static str, package: &'static str, used_for: &'static str) -> Tool {
    Tool { name, is_here: is_program, package, used_for }
}

fn is_program(name: &str) -> bool {
    command::find(name).is_some()
}

/// Whether some Python has it: Debian's packages are for Debian's, which may not be the first on the PATH.
fn is_python_module(name: &str) -> bool {
    let has = |python| {
        let import = format!("import {name}");
        command::output(Command::new(python).args(["-c", &import])).is_ok()
    };
    ["python3", "/usr/bin/python3"].into_iter().any(has)
}

/// Runs the tests; with `require_all` none of them may skip itself.
///
/// # Errors
/// When a test fails, or `require_all` and what a test needs is neither here nor installable.
pub(crate) fn run(args: &Args, require_all: bool) -> Result<()> {
    provide_tools(args, require_all)?;
    provide_kosoku(args, require_all)?;
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--locked"]).args(selection(&args.cargo_args)).args(&args.cargo_args);
    if require_all {
        cargo.env(REQUIRE, "all");
    }
    command::run(&mut cargo)
}

fn provide_tools(args: &Args, require_all: bool) -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: BTreeSet<_> = missing.iter().map(|tool| tool.package).collect();
    if !args.no_install && apt::is_usable() {
        return apt::install(&packages);
    }
    for tool in &missing {
        println!(
            "missing: {} ({}), without which tests are SKIPPED: {}",
            tool.name, tool.package, tool.used_for
        );
    }
    let instruction = apt::instruction(&packages);
    if require_all {
        bail!("{REQUIRE}=all, and what tests need is missing: {instruction}");
    }
    println!("to run all tests: {instruction}");
    Ok(())
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

fn missing() -> Vec<&'static Tool> {
    TOOLS.iter().filter(|tool| !(tool.is_here)(tool.name)).collect()
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
    fn what_is_not_installed_is_not_here() {
        assert!(is_program("sh") && !is_program("no-such-program"));
        assert!(!is_python_module("no_such_module"));
    }

    #[test]
    fn every_crate_is_tested_unless_one_is_named() {
        assert!(selects_all(&[]));
        assert!(selects_all(&["--release", "some_test", "--", "-p"]));
        assert!(!selects_all(&["-p", "gogeta"]));
        assert!(!selects_all(&["--package=gogeta"]));
    }
}
