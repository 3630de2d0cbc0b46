//! What gogeta's userspace and its eBPF programs have to agree on.
//!
//! One half runs in the kernel, without `std` and without an allocator, and is built by another
//! compiler run than the other half. Whatever both must spell the same way is written here once,
//! so that it cannot differ.

#![no_std]

pub mod guard;
pub mod latency;
pub mod pair;
pub mod wire;

/// The name of the probe, the program in `gogeta-ebpf` that does nothing.
///
/// It is a symbol in the eBPF object: userspace finds the program by this name.
pub const PROBE_PROGRAM: &str = "gogeta_probe";

/// The name of the filter for listeners that are about to close.
pub const DOOR_PROGRAM: &str = "gogeta_door";

/// The names of what all engines have in the eBPF object.
pub mod shared {
    /// The pairs, by slot.
    pub const PAIRS: &str = "PAIRS";
    /// Events for userspace.
    pub const EVENTS: &str = "EVENTS";
    /// How many requests were not told of, for there was no room.
    pub const LOST: &str = "LOST";
    /// A constant of the programs: whether requests are told of, one by one.
    pub const LOGS: &str = "LOGS";
}

/// The names of the sockmap engine's program and maps in the eBPF object.
pub mod sockmap {
    /// The program that judges what comes on a parked socket.
    pub const PROGRAM: &str = "sockmap_verdict";
    /// The sockets, by cookie.
    pub const SOCKETS: &str = "SOCKETS";
    /// Which pair a cookie belongs to.
    pub const FLOWS: &str = "FLOWS";
}
