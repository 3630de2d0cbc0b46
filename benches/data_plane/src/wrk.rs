//! wrk(1): as many requests as can be.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::hosts::Host;
use crate::load;

/// What each request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Asked {
    /// A GET with few fields.
    Plain,
    /// A GET with 1 KB of cookies.
    Cookies,
    /// A GET on a connection of its own.
    Alone,
    /// A POST with a body of so many bytes.
    Upload(usize),
    /// A GET for the next of so many hosts.
    Hosts(u32),
}

/// What it says at the end.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) micros: u64,
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    /// Latencies, in microseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
}

/// Runs it on the client.
///
/// # Errors
/// When it fails or says nothing that can be read.
pub(crate) fn run(
    address: SocketAddr,
    path: &str,
    connections: usize,
    seconds: f64,
    asked: Asked,
    folder: &Path,
) -> Result<Outcome> {
    let script = folder.join("wrk.lua");
    std::fs::write(&script, lua(asked)).context("the script for wrk")?;
    let mut command = Host::Client.command("wrk");
    let threads = if connections > 1 { 2 } else { 1 };
    // It takes whole seconds, or milliseconds of none.
    command.args(["-t", &threads.to_string(), "-c", &connections.to_string()]);
    command.args(["-d", &format!("{:.0}s", seconds.max(1.0)), "--timeout", "10s", "-s"]).arg(&script);
    let output = command.arg(format!("http://{address}{path}")).output().context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
    let line = text.lines().rev().find(|line| line.starts_with('{')).context("wrk says nothing")?;
    serde_json::from_str(line).context("what wrk says")
}

/// The script for such requests.
fn lua(asked: Asked) -> String {
    let mut script = format!("wrk.headers['Host'] = '{}'\n", load::host(false));
    // Writing to a String does not fail.
    let _ = match asked {
        Asked::Plain => Ok(()),
        Asked::Cookies => writeln!(script, "wrk.headers['Cookie'] = 'session=' .. string.rep('c', 1000)"),
        Asked::Alone => writeln!(script, "wrk.headers['Connection'] = 'close'"),
        Asked::Upload(size) => {
            writeln!(script, "wrk.method = 'POST'\nwrk.body = string.rep('u', {size})")
        }
        Asked::Hosts(count) => writeln!(
            script,
            "local next = 0\n\
             local all = {{}}\n\
             function init(args)\n\
               for host = 0, {count} - 1 do\n\
                 all[host] = wrk.format(nil, nil, {{ Host = 'h' .. host .. '.test' }})\n\
               end\n\
             end\n\
             function request()\n\
               next = (next + 1) % {count}\n\
               return all[next]\n\
             end"
        ),
    };
    script + include_str!("wrk.lua")
}
