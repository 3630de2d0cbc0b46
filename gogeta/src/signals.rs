//! What signals ask for.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::oneshot;

use crate::proxy::server::{Command, Mailboxes};
use crate::task_dump;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// TERM, INT: finish and leave.
    End,
    /// HUP: read templates and configuration anew.
    Reload,
    /// USR1: tell what every task waits for.
    Dump,
    /// USR2: start or stop a CPU profile.
    Profile,
}

/// All signals that gogeta listens to.
#[derive(Debug)]
pub struct Signals {
    term: Stream,
    int: Stream,
    hup: Stream,
    usr1: Stream,
    usr2: Stream,
}

impl Signals {
    /// Takes the signals over; must be called within a runtime.
    ///
    /// # Errors
    ///
    /// Where the system does not allow it.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::End,
            _ = self.int.recv() => Signal::End,
            _ = self.hup.recv() => Signal::Reload,
            _ = self.usr1.recv() => Signal::Dump,
            _ = self.usr2.recv() => Signal::Profile,
        }
    }

    /// Waits for one that ends gogeta.
    pub async fn end(&mut self) {
        while self.next().await != Signal::End {}
    }
}

/// Logs what every task waits for, on all runtimes.
pub async fn dump_tasks(mailboxes: &Mailboxes) {
    let limit = Duration::from_secs(5);
    let mut text = String::new();
    for mailbox in mailboxes.iter() {
        let (reply, dump) = oneshot::channel();
        let _ = mailbox.send(Command::Dump(reply));
        match tokio::time::timeout(limit, dump).await {
            Ok(Ok(dump)) => text.push_str(&dump),
            _ => text.push_str("=== a worker did not answer in time: it is busy or stuck\n"),
        }
    }
    match tokio::time::timeout(limit, tokio::spawn(task_dump::take("control"))).await {
        Ok(Ok(dump)) => text.push_str(&dump),
        _ => text.push_str("=== the control runtime did not answer in time\n"),
    }
    tracing::info!("the state of every task:\n{text}");
}
