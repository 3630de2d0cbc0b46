//! The units of systemd: what it says of them itself, and that gogeta lives within what they leave to it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use super::{read, repository, settings};
use crate::support::backend::{Backend, service};
use crate::support::client::{Client, get};
use crate::support::etcd::{free_port, skip};
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

const SERVICE: &str = "deploy/systemd/gogeta.service";

/// The variants, and what `systemd-analyze security` may say of each at most: its score, times ten.
const VARIANTS: [(Option<&str>, &str); 3] =
    [(None, "18"), (Some("unprivileged.conf"), "12"), (Some("privileged.conf"), "21")];

/// The units in a directory, one of the variants installed as it says itself; gogeta is where it is.
fn installed(variant: Option<&str>) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let service = read(SERVICE).replace("/usr/bin/gogeta", env!("CARGO_BIN_EXE_gogeta"));
    let within = directory.path().join("gogeta.service.d");
    std::fs::create_dir(&within).expect("a directory");
    std::fs::write(directory.path().join("gogeta.service"), service).expect("a file");
    let socket = directory.path().join("gogeta.socket");
    std::fs::copy(repository("deploy/systemd/gogeta.socket"), socket).expect("a file");
    if let Some(name) = variant {
        std::fs::copy(repository("deploy/systemd").join(name), within.join(name)).expect("a file");
    }
    directory
}

/// What systemd-analyze(1) says; none where it is not there.
async fn analyze(arguments: &[&str], file: Option<&Path>) -> Option<std::process::Output> {
    let output = Command::new("systemd-analyze").args(arguments).args(file).output().await;
    if output.is_err() {
        skip("there is no systemd-analyze");
    }
    output.ok()
}

#[tokio::test]
async fn systemd_finds_no_fault_with_the_units_and_little_exposed() {
    for (variant, most) in VARIANTS {
        let directory = installed(variant);
        for unit in ["gogeta.service", "gogeta.socket"] {
            let file = directory.path().join(unit);
            let Some(output) = analyze(&["verify", "--man=no"], Some(&file)).await else { return };
            // What it finds in units of the system itself is not ours.
            let said = String::from_utf8_lossy(&output.stderr);
            let ours: Vec<&str> = said.lines().filter(|line| line.contains("gogeta")).collect();
            assert!(output.status.success() && ours.is_empty(), "{variant:?}: {said}");
        }
        let threshold = format!("--threshold={most}");
        let file = directory.path().join("gogeta.service");
        let Some(output) = analyze(&["security", "--offline=true", &threshold], Some(&file)).await else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{variant:?}: {}", said.lines().last().unwrap_or_default());
        assert!(output.status.success(), "{variant:?}: {said}");
    }
}

/// The calls that a filter leaves, by its lines: the first one allows.
async fn allowed(filter: &[&str]) -> Option<BTreeSet<String>> {
    let output = analyze(&["syscall-filter"], None).await?;
    let text = String::from_utf8(output.stdout).expect("text");
    let mut sets = std::collections::BTreeMap::<&str, Vec<&str>>::new();
    let mut set = "";
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(entry) if entry.starts_with('#') => {}
            Some(entry) => sets.entry(set).or_default().push(entry.trim()),
            None => set = line.trim(),
        }
    }
    let mut calls = BTreeSet::new();
    for line in filter {
        let (is_allowed, line) = match line.strip_prefix('~') {
            Some(rest) => (false, rest),
            None => (true, *line),
        };
        let mut names: Vec<&str> = line.split_whitespace().collect();
        while let Some(name) = names.pop() {
            if name.starts_with('@') {
                names.extend(sets.get(name).unwrap_or_else(|| panic!("systemd knows no {name}")));
            } else if is_allowed {
                calls.insert(name.to_owned());
            } else {
                calls.remove(name);
            }
        }
    }
    Some(calls)
}

