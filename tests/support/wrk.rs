//! wrk(1): as many requests as can be, over connections that are kept.

use std::net::SocketAddr;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use super::etcd::skip;
use super::netns::Place;
use super::wait::DEADLINE;

/// A running wrk; killed on drop.
pub(crate) struct Wrk(Child);

impl Wrk {
    /// Asks for `http://a.test/` over 64 connections until it is told to stop; none where it is not installed.
    pub(crate) fn start(place: &Place, proxy: SocketAddr) -> Option<Self> {
        let child = place
            .command("wrk")
            .args(["-t1", "-c64", "-d10m", "--timeout", "10s", "-H", "Host: a.test"])
            .arg(format!("http://{proxy}/"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        match child {
            Ok(child) => Some(Self(child)),
            Err(error) => {
                skip(&format!("wrk: {error}"));
                None
            }
        }
    }

    /// Stops it; gives the number of its requests, of which none has failed, and no connection either.
    pub(crate) async fn saw_no_error(self) -> u64 {
        let pid = self.0.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("it runs");
        kill_process(pid, Signal::INT).expect("the signal is sent");
        let output = tokio::time::timeout(DEADLINE, self.0.wait_with_output()).await.expect("it ends");
        let said = String::from_utf8_lossy(&output.expect("wrk's output").stdout).into_owned();
        assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
        let line = said.lines().find_map(|line| line.trim().split_once(" requests in ")).expect(&said);
        line.0.parse().expect(&said)
    }
}
