//! What a supervisor hears of gogeta, by the protocol of sd_notify(3), on a socket of the test's own.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::backend::{Backend, service};
use crate::support::client::get;
use crate::support::gogeta::Gogeta;
use crate::support::wait::{DEADLINE, until};

/// Where a supervisor listens.
struct Supervisor {
    socket: UnixDatagram,
    address: String,
    _directory: Option<TempDir>,
}

impl Supervisor {
    fn at_a_path() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Self::listening(socket, path.display().to_string(), Some(directory))
    }

    fn at_a_name() -> Self {
        let name = format!("gogeta-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        Self::listening(UnixDatagram::bind_addr(&address).expect("a socket"), format!("@{name}"), None)
    }

    fn listening(socket: UnixDatagram, address: String, directory: Option<TempDir>) -> Self {
        socket.set_nonblocking(true).expect("a socket");
        Self { socket, address, _directory: directory }
    }

    /// What it hears next, if there is something already.
    fn has(&self) -> Option<String> {
        let mut bytes = [0; 1024];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// The next thing that it hears.
    async fn hears(&self) -> String {
        until("something is said", async || self.has()).await
    }
}

/// The value of a line.
#[track_caller]
fn value<'a>(said: &'a str, name: &str) -> &'a str {
    let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {name} in {said:?}"))
}

#[tokio::test]
async fn a_supervisor_hears_of_the_start_of_each_reload_and_of_the_end() {
    for supervisor in [Supervisor::at_a_path(), Supervisor::at_a_name()] {
        let backend = Backend::named("a").await;
        let mut gogeta = Gogeta::routes(&service("a.test", &[backend.port]))
            .env("NOTIFY_SOCKET", &supervisor.address)
            .args(["--drain-timeout", "7s", "--drain-delay", "1ms"])
            .start()
            .await;
        let up = supervisor.hears().await;
        assert_eq!(value(&up, "READY"), "1");
        assert_eq!(value(&up, "STATUS"), format!("listening on [{}]", gogeta.proxy));
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "a");

        gogeta.signal(Signal::HUP);
        let reloading = supervisor.hears().await;
        assert_eq!(value(&reloading, "RELOADING"), "1");
        let at: u64 = value(&reloading, "MONOTONIC_USEC").parse().expect("a number");
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let age = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000 - at;
        assert!(age < DEADLINE.as_micros() as u64, "{age} microseconds ago");
        assert_eq!(supervisor.hears().await, "READY=1\n");

        gogeta.signal(Signal::TERM);
        let stopping = supervisor.hears().await;
        assert_eq!(value(&stopping, "STOPPING"), "1");
        // The time for what is in flight, and some for the last words.
        let limit: u64 = value(&stopping, "EXTEND_TIMEOUT_USEC").parse().expect("a number");
        assert!((7_001_000..30_000_000).contains(&limit), "{limit}");
        assert_eq!(gogeta.wait().await.code(), Some(0));
        assert_eq!(supervisor.has(), None, "it was not asked for signs of life");
    }
}

#[tokio::test]
async fn signs_of_life_come_as_often_as_they_must() {
    let supervisor = Supervisor::at_a_path();
    let _gogeta = Gogeta::routes("")
        .env("NOTIFY_SOCKET", &supervisor.address)
        .env("WATCHDOG_USEC", "1000000")
        .start()
        .await;
    assert_eq!(value(&supervisor.hears().await, "READY"), "1");
    assert_eq!(supervisor.hears().await, "WATCHDOG=1\n");
    for _ in 0..4 {
        let begun = Instant::now();
        assert_eq!(supervisor.hears().await, "WATCHDOG=1\n");
        assert!(begun.elapsed() < Duration::from_secs(1), "after {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_supervisor_that_cannot_be_told_is_named_and_gogeta_serves() {
    let backend = Backend::named("a").await;
    for (address, reason) in
        [("/nowhere/notify", "No such file"), ("vsock:2:1234", "neither a path nor an abstract name")]
    {
        let gogeta =
            Gogeta::routes(&service("a.test", &[backend.port])).env("NOTIFY_SOCKET", address).start().await;
        gogeta.log_has("cannot tell NOTIFY_SOCKET anything").await;
        let lines = gogeta.lines_with("cannot tell NOTIFY_SOCKET anything");
        assert!(lines.len() == 1 && lines[0].contains(reason) && lines[0].contains(address), "{lines:?}");
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "a");
    }
}