/// What gogeta asks of the system from its start to its end, a line for each call.
async fn traced(splice: &'static str) -> Option<String> {
    if Command::new("strace").arg("-V").output().await.is_err() {
        skip("there is no strace");
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("calls");
    let line = ["strace", "-D", "-f", "-q", "-o", file.to_str().expect("a path")];
    // Whoever has no capability gives none up.
    let without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let before = if splice == "off" && rustix::process::geteuid().is_root() { &without[..] } else { &[] };
    let line = before.iter().copied().chain(line);
    let line: Vec<&'static str> = line.map(|word| &*word.to_owned().leak()).collect();
    let backend = Backend::named("a").await;
    let supervisor = std::os::unix::net::UnixDatagram::bind(directory.path().join("notify"));
    let mut gogeta = Gogeta::routes(&service("a.test", &[backend.port]))
        .by(line.leak())
        .env("NOTIFY_SOCKET", directory.path().join("notify"))
        .args(["--splice", splice])
        .arg("--access-log")
        .arg(directory.path().join("access.log"))
        .arg("--cpu-profile")
        .arg(directory.path().join("profile"))
        .start()
        .await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "a");
    for (signal, text) in [
        (Signal::HUP, "the configuration is read anew"),
        (Signal::USR1, "the state of every task"),
        (Signal::USR2, "profiling;"),
        (Signal::USR2, "the CPU profile is written"),
    ] {
        gogeta.signal(signal);
        gogeta.log_has(text).await;
    }
    gogeta.signal(Signal::TERM);
    assert_eq!(gogeta.wait().await.code(), Some(0));
    drop(supervisor);
    let pid = gogeta.pid().to_string();
    let is_end = |line: &str| line.starts_with(&pid) && line.ends_with("+++ exited with 0 +++");
    let read = async || std::fs::read_to_string(&file).ok().filter(|text| text.lines().any(is_end));
    Some(until("strace has written all", read).await)
}

/// The call of a line of strace, with what it is given.
fn call(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    rest.split_once('(').filter(|(name, _)| name.bytes().all(|c| c == b'_' || c.is_ascii_alphanumeric()))
}

#[tokio::test]
async fn gogeta_asks_the_system_for_nothing_that_the_service_forbids() {
    let service = read(SERVICE);
    let unprivileged = read("deploy/systemd/unprivileged.conf");
    for (unit, splice) in [(&service, "auto"), (&unprivileged, "off")] {
        // An empty line forgets those before it.
        let last = |name| {
            let lines = settings(unit, name);
            let begin = lines.iter().rposition(|line| line.is_empty()).map_or(0, |at| at + 1);
            lines[begin..].to_vec()
        };
        let Some(calls) = allowed(&last("SystemCallFilter")).await else { return };
        assert!(calls.contains("accept4") && !calls.contains("chroot"), "{calls:?}");
        let families: Vec<&str> =
            last("RestrictAddressFamilies").iter().flat_map(|line| line.split_whitespace()).collect();
        let Some(trace) = traced(splice).await else { return };
        let mut seen = BTreeSet::new();
        for (name, given) in trace.lines().filter_map(call) {
            seen.insert(name);
            assert!(calls.contains(name), "{name}({given}");
            if name == "socket" {
                let family = given.split(',').next().unwrap_or_default();
                assert!(families.contains(&family), "{name}({given}");
            }
            // MemoryDenyWriteExecute=
            let executes = given.contains("PROT_EXEC")
                && (given.contains("PROT_WRITE") || (name == "mprotect" && given.contains("PROT_EXEC")));
            assert!(!executes, "{name}({given}");
        }
        for name in ["bind", "accept4", "clone3", "inotify_add_watch"] {
            assert!(seen.contains(name), "{name} is not in {seen:?}");
        }
    }
}

#[tokio::test]
async fn who_comes_before_gogeta_is_started_by_its_socket_is_served() {
    let directory = tempfile::tempdir().expect("a directory");
    let backend = Backend::named("a").await;
    let routes = directory.path().join("routes.toml");
    std::fs::write(&routes, service("a.test", &[backend.port])).expect("a file");
    let config = directory.path().join("gogeta.toml");
    // What the package installs, and what a user adds to it.
    let text = read("deploy/debian/gogeta.toml") + &format!("routes = {routes:?}\nadmin = \"off\"\n");
    std::fs::write(&config, text).expect("a file");
    let unit = read(SERVICE);
    let [line] = settings(&unit, "ExecStart")[..] else { panic!("one command starts it") };
    let line = line
        .replace("/usr/bin/gogeta", env!("CARGO_BIN_EXE_gogeta"))
        .replace("/etc/gogeta/gogeta.toml", &config.display().to_string())
        .replace("%S", &directory.path().display().to_string());
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let spawned = Command::new("systemd-socket-activate")
        .args(["--listen", &address.to_string()])
        .args(line.split_whitespace())
        .env("GOGETA_SPLICE", "off")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut activator) = spawned else { return skip("there is no systemd-socket-activate") };
    until("somebody listens", async || std::net::TcpListener::bind(address).is_err().then_some(())).await;
    let mut clients = Vec::new();
    for _ in 0..16 {
        // The first one has gogeta started.
        clients.push(Client::connect(address).await);
    }
    for client in &mut clients {
        assert_eq!(client.get("a.test", "/").await.text(), "a");
    }
    activator.kill().await.expect("it has become gogeta, and ends");
}
