//! gogeta's programs for the kernel.
//!
//! `cargo xtask build-ebpf` compiles this crate for `bpfel-unknown-none` and writes
//! `gogeta-ebpf.o` beside its `Cargo.toml`. The object is committed, so that everyone else needs
//! stable Rust only; `cargo xtask build-ebpf --check` fails when it is not what this source gives.
//!
//! For any other target this is an empty program, which keeps `cargo check --workspace` and
//! editors going without a BPF toolchain.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod door;
#[cfg(target_arch = "bpf")]
mod events;
#[cfg(target_arch = "bpf")]
mod guard;
#[cfg(target_arch = "bpf")]
mod hands;
#[cfg(target_arch = "bpf")]
mod messages;
mod notice;
#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod sockmap;
#[cfg(target_arch = "bpf")]
mod tunnel;
#[cfg(target_arch = "bpf")]
mod wire;

use aya_ebpf::{bindings::sk_action::SK_PASS, macros::stream_verdict, programs::SkBuffContext};
use gogeta_common::PROBE_PROGRAM;

/// Passes everything to its own socket.
///
/// It is never attached. gogeta loads it at start to learn whether the kernel takes programs of
/// this kind from this process at all: that needs a kernel with BPF and the capabilities for it,
/// and no list of versions and flags answers the question as well as trying does. The real program is too long for
/// whoever may not load it, which is all that the kernel would say of it.
#[stream_verdict]
fn gogeta_probe(_ctx: SkBuffContext) -> u32 {
    SK_PASS
}

// Userspace looks the program up by this name: renaming only one of the two must not compile.
const _: () = assert!(matches!(PROBE_PROGRAM.as_bytes(), b"gogeta_probe"));

/// The licence the kernel is told.
///
/// Helpers marked "GPL only" are refused to a program without a GPL-compatible one, and the
/// kernel knows the spellings that it takes (`license_is_gpl_compatible` in `linux/license.h`).
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program in which this could be reached.
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
