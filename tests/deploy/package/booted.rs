//! The package on a Debian that runs, under systemd itself (systemd-nspawn(1)): started, reloaded, restarted and
//! upgraded while clients come, watched over, with more privileges and with none, and removed.

use std::cell::Cell;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::{Debian, dist, file, run};
use crate::parked_network::world::World;
use crate::support::backend::service_at;
use crate::support::client::{Client, Reply};
use crate::support::netns::Namespace;
use crate::support::parking::carries_as_told;
use crate::support::wait::{until, within};

/// A Debian that runs on a host of its own.
struct Booted {
    _debian: Debian,
    nspawn: Child,
    /// Its first process, as this machine numbers it.
    first: String,
}

impl Booted {
    /// Starts it, with what root has on an ordinary machine, for all that matters here.
    async fn boot(debian: Debian, host: &Namespace) -> Self {
        // Told of the network by --network-namespace-path, it shows its Debian the devices of the network before (/sys).
        let nspawn = std::process::Command::new("nsenter")
            .arg(format!("--net={}", host.file().display()))
            .args(["systemd-nspawn", "--boot", "--register=no", "--keep-unit", "--quiet", "--console=pipe"])
            // By itself it lets nobody call it, whatever the capabilities.
            .arg("--system-call-filter=bpf")
            .args(["--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON,CAP_SYS_ADMIN", "--directory"])
            .arg(debian.at("/"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("systemd-nspawn starts");
        let id = nspawn.id();
        let mut booted = Self { _debian: debian, nspawn, first: String::new() };
        booted.first = until("systemd is started", async || {
            let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
            let first = children.split_whitespace().next()?.to_owned();
            (std::fs::read_to_string(format!("/proc/{first}/comm")).ok()? == "systemd\n").then_some(first)
        })
        .await;
        within(Duration::from_secs(60), "it has booted", async || {
            let state = booted.command("systemctl is-system-running").output().await.expect("nsenter runs");
            matches!(state.stdout.trim_ascii(), b"running" | b"degraded").then_some(())
        })
        .await;
        booted
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.first, "/bin/sh", "-ec", script]).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Has its shell do this; where that fails, with what systemd tells of gogeta.
    async fn shell(&self, script: &str) -> String {
        let script = format!("{{ {script}\n}} || {{ journalctl --no-pager --lines 40; exit 1; }}");
        run(&mut self.command(&script)).await
    }

    /// What systemd knows of the service by that name.
    async fn property(&self, name: &str) -> String {
        self.shell(&format!("systemctl show --property {name} --value gogeta.service"))
            .await
            .trim()
            .to_owned()
    }

    /// What the service's process is, by `/proc/PID/status`.
    async fn status(&self) -> String {
        let pid = self.property("MainPID").await;
        self.shell(&format!("cat /proc/{pid}/status")).await
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // Its files are about to go, and it with them: nothing in it is worth an orderly end.
        let _ = std::process::Command::new("kill").args(["-KILL", &self.first]).status();
        let _ = self.nspawn.wait();
    }
}

/// The answer to a GET on a connection of its own, or why there is none.
async fn ask(from: &Namespace, address: SocketAddr, host: &str, path: &str) -> std::io::Result<Reply> {
    let mut client = Client::new(from.socket(address.ip()).connect(address).await?);
    client.try_send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await?;
    client.try_reply().await
}

#[tokio::test]
async fn systemd_runs_what_the_package_installs_and_no_client_notices_restarts_and_upgrades() {
    let Some(dist) = dist() else { return };
    let Some(world) = World::new().await else { return };
    let package = file(&dist, ".deb");
    let debian = Debian::new("booted").await;
    debian.install(&package).await;
    std::fs::copy(&package, debian.at("/gogeta.deb")).expect("a file");
    let (_web, at_web) = world.backend("web", world.back);
    std::fs::write(debian.at("/etc/gogeta/routes.toml"), service_at("a.test", &[at_web])).expect("a file");
    let booted = Booted::boot(debian, &world.proxy).await;
    let front = SocketAddr::new(world.front().ip(), 80);
    let admin = SocketAddr::new([127, 0, 0, 1].into(), 7778);
    assert!(ask(&world.clients, front, "a.test", "/").await.is_err(), "nothing is started by itself");

    booted.shell("echo 'routes = \"/etc/gogeta/routes.toml\"' >>/etc/gogeta/gogeta.toml").await;
    booted.shell("systemctl enable --now gogeta.socket gogeta.service").await;
    assert_eq!(booted.property("ActiveState").await, "active");
    assert!(booted.property("StatusText").await.starts_with("listening on ["), "gogeta has said so");
    serves(&world, &booted, front, admin, true).await;

    // HUP.
    booted.shell("echo 'force-fw-ssl = true' >>/etc/gogeta/gogeta.toml; systemctl reload gogeta").await;
    let redirected = until("the configuration is read anew", async || {
        let reply = ask(&world.clients, front, "a.test", "/").await.expect("an answer");
        (reply.status != 200).then_some(reply)
    });
    assert_eq!(redirected.await.status, 301);
    booted.shell("sed -i '/^force-fw-ssl/d' /etc/gogeta/gogeta.toml; systemctl reload gogeta").await;
    until("the configuration is read anew", async || {
        let reply = ask(&world.clients, front, "a.test", "/").await.expect("an answer");
        (reply.status == 200).then_some(())
    })
    .await;

    let is_over = Cell::new(false);
    let changes = async {
        for change in ["systemctl restart gogeta", "dpkg --install /gogeta.deb >/dev/null"] {
            let before = booted.property("MainPID").await;
            booted.shell(change).await;
            assert_ne!(booted.property("MainPID").await, before, "{change}: it is another one");
            assert_eq!(booted.property("ActiveState").await, "active", "{change}");
        }
        is_over.set(true);
    };
    let ((), count) = tokio::join!(changes, come_until(&is_over, &world.clients, front));
    assert!(count > 20, "{count} have come meanwhile");

    // A worker that is stuck: all of them are.
    let folder = "/etc/systemd/system/gogeta.service.d";
    booted
        .shell(&format!("mkdir {folder}; printf '[Service]\nWatchdogSec=1\n' >{folder}/watchdog.conf"))
        .await;
    booted.shell("systemctl daemon-reload; systemctl restart gogeta").await;
    let stuck = booted.property("MainPID").await;
    booted.shell(&format!("kill -STOP {stuck}")).await;
    within(Duration::from_secs(30), "it is started anew", async || {
        let pid = booted.property("MainPID").await;
        (pid != stuck && pid != "0" && booted.property("ActiveState").await == "active").then_some(())
    })
    .await;
    assert_eq!(booted.property("NRestarts").await, "1");
    booted.shell(&format!("rm {folder}/watchdog.conf")).await;

    for (variant, is_carried) in [("unprivileged.conf", false), ("privileged.conf", true)] {
        booted.shell(&format!("cp /usr/share/doc/gogeta/systemd/{variant} {folder}/")).await;
        booted.shell("systemctl daemon-reload; systemctl restart gogeta").await;
        serves(&world, &booted, front, admin, is_carried).await;
        booted.shell(&format!("rm {folder}/{variant}")).await;
    }

    booted.shell("systemctl daemon-reload; dpkg --remove gogeta >/dev/null").await;
    assert!(ask(&world.clients, front, "a.test", "/").await.is_err(), "it has gone with its socket");
    assert_eq!(
        booted.shell("systemctl list-units --no-legend --all 'gogeta*' | grep -c running || true").await,
        "0\n"
    );
}

/// gogeta serves, has no privilege any more, and carries connections by the kernel or not.
async fn serves(world: &World, booted: &Booted, front: SocketAddr, admin: SocketAddr, is_carried: bool) {
    let mut client = world.client(front).await;
    carries_as_told(is_carried, async || {
        crate::parked_network::talk::get(&mut client, "a.test", "/0/200", "web").await;
        ask(&world.proxy, admin, "localhost", "/metrics").await.expect("an answer").text()
    })
    .await;
    let status = booted.status().await;
    for field in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(status.contains(&format!("{field}:\t0000000000000000")), "{field} in {status}");
    }
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    let uid = booted.shell("id --user gogeta").await;
    assert!(status.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}", uid.trim())), "{status}");
}

/// Clients come one after the other until it is over, and each is served; gives how many there were.
async fn come_until(is_over: &Cell<bool>, from: &Namespace, front: SocketAddr) -> usize {
    let mut count = 0;
    while !is_over.get() {
        let reply = ask(from, front, "a.test", "/0/200").await.expect("nobody is refused");
        assert_eq!(reply.status, 200);
        count += 1;
    }
    count
}
