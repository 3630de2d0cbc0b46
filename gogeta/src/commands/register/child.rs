//! The command that is registered: started, watched, and told of signals.

use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::Signals;
use super::keeper::Phase;
use crate::commands::Failure;
use crate::commands::output::note;
use crate::routes::model::Location;

/// How often a port is tried that nobody listens on yet.
const AGAIN: Duration = Duration::from_millis(50);

/// Runs the command to its end, says when it has started, and gives its exit code: its own, or 128 and the signal
/// that ended it.
pub(super) async fn run(
    program: &str,
    arguments: &[String],
    location: &Location,
    signals: &mut Signals,
    phase: &watch::Sender<Phase>,
) -> Result<u8, Failure> {
    let mut child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => child,
        Err(error) => {
            note(&format!("cannot start {program}: {error}"));
            // As shells do it.
            return Ok(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    // On a terminal, Ctrl-C reaches the command without us; twice means "at once" to many.
    let by_the_terminal = io::stdin().is_terminal();
    let accepting = accepting(location);
    tokio::pin!(accepting);
    let mut is_up = false;
    loop {
        tokio::select! {
            status = child.wait() => {
                return status.map(code).map_err(|error| Failure::No(format!("lost sight of {program}: {error}")));
            }
            () = &mut accepting, if !is_up => {
                is_up = true;
                let _ = phase.send(Phase::Started);
            }
            signal = signals.next() => {
                if signal != Signal::INT || !by_the_terminal {
                    pass_on(&child, signal);
                }
            }
        }
    }
}

/// Waits until something takes connections there.
async fn accepting(location: &Location) {
    loop {
        let connect = TcpStream::connect((&*location.host, location.port));
        if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(1), connect).await {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn pass_on(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, signal)
    {
        note(&format!("cannot pass a signal on: {error}"));
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
