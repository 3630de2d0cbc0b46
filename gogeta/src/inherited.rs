//! Taking over the descriptors that whoever started gogeta left open for it, by their numbers.
//!
//! A number is no proof that a descriptor is ours to take, so this is where unsafe code cannot be avoided: it asks
//! the system about a number, and owns what it names. What the descriptor is good for, `proxy::listener` finds out.

use std::env;
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// The first descriptor that systemd passes on (sd_listen_fds(3)).
const SYSTEMD_FIRST: RawFd = 3;

/// Takes the descriptor over; from now on it is ours, and no child of ours gets it.
///
/// # Errors
///
/// Where there is none of that number, or it is not one that was inherited.
pub fn take(number: RawFd) -> Result<OwnedFd, String> {
    // SAFETY: it lives as long as this function, which closes nothing; where the number is not that of an open
    // descriptor, the system says so.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(descriptor).map_err(|_| "no such descriptor is open".to_owned())?;
    // What survived the start has no such flag; what this process opened has, for std and all libraries set it.
    if flags.contains(FdFlags::CLOEXEC) {
        return Err("it was not inherited, or it is named twice".to_owned());
    }
    fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC).map_err(|error| error.to_string())?;
    // SAFETY: it is open, and nobody in this process owns it: it was inherited, and whoever had been here before
    // would have set the flag.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The numbers of the descriptors that systemd passed to this process, as sd_listen_fds(3) tells; the variables that
/// tell of them are gone afterwards. Must be called before there is a second thread.
///
/// # Errors
///
/// Where there are none, or they are meant for another process.
pub fn from_systemd() -> Result<Vec<RawFd>, String> {
    let [pid, count] = ["LISTEN_PID", "LISTEN_FDS"].map(|name| env::var(name).ok());
    for name in ["LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        // SAFETY: no other thread reads the environment meanwhile, for there is none yet.
        unsafe { env::remove_var(name) };
    }
    let (Some(pid), Some(count)) = (pid, count) else {
        return Err("LISTEN_PID and LISTEN_FDS are not set, so no socket unit has started this".to_owned());
    };
    let own = std::process::id();
    if pid.parse() != Ok(own) {
        return Err(format!("LISTEN_PID says that they are for process {pid}, and this is {own}"));
    }
    match count.parse::<RawFd>() {
        Ok(count @ 1..=1024) => Ok((SYSTEMD_FIRST..SYSTEMD_FIRST + count).collect()),
        _ => Err(format!("LISTEN_FDS is {count:?}, not a number of sockets")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn what_this_process_opened_is_not_taken() {
        let file = std::fs::File::open("/dev/null").expect("a file");
        let error = take(file.as_raw_fd()).expect_err("it is ours already");
        assert!(error.contains("not inherited"), "{error}");
        let error = take(RawFd::MAX).expect_err("there is none");
        assert!(error.contains("no such descriptor"), "{error}");
    }

    #[test]
    fn it_is_taken_once() {
        let file = std::fs::File::open("/dev/null").expect("a file");
        let copy = rustix::io::dup(&file).expect("a descriptor without the flag");
        let number = std::os::fd::IntoRawFd::into_raw_fd(copy);
        let taken = take(number).expect("it looks inherited");
        assert_eq!(taken.as_raw_fd(), number);
        assert!(take(number).is_err());
    }
}
