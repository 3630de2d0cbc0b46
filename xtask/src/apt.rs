//! Installing Debian packages, on the machines where that is ours to do: root, and apt-get there.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, Result};

use crate::command;

/// Whether packages can be installed by us.
pub(crate) fn is_usable() -> bool {
    command::find("apt-get").is_some()
        && command::output(Command::new("id").arg("-u")).is_ok_and(|uid| uid == "0")
}

/// What a person types to get `packages`.
pub(crate) fn instruction(packages: &BTreeSet<&str>) -> String {
    let packages: Vec<_> = packages.iter().copied().collect();
    format!("sudo apt-get install --no-install-recommends {}", packages.join(" "))
}

/// Installs `packages`, and starts none of the services that they bring.
///
/// # Errors
/// When the lists of packages cannot be had, or a package cannot be installed.
pub(crate) fn install(packages: &BTreeSet<&str>) -> Result<()> {
    command::run(apt_get().arg("update")).context("cannot update apt's lists of packages")?;
    let mut install = apt_get();
    // Nothing is removed to make room: a Rust from Debian would be, for the compiler of BPF.
    install.args(["install", "--yes", "--no-install-recommends", "--no-remove"]).args(packages);
    command::run(&mut install).context("cannot install packages")
}

/// Debian starts a service as its package is installed, and an nginx on port 80 or an etcd on port
/// 2379 is not what a test expects to meet. A `policy-rc.d` would forbid it, for everyone on the
/// machine and for good if we die. These variables reach only the scripts of this one apt-get:
/// with `RUNLEVEL`, runlevel(8) reports single-user mode, in which `invoke-rc.d` starts nothing;
/// with `SYSTEMD_OFFLINE`, systemctl(1) takes requests to start a unit for those of a chroot, and
/// ignores them.
fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        // Another apt-get may be at work, as on a machine that has just booted.
        .args(["--quiet", "--option", "DPkg::Lock::Timeout=120"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("RUNLEVEL", "1")
        .env("PREVLEVEL", "N")
        .env("SYSTEMD_OFFLINE", "1");
    command
}
