//! The door to the kernel: eBPF programs and maps, shared memory, and what only system calls tell of a socket.
//!
//! The only importer of aya. Unsafe code is here, in `inherited.rs`, and one call of it each in `watched.rs` and `sandbox/install.rs`.

mod arrivals;
mod attachments;
mod devices;
mod memory;
mod messages;
mod program;
pub mod socket;

pub use arrivals::Arrivals;
pub use memory::{Armed, Behind, Number, Pairs, Wired};
pub use messages::Messages;
pub use program::{Change, Events, Kinds, Program, Told, Unavailable};
