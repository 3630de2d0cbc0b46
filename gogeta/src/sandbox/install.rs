//! Handing a filter of system calls to the kernel.
//!
//! The crate that makes filters can hand them over, too, but not ask for what they refuse to be logged: whoever misses a
//! system call in production could not find out which.

use std::io;

use seccompiler::BpfProgram;

/// What `seccomp(2)` takes (`struct sock_fprog`, `linux/filter.h`).
#[repr(C)]
struct Program {
    length: libc::c_ushort,
    instructions: *const seccompiler::sock_filter,
}

/// From now on every thread of this process, and those that it will have, make only the system calls that this and all
/// earlier filters let pass. `is_logged` says whether the kernel writes down what is refused, where it has an audit log.
/// There is no way back. Needs `no_new_privs`.
///
/// # Errors
///
/// The kernel's: it knows no filters, or another filter forbids this one.
pub(super) fn install(program: &BpfProgram, is_logged: bool) -> io::Result<()> {
    let length = libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?;
    let program = Program { length, instructions: program.as_ptr() };
    let log = if is_logged { libc::SECCOMP_FILTER_FLAG_LOG } else { 0 };
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC | log;
    // SAFETY: the kernel copies as many instructions as it is told there are, and checks them.
    let outcome =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    match outcome {
        0 => Ok(()),
        thread @ 1.. => Err(io::Error::other(format!("thread {thread} has a filter of its own"))),
        _ => Err(io::Error::last_os_error()),
    }
}
