//! What the kernel says while a test runs.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;

/// What the kernel calls it when it finds itself at fault.
const FAULTS: [&str; 6] =
    ["WARNING:", "BUG:", "Oops", "general protection fault", "refcount_t:", "Call Trace:"];

/// From now on.
#[derive(Debug)]
pub(super) struct KernelLog(Option<File>);

impl KernelLog {
    /// Where it may not be read, nothing is heard.
    pub(super) fn from_now_on() -> Self {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("it is small");
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg").ok();
        if file.as_mut().is_some_and(|file| file.seek(SeekFrom::End(0)).is_err()) {
            file = None;
        }
        Self(file)
    }

    /// Lines in which it finds itself at fault.
    pub(super) fn faults(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        let Some(file) = &mut self.0 else { return faults };
        let mut record = [0; 8192];
        loop {
            match file.read(&mut record) {
                Ok(0) => return faults,
                Ok(count) => {
                    let line = String::from_utf8_lossy(&record[..count]).into_owned();
                    if FAULTS.iter().any(|fault| line.contains(fault)) {
                        faults.push(line);
                    }
                }
                // Some were overwritten.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(_) => return faults,
            }
        }
    }
}
