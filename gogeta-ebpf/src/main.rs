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
mod sockmap;

use aya_ebpf::{bindings::TC_ACT_OK, macros::classifier, programs::TcContext};
use gogeta_common::PROBE_PROGRAM;

/// Lets every packet pass, untouched.
///
/// It is never attached. gogeta loads it at start to learn whether the kernel takes programs of
/// this kind from this process at all: that needs a kernel with BPF and the capabilities for it,
/// and no list of versions and flags answers the question as well as trying does.
#[classifier]
fn gogeta_probe(_ctx: TcContext) -> i32 {
    TC_ACT_OK
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
