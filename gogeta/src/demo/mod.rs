//! `gogeta demo`: the main job with nothing else installed. A few backends, a routes file with a domain in each
//! state, proxy and admin listener; all of it on loopback, and gone with Ctrl-C.

mod backends;
mod supervisor;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use crate::app::{self, Addresses, StartError};
use crate::cli::{DemoOptions, Options, SandboxMode};
use crate::config::{Config, ConfigError, Seconds, Source};
use crate::routes::splice::SpliceMode;

pub use supervisor::supervise;

/// Runs the demo until a signal ends it.
///
/// # Errors
///
/// [`StartError`], where the system gives no directory, thread or port.
pub fn run(options: &DemoOptions) -> Result<(), StartError> {
    let failed = |error: io::Error| StartError::System(format!("cannot set the demo up: {error}"));
    let directory = Directory::new().map_err(failed)?;
    let routes = directory.path().join("routes.toml");
    let backends = backends::start().map_err(failed)?;
    std::fs::write(&routes, routes_file(&backends).map_err(failed)?).map_err(failed)?;

    let config = config(options, &routes)?;
    let again = config.clone();
    app::run(config, Box::new(move || Ok(again.clone())), |addresses| say(addresses, &routes))
}

fn config(options: &DemoOptions, routes: &Path) -> Result<Config, ConfigError> {
    let mut config = Config::try_from(Options {
        listen: Some(vec![free(options.listen).into()]),
        admin: Some(free(options.admin).to_string()),
        response_timeout: Some(Seconds::from_secs(2)),
        drain_timeout: Some(Seconds(Duration::from_secs(2))),
        log: Some("warn".to_owned()),
        // Its backends are threads of this process already, so it could not give its privileges up.
        splice: Some(SpliceMode::Off),
        sandbox: Some(SandboxMode::Off),
        ..Options::default()
    })?;
    config.source = Source::Demo(routes.to_owned());
    Ok(config)
}

/// The address, or one with a free port where that one is in use.
fn free(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => (address.ip(), 0).into(),
        _ => address,
    }
}

/// A directory of our own that goes when the demo does.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("gogeta-demo-{}", std::process::id()));
        // It fails where someone has made one of that name before us.
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Left behind at worst, in the directory for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port that nobody listens on: it was free a moment ago.
fn dead_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn routes_file(backends: &backends::Ports) -> io::Result<String> {
    let backends::Ports { hello, slow } = backends;
    let [one, two] = hello;
    let dead = dead_port()?;
    let up = r#"{ current = "started", expected = "started", alive = "1" }"#;
    Ok(format!(
        r#"# The demo's routes. Change this file and save it: gogeta applies it at once.

[domains."hello.localhost"]     # two instances, in turn
type = "service"
value = "hello"
[domains."*.wild.localhost"]    # a wildcard
type = "service"
value = "hello"
[domains."uri.localhost"]       # a fixed place: paths are joined, queries merged
type = "uri"
value = "http://127.0.0.1:{one}/base?from=gogeta"
[domains."asleep.localhost"]    # woken by the first request
type = "service"
value = "asleep"
[domains."starting.localhost"]
type = "service"
value = "starting"
[domains."stopped.localhost"]
type = "service"
value = "stopped"
[domains."error.localhost"]     # its heartbeat is gone
type = "service"
value = "error"
[domains."down.localhost"]      # nobody listens there
type = "service"
value = "down"
[domains."slow.localhost"]      # answers too late
type = "service"
value = "slow"
[domains."pending.localhost"]   # has no value yet, so it is not routed
type = "service"

[services.hello.1]
location = {{ host = "127.0.0.1", port = {one} }}
status = {up}
config = {{ robots = "User-agent: *\nDisallow: /private\n" }}
[services.hello.2]
location = {{ host = "127.0.0.1", port = {two} }}
status = {up}
[services.asleep.1]
location = {{ host = "127.0.0.1", port = {one} }}
status = {{ current = "passivated", expected = "passivated" }}
[services.starting.1]
status = {{ current = "starting", expected = "started" }}
[services.stopped.1]
status = {{ current = "stopped", expected = "stopped" }}
[services.error.1]
location = {{ host = "127.0.0.1", port = {one} }}
status = {{ current = "started", expected = "started", alive = "" }}
[services.down.1]
location = {{ host = "127.0.0.1", port = {dead} }}
status = {up}
[services.slow.1]
location = {{ host = "127.0.0.1", port = {slow} }}
status = {up}
"#
    ))
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn say(addresses: &Addresses, routes: &Path) {
    let Some(proxy) = addresses.proxy.first() else { return };
    let port = proxy.port();
    let rows = [
        ("hello", "two instances, in turn: ask twice"),
        ("any.wild", "a wildcard: *.wild.localhost"),
        ("uri", "a fixed place behind another path and query"),
        ("asleep", "asleep: the first request wakes it, and the page waits for it (3 s)"),
        ("starting", "503, starting"),
        ("stopped", "503, stopped"),
        ("error", "500, its heartbeat is gone"),
        ("down", "502, nobody listens there"),
        ("slow", "504, it answers too late (after 2 s)"),
        ("pending", "404, half a domain"),
        ("nobody", "404, no such domain"),
    ];
    println!("gogeta is up. In a browser, or by curl:\n");
    for (name, what) in rows {
        println!("  {:<36}  {what}", format!("http://{name}.localhost:{port}/"));
    }
    println!("\n  curl -H 'Host: hello.localhost' http://{proxy}/");
    println!("  curl -i -H 'Host: asleep.localhost' http://{proxy}/");
    println!("  curl -i -H 'Host: stopped.localhost' -H 'Accept: application/json' http://{proxy}/");
    println!("  curl -N -H 'Host: hello.localhost' http://{proxy}/events");
    if let Some(admin) = addresses.admin {
        println!("\nWhat is routed where, and why, on the dashboard at http://{admin}/, or by curl:\n");
        println!("  curl http://{admin}/api/routes");
        println!("  curl http://{admin}/metrics");
    }
    println!(
        "\nThe routes are in this file; change it and watch:\n\n  {}\n\nCtrl-C ends it all.",
        routes.display()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::registry::{Change, Registry};
    use crate::store::{Event, file};

    #[test]
    fn the_routes_are_right() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("routes.toml");
        let text = routes_file(&backends::Ports { hello: [1, 2], slow: 3 }).expect("a port is free");
        std::fs::write(&path, text).expect("written");
        let version = file::read(&path).expect("the file is good");
        let Event::Change { change: change @ Change::Snapshot { .. }, .. } = version.event else {
            panic!("a snapshot");
        };
        let mut registry = Registry::default();
        let applied = registry.apply(change);
        assert!(applied.problems.is_empty(), "{:?}", applied.problems);
        assert_eq!(applied.domains.len(), 10);
    }
}
