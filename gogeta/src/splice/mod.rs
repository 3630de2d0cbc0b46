//! Parked pairs: a client's socket and an upstream's, of which the kernel carries the bytes.
//!
//! ```text
//! seat     a client's connection among the pairs: park it with an upstream, look at it, take it back
//! engine   all pairs: who wakes whom, what was carried; a task that hears from the kernel
//! ways     whose packets are whose, to the wire engine, also when a socket is closed
//! late     what comes when a tunnel is over
//! loss     how much of what a pair carries is sent again
//! trial    what the engine has to show at start, before it is trusted
//! kernel   the door: program, maps, shared memory, what only system calls tell
//! ```
//!
//! What a pair is, and who may do what with it when, is in [`gogeta_common::pair`], for both sides of the door.

pub mod counts;
pub mod engine;
pub mod kernel;
mod late;
mod loss;
pub mod metrics;
pub mod seat;
pub mod trial;
pub mod ways;

pub use engine::{Engine, Kind, Name, Tenant};
pub use kernel::Kinds;
pub use seat::{Back, Ledger, Seat, Terms, Unfit};
pub use ways::Watch;

#[cfg(test)]
mod rules;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tunnels;
