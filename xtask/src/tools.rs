//! The programs that tests and benchmarks run, and how they are provided.

use std::{collections::BTreeSet, process::Command};

use anyhow::Result;

use crate::{apt, command};

/// Something that tests run, and where it comes from.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    name: &'static str,
    is_here: fn(&str) -> bool,
    /// The Debian package that has it.
    package: &'static str,
    /// What cannot be tested without it.
    used_for: &'static str,
}

/// All that tests run.
pub(crate) const ALL: &[Tool] = &[
    tool("etcd", "etcd-server", "routes from a real etcd"),
    tool("etcdctl", "etcd-client", "routes from a real etcd"),
    tool("nginx", "nginx", "real servers behind the proxy"),
    tool("ip", "iproute2", "several hosts, as network namespaces"),
    tool("nft", "nftables", "packet filters around the proxy"),
    tool("conntrack", "conntrack", "hosts that follow connections"),
    tool("wrk", "wrk", "behaviour under load"),
    tool("varnishtest", "varnish", "scripts of clients and servers on both sides of the proxy"),
    tool("chromium", "chromium", "the dashboard, in a browser"),
    tool("curl", "curl", "real clients in front of the proxy"),
    tool("strace", "strace", "that the kernel carries requests without a system call of the proxy"),
    tool("python3", "python3", "backends and clients of odd manners"),
    tool("tmux", "tmux", "what gogeta shows in a terminal"),
    tool("valgrind", "valgrind", "instructions per request"),
    tool("promtool", "prometheus", "metrics and alerts as Prometheus reads them"),
    tool("systemd-analyze", "systemd", "deploy/systemd as systemd sees it"),
    tool("setcap", "libcap2-bin", "capabilities that a file has"),
    tool("setpriv", "util-linux", "users with and without capabilities"),
    Tool {
        name: "h11",
        is_here: is_python_module,
        package: "python3-h11",
        used_for: "what is forwarded, as another parser reads it",
    },
];

/// Those that gogeta is measured beside, what only long runs try, and what makes releases.
const OTHERS: &[Tool] = &[
    tool("haproxy", "haproxy", "gogeta beside HAProxy"),
    tool("caddy", "caddy", "gogeta beside Caddy"),
    tool("dockerd", "docker.io", "gogeta and instances in containers of Docker"),
    tool("docker-compose", "docker-compose", "deploy/compose.yaml"),
    tool("debootstrap", "debootstrap", "images of containers, and a Debian to install the package on"),
    tool("systemd-nspawn", "systemd-container", "the package on a Debian that runs"),
    tool("lintian", "lintian", "the package as Debian sees it"),
    tool("dpkg-shlibdeps", "dpkg-dev", "the Debian package"),
];

const fn tool(name: &'static str, package: &'static str, used_for: &'static str) -> Tool {
    Tool { name, is_here: is_program, package, used_for }
}

fn is_program(name: &str) -> bool {
    command::find(name).is_some()
}

/// Whether some Python has it: Debian's packages are for Debian's, which may not be the first on the PATH.
fn is_python_module(name: &str) -> bool {
    let has = |python| {
        let import = format!("import {name}");
        command::output(Command::new(python).args(["-c", &import])).is_ok()
    };
    ["python3", "/usr/bin/python3"].into_iter().any(has)
}

/// The tool of that name, which must be in one of the lists.
pub(crate) fn named(name: &str) -> Tool {
    *ALL.iter().chain(OTHERS).find(|tool| tool.name == name).expect("the tool is in the list")
}

/// Installs those that are not here, where that is allowed and possible; gives what to install by hand where not.
///
/// # Errors
/// When installing fails.
pub(crate) fn provide(tools: &[Tool], may_install: bool) -> Result<Option<String>> {
    let missing: Vec<_> = tools.iter().filter(|tool| !(tool.is_here)(tool.name)).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let packages: BTreeSet<_> = missing.iter().map(|tool| tool.package).collect();
    if may_install && apt::is_usable() {
        apt::install(&packages)?;
        return Ok(None);
    }
    for Tool { name, package, used_for, .. } in missing {
        println!("missing: {name} ({package}), without which this cannot be done: {used_for}");
    }
    Ok(Some(apt::instruction(&packages)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_not_here() {
        assert!(is_program("sh") && !is_program("no-such-program"));
        assert!(!is_python_module("no_such_module"));
    }
}
