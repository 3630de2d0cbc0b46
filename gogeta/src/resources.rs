//! What the system gives this process: open files, and memory in pages of its usual size.

/// Connections are many and small; huge pages would make each of them as large as what it reserves.
pub fn forgo_huge_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "cannot forgo huge pages");
    }
}

/// Each connection takes two descriptors; the soft limit is often far below what is allowed.
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        let (before, most) = (limit.current, limit.maximum);
        limit.current = most;
        match setrlimit(Resource::Nofile, limit) {
            Ok(()) => tracing::debug!(?before, now = ?most, "the limit of open files is raised"),
            Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
        }
    }
}
