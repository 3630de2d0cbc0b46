//! Counting a process's reads and writes as the kernel sees them, by strace(1).

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::etcd::skip;
use super::wait::DEADLINE;

/// All that a process reads and writes sockets by.
const CALLS: &str =
    "trace=read,readv,recvfrom,recvmsg,recvmmsg,write,writev,sendto,sendmsg,sendmmsg,sendfile,splice";

/// Of all threads of a process, from when it was begun.
pub(crate) struct Count {
    strace: Child,
    directory: TempDir,
}

impl Count {
    /// Begins, and is attached when this gives it; none where there is no strace, which is an error where nothing may
    /// be skipped.
    pub(crate) async fn of(pid: u32) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let strace = Command::new("strace")
            .args(["-f", "-c", "-U", "calls,name", "-e", CALLS, "-p", &pid.to_string(), "-o"])
            .arg(directory.path().join("calls"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let Ok(mut strace) = strace else {
            skip("there is no strace");
            return None;
        };
        let mut says = BufReader::new(strace.stderr.take().expect("it is piped")).lines();
        let first = timeout(DEADLINE, says.next_line()).await.expect("strace says something");
        let first = first.expect("text").unwrap_or_default();
        assert!(first.contains("attached"), "{first}");
        // It must be able to say more.
        tokio::spawn(async move { while let Ok(Some(_)) = says.next_line().await {} });
        Some(Self { strace, directory })
    }

    /// Ends, and gives the number of calls.
    pub(crate) async fn end(mut self) -> u64 {
        let pid = self.strace.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("it runs"), Signal::INT).expect("the signal is sent");
        timeout(DEADLINE, self.strace.wait()).await.expect("strace ends").expect("it can be waited for");
        // Where nothing was called there is no table.
        let table = std::fs::read_to_string(self.directory.path().join("calls")).expect("its file");
        let rows =
            table.lines().filter_map(|line| line.split_whitespace().collect::<Vec<_>>().try_into().ok());
        let calls = rows.filter(|[_, name]: &[&str; 2]| *name != "total");
        calls.filter_map(|[calls, _]| calls.parse::<u64>().ok()).sum()
    }
}
