//! What systemd is told: that another process is the service's main one from now on (sd_notify(3)).

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service that this process is of, as the kernel groups processes; nothing, where it does not.
pub(super) fn service() -> String {
    fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

/// Tells it, where somebody listens. The old one tells, for systemd believes the main process, and by default nobody else
/// (`NotifyAccess=main`).
pub(super) fn tell(pid: i32) {
    let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else { return };
    if let Err(error) = say(&address, &format!("MAINPID={pid}\n")) {
        tracing::warn!(%error, ?address, pid, "cannot tell NOTIFY_SOCKET which process goes on");
    }
}

fn say(address: &OsStr, line: &str) -> io::Result<()> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A supervisor that does not read must not keep gogeta.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(line.as_bytes(), &address)?;
    Ok(())
}
