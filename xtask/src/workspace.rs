//! Where the repository is, and the cargo that runs us.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::command;

/// The repository's root.
///
/// `cargo run` tells where the crate is now; the place it was compiled at may be another one, when
/// several checkouts share a target directory.
pub(crate) fn root() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Where everything goes that is built to be measured, and what is measured of it.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// Builds these packages with that profile, in a place that is known whatever the environment says; gives the folder
/// of their programs.
///
/// # Errors
/// When they cannot be built.
pub(crate) fn build(profile: &str, packages: &[&str]) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--locked", "--profile", profile, "--target-dir"]).arg(target());
    command::run(cargo.args(packages.iter().flat_map(|package| ["-p", package])))?;
    Ok(target().join(profile))
}

/// A `cargo` command in the repository's root, by the toolchain that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}
