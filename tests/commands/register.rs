//! `gogeta register`: in etcd while it runs, and not a moment longer.

use std::time::Duration;

use rustix::process::Signal;

use super::run;
use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::etcd::{Etcd, free_port};
use crate::support::gogeta::{Builder, Gogeta};
use crate::support::wait::{until, within};

fn register(etcd: &Etcd, port: u16) -> Builder {
    let location = format!("127.0.0.1:{port}");
    Gogeta::etcd(etcd).arg("register").args(["web", "1", "--ttl", "2s", "--location", &location])
}

/// A server that waits for the file `go`, then answers by way of the backend; it runs until it is told to end.
fn server(builder: Builder, port: u16, backend: &Backend) -> Builder {
    let routes =
        format!("[domains.\"a.test\"]\ntype = \"uri\"\nvalue = \"http://127.0.0.1:{}\"\n", backend.port);
    let routes = builder.file("inner.toml", &routes);
    let gogeta = env!("CARGO_BIN_EXE_gogeta");
    let script = format!(
        "while [ ! -e go ]; do sleep 0.02; done\n\
         exec {gogeta} --routes {} --listen 127.0.0.1:{port} --admin off",
        routes.display()
    );
    builder.args(["--", "sh", "-c", &script])
}

async fn current(etcd: &Etcd) -> Option<String> {
    etcd.get("/services/web/1/status/current").await
}

/// Waits until nothing of the instance is left.
async fn gone(etcd: &Etcd, limit: Duration) {
    within(limit, "the keys are gone", async || {
        let left = etcd.everything().await;
        left.keys().all(|key| !key.starts_with("/services/")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_command_is_routed_when_its_port_answers_and_not_after_its_end() {
    let Some(etcd) = Etcd::start().await else { return };
    let (web, port) = (Backend::named("web").await, free_port());
    etcd.route("a.test", "web").await;
    let proxy = Gogeta::etcd(&etcd).args(["--last-access-interval", "0"]).start().await;
    let mut registered = server(register(&etcd, port), port, &web).spawn();
    let page = async || get(proxy.proxy, "a.test", "/").await;
    until("it is starting", async || {
        let page = page().await;
        (page.header("x-gogeta-page") == Some("starting")).then_some(())
    })
    .await;
    std::fs::write(registered.directory().join("go"), "").expect("it may go");
    until("it is routed", async || (page().await.text() == "web").then_some(())).await;
    let keys: Vec<String> =
        etcd.everything().await.into_keys().filter(|key| key.starts_with("/services/")).collect();
    let wanted = ["location", "status/alive", "status/current", "status/expected"];
    assert_eq!(keys, wanted.map(|key| format!("/services/web/1/{key}")));
    registered.signal(Signal::TERM);
    let status = registered.wait().await;
    assert_eq!(status.code(), Some(0), "the command's own, which ended well: {}", registered.log());
    gone(&etcd, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn the_exit_code_is_the_commands() {
    let Some(etcd) = Etcd::start().await else { return };
    for (script, code) in [("exit 7", 7), ("kill -9 $$", 137)] {
        let said = register(&etcd, free_port()).args(["--", "sh", "-c", script]).said().await;
        assert_eq!(said.code, Some(code), "{said:?}");
        assert_eq!(current(&etcd).await, None, "gone before gogeta is");
    }
    let none = register(&etcd, free_port()).args(["--", "/no/such/command"]).said().await;
    none.badly(127, &["/no/such/command"]);
    gone(&etcd, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn without_a_command_until_a_signal() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut registered = register(&etcd, 80).args(["--domain", "A.test"]).spawn();
    until("it is started", async || current(&etcd).await.filter(|state| state == "started")).await;
    assert_eq!(etcd.get("/services/web/1/domain").await.as_deref(), Some("a.test"));
    run(&etcd, "service status web 1").await.well(&["started", "alive"]);
    registered.signal(Signal::INT);
    assert_eq!(registered.wait().await.code(), Some(0));
    gone(&etcd, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn killed_it_goes_with_its_lease_and_not_before() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut registered = register(&etcd, 80).spawn();
    until("it is started", async || current(&etcd).await).await;
    let revision = etcd.revision().await;
    // Kept for longer than its time to live: etcd itself is the clock, by a lease that nobody keeps.
    etcd.lease("/clock", "", 4).await;
    within(Duration::from_secs(20), "the clock's lease ends", async || {
        etcd.get("/clock").await.is_none().then_some(())
    })
    .await;
    assert_eq!(etcd.written_at("/services/web/1/status/current").await, revision, "it was never away");
    registered.signal(Signal::KILL);
    registered.wait().await;
    gone(&etcd, Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_lost_lease_is_had_anew() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let mut registered = register(&etcd, 80).spawn();
    until("it is started", async || current(&etcd).await).await;
    etcd.kill().await;
    registered.log_has("go on trying").await;
    etcd.wipe();
    etcd.restart().await;
    until("it is registered anew", async || current(&etcd).await.filter(|state| state == "started")).await;
    registered.signal(Signal::TERM);
    registered.wait().await;
    gone(&etcd, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn what_somebody_expects_for_good_is_left_alone() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.put("/services/web/1/status/expected", "passivated").await;
    let mut registered = register(&etcd, 80).spawn();
    until("it is started", async || current(&etcd).await).await;
    registered.log_has("expected to be something else").await;
    registered.signal(Signal::TERM);
    registered.wait().await;
    let left: Vec<String> = etcd.everything().await.into_keys().collect();
    assert_eq!(left, ["/services/web/1/status/expected"]);
}

#[tokio::test]
async fn wrong_usage() {
    Gogeta::bare().command_line("register web 1").await.badly(2, &["--location"]);
    Gogeta::bare().command_line("register web 1 --location nowhere").await.badly(2, &["HOST:PORT"]);
    Gogeta::bare().command_line("register a/b 1 --location a:1").await.badly(2, &["a/b"]);
    Gogeta::bare().command_line("register web 1 --location a:1 --ttl 1s").await.badly(2, &["--ttl"]);
    let dead = "register web 1 --location a:1 --etcd-address http://127.0.0.1:1 -- true";
    Gogeta::bare().command_line(dead).await.badly(2, &["127.0.0.1:1"]);
}
