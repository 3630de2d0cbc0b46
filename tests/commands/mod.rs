//! The commands beside serving, over a real etcd: what they write, what they say, and how they end.

mod check;
mod export_import;
mod flags;
mod paperwork;
mod register;
mod route;
mod service;
mod wait;
mod watch;

use crate::support::etcd::Etcd;
use crate::support::gogeta::{Gogeta, Said};

/// Runs a command on this etcd; the line is split at white space.
async fn run(etcd: &Etcd, line: &str) -> Said {
    Gogeta::bare().env("GOGETA_ETCD_ADDRESS", etcd.url()).command_line(line).await
}

/// The same for arguments with spaces in them.
async fn run_args(etcd: &Etcd, arguments: &[&str]) -> Said {
    Gogeta::bare().env("GOGETA_ETCD_ADDRESS", etcd.url()).args(arguments).said().await
}
