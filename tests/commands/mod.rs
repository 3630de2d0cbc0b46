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

use std::process::Stdio;

use tokio::process::Command;

use crate::support::etcd::{Etcd, skip};
use crate::support::gogeta::{Gogeta, Said};

/// Runs a command on this etcd; the line is split at white space.
async fn run(etcd: &Etcd, line: &str) -> Said {
    Gogeta::bare().env("GOGETA_ETCD_ADDRESS", etcd.url()).command_line(line).await
}

/// The same for arguments with spaces in them.
async fn run_args(etcd: &Etcd, arguments: &[&str]) -> Said {
    Gogeta::bare().env("GOGETA_ETCD_ADDRESS", etcd.url()).args(arguments).said().await
}

/// Runs a command on a terminal, with these variables, and gives what it shows there; none where there is no `script`
/// (of util-linux), which plays the terminal.
async fn on_a_terminal(etcd: &Etcd, line: &str, variables: &[(&str, &str)]) -> Option<String> {
    if std::process::Command::new("script").arg("--version").output().is_err() {
        skip("script is not installed");
        return None;
    }
    let line = format!("{} {line} --etcd-address {}", env!("CARGO_BIN_EXE_gogeta"), etcd.url());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
    command.envs(variables.iter().copied()).stdin(Stdio::null());
    let output = command.output().await.expect("script runs");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    Some(shown)
}
