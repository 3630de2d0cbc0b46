//! `cargo xtask build-ebpf`: from `gogeta-ebpf/src` to the committed `gogeta-ebpf.o`.
//!
//! The object is committed because the compiler for it is not stable Rust, which is all that the
//! rest of gogeta asks for. So that it can be trusted it has to be reproducible: the same source
//! and toolchain give the same bytes in any directory, and `--check` holds the committed bytes
//! against a build of the source. Other toolchains give other bytes; the one that was used is
//! recorded beside the object.

mod compiler;
mod install;
mod object;

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{command, workspace};
use compiler::Toolchain;

/// The committed object, from the repository's root.
const OBJECT: &str = "gogeta-ebpf/gogeta-ebpf.o";

/// What the committed object was built with.
const RECORD: &str = "gogeta-ebpf/toolchain.txt";

/// Options of `cargo xtask build-ebpf`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail when the committed object is not what the source gives
    #[arg(long)]
    check: bool,
    /// Install a missing toolchain first (as root, on Debian)
    #[arg(long)]
    install: bool,
}

impl Args {
    /// What CI asks for.
    pub(crate) const fn check_and_install() -> Self {
        Self { check: true, install: true }
    }
}

/// Builds the object, and puts it in its place or checks the one there.
///
/// # Errors
/// When there is no toolchain for BPF, the build fails, or the object to check is out of date.
/// Where another toolchain than the recorded one was used, bytes that differ prove nothing: an
/// error with `require_all`, a note without.
pub(crate) fn run(args: &Args, require_all: bool) -> Result<()> {
    let root = workspace::root();
    let recorded = fs::read_to_string(root.join(RECORD)).unwrap_or_default();
    if args.install {
        install::provide(args.check.then_some(recorded.as_str()))?;
    }
    let toolchain = Toolchain::find(&recorded)?;
    println!("{}", toolchain.record().trim_end());
    let built = object::build(&root, &toolchain)?;
    if args.check {
        check(&root, &built, &toolchain, &recorded, require_all)
    } else {
        write(&root, &built, &toolchain, &recorded)
    }
}

fn write(root: &Path, built: &Path, toolchain: &Toolchain, recorded: &str) -> Result<()> {
    let record = toolchain.record();
    if !recorded.is_empty() && recorded != record {
        println!(
            "note: this is another toolchain than CI has had so far, which was\n{}",
            recorded.trim_end()
        );
    }
    fs::copy(built, root.join(OBJECT)).with_context(|| format!("cannot write {OBJECT}"))?;
    fs::write(root.join(RECORD), record).with_context(|| format!("cannot write {RECORD}"))?;
    println!("wrote {OBJECT} ({})", hash(&root.join(OBJECT))?);
    Ok(())
}

fn check(root: &Path, built: &Path, toolchain: &Toolchain, recorded: &str, require_all: bool) -> Result<()> {
    let committed = root.join(OBJECT);
    let (old, new) = (hash(&committed)?, hash(built)?);
    let same_toolchain = toolchain.record() == recorded;
    match verdict(old == new, same_toolchain, require_all) {
        Verdict::Good => println!("{OBJECT} is what the source gives ({new})"),
        Verdict::Unknown => println!(
            "SKIPPED: whether {OBJECT} ({old}) is what the source gives: this toolchain gives \
             {new}, and it is not the recorded one, which was\n{}",
            recorded.trim_end()
        ),
        Verdict::Stale => bail!(
            "{OBJECT} is not what the source gives\n  committed: {old}\n  built:     {new}\n\
             `cargo xtask build-ebpf` writes it anew; commit it with {RECORD}"
        ),
        Verdict::OtherToolchain => bail!(
            "{OBJECT} cannot be checked by this toolchain\n  committed: {old}\n  \
             built:     {new}\nIt was built by\n{recorded}and now there is\n{}\
             If CI has this one from now on, `cargo xtask build-ebpf` writes the object anew; \
             commit it with {RECORD}",
            toolchain.record()
        ),
    }
    Ok(())
}

/// What comparing the built with the committed object says.
#[derive(Debug, PartialEq)]
enum Verdict {
    Good,
    Stale,
    /// The bytes differ, and may do so for no other reason than the toolchain.
    Unknown,
    /// The same where nothing may be skipped.
    OtherToolchain,
}

const fn verdict(same_bytes: bool, same_toolchain: bool, require_all: bool) -> Verdict {
    match (same_bytes, same_toolchain, require_all) {
        (true, _, _) => Verdict::Good,
        (false, true, _) => Verdict::Stale,
        (false, false, true) => Verdict::OtherToolchain,
        (false, false, false) => Verdict::Unknown,
    }
}

/// The name that git has for the content of `file`, as `git ls-files --stage` shows it.
fn hash(file: &Path) -> Result<String> {
    command::output(Command::new("git").arg("hash-object").arg(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_bytes_are_good_whoever_made_them() {
        assert_eq!(verdict(true, true, true), Verdict::Good);
        assert_eq!(verdict(true, false, true), Verdict::Good);
    }

    #[test]
    fn other_bytes_of_the_same_toolchain_are_stale() {
        assert_eq!(verdict(false, true, false), Verdict::Stale);
        assert_eq!(verdict(false, true, true), Verdict::Stale);
    }

    #[test]
    fn other_bytes_of_another_toolchain_fail_only_where_nothing_may_be_skipped() {
        assert_eq!(verdict(false, false, false), Verdict::Unknown);
        assert_eq!(verdict(false, false, true), Verdict::OtherToolchain);
    }
}
