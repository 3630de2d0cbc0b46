//! CPU profiles: SIGUSR2 starts one, the next SIGUSR2 (or the end) writes it out. The admin API does the same.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pprof::ProfilerGuard;
use pprof::protos::Message as _;

/// Samples a second; not a round number, so as not to keep step with timers.
const FREQUENCY: i32 = 199;

/// A profile that may be running.
pub struct Profiler {
    file: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Option<ProfilerGuard<'static>>,
    flames: Option<Arc<[u8]>>,
}

/// Why a profile was not started or not written.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It was to be started.
    #[error("a CPU profile is running already")]
    Running,
    /// It was to be ended.
    #[error("no CPU profile is running")]
    Idle,
    /// The system's reason.
    #[error("{0}")]
    Failed(String),
}

impl std::fmt::Debug for Profiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profiler").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Profiler {
    /// A profiler that writes to that file; not running yet.
    pub fn new(file: PathBuf) -> Self {
        Self { file, state: Mutex::default() }
    }

    /// Where profiles go; their flame graphs are beside them, as `.svg`.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The flame graph of the last profile. It is kept here, for the file may lie where others can write.
    pub fn flames(&self) -> Option<Arc<[u8]>> {
        self.state().flames.clone()
    }

    /// Starts.
    ///
    /// # Errors
    ///
    /// Where it is running, or the system gives no timer.
    pub fn start(&self) -> Result<(), ProfileError> {
        let mut state = self.state();
        if state.running.is_some() {
            return Err(ProfileError::Running);
        }
        if let Some(folder) = self.file.parent() {
            // It keeps what does not fit its memory in a file beside: elsewhere it may not, within the sandbox.
            let _ = tempfile::env::override_temp_dir(folder);
        }
        let builder = pprof::ProfilerGuardBuilder::default()
            .frequency(FREQUENCY)
            .blocklist(&["libc", "libgcc", "pthread", "vdso"]);
        match builder.build() {
            Ok(guard) => {
                state.running = Some(guard);
                tracing::info!(file = %self.file.display(), "profiling; SIGUSR2 once more writes the profile");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "cannot start the CPU profile");
                Err(ProfileError::Failed(format!("cannot start the CPU profile: {error}")))
            }
        }
    }

    /// Stops and writes the profile; gives the names of the files. That takes a while.
    ///
    /// # Errors
    ///
    /// Where it is not running, or cannot be written.
    pub fn stop(&self) -> Result<Vec<PathBuf>, ProfileError> {
        let mut state = self.state();
        let guard = state.running.take().ok_or(ProfileError::Idle)?;
        match write(&guard, &self.file) {
            Ok((files, picture)) => {
                let flames = self.file.with_extension("svg");
                tracing::info!(file = %self.file.display(), flames = %flames.display(), "the CPU profile is written");
                state.flames = picture;
                Ok(files)
            }
            Err(error) => {
                tracing::error!(file = %self.file.display(), %error, "cannot write the CPU profile");
                let file = self.file.display();
                Err(ProfileError::Failed(format!(
                    "cannot write the CPU profile to {file} (--cpu-profile): {error}"
                )))
            }
        }
    }

    /// Starts, or stops and writes. How that went, the log says.
    pub fn toggle(&self) {
        let is_running = self.state().running.is_some();
        let _ = if is_running { self.stop().map(drop) } else { self.start() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was written: the files, and the flame graph, where there is one.
type Written = (Vec<PathBuf>, Option<Arc<[u8]>>);

/// Writes the profile, and a flame graph beside it.
fn write(guard: &ProfilerGuard<'_>, file: &Path) -> io::Result<Written> {
    let report = guard.report().build().map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    report.pprof().map_err(io::Error::other)?.write_to_vec(&mut bytes).map_err(io::Error::other)?;
    create(file)?.write_all(&bytes)?;
    if report.data.is_empty() {
        // A flame graph of nothing is no picture.
        return Ok((vec![file.to_owned()], None));
    }
    let mut picture = Vec::new();
    report.flamegraph(&mut picture).map_err(io::Error::other)?;
    let flames = file.with_extension("svg");
    create(&flames)?.write_all(&picture)?;
    Ok((vec![file.to_owned(), flames], Some(picture.into())))
}

/// A new file in the place of an old one. The usual place is a folder that everybody can write to: what stands
/// there under that name, a link perhaps, is taken away and not written through.
fn create(file: &Path) -> io::Result<File> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::options().write(true).create_new(true).open(file),
    }
}
