//! The door to the kernel: eBPF programs and maps, shared memory, and what only system calls tell of a socket.
//!
//! The only importer of aya, and with `inherited.rs` the only place of unsafe code.

mod arrivals;
mod attachments;
mod devices;
mod memory;
mod messages;
mod program;
pub mod socket;
mod watched;

pub use arrivals::Arrivals;
pub use memory::{Armed, Behind, Number, Pairs, Wired};
pub use messages::Messages;
pub use program::{Change, Events, Kinds, Program, Told, Unavailable};
pub use watched::Watched;
