//! Installing kosoku, which has Autobahn's cases for WebSockets: from PyPI, into a folder under `target/`.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{apt, command, workspace};

/// The version whose verdicts are known.
const PACKAGE: &str = "kosoku==0.1.0";

/// The virtual environment that it is in; tests look for it here.
fn folder() -> PathBuf {
    workspace::root().join("target/kosoku")
}

/// Whether it is installed.
pub(crate) fn is_there() -> bool {
    folder().join("bin/kosoku").is_file()
}

/// What a person types to get it.
pub(crate) fn instruction() -> String {
    format!("python3 -m venv target/kosoku && target/kosoku/bin/pip install {PACKAGE}")
}

/// Installs it.
///
/// # Errors
/// When there is no Python that can make virtual environments, or no PyPI to be reached.
pub(crate) fn install() -> Result<()> {
    if let Err(error) = make_environment() {
        // Debian's Python comes without what it takes.
        if !apt::is_usable() {
            return Err(error);
        }
        apt::install(&BTreeSet::from(["python3-venv"]))?;
        make_environment()?;
    }
    let mut pip = Command::new(folder().join("bin/pip"));
    command::run(pip.args(["install", "--quiet", "--disable-pip-version-check", PACKAGE]))
        .with_context(|| format!("cannot install {PACKAGE}"))
}

fn make_environment() -> Result<()> {
    command::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder()))
}
