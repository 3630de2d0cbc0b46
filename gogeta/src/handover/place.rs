//! The socket at the path.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Listens at the path, for this user alone, in the place of what another gogeta has left there: at no moment is there
/// nothing.
///
/// # Errors
///
/// What is there is no socket, or the system's reason.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    if is_something_else(path)? {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "what is there is not a socket"));
    }
    let fresh = beside(path);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    let placed = fs::set_permissions(&fresh, Permissions::from_mode(0o600))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| fs::rename(&fresh, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    Ok(listener)
}

/// Where it is until it listens and is nobody else's to reach.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("~");
    name.into()
}

fn is_something_else(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(there) => Ok(!there.file_type().is_socket()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn it_is_reached_by_its_user_and_takes_the_place_of_a_dead_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("upgrade");
        for _ in 0..2 {
            let listener = listen(&path).expect("a socket");
            UnixStream::connect(&path).expect("it is reached");
            listener.accept().expect("by this path");
            let mode = fs::metadata(&path).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn nothing_else_is_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("precious");
        fs::write(&path, "text").expect("it is written");
        assert!(listen(&path).expect_err("it is a file").to_string().contains("not a socket"));
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "text");
    }
}
