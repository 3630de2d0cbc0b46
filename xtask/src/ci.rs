//! `cargo xtask ci`: everything that CI checks, in its order.
//!
//! What is quick to fail comes first. There is no other list of what CI does: `.ci/run` calls this.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{build_ebpf, command, counts, fuzz, test, tidy, workspace};

/// A name, and what is done under it.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("fmt", fmt),
    ("clippy", clippy),
    ("tidy", tidy::run),
    ("test", tests),
    ("build-ebpf", ebpf),
    ("fuzz", fuzzing),
    ("counts", counts::check),
    ("doc", doc),
];

/// How a step ended, and how long it took.
type Outcome = (Result<()>, Duration);

/// Runs the steps up to the first that fails, then prints a table of them all.
///
/// # Errors
/// When a step fails.
pub(crate) fn run() -> Result<()> {
    let outcomes = run_steps(STEPS);
    println!("\n{}", table(STEPS, &outcomes));
    match outcomes.into_iter().last() {
        Some((Err(error), _)) => Err(error),
        _ => Ok(()),
    }
}

fn run_steps(steps: &[Step]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for (name, step) in steps {
        println!("\n=== {name} ===");
        let start = Instant::now();
        let result = step();
        let failed = result.is_err();
        outcomes.push((result, start.elapsed()));
        if failed {
            break;
        }
    }
    outcomes
}

fn table(steps: &[Step], outcomes: &[Outcome]) -> String {
    let mut lines = vec![format!("{:<12}{:<10}{:>8}", "step", "result", "seconds")];
    for (index, (name, _)) in steps.iter().enumerate() {
        lines.push(match outcomes.get(index) {
            Some((result, time)) => {
                let result = if result.is_ok() { "ok" } else { "FAILED" };
                format!("{name:<12}{result:<10}{:>8.1}", time.as_secs_f64())
            }
            None => format!("{name:<12}not run"),
        });
    }
    lines.join("\n")
}

fn fmt() -> Result<()> {
    command::run(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    command::run(workspace::cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
}

fn clippy() -> Result<()> {
    command::run(workspace::cargo().args(["clippy", "--workspace", "--exclude", "gogeta-ebpf"]).args([
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))
}

fn tests() -> Result<()> {
    test::run(&test::Args::default(), true)
}

fn ebpf() -> Result<()> {
    build_ebpf::run(&build_ebpf::Args::check_and_install(), true)
}

fn fuzzing() -> Result<()> {
    fuzz::run(&fuzz::Args::briefly(), true)
}

fn doc() -> Result<()> {
    command::run(
        workspace::cargo()
            .args(["doc", "--no-deps", "--workspace"])
            .args(["--exclude", "gogeta-ebpf", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Result<()> {
        Ok(())
    }

    fn bad() -> Result<()> {
        anyhow::bail!("broken")
    }

    #[test]
    fn the_first_failure_is_the_last_step() {
        let steps: &[Step] = &[("one", good), ("two", bad), ("three", good)];
        let outcomes = run_steps(steps);
        assert_eq!(outcomes.len(), 2);
        let table = table(steps, &outcomes);
        let results: Vec<_> = table.lines().skip(1).map(|line| line[12..19].trim()).collect();
        assert_eq!(results, ["ok", "FAILED", "not run"]);
    }
}
