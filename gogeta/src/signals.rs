//! What signals ask for.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

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
