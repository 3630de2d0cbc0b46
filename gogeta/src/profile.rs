//! CPU profiles: SIGUSR2 starts one, the next SIGUSR2 (or the end) writes it out.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use pprof::ProfilerGuard;
use pprof::protos::Message as _;

/// Samples a second; not a round number, so as not to keep step with timers.
const FREQUENCY: i32 = 199;

/// A profile that may be running.
pub struct Profiler {
    file: PathBuf,
    running: Option<ProfilerGuard<'static>>,
}

impl std::fmt::Debug for Profiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profiler")
            .field("file", &self.file)
            .field("running", &self.running.is_some())
            .finish()
    }
}

impl Profiler {
    /// A profiler that writes to that file; not running yet.
    pub fn new(file: PathBuf) -> Self {
        Self { file, running: None }
    }

    /// Starts, if it is not running.
    pub fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        let builder = pprof::ProfilerGuardBuilder::default()
            .frequency(FREQUENCY)
            .blocklist(&["libc", "libgcc", "pthread", "vdso"]);
        match builder.build() {
            Ok(guard) => {
                self.running = Some(guard);
                tracing::info!(file = %self.file.display(), "profiling; SIGUSR2 once more writes the profile");
            }
            Err(error) => tracing::error!(%error, "cannot start the CPU profile"),
        }
    }

    /// Stops and writes the profile, if it is running.
    pub fn stop(&mut self) {
        let Some(guard) = self.running.take() else { return };
        match write(&guard, &self.file) {
            Ok(flames) => {
                tracing::info!(file = %self.file.display(), flames = %flames.display(), "the CPU profile is written");
            }
            Err(error) => {
                tracing::error!(file = %self.file.display(), %error, "cannot write the CPU profile")
            }
        }
    }

    /// Starts, or stops and writes.
    pub fn toggle(&mut self) {
        if self.running.is_some() { self.stop() } else { self.start() }
    }
}

/// Writes the profile, and a flame graph beside it; gives the latter's name.
fn write(guard: &ProfilerGuard<'_>, file: &Path) -> io::Result<PathBuf> {
    let report = guard.report().build().map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    report.pprof().map_err(io::Error::other)?.write_to_vec(&mut bytes).map_err(io::Error::other)?;
    create(file)?.write_all(&bytes)?;
    let flames = file.with_extension("svg");
    if report.data.is_empty() {
        // A flame graph of nothing is no picture.
        return Ok(flames);
    }
    report.flamegraph(create(&flames)?).map_err(io::Error::other)?;
    Ok(flames)
}

/// A new file in the place of an old one. The usual place is a folder that everybody can write to: what stands
/// there under that name, a link perhaps, is taken away and not written through.
fn create(file: &Path) -> io::Result<File> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::options().write(true).create_new(true).open(file),
    }
}
