//! Containers of Docker: backends in them, behind the bridge that it makes, and gogeta itself; its image; and what
//! `deploy/compose.yaml` makes of all that.
//!
//! Docker runs on the proxy's host, which follows connections and translates addresses for it; with its own packages to
//! be installed it takes too long for every run: `GOGETA_TEST_DOCKER=1` asks for it.

mod compose;
mod image;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use super::filters::{STATEFUL, filter, nothing_was_dropped};
use super::settings::{Expected, Setting};
use super::world::World;
use crate::support::gogeta::Builder;
use crate::support::netns::Namespace;
use crate::support::wait::within;

/// What gogeta's containers have of the host's, so that its binary runs and finds its files.
const VOLUMES: [&str; 5] = ["/usr:/usr:ro", "/bin:/bin:ro", "/lib:/lib:ro", "/lib64:/lib64:ro", "/tmp:/tmp"];

/// What loading the kernel's part takes. This Docker does not know CAP_BPF, for which CAP_SYS_ADMIN stands in.
const PRIVILEGES: [&str; 6] =
    ["--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--security-opt", "seccomp=unconfined"];

/// A Docker of its own on some host, without any image but an empty one.
struct Docker {
    folder: TempDir,
    daemon: Child,
}

impl Docker {
    /// Starts one; none where nobody asks for it.
    async fn on(host: &Namespace) -> Option<Self> {
        std::env::var_os("GOGETA_TEST_DOCKER")?;
        let folder = tempfile::tempdir().expect("a directory");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let daemon = std::process::Command::new("nsenter")
            .arg(format!("--net={}", host.file().display()))
            .args(["dockerd", "--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--pidfile", &path("pid"), "--host", &format!("unix://{}", path("socket"))])
            .stderr(std::fs::File::create(path("log")).expect("the log is made"))
            .spawn()
            .expect("dockerd starts");
        let docker = Self { folder, daemon };
        within(Duration::from_secs(60), "dockerd is up", async || {
            docker.command(&["info"]).output().await.expect("docker runs").status.success().then_some(())
        })
        .await;
        let script = format!("tar -c -T /dev/null | docker -H {} import - bare", docker.socket());
        Namespace::host().shell(&script).await;
        Some(docker)
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.folder.path().join("socket").display())
    }

    /// A path below its own folder.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes an image of the Debian that `cargo xtask torture` has put there (debootstrap(8)): no other can be had
    /// without a registry.
    async fn import(&self, tree: &str, image: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debootstrap").join(tree);
        assert!(folder.join("etc").is_dir(), "{} is not there; see cargo xtask torture", folder.display());
        let script =
            format!("tar -C {} -c . | docker -H {} import - {image}", folder.display(), self.socket());
        Namespace::host().shell(&script).await;
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command.args(["-H", &self.socket()]).args(line);
        command
    }

    /// Runs docker(1), and gives what it says.
    async fn run(&self, line: &[&str]) -> String {
        let output = self.command(line).output().await.expect("docker runs");
        let says = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        assert!(output.status.success(), "{line:?}: {}", says(&output.stderr));
        says(&output.stdout)
    }

    /// A container that does nothing: its network, and its address there.
    async fn container(&self, name: &str) -> (Namespace, IpAddr) {
        let mut line = vec!["run", "--detach", "--name", name];
        line.extend(VOLUMES.iter().flat_map(|volume| ["--volume", volume]));
        line.extend(["bare", "/bin/sleep", "infinity"]);
        self.run(&line).await;
        let about = async |what: &str| self.run(&["inspect", "--format", what, name]).await;
        let pid = about("{{.State.Pid}}").await;
        let address = about("{{.NetworkSettings.IPAddress}}").await;
        (Namespace::of(&pid), address.parse().expect("an address"))
    }

    /// Has gogeta run in a container, with what Docker is told of it.
    fn gogeta(&self, name: &str, builder: Builder, more: &[&str]) -> Builder {
        let mut line = PRIVILEGES.to_vec();
        line.extend(VOLUMES.iter().flat_map(|volume| ["--volume", volume]));
        line.extend(more);
        line.push("bare");
        self.starts(name, builder, &line)
    }

    /// The same, with all that `docker run` is told, the image and the container's command too.
    fn starts(&self, name: &str, builder: Builder, more: &[&str]) -> Builder {
        let socket = self.socket();
        let mut line = vec!["/usr/bin/docker", "-H", &socket, "run", "--name", name];
        line.extend(more);
        let line: Vec<&'static str> = line.into_iter().map(|word| &*word.to_owned().leak()).collect();
        builder.by(line.leak()).args(["--listen", "0.0.0.0:8080", "--admin", "0.0.0.0:8081"])
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // With its containers; what it has mounted is in the way of its folder's end.
        let script =
            "docker -H unix://$1/socket ps --all --quiet | xargs -r docker -H unix://$1/socket rm --force
            kill $(cat $1/pid)";
        let end = |script: &str| {
            let outcome =
                std::process::Command::new("sh").args(["-c", script, "sh"]).arg(self.folder.path()).output();
            assert!(
                std::thread::panicking() || outcome.is_ok_and(|output| output.status.success()),
                "{script}"
            );
        };
        end(script);
        let _ = self.daemon.wait();
        end("grep -o \" $1/[^ ]*\" /proc/mounts | xargs -r umount");
    }
}

#[tokio::test]
async fn the_wire_carries_between_containers_of_docker_with_gogeta_on_their_host_and_in_one() {
    let Some(mut world) = World::new().await else { return };
    let Some(docker) = Docker::on(&world.proxy).await else { return };
    // Besides Docker's own rules.
    filter(&world.proxy, STATEFUL).await;
    (world.backends, world.back) = docker.container("web").await;
    {
        let Some(setting) = Setting::new(&world).await else { return };
        setting.expect(&world, world.front(), Expected::Carried).await;
        nothing_was_dropped(&world.proxy).await;
    }
    let networks =
        [("own", &["--publish=8080:8080", "--publish=8081:8081"][..]), ("hosts", &["--network=host"])];
    for (name, network) in networks {
        let start = |builder| docker.gogeta(name, builder, network);
        let Some(mut setting) = Setting::with(&world, start).await else { return };
        setting.gogeta.admin.set_ip(world.admin_address());
        setting.expect(&world, world.front(), Expected::Carried).await;
        nothing_was_dropped(&world.proxy).await;
        docker.run(&["rm", "--force", name]).await;
    }
}
