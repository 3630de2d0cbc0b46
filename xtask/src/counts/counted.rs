//! A gogeta whose instructions or allocations are counted, those of all threads together.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context as _, Result, bail, ensure};

use super::scenario::{HOST, Scenario};

/// Longer than anything takes, under valgrind and beside other work.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// What is counted, and so who counts.
#[derive(Clone, Copy)]
pub(crate) enum Meter {
    /// valgrind's callgrind does, and gogeta runs in it.
    Instructions,
    /// gogeta-counting does, whose allocator counts.
    Allocations,
}

/// One that runs; killed on drop.
pub(crate) struct Counted {
    meter: Meter,
    /// Where it takes requests.
    pub(crate) proxy: SocketAddr,
    child: Child,
    folder: PathBuf,
    up_since: Instant,
}

/// What one did.
pub(crate) struct Run {
    /// From its start to its end: instructions, or allocations and their bytes.
    pub(crate) counts: Vec<i64>,
    /// For how long it was up, in milliseconds.
    pub(crate) millis: i64,
}

impl Counted {
    /// Starts `binary` with one worker that carries everything in userspace, in `folder`, where it leaves its log.
    /// Its backend is at that port.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn start(
        meter: Meter,
        binary: &Path,
        folder: &Path,
        scenario: &Scenario,
        backend: u16,
    ) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        let routes = format!(
            "[domains.\"{HOST}\"]\ntype = \"service\"\nvalue = \"a\"\n\
             [services.a.1]\nlocation = {{ host = \"127.0.0.1\", port = {backend} }}\n"
        );
        fs::write(folder.join("routes.toml"), routes)?;
        let mut command = match meter {
            Meter::Instructions => valgrind(binary),
            Meter::Allocations => Command::new(binary),
        };
        command.args(["--routes=routes.toml", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]);
        command.args(["--threads=1", "--splice=off", "--log-format=json"]);
        // Whoever counts writes its files when gogeta is down.
        command.arg("--sandbox=off");
        command.arg(format!("--access-log={}", if scenario.logs { "access.log" } else { "off" }));
        for (name, _) in env::vars_os().filter(|(name, _)| is_gogetas(name)) {
            command.env_remove(name);
        }
        command.current_dir(folder).stdin(Stdio::null()).stderr(fs::File::create(folder.join("gogeta.log"))?);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut counted =
            Self { meter, proxy: nowhere, child, folder: folder.to_owned(), up_since: Instant::now() };
        counted.proxy = counted.up()?;
        counted.fall_asleep()?;
        counted.up_since = Instant::now();
        Ok(counted)
    }

    /// Waits until it serves its routes; gives where.
    fn up(&mut self) -> Result<SocketAddr> {
        let begun = Instant::now();
        loop {
            let log = fs::read_to_string(self.folder.join("gogeta.log"))?;
            let line = |text: &str| log.lines().find(|line| line.contains(text));
            if let (Some(_), Some(up)) = (line("routes applied"), line("gogeta is up")) {
                let listen = up.split_once("\"listen\":\"[").and_then(|(_, rest)| rest.split_once(']'));
                return listen
                    .context("the log does not say where it listens")?
                    .0
                    .parse()
                    .context("no address");
            }
            if self.child.try_wait()?.is_some() || begun.elapsed() > DEADLINE {
                bail!("gogeta does not come up:\n{log}{}", self.valgrinds_log());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it has nothing to do: all of its threads sleep. Whoever goes on only then always finds it in the
    /// same state, and it does the same work each time, however fast the machine is.
    ///
    /// # Errors
    /// When it never does.
    pub(crate) fn fall_asleep(&self) -> Result<()> {
        let begun = Instant::now();
        while !self.is_asleep()? {
            ensure!(begun.elapsed() < DEADLINE, "gogeta does not come to rest");
            thread::yield_now();
        }
        Ok(())
    }

    fn is_asleep(&self) -> Result<bool> {
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end between the two.
            let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else { return Ok(false) };
            // proc_pid_stat(5): the state is what follows the name, which is in brackets.
            if !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends it; gives what it has done.
    ///
    /// # Errors
    /// When it does not end well, or nothing was counted.
    pub(crate) fn end(mut self) -> Result<Run> {
        let millis = i64::try_from(self.up_since.elapsed().as_millis())?;
        let id = self.child.id().to_string();
        ensure!(Command::new("kill").args(["-TERM", &id]).status()?.success(), "cannot end gogeta");
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(begun.elapsed() < DEADLINE, "gogeta does not end");
            thread::sleep(Duration::from_millis(10));
        };
        ensure!(status.success(), "gogeta did not end well: {status}\n{}", self.valgrinds_log());
        let read = |file| fs::read_to_string(self.folder.join(file)).with_context(|| format!("no {file}"));
        let counts = match self.meter {
            Meter::Instructions => total(&read("callgrind.out")?),
            Meter::Allocations => numbers(&read("allocations")?),
        };
        Ok(Run { counts: counts.context("nothing was counted")?, millis })
    }

    fn valgrinds_log(&self) -> String {
        fs::read_to_string(self.folder.join("valgrind.log")).unwrap_or_default()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // It has ended, or its end does not matter any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn valgrind(binary: &Path) -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=callgrind.out", "--log-file=valgrind.log"]);
    valgrind.arg(binary);
    valgrind
}

/// Whether a variable is an option of gogeta's.
fn is_gogetas(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with("GOGETA_")
}

/// The sum in callgrind's output.
fn total(counts: &str) -> Option<Vec<i64>> {
    numbers(counts.lines().find_map(|line| line.strip_prefix("totals: "))?)
}

/// What the allocator has counted.
fn numbers(text: &str) -> Option<Vec<i64>> {
    text.split_whitespace().map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_what_callgrind_writes() {
        assert_eq!(total("events: Ir\nfn=(0) main\n1 7\n\ntotals: 74456976\n"), Some(vec![74_456_976]));
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn allocations_and_bytes_are_read() {
        assert_eq!(numbers("17 4096\n"), Some(vec![17, 4096]));
        assert_eq!(numbers("many\n"), None);
    }
}
