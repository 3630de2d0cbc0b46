//! What the system lets this process do beyond what it lets anybody do: given up, once that was of use.

pub mod owner;
pub mod settle;
pub mod user;

use std::io;

use rustix::thread::{self, CapabilitySet, CapabilitySets};

/// Gives up every capability of this thread, and of those that it starts from now on; what they execute gets none
/// either (`capabilities(7)`, `PR_SET_NO_NEW_PRIVS(2const)`). Threads that there are already keep theirs.
///
/// # Errors
///
/// The kernel's; some may be given up already then.
pub fn give_up() -> io::Result<()> {
    thread::set_no_new_privs(true)?;
    thread::clear_ambient_capability_set()?;
    forget_bounds();
    let none = CapabilitySet::empty();
    let nothing = CapabilitySets { effective: none, permitted: none, inheritable: none };
    // Who has none may not even be let say so.
    if thread::capabilities(None)? != nothing {
        thread::set_capabilities(None, nothing)?;
    }
    if thread::capabilities(None)? != nothing {
        return Err(io::Error::other("the kernel keeps capabilities that were given up"));
    }
    Ok(())
}

/// No capability can be had by executing something, from now on. Does nothing where `CAP_SETPCAP` is not ours.
pub fn forget_bounds() {
    for number in 0..u64::BITS {
        // It ends behind the last capability that this kernel knows; at once where CAP_SETPCAP is not ours, and there
        // no_new_privs does by itself.
        if thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)).is_err()
        {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_none_then_and_nor_has_its_child() {
        let status = || {
            give_up().expect("anybody may");
            std::thread::spawn(|| std::fs::read_to_string("/proc/thread-self/status")).join()
        };
        // In a thread of its own: there is no way back.
        let status =
            std::thread::spawn(status).join().expect("it ends").expect("it ends").expect("it is there");
        let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(value(set), Some("0000000000000000"), "{set}");
        }
        assert_eq!(value("NoNewPrivs:"), Some("1"));
    }
}
