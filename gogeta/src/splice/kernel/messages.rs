//! What the program in the kernel says by itself, in gogeta's log.

use std::os::fd::{AsFd, BorrowedFd};

use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use tracing::Level;

/// What `--log` calls it.
const TARGET: &str = "gogeta::kernel";

/// The ring buffer of aya-log, which does not name it for us.
const RING: &str = "AYA_LOGS";

/// Reads messages and logs them.
#[must_use]
pub struct Messages(EbpfLogger<Bridge>);

/// Says before the program is loaded whether it is to say anything, by whether `--log` lets debug messages of
/// [`TARGET`] through at that moment. Where it does not, the kernel removes them from the program.
pub(super) fn prepare(loader: &mut EbpfLoader<'_>) -> bool {
    const ON: u8 = aya_log::Level::Debug as u8;
    const OFF: u8 = 0;
    let is_on = tracing::enabled!(target: TARGET, Level::DEBUG);
    loader.override_global(aya_log::LEVEL, if is_on { &ON } else { &OFF }, true);
    if !is_on {
        // It is made all the same; the least that there can be is a page.
        loader.map_max_entries(RING, 1);
    }
    is_on
}

impl Messages {
    /// Those of a program that is not loaded yet.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, aya_log::Error> {
        EbpfLogger::init_with_logger(ebpf, Bridge).map(Self)
    }

    /// Logs what has been said since.
    pub fn tell(&mut self) {
        self.0.flush();
    }
}

impl AsFd for Messages {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Messages")
    }
}

/// From `log`, which aya-log knows, to `tracing`.
struct Bridge;

impl Log for Bridge {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let message = record.args();
        match record.level() {
            log::Level::Error => tracing::error!(target: TARGET, "{message}"),
            log::Level::Warn => tracing::warn!(target: TARGET, "{message}"),
            log::Level::Info => tracing::info!(target: TARGET, "{message}"),
            log::Level::Debug | log::Level::Trace => tracing::debug!(target: TARGET, "{message}"),
        }
    }

    fn flush(&self) {}
}
