//! A new gogeta takes the listening sockets of the running one over, and that one finishes what it has in hand.
//!
//! The running one listens at `--upgrade-socket`. Whoever starts there asks it first, and they say (`message`):
//!
//! ```text
//! new  ─ ask ──────▶ old   who it is; the system says who it really is
//! new  ◀─── offer ── old   all listening sockets, by SCM_RIGHTS ([`rights`]); both have them now, and the old one accepts
//!                          the new one starts: routes, templates, the engine, all of its threads
//! new  ─ ready ────▶ old   which of them it goes on with
//! new  ◀─── yours ── old   from here on they are the new one's, which accepts; the old one does not, and drains
//! ```
//!
//! Until `yours` nothing has changed for the old one: where the new one fails, ends or takes too long, it goes on. Where
//! the old one ends before, the new one has the only descriptors, and goes on with them. Nobody who waits in a queue is
//! lost: a socket whose descriptors were never all closed keeps its queue.
//!
//! The socket at the path is among those that are handed over. So the path leads to who runs, at any moment, and nobody
//! has to be allowed to write there once it is made.

mod give;
mod message;
mod place;
mod rights;
mod take;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicU8, Ordering};

pub use give::{Keep, Successor, Taken};
pub use place::listen;
pub use take::{HandoverError, Predecessor, succeed};

/// Whether another gogeta goes on with a socket when this one is gone.
#[derive(Debug, Default)]
pub struct Fate(AtomicU8);

const OWN: u8 = 0;
const LENT: u8 = 1;
const GIVEN: u8 = 2;

impl Fate {
    /// It does.
    pub fn is_given(&self) -> bool {
        self.0.load(Ordering::Acquire) == GIVEN
    }

    /// It may: one has it already, and is about to start.
    pub fn is_lent(&self) -> bool {
        self.0.load(Ordering::Acquire) == LENT
    }

    fn set(&self, fate: u8) {
        self.0.store(fate, Ordering::Release);
    }

    fn change(&self, before: u8, after: u8) {
        // Another fate stays.
        let _ = self.0.compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Which network namespace this process is in: sockets of another one hear nobody of this one.
fn network() -> io::Result<(u64, u64)> {
    let network = fs::metadata("/proc/self/ns/net")?;
    Ok((network.dev(), network.ino()))
}

/// The service that this process is of, as the kernel groups processes; nothing, where it does not.
fn service() -> String {
    fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}
