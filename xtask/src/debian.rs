//! Debians in folders below `target/`, made by debootstrap(8): for tests of the package, and of containers, for which
//! no image can be had without a registry.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Result;

use crate::{command, workspace};

/// The release that the image is made of, too.
const RELEASE: &str = "bookworm";

/// A Debian without anything that it could do without, one that boots, and one with what the services of
/// `deploy/compose.yaml` run.
const TREES: [(&str, &str); 3] = [
    ("minbase", "adduser,procps"),
    ("booted", "adduser,dbus,procps,systemd,systemd-sysv"),
    ("services", "ca-certificates,etcd-client,etcd-server,python3"),
];

/// Makes those that are not there, as root.
///
/// # Errors
/// When debootstrap fails.
pub(crate) fn provide() -> Result<()> {
    for (name, packages) in TREES {
        let (tree, unfinished) = (folder(name), folder(&format!("{name}.unfinished")));
        if tree.is_dir() {
            continue;
        }
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        fs::create_dir_all(&unfinished)?;
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.args(["--variant=minbase", &format!("--include={packages}"), RELEASE]).arg(&unfinished);
        command::run(&mut debootstrap)?;
        // What has been downloaded is in it, installed.
        command::run(Command::new("chroot").arg(&unfinished).args(["apt-get", "clean"]))?;
        fs::rename(unfinished, tree)?;
    }
    Ok(())
}

fn folder(name: &str) -> PathBuf {
    workspace::target().join("debootstrap").join(name)
}
