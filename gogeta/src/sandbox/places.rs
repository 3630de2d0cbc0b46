//! Where gogeta may read and write after its start, by what it was told at its start.
//!
//! Files are replaced, not written to: by editors, by certificate managers, by Kubernetes. A rule for a file would hold
//! for the old one only. So what is open is the directory that a file is in, and, where it is a link, the one of the
//! file that it leads to. Two directories are too much for that, and there it is the file alone.

use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Config, Source};

/// What finds the addresses of names, and the libraries that it may need for that, wherever the system has them.
const NAMES: [&str; 11] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];

/// Where systems keep the certificates that they trust, and what those are links to.
const CERTIFICATES: [&str; 11] = [
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/var/lib/ca-certificates",
];

/// What the kernel tells of this process, of the processors that it may use, and of the network's devices.
const KERNEL: [&str; 6] =
    ["/proc/self", "/proc/stat", "/proc/sys/net/core", "/sys/fs/cgroup", "/sys/class/net", "/sys/devices"];

/// Directories and files that are open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// For reading, with all that is below.
    pub read: Vec<PathBuf>,
    /// For writing: files there are made, written, renamed and removed, and read.
    pub write: Vec<PathBuf>,
}

impl Places {
    /// What this configuration takes. `is_root` says whether this process owns what the system keeps from others.
    pub fn of(config: &Config, is_root: bool) -> Self {
        let mut places = Self::default();
        let told = Self::told(config);
        places.read.extend(told.read.iter().flat_map(|path| around(path, is_root)));
        places.read.extend(NAMES.iter().chain(&CERTIFICATES).chain(&KERNEL).map(PathBuf::from));
        if !is_root {
            // What is in there is for everybody, or not for this user. The resolver's files are replaced, too.
            places.read.push("/etc".into());
        }
        // A profile is told by the names in the program.
        places.read.extend(std::env::current_exe());
        let given = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(std::env::var_os);
        places.read.extend(given.flat_map(several));
        places.write.extend(told.write.iter().flat_map(|path| around(path, is_root)));
        places.write.extend(config.control_plane.state_dir.clone());
        // A directory is read as a whole.
        places.read.extend(config.template_dir.clone());
        places
    }

    /// The files that are named.
    fn told(config: &Config) -> Self {
        let mut told = Self { read: config.files.clone(), ..Self::default() };
        match &config.source {
            Source::File(routes) => told.read.push(routes.clone()),
            Source::Etcd(etcd) => {
                told.read.extend(etcd.ca.clone());
                told.read.extend(etcd.identity.clone().into_iter().flat_map(|(cert, key)| [cert, key]));
            }
            // The demo is no place for a sandbox.
            Source::Demo(_) | Source::Nothing => {}
        }
        told.write.extend(config.log.access.as_ref().and_then(|access| access.file.clone()));
        told.write.push(config.log.cpu_profile.clone());
        told
    }

    /// Whether what is here may be read by these rules.
    pub fn may_read(&self, path: &Path) -> bool {
        let Ok(path) = path.canonicalize() else { return false };
        let open = self.read.iter().chain(&self.write);
        open.filter_map(|open| open.canonicalize().ok()).any(|open| path.starts_with(open))
    }
}

/// Paths in one variable.
fn several(text: OsString) -> Vec<PathBuf> {
    std::env::split_paths(&text).collect()
}

/// What has to be open for a file that may be replaced: one or two directories, or the file itself where it is not in
/// a directory that could be opened, or is no file but a device or a pipe.
fn around(file: &Path, is_root: bool) -> Vec<PathBuf> {
    let special = |path: &Path| {
        let kind = std::fs::metadata(path).map(|metadata| metadata.file_type());
        kind.is_ok_and(|kind| {
            kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket()
        })
    };
    if special(file) {
        return vec![file.to_owned()];
    }
    let mut around = Vec::new();
    for path in [Some(file.to_owned()), file.canonicalize().ok()].into_iter().flatten() {
        let folder = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => continue,
        };
        let place = if is_too_much(&folder, is_root) { path } else { folder };
        if !around.contains(&place) {
            around.push(place);
        }
    }
    around
}

/// All there is; and, to root, everybody's secrets and what is run when the system starts.
fn is_too_much(folder: &Path, is_root: bool) -> bool {
    let folder = folder.canonicalize();
    folder.is_ok_and(|folder| {
        folder == Path::new("/")
            || (is_root && ["/etc", "/dev", "/root"].iter().any(|path| folder == Path::new(path)))
    })
}
