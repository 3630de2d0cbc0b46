//! What every task is waiting for, with its call stack: what SIGUSR1 and the admin API show.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};

use crate::proxy::server::{Command, Mailboxes};

/// So long a runtime may take to tell.
const LIMIT: Duration = Duration::from_secs(5);

/// Tells what the tasks of all runtimes wait for.
#[derive(Debug)]
pub struct Dumps {
    mailboxes: Mailboxes,
    /// One at a time: while a runtime tells, its tasks stand still.
    turn: Mutex<()>,
}

impl Dumps {
    /// Of these workers, and of the runtime that this is asked in.
    pub fn new(mailboxes: Mailboxes) -> Self {
        Self { mailboxes, turn: Mutex::default() }
    }

    /// What every task waits for.
    pub async fn take(&self) -> String {
        let _turn = self.turn.lock().await;
        let mut text = String::new();
        for mailbox in self.mailboxes.iter() {
            let (reply, dump) = oneshot::channel();
            let _ = mailbox.send(Command::Dump(reply));
            match tokio::time::timeout(LIMIT, dump).await {
                Ok(Ok(dump)) => text.push_str(&dump),
                _ => text.push_str("=== a worker did not answer in time: it is busy or stuck\n"),
            }
        }
        match tokio::time::timeout(LIMIT, tokio::spawn(take("control"))).await {
            Ok(Ok(dump)) => text.push_str(&dump),
            _ => text.push_str("=== the control runtime did not answer in time\n"),
        }
        text
    }
}

/// The stacks of all tasks of the runtime that this is called in, as text.
///
/// Real stacks need tokio's task dumps, which it has on Linux on x86-64 and AArch64; elsewhere the number of
/// tasks is all that can be said.
pub async fn take(name: &str) -> String {
    let mut text = String::new();
    #[cfg(all(tokio_unstable, target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let dump = tokio::runtime::Handle::current().dump().await;
        let _ = writeln!(text, "=== {name}: {} tasks", dump.tasks().iter().count());
        for task in dump.tasks().iter() {
            let _ = writeln!(text, "--- {name}: task {}\n{}", task.id(), task.trace());
        }
    }
    #[cfg(not(all(
        tokio_unstable,
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )))]
    {
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let _ = writeln!(text, "=== {name}: {tasks} tasks; this platform gives no stacks");
    }
    text
}
