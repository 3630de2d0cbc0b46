//! What whoever supervises gogeta is told of it, by the protocol of sd_notify(3): that it is up, that it reads its
//! configuration anew, that it ends, and that it is alive. systemd speaks it, and so do others.
//!
//! Where nobody listens (`NOTIFY_SOCKET` is not set) nothing is said. The library of that name is not needed: all of
//! the protocol is one datagram of lines.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::proxy::server::{Command, Mailboxes};

/// What writing the last of all takes, behind the last request.
const LEAVING: Duration = Duration::from_secs(10);

/// Who supervises gogeta, if anybody does.
#[derive(Debug, Clone, Default)]
pub struct Systemd {
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// Silence for so long is death (`WatchdogSec=`).
    patience: Option<Duration>,
}

impl Systemd {
    /// As the environment says (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`). A supervisor that cannot be reached
    /// is told of in the log, and then there is none.
    fn from_environment() -> Self {
        let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Self::default();
        };
        match reach(&address) {
            Ok(socket) => {
                let [usec, pid] = ["WATCHDOG_USEC", "WATCHDOG_PID"].map(|name| env::var(name).ok());
                let patience = patience(usec.as_deref(), pid.as_deref(), std::process::id());
                Self { socket: Some(Arc::new(socket)), patience }
            }
            Err(error) => {
                tracing::warn!(%error, ?address, "cannot tell NOTIFY_SOCKET anything");
                Self::default()
            }
        }
    }

    /// Tells whom the environment names that gogeta serves from now on; `status` is for people.
    pub fn ready(status: &str) -> Self {
        let systemd = Self::from_environment();
        systemd.say(&format!("READY=1\nSTATUS={status}\n"));
        systemd
    }

    /// Tells whom the environment names that another process is the service's main one from now on. The old one tells:
    /// systemd believes the main process, and by default nobody else (`NotifyAccess=main`).
    pub fn succeeded_by(pid: i32) {
        Self::from_environment().say(&format!("MAINPID={pid}\n"));
    }

    /// It has read its configuration anew.
    pub fn reloaded(&self) {
        self.say("READY=1\n");
    }

    /// It reads its configuration anew, until [`Self::reloaded`].
    pub fn reloading(&self) {
        // systemd asks for the time of what it counts as the reload (Type=notify-reload).
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\n"));
    }

    /// It is about to end: what is in flight on so many connections is finished, which may take so long.
    pub fn stopping(&self, limit: Duration, open: usize) {
        // Its own time-out, where that is longer, stays as it is (EXTEND_TIMEOUT_USEC in sd_notify(3)).
        let limit = (limit + LEAVING).as_micros();
        self.say(&format!(
            "STOPPING=1\nSTATUS=finishing what is in flight, {open} connections\nEXTEND_TIMEOUT_USEC={limit}\n"
        ));
    }

    /// From now on says that gogeta is alive, for as long as every worker answers; where somebody waits to hear it.
    pub fn stay_alive(&self, runtime: &Runtime, workers: &Mailboxes) {
        // Twice as often as is asked for, as sd_watchdog_enabled(3) advises.
        let Some(interval) = self.patience.map(|patience| patience / 2) else { return };
        let (systemd, workers) = (self.clone(), workers.clone());
        runtime.spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                for worker in workers.iter() {
                    let (reply, answer) = oneshot::channel();
                    // One that has ended, as all do at the end, is not stuck. One that is keeps us from going on.
                    if worker.send(Command::Ping(reply)).is_ok() {
                        let _ = answer.await;
                    }
                }
                systemd.say("WATCHDOG=1\n");
            }
        });
    }

    fn say(&self, lines: &str) {
        let Some((socket, address)) = self.socket.as_deref() else { return };
        if let Err(error) = socket.send_to_addr(lines.as_bytes(), address) {
            tracing::warn!(%error, ?address, "cannot tell NOTIFY_SOCKET anything");
        }
    }
}

/// A socket to send by, and where to: a path, or with `@` in front a name that is no file's (unix(7)).
fn reach(address: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(address)?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    // A supervisor that does not read must not keep gogeta from serving.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// How long the supervisor waits for a sign of life from this process; none where it waits for none.
fn patience(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let usec = usec?.parse().ok().filter(|usec| is_ours && *usec > 0)?;
    Some(Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_minded_by_whom_it_is_meant_for() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(patience(Some("1000000"), None, 7), second);
        assert_eq!(patience(Some("1000000"), Some("7"), 7), second);
        assert_eq!(patience(Some("1000000"), Some("8"), 7), None);
        assert_eq!(patience(Some("0"), None, 7), None);
        assert_eq!(patience(Some("soon"), None, 7), None);
        assert_eq!(patience(None, Some("7"), 7), None);
    }

    #[test]
    fn nobody_says_that_gogeta_is_alive_while_a_worker_is_stuck() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).expect("a socket");
        let hears = |limit| {
            supervisor.set_read_timeout(Some(limit)).expect("a time-out");
            let mut bytes = [0; 64];
            supervisor.recv(&mut bytes).map(|length| bytes[..length].to_vec())
        };
        let socket = Some(Arc::new(reach(path.as_os_str()).expect("a socket")));
        let patience = Some(Duration::from_millis(20));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
        let runtime = runtime.expect("a runtime");
        let (mailbox, mut stuck) = tokio::sync::mpsc::unbounded_channel();
        Systemd { socket, patience }.stay_alive(&runtime, &[mailbox].into());
        let Some(Command::Ping(reply)) = stuck.blocking_recv() else {
            panic!("it is asked whether it lives")
        };
        hears(Duration::from_millis(200)).expect_err("it has not answered");
        reply.send(()).expect("somebody waits for it");
        assert_eq!(hears(Duration::from_secs(10)).expect("a sign of life"), b"WATCHDOG=1\n");
        // And one that has ended is not stuck.
        drop(stuck);
        for _ in 0..3 {
            assert_eq!(hears(Duration::from_secs(10)).expect("a sign of life"), b"WATCHDOG=1\n");
        }
    }

    #[test]
    fn a_path_and_an_abstract_name_are_reached_and_nothing_else() {
        assert!(reach("/run/nobody".as_ref()).is_ok());
        assert!(reach("@nobody".as_ref()).is_ok());
        for address in ["vsock:2:1234", "run/systemd/notify"] {
            assert!(reach(address.as_ref()).is_err(), "{address}");
        }
        assert!(reach(format!("/{}", "x".repeat(200)).as_ref()).is_err(), "no socket has so long a path");
    }
}
