//! The log: structured, as text for people or as JSON for programs, on standard error.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::time::UtcTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::cli::LogFormat;
use crate::config::{ConfigError, Log};

/// Changes what is logged while gogeta runs.
#[derive(Debug)]
pub struct LogControl {
    handle: Handle<EnvFilter, Registry>,
    /// What it says.
    filter: Mutex<String>,
}

/// Starts logging.
///
/// # Errors
///
/// Where `--log` is no filter.
pub fn start(log: &Log) -> Result<LogControl, ConfigError> {
    let text = Mutex::new(log.filter.clone());
    let (filter, handle) = Layer::new(filter(&log.filter)?);
    let lines = tracing_subscriber::fmt::layer().with_timer(UtcTime::rfc_3339()).with_target(false);
    let lines = lines.with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    let outcome = match log.format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    outcome.map_err(|error| ConfigError(format!("cannot start the log: {error}")))?;
    Ok(LogControl { handle, filter: text })
}

impl LogControl {
    /// One that changes no log.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        Self { handle: Layer::new(EnvFilter::new("info")).1, filter: Mutex::new("info".to_owned()) }
    }

    /// From now on, logs what this says.
    ///
    /// # Errors
    ///
    /// Where it is no filter.
    pub fn change(&self, text: &str) -> Result<(), ConfigError> {
        let filter = filter(text)?;
        let mut current = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error| ConfigError(format!("cannot change the log: {error}"));
        self.handle.reload(filter).map_err(failed)?;
        text.clone_into(&mut current);
        Ok(())
    }

    /// What is logged now.
    pub fn filter(&self) -> String {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn filter(text: &str) -> Result<EnvFilter, ConfigError> {
    EnvFilter::try_new(text)
        .map_err(|error| ConfigError(format!("--log must be a level or a filter, not {text:?}: {error}")))
}
