//! The scripts in `vtc/`: one behaviour each, told by varnishtest's clients and servers on both sides of gogeta.
//!
//! A script listens on `${origin}` if it has an origin, and connects to `${proxy}`. The default Host of varnishtest,
//! 127.0.0.1, leads to the origin; `refused.test` to a port where nobody listens; `two.test` to both in turn. A line
//! `# gogeta: FLAGS` gives gogeta further flags.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::support::backend::service;
use crate::support::etcd::{free_port, skip};
use crate::support::gogeta::Gogeta;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vtc");

/// Runs a script against a gogeta of its own; gives varnishtest's log where it fails.
async fn run(script: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(script).expect("a script");
    let flags = text.lines().find_map(|line| line.strip_prefix("# gogeta: ")).unwrap_or_default();
    let refused = tokio::net::TcpSocket::new_v4().expect("a socket");
    refused.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let (origin, refused_port) = (free_port(), refused.local_addr().expect("an address").port());
    let routes = service("127.0.0.1", &[origin])
        + &service("refused.test", &[refused_port])
        + &service("two.test", &[refused_port, origin]);
    // One thread, and so one pool: scripts count connections. Nothing is carried between sockets of one host, so no engine
    // has to be loaded for each script.
    let flags = ["--threads", "1", "--splice", "off"].into_iter().chain(flags.split_whitespace());
    let gogeta = Gogeta::routes(&routes).args(flags).start().await;
    let outcome = Command::new("varnishtest")
        .args(["-t", "30", "-D", &format!("origin=127.0.0.1 {origin}")])
        .args(["-D", &format!("proxy={} {}", gogeta.proxy.ip(), gogeta.proxy.port())])
        .args(["-D", &format!("url=http://{}", gogeta.proxy)])
        .arg(script)
        // Its own files go where gogeta's are.
        .env("TMPDIR", gogeta.directory())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("varnishtest runs");
    if outcome.status.success() {
        return Ok(());
    }
    Err(format!("{}\ngogeta's log:\n{}", String::from_utf8_lossy(&outcome.stdout), gogeta.log()))
}

#[tokio::test]
async fn every_script_passes() {
    if std::process::Command::new("varnishtest").arg("-h").output().is_err() {
        return skip("varnishtest is not installed");
    }
    let files = std::fs::read_dir(SCRIPTS).expect("the scripts").map(|file| file.expect("a file").path());
    let scripts: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|name| name == "vtc")).collect();
    let count = scripts.len();
    assert!(count > 30, "only {count} scripts");
    // Two at a time: some of them wait.
    let left = RefCell::new(scripts.into_iter());
    let lane = async || {
        let mut failures = Vec::new();
        let next = || left.borrow_mut().next();
        while let Some(script) = next() {
            failures.extend(run(&script).await.err().map(|log| format!("{}:\n{log}", script.display())));
        }
        failures
    };
    let (one, other) = tokio::join!(lane(), lane());
    let failures = [one, other].concat();
    assert!(failures.is_empty(), "{} of {count} scripts failed\n{}", failures.len(), failures.join("\n"));
}
