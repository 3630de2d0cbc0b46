//! What every task is waiting for, with its call stack: what SIGUSR1 shows.

use std::fmt::Write as _;

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
