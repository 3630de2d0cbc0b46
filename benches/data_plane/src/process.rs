//! What runs in the background while it is measured.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A program, with all that it has started; ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it, with its output in that file.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(mut command: Command, output: &Path) -> Result<Self> {
        let file = fs::File::create(output).with_context(|| output.display().to_string())?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // A group of its own, so that those that it starts end with it.
        let child = command.process_group(0).spawn().with_context(|| format!("{command:?}"))?;
        Ok(Self { child })
    }

    /// It and those that it has started.
    fn all(&self) -> Vec<u32> {
        let mut all = vec![self.child.id()];
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let parents: Vec<(u32, u32)> = processes
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                Some((pid, fields(&entry.path())?.get(1)?.parse().ok()?))
            })
            .collect();
        let mut next = 0;
        while let Some(&parent) = all.get(next) {
            all.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid));
            next += 1;
        }
        all
    }

    /// The CPU time that they have taken, user and system.
    pub(crate) fn cpu(&self) -> Duration {
        let ticks = |pid: u32| -> Option<u64> {
            let fields = fields(Path::new(&format!("/proc/{pid}")))?;
            Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
        };
        crate::cost::ticks(self.all().into_iter().filter_map(ticks).sum())
    }

    /// The memory that they hold, in KiB; what several share counts once.
    pub(crate) fn memory(&self) -> u64 {
        let share = |pid: u32| -> Option<u64> {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        self.all().into_iter().filter_map(share).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// The fields of `/proc/PID/stat` behind the name, which may have anything in it: state, parent, ..
fn fields(process: &Path) -> Option<Vec<String>> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Waits until somebody takes connections there, as seen from the host of this thread.
///
/// # Errors
/// When nobody does in ten seconds.
pub(crate) fn takes_connections(address: SocketAddr) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let Err(error) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
            return Ok(());
        };
        if Instant::now() > end {
            bail!("nobody takes connections at {address}: {error}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
