//! How to get a toolchain for BPF: done on a Debian machine that is ours to change, said elsewhere.
//!
//! bpf-linker reads what the compiler wrote, so its LLVM must not be older than the compiler's.
//! Debian has a recent compiler and the LLVM for it under the names below, in stable too.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::compiler;
use crate::{apt, command, workspace};

/// The compiler, and the source of `core`.
const COMPILER: [&str; 3] = ["cargo-web", "rust-web-src", "rustc-web"];

/// What bpf-linker is built with.
const LLVM: &str = "llvm-22-dev";

/// Where that is, once installed.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// The arguments of `cargo` that install bpf-linker.
const LINKER: [&str; 8] = [
    "install",
    "bpf-linker",
    "--version",
    "0.13.0",
    "--locked",
    "--no-default-features",
    "--features",
    "llvm-22",
];

/// Installs what is missing, where we may.
///
/// With a `recorded` toolchain, another compiler than that one is as good as none: it could not
/// tell whether the object is up to date.
///
/// # Errors
/// When an installation fails. That we may not install is no error.
pub(crate) fn provide(recorded: Option<&str>) -> Result<()> {
    if !apt::is_usable() {
        return Ok(());
    }
    let fits = |compiler: &compiler::Compiler| recorded.is_none_or(|text| compiler.is_in(text));
    let mut packages = BTreeSet::new();
    if !compiler::compilers().iter().any(fits) {
        packages.extend(COMPILER);
    }
    let linker = compiler::linker();
    if linker.is_none() {
        packages.insert(LLVM);
    }
    if !packages.is_empty() {
        apt::install(&packages)?;
    }
    if linker.is_none() {
        command::run(workspace::cargo().args(LINKER).env("LLVM_PREFIX", LLVM_PREFIX))
            .context("cannot install bpf-linker")?;
    }
    Ok(())
}

/// What a person without a compiler is told.
pub(crate) fn how_to_get_a_compiler() -> String {
    format!(
        "no compiler for BPF is here: it takes Rust {} or later, and the source of `core`.\n\
         With rustup:\n  rustup toolchain install nightly --component rust-src\n\
         On Debian:\n  {}\n{}",
        env!("CARGO_PKG_RUST_VERSION"),
        apt::instruction(&BTreeSet::from(COMPILER)),
        by_itself()
    )
}

/// What a person without bpf-linker is told.
pub(crate) fn how_to_get_the_linker() -> String {
    format!(
        "bpf-linker is neither on the PATH nor where `cargo install` puts it. On Debian:\n  {}\n  \
         LLVM_PREFIX={LLVM_PREFIX} cargo {}\n\
         Elsewhere the same, with any LLVM 22, or a later one and the feature for it.\n{}",
        apt::instruction(&BTreeSet::from([LLVM])),
        LINKER.join(" "),
        by_itself()
    )
}

fn by_itself() -> &'static str {
    "As root on Debian, `cargo xtask build-ebpf --install` does it."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_can_be_pasted() {
        let compiler = how_to_get_a_compiler();
        assert!(compiler.contains("--component rust-src"), "{compiler}");
        assert!(compiler.contains("recommends cargo-web rust-web-src rustc-web\n"));
        let linker = how_to_get_the_linker();
        assert!(linker.contains("cargo install bpf-linker --version"), "{linker}");
    }
}
