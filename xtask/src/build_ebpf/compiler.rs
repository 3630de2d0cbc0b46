//! Finding what turns Rust into BPF: a compiler with the source of `core`, and bpf-linker.
//!
//! `core` is not shipped compiled for `bpfel-unknown-none`, so cargo has to build it, which needs
//! its source and an unstable option of cargo. rustup's nightly offers both; so does a
//! distribution's stable compiler, once it is told to allow unstable options.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::install;
use crate::command;

/// A compiler that can build for BPF.
pub(crate) struct Compiler {
    pub(crate) cargo: PathBuf,
    pub(crate) rustc: PathBuf,
    /// The folder that has the source of `core`, as a path in debug information begins.
    pub(crate) source: PathBuf,
    version: String,
}

/// All that a build takes.
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: PathBuf,
    linker_version: String,
}

impl Toolchain {
    /// The toolchain that is `recorded`, if it is here, or else any.
    ///
    /// # Errors
    /// When the compiler or the linker is missing: the error says how to get it.
    pub(crate) fn find(recorded: &str) -> Result<Self> {
        let mut compilers = compilers();
        let choice = compilers.iter().position(|compiler| compiler.is_in(recorded)).unwrap_or(0);
        anyhow::ensure!(!compilers.is_empty(), install::how_to_get_a_compiler());
        let linker = linker().with_context(install::how_to_get_the_linker)?;
        let linker_version = command::output(Command::new(&linker).arg("--version"))?;
        Ok(Self { compiler: compilers.swap_remove(choice), linker, linker_version })
    }

    /// What the bytes of the object depend on, besides the source.
    pub(crate) fn record(&self) -> String {
        format!("{}\n{}\n", self.compiler.version, self.linker_version)
    }
}

impl Compiler {
    /// Takes `cargo` and `rustc` for a compiler, if they are there, new enough, and with source.
    fn new(cargo: PathBuf, rustc: PathBuf) -> Option<Self> {
        let verbose = command::output(Command::new(&rustc).arg("-vV")).ok()?;
        let sysroot = command::output(Command::new(&rustc).args(["--print", "sysroot"])).ok()?;
        let source = Path::new(&sysroot).join("lib/rustlib/src/rust");
        let usable = cargo.is_file()
            && source.join("library/core/src/lib.rs").is_file()
            && minor(field(&verbose, "release")?)? >= minor(env!("CARGO_PKG_RUST_VERSION"))?;
        let version = version(&verbose)?;
        usable.then_some(Self { cargo, rustc, source, version })
    }

    /// Whether this is the compiler that `record` names.
    pub(crate) fn is_in(&self, record: &str) -> bool {
        record.lines().any(|line| line == self.version)
    }
}

/// The compilers on this machine that can build for BPF, rustup's first.
pub(crate) fn compilers() -> Vec<Compiler> {
    let distribution = Compiler::new("/usr/bin/cargo".into(), "/usr/bin/rustc".into());
    rustup_nightly().into_iter().chain(distribution).collect()
}

fn rustup_nightly() -> Option<Compiler> {
    let which = |program| {
        let mut rustup = Command::new("rustup");
        rustup.args(["which", "--toolchain", "nightly", program]);
        command::output(&mut rustup).ok().map(PathBuf::from)
    };
    Compiler::new(which("cargo")?, which("rustc")?)
}

/// bpf-linker, where `cargo install` puts it or elsewhere on the `PATH`.
pub(crate) fn linker() -> Option<PathBuf> {
    command::find("bpf-linker").or_else(|| {
        let file = cargo_home()?.join("bin/bpf-linker");
        file.is_file().then_some(file)
    })
}

/// The folder of cargo's own files.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

/// From what `rustc -vV` prints: its first line, and the LLVM in it.
fn version(verbose: &str) -> Option<String> {
    let llvm = field(verbose, "LLVM version")?;
    Some(format!("{}, LLVM {llvm}", verbose.lines().next()?))
}

fn field<'a>(verbose: &'a str, name: &str) -> Option<&'a str> {
    verbose.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The 96 of "1.96.0-nightly".
fn minor(release: &str) -> Option<u32> {
    release.split('.').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBOSE: &str = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\n\
                           host: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8";

    #[test]
    fn a_version_names_the_compiler_and_its_llvm_but_not_the_host() {
        assert_eq!(version(VERBOSE).unwrap(), "rustc 1.96.0 (ac68faa20 2026-05-25), LLVM 22.1.8");
        assert_eq!(version("rustc 1.96.0"), None);
    }

    #[test]
    fn minor_versions_are_numbers() {
        assert_eq!(minor("1.96.0"), Some(96));
        assert_eq!(minor("1.100.0-nightly"), Some(100));
        assert!(minor("1.100.0") > minor("1.95"));
        assert_eq!(minor("unknown"), None);
    }

    #[test]
    fn what_is_not_there_is_no_compiler() {
        assert!(Compiler::new("/no/cargo".into(), "/no/rustc".into()).is_none());
    }
}
