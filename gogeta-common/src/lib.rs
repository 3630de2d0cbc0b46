//! What gogeta's userspace and its eBPF programs have to agree on.
//!
//! One half runs in the kernel, without `std` and without an allocator, and is built by another
//! compiler run than the other half. Whatever both must spell the same way is written here once,
//! so that it cannot differ.

#![no_std]

pub mod guard;

/// The name of the probe, the program in `gogeta-ebpf` that does nothing.
///
/// It is a symbol in the eBPF object: userspace finds the program by this name.
pub const PROBE_PROGRAM: &str = "gogeta_probe";
