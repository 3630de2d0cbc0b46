//! Three hosts on one kernel, as network namespaces: a client, a proxy between two networks, and a server.
//!
//! ```text
//! client 10.99.1.1 ---- 10.99.1.2 proxy 10.99.2.2 ---- 10.99.2.1 server
//! ```
//!
//! Everything runs in namespaces of its own (mounts, processes, networks), so that whatever way it ends, the kernel
//! takes away all of it.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Host {
    /// Where the load comes from.
    Client,
    /// Where the contenders run; it forwards IP as well.
    Proxy,
    /// Where the upstream servers run.
    Server,
}

/// The proxy's address for clients.
pub(crate) const PROXY: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 2);
/// The server's.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 2, 1);

impl Host {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Proxy => "proxy",
            Self::Server => "server",
        }
    }

    /// A command that runs on it.
    pub(crate) fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        // ip(8) becomes the program, so that signals to it reach that.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name()]).arg(program);
        command
    }

    /// Does this on a thread of that host: the sockets that it makes are there.
    ///
    /// # Errors
    /// When the host cannot be entered, and what the work gives.
    pub(crate) fn enter<T: Send>(self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let enter = || {
            let file = File::open(format!("/run/netns/{}", self.name()))?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().expect("the work does not panic"))
    }
}

/// Runs this program once more, with these arguments, where it may do as it likes.
///
/// # Errors
/// When it cannot be (it takes root), or fails.
pub(crate) fn enclosed(arguments: &[String]) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the benchmark makes network namespaces, and that takes root");
    }
    let this = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    let status = command.arg(this).args(arguments).status().context("unshare (util-linux)")?;
    if !status.success() {
        bail!("the benchmark ended with {status}");
    }
    Ok(())
}

/// Makes the hosts and their cables, and gives a folder for what they keep; to be called in [`enclosed`].
///
/// # Errors
/// When a command fails.
pub(crate) fn raise() -> Result<PathBuf> {
    // The names of namespaces are files there. This one is nobody else's concern, and gone with the last process.
    run("mount -t tmpfs gogeta-bench /run")?;
    let folder = PathBuf::from("/run/bench");
    std::fs::create_dir(&folder)?;
    for host in [Host::Client, Host::Proxy, Host::Server] {
        run(&format!("ip netns add {}", host.name()))?;
        run(&format!("ip -n {} link set lo up", host.name()))?;
    }
    for line in [
        "ip link add c0 netns client type veth peer name p0 netns proxy",
        "ip link add s0 netns server type veth peer name p1 netns proxy",
        "ip -n client addr add 10.99.1.1/24 dev c0",
        "ip -n proxy addr add 10.99.1.2/24 dev p0",
        "ip -n proxy addr add 10.99.2.2/24 dev p1",
        "ip -n server addr add 10.99.2.1/24 dev s0",
        "ip -n client link set c0 up",
        "ip -n proxy link set p0 up",
        "ip -n proxy link set p1 up",
        "ip -n server link set s0 up",
        "ip -n client route add 10.99.2.0/24 via 10.99.1.2",
        "ip -n server route add 10.99.1.0/24 via 10.99.2.2",
    ] {
        run(line)?;
    }
    // Connections that each serve one request leave their port behind for a minute.
    for host in [Host::Client, Host::Proxy] {
        set(host, "net/ipv4/ip_local_port_range", "1024 65535")?;
        set(host, "net/ipv4/tcp_tw_reuse", "1")?;
        // Or a connection to the server may have the port of a contender that is yet to start.
        set(host, "net/ipv4/ip_local_reserved_ports", "8000-8999")?;
    }
    for host in [Host::Proxy, Host::Server] {
        set(host, "net/core/somaxconn", "16384")?;
    }
    set(Host::Proxy, "net/ipv4/ip_forward", "1")?;
    // Those who do not raise theirs have it from here.
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })
        .context("the limit of open files")?;
    Ok(folder)
}

fn set(host: Host, name: &str, value: &str) -> Result<()> {
    let script = format!("echo {value} > /proc/sys/{name}");
    let status = host.command("sh").args(["-c", &script]).status().context("sh")?;
    if !status.success() {
        bail!("{name} cannot be set on the {}", host.name());
    }
    Ok(())
}

fn run(line: &str) -> Result<()> {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output =
        Command::new(program).args(words).stdin(Stdio::null()).output().with_context(|| line.to_owned())?;
    if !output.status.success() {
        bail!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
