//! The log: structured, as text for people or as JSON for programs, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::fmt::time::UtcTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::cli::LogFormat;
use crate::config::{ConfigError, Log};

/// Changes what is logged while gogeta runs.
#[derive(Debug)]
pub struct LogControl(Handle<EnvFilter, Registry>);

/// Starts logging.
///
/// # Errors
///
/// Where `--log` is no filter.
pub fn start(log: &Log) -> Result<LogControl, ConfigError> {
    let (filter, control) = Layer::new(filter(log)?);
    let lines = tracing_subscriber::fmt::layer().with_timer(UtcTime::rfc_3339()).with_target(false);
    let lines = lines.with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    let outcome = match log.format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    outcome.map_err(|error| ConfigError(format!("cannot start the log: {error}")))?;
    Ok(LogControl(control))
}

impl LogControl {
    /// From now on, logs what this says.
    ///
    /// # Errors
    ///
    /// Where `--log` is no filter.
    pub fn change(&self, log: &Log) -> Result<(), ConfigError> {
        let filter = filter(log)?;
        self.0.reload(filter).map_err(|error| ConfigError(format!("cannot change the log: {error}")))
    }
}

fn filter(log: &Log) -> Result<EnvFilter, ConfigError> {
    EnvFilter::try_new(&log.filter).map_err(|error| {
        ConfigError(format!("--log must be a level or a filter, not {:?}: {error}", log.filter))
    })
}
