//! What is left to a gogeta that somebody else has taken over: to serve, and little else.
//!
//! Entered once, when all is loaded and bound and before there is a second thread. `calls` says which system calls pass
//! then (seccomp), `places` which files are within reach (Landlock), and [`crate::privilege`] has given up before what
//! else could be done. docs/security.md tells it to operators, and what it does not stop.

mod calls;
mod files;
mod install;
mod names;
mod places;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fmt, io};

pub use calls::Needs;
pub use names::watch;
pub use places::Places;

use crate::cli::SandboxMode;
use crate::config::{Config, ConfigError};

/// What holds for this process from its start on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    /// Whether system calls are filtered.
    pub seccomp: bool,
    /// The version of Landlock that holds for files, where one does.
    pub landlock: Option<u32>,
    /// Whether it was not wanted.
    pub is_off: bool,
    /// Whose process it is.
    pub user: u32,
    /// And its group.
    pub group: u32,
    places: Places,
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_off {
            return write!(f, "off (--sandbox), uid {}", self.user);
        }
        f.write_str(if self.seccomp { "system calls (seccomp)" } else { "no seccomp" })?;
        match self.landlock {
            Some(version) => write!(f, ", files (Landlock {version})")?,
            None => f.write_str(", no Landlock")?,
        }
        write!(f, ", uid {}", self.user)
    }
}

/// Enters the sandbox. What it comes to is told in the log by the caller, by what this gives.
///
/// # Errors
///
/// In words: where it is to be on and cannot be had, or something that the kernel has fails.
pub fn enter(config: &Config, needs: Needs) -> Result<Holds, String> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let mut holds = Holds { user: user.as_raw(), group: group.as_raw(), ..Holds::default() };
    if config.sandbox == SandboxMode::Off {
        holds.is_off = true;
        return Ok(holds);
    }
    let must = config.sandbox == SandboxMode::On;
    holds.places = Places::of(config, user.is_root());
    holds.landlock = files::confine(&holds.places).map_err(|error| {
        format!("--sandbox: Landlock refuses its rules: {error}; --sandbox off does without")
    })?;
    IS_CONFINED.store(holds.landlock.is_some(), Ordering::Relaxed);
    if must && holds.landlock.is_none() {
        return Err(
            "--sandbox on cannot be: this kernel has no Landlock (Linux 5.13, and not left out by lsm= \
                    on its command line); --sandbox auto does with what there is"
                .to_owned(),
        );
    }
    match calls::filters(needs).and_then(|filters| install_all(&filters)) {
        Ok(()) => holds.seccomp = true,
        Err(why) if must => {
            return Err(format!("--sandbox on cannot be: {why}; --sandbox auto does with what there is"));
        }
        Err(why) => tracing::warn!(why, "system calls are not filtered"),
    }
    Ok(holds)
}

fn install_all([unknown, known]: &[seccompiler::BpfProgram; 2]) -> Result<(), String> {
    let failed = |error| format!("the kernel does not take a filter of system calls (seccomp): {error}");
    // That a newer call is not known is no news.
    install::install(unknown, false).map_err(failed)?;
    install::install(known, true).map_err(failed)
}

impl Holds {
    /// A configuration that was read anew, unless it leads to where nothing can be read any more.
    ///
    /// # Errors
    ///
    /// Names the flag.
    pub fn admit(&self, new: Config) -> Result<Config, ConfigError> {
        let is_open = |path: &Path| self.landlock.is_none() || self.places.may_read(path);
        match &new.template_dir {
            // What is not there is told of by who reads it.
            Some(folder) if folder.exists() && !is_open(folder) => Err(ConfigError(format!(
                "--template-dir {} was not named at the start, and the sandbox does not let it be read: restart gogeta",
                folder.display()
            ))),
            _ => Ok(new),
        }
    }
}

/// Whether there are rules for files.
static IS_CONFINED: AtomicBool = AtomicBool::new(false);

/// An error with a file as users should be told it: within a sandbox there is one more reason for it.
pub fn explained(error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied || !IS_CONFINED.load(Ordering::Relaxed) {
        return error.to_string();
    }
    format!(
        "{error}; the sandbox opens what was named at the start, with the directory that it is in: restart gogeta for \
         what is new (--sandbox)"
    )
}
