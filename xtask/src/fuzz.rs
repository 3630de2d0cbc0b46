//! `cargo xtask fuzz`: throws what libFuzzer comes up with at the properties in `fuzz/`.
//!
//! cargo-fuzz works there too, and can do more; but libFuzzer comes as a crate, the compiler's hooks for it are in
//! stable Rust, and so this needs nothing installed but a C++ compiler.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, bail, ensure};

use crate::{apt, command, workspace};

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// One of the files in fuzz/fuzz_targets, or all of them
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Fail where fuzz/Cargo.lock is not up to date
    #[arg(long)]
    locked: bool,
}

impl Args {
    /// All targets, for a short time.
    pub(crate) fn briefly() -> Self {
        Self { target: None, seconds: 20, locked: true }
    }
}

/// Counters at the edges of the program, tables of where they are, and calls at comparisons: what libFuzzer learns
/// by, the same that cargo-fuzz asks for. The first two are gogeta's own, of .cargo/config.toml, which these
/// replace.
const FLAGS: [&str; 8] = [
    "--cfg=tokio_unstable",
    "-Cforce-frame-pointers=yes",
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Where everything goes that is made on the way, in the repository's root.
const OUTPUT: &str = "target/fuzz";

/// Builds the targets and runs them, one after the other.
///
/// # Errors
/// When a target finds an input of which its property does not hold, when it cannot be built, or `require_all` and
/// there is no C++ compiler.
pub(crate) fn run(args: &Args, require_all: bool) -> Result<()> {
    let targets = chosen(args.target.as_deref())?;
    if !provide_compiler(require_all)? {
        return Ok(());
    }
    command::run(cargo("build", args.locked).args(targets.iter().flat_map(|target| ["--bin", target])))
        .context("cannot build the fuzz targets (if fuzz/Cargo.lock is not up to date: `cargo xtask fuzz` makes it)")?;
    for target in &targets {
        fuzz(target, args)?;
    }
    Ok(())
}

/// A cargo for `fuzz/`. The flags are not for build scripts, which a target of its own sees to, be it the host's.
fn cargo(task: &str, locked: bool) -> std::process::Command {
    let mut cargo = workspace::cargo();
    cargo.args([task, "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", "host-tuple"]);
    cargo.args(["--target-dir", OUTPUT]).args(locked.then_some("--locked"));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    cargo
}

fn fuzz(target: &str, args: &Args) -> Result<()> {
    let [found, kept] = ["artifacts", "corpus"].map(|kind| format!("{OUTPUT}/{kind}/{target}/"));
    for folder in [&found, &kept] {
        fs::create_dir_all(workspace::root().join(folder))
            .with_context(|| format!("cannot make {folder}"))?;
    }
    let mut run = cargo("run", args.locked);
    run.args(["--quiet", "--bin", target, "--", "-verbosity=0", "-print_final_stats=1", "-timeout=10"]);
    run.arg(format!("-max_total_time={}", args.seconds)).arg(format!("-artifact_prefix={found}"));
    // What is new goes to the first; the seeds are only read.
    run.arg(kept).arg(format!("fuzz/corpus/{target}"));
    command::run(&mut run).with_context(|| {
        format!(
            "the property {target} does not hold of the input in {found}\nMend it, and keep the input in \
             fuzz/corpus/{target}/ under a name that tells what it is: tests/corpus.rs tests it from then on."
        )
    })
}

/// The names of the targets, or of the one that is asked for.
fn chosen(target: Option<&str>) -> Result<Vec<String>> {
    let all = targets(&workspace::root().join("fuzz/fuzz_targets"))?;
    let Some(target) = target else { return Ok(all) };
    ensure!(all.iter().any(|name| name == target), "there is no fuzz target {target}: {}", all.join(", "));
    Ok(vec![target.to_owned()])
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let name = entry?.file_name();
        names.extend(name.to_string_lossy().strip_suffix(".rs").map(str::to_owned));
    }
    Ok(names.into_iter().collect())
}

/// libFuzzer is C++. Whether there is a compiler for it, in the end.
fn provide_compiler(require_all: bool) -> Result<bool> {
    if command::find("c++").is_some() {
        return Ok(true);
    }
    let package = BTreeSet::from(["g++"]);
    if apt::is_usable() {
        apt::install(&package)?;
        return Ok(true);
    }
    let missing = format!("fuzzing takes a C++ compiler: {}", apt::instruction(&package));
    if require_all {
        bail!(missing);
    }
    println!("SKIPPED: {missing}");
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_built_and_has_seeds() {
        let fuzz = workspace::root().join("fuzz");
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        let targets = targets(&fuzz.join("fuzz_targets")).unwrap();
        assert!(targets.iter().any(|target| target == "gate"), "{targets:?}");
        for target in targets {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
            assert!(fuzz.join("corpus").join(&target).is_dir(), "{target}");
        }
    }

    #[test]
    fn a_target_that_is_not_there_is_named_with_those_that_are() {
        let error = chosen(Some("nothing")).unwrap_err().to_string();
        assert!(error.contains("nothing") && error.contains("gate"), "{error}");
    }
}
