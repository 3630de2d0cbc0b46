//! `deploy/compose.yaml`, run by Debian's docker-compose with images of Debian's own: etcd, gogeta, and services that
//! register themselves.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::process::Command;

use super::{Docker, image};
use crate::parked_network::world::World;
use crate::support::client::{Client, Reply};
use crate::support::netns::Namespace;
use crate::support::parking::carries_as_told;
use crate::support::wait::{until, within};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/");

/// What docker-compose runs.
struct Composition<'a> {
    docker: &'a Docker,
    files: &'a [&'a str],
}

impl Composition<'_> {
    async fn run(&self, line: &[&str]) -> String {
        let files = self.files.iter().flat_map(|file| ["--file".to_owned(), format!("{DEPLOY}{file}")]);
        let output = Command::new("docker-compose")
            .args(["--project-name", "gogeta"])
            .args(files)
            .args(line)
            .env("DOCKER_HOST", self.docker.socket())
            // Those of today's compose file cannot be had without a registry.
            .envs([("ETCD_IMAGE", "services"), ("GOGETA_IMAGE", "gogeta"), ("SAMPLE_IMAGE", "gogeta-sample")])
            .output()
            .await
            .expect("docker-compose runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// The one container of a service.
    async fn container(&self, service: &str) -> String {
        self.run(&["ps", "--quiet", service]).await.trim().to_owned()
    }

    /// What a service's process is, by `/proc/PID/status`.
    async fn status(&self, service: &str) -> String {
        let container = self.container(service).await;
        let pid = self.docker.run(&["inspect", "--format", "{{.State.Pid}}", &container]).await;
        std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs")
    }
}

/// A connection from there, if anybody listens.
async fn connect(from: &Namespace, address: SocketAddr) -> Option<Client> {
    Some(Client::new(from.socket(address.ip()).connect(address).await.ok()?))
}

/// The answer to a GET, if there is one.
async fn ask(from: &Namespace, address: SocketAddr, host: &str, path: &str) -> Option<Reply> {
    let mut client = connect(from, address).await?;
    client.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
    Some(client.reply().await)
}

#[tokio::test]
async fn the_compose_file_starts_etcd_gogeta_and_services_one_of_which_wakes_when_it_is_asked_for() {
    let Some(world) = World::new().await else { return };
    let Some(docker) = Docker::on(&world.proxy).await else { return };
    image::build(&docker).await;
    let front = SocketAddr::new(world.front().ip(), 7777);
    let admin = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 7778);
    for files in [&["compose.yaml"][..], &["compose.yaml", "compose.privileged.yaml"]] {
        let composition = Composition { docker: &docker, files };
        composition.run(&["up", "--detach", "--no-build"]).await;
        let hello = within(Duration::from_secs(60), "hello is served", async || {
            let reply = ask(&world.clients, front, "hello.localhost", "/").await?;
            (reply.status == 200).then_some(reply)
        });
        assert_eq!(hello.await.text(), "This is hello.\n");

        let asleep = until("sleepy has a route", async || {
            let reply = ask(&world.clients, front, "sleepy.localhost", "/").await?;
            (reply.status != 404).then_some(reply)
        });
        let asleep = asleep.await;
        assert_eq!((asleep.status, asleep.header("x-gogeta-page")), (503, Some("passivated")));
        let awake = within(Duration::from_secs(30), "sleepy is awake", async || {
            let reply = ask(&world.clients, front, "sleepy.localhost", "/").await?;
            (reply.status == 200).then_some(reply)
        });
        assert_eq!(awake.await.text(), "This is sleepy.\n");

        // For this machine, and for nobody else.
        let ready = ask(&world.proxy, admin, "127.0.0.1", "/readyz").await.expect("it listens there");
        assert_eq!(ready.status, 200);
        let elsewhere = SocketAddr::new(world.front().ip(), 7778);
        assert!(connect(&world.clients, elsewhere).await.is_none(), "clients do not see it");

        let mut client = connect(&world.clients, front).await.expect("somebody listens");
        carries_as_told(files.len() > 1, async || {
            assert_eq!(client.get("hello.localhost", "/").await.status, 200);
            ask(&world.proxy, admin, "127.0.0.1", "/metrics").await.expect("an answer").text()
        })
        .await;

        let status = composition.status("gogeta").await;
        for field in ["CapPrm", "CapEff"] {
            assert!(status.contains(&format!("{field}:\t0000000000000000")), "{field} in {status}");
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");

        // The state outlives the container, whoever gogeta is in it.
        let folder = docker.run(&["volume", "inspect", "--format", "{{.Mountpoint}}", "gogeta_state"]).await;
        until("the routes are on disk", async || {
            std::path::Path::new(&folder).join("routes.state").exists().then_some(())
        })
        .await;
        drop(client);
        composition.run(&["down", "--volumes", "--timeout", "5"]).await;
    }
}
