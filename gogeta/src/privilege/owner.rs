//! Giving files to the user that root's gogeta becomes: the state directory and the access log, which root may have
//! made in an earlier run.
//!
//! Whoever has a directory can put links there that lead elsewhere. So only what is root's own is given away, only where
//! nobody else could have laid it, and never through a link.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::user::User;
use crate::config::Config;

/// Makes the state directory and the access log where they are not there, and gives them to that user where they are
/// root's.
///
/// # Errors
///
/// Names the flag and the file.
pub fn hand_over(config: &Config, user: &User) -> Result<(), String> {
    if let Some(folder) = &config.control_plane.state_dir {
        give_folder(folder, user)
            .map_err(|error| format!("cannot give {} (--state-dir) to --user: {error}", folder.display()))?;
    }
    if let Some(file) = config.log.access.as_ref().and_then(|access| access.file.as_ref()) {
        give_file(file, user, true)
            .map_err(|error| format!("cannot give {} (--access-log) to --user: {error}", file.display()))?;
    }
    Ok(())
}

fn give_folder(folder: &Path, user: &User) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    let Some(folder) = in_safe_place(folder)? else { return Ok(()) };
    match DirBuilder::new().mode(0o750).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if !fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == 0) {
        // Somebody's already; whether it is that user's shows when it is used.
        return Ok(());
    }
    // As long as it is still root's.
    for entry in fs::read_dir(&folder)? {
        give_file(&entry?.path(), user, false)?;
    }
    let open = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY).open(&folder)?;
    fchown(&open, Some(user.uid()), Some(user.gid()))
}

fn give_file(file: &Path, user: &User, create: bool) -> io::Result<()> {
    let Some(file) = in_safe_place(file)? else { return Ok(()) };
    let is_roots = |metadata: &Metadata| metadata.is_file() && metadata.uid() == 0 && metadata.nlink() == 1;
    // Root without capabilities cannot open what it has given away before.
    let is_others = fs::symlink_metadata(&file).is_ok_and(|metadata| !is_roots(&metadata));
    if is_others || !(create || file.exists()) {
        return Ok(());
    }
    let mut options = File::options();
    options.append(true).create(create).mode(0o640).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let open = options.open(&file)?;
    // It may have become another one meanwhile.
    if is_roots(&open.metadata()?) {
        fchown(&open, Some(user.uid()), Some(user.gid()))?;
    }
    Ok(())
}

/// The path without links but for its last part; none where somebody but root can change what it leads to.
fn in_safe_place(path: &Path) -> io::Result<Option<PathBuf>> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (Some(name), parent) = (path.file_name(), parent.canonicalize()?) else { return Ok(None) };
    for folder in parent.ancestors() {
        let metadata = folder.metadata()?;
        let (others_write, is_sticky) = (metadata.mode() & 0o022 != 0, metadata.mode() & 0o1000 != 0);
        if metadata.uid() != 0 || (others_write && !is_sticky) {
            return Ok(None);
        }
    }
    Ok(Some(parent.join(name)))
}
