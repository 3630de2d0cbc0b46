//! What developers and CI run, as `cargo xtask <task>`: one file or folder per task.
//!
//! It is a program rather than a heap of scripts so that the tasks are checked by the compiler,
//! have tests, and need nothing installed but Rust and git.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task's output is what it is for")]

mod apt;
mod bench;
mod build_ebpf;
mod captures;
mod ci;
mod command;
mod counts;
mod debian;
mod dist;
mod fuzz;
#[path = "../../benches/machine.rs"]
mod machine;
mod micro;
mod pypi;
mod screenshots;
mod test;
mod tidy;
mod tools;
mod torture;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// The tasks of gogeta's developers.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Everything that CI checks, in its order, up to the first failure
    Ci,
    /// Install what the tests need, then run them
    Test(test::Args),
    /// Measure, in release, and write the results to docs/benchmarks
    Bench(bench::Args),
    /// Look for inputs that break what must hold of every input
    Fuzz(fuzz::Args),
    /// Do to parked connections at length what the tests do briefly, and over bad links; as root
    Torture(torture::Args),
    /// Fill docs/terminal.md anew with what gogeta shows in a terminal
    Captures,
    /// Draw the pictures of the dashboard in the documents anew
    Screenshots(screenshots::Args),
    /// Make what users download: a tarball, a Debian package, an SBOM, checksums
    Dist(dist::Args),
    /// Check the rules that no compiler checks
    Tidy,
    /// Build the eBPF object, or check that the committed one is up to date
    BuildEbpf(build_ebpf::Args),
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Ci => ci::run(),
        Task::Test(args) => test::run(&args, require_all()),
        Task::Bench(args) => bench::run(&args),
        Task::Fuzz(args) => fuzz::run(&args, require_all()),
        Task::Torture(args) => torture::run(&args),
        Task::Captures => captures::run(),
        Task::Screenshots(args) => screenshots::run(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Tidy => tidy::run(),
        Task::BuildEbpf(args) => build_ebpf::run(&args, require_all()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a check that this machine cannot do is a failure rather than a note.
fn require_all() -> bool {
    std::env::var_os(test::REQUIRE).is_some_and(|value| value == "all")
}
