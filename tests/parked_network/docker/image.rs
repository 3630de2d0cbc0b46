//! The image of the `Dockerfile`: built, and run by each engine, in networks of its own and of its host, with and
//! without privileges.

use std::net::SocketAddr;

use gogeta::splice::Kind;

use super::{Docker, PRIVILEGES};
use crate::parked_network::filters::{STATEFUL, filter, nothing_was_dropped};
use crate::parked_network::settings::{Expected, Setting};
use crate::parked_network::world::World;
use crate::support::backend::service_at;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_by};
use crate::support::truth::metric;
use crate::support::wait::until;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// In the place of cargo: the gogeta that is tested, if what would be compiled is there.
const CARGO: &str = "#!/bin/sh
set -eu
test \"$*\" = 'build --locked --release --package gogeta'
for file in Cargo.lock .cargo/config.toml gogeta/src/main.rs gogeta-common/Cargo.toml gogeta-ebpf/gogeta-ebpf.o \\
    templates/passivated.html xtask/protoc/protoc benches/counting/Cargo.toml; do
    test -f \"$file\" || { echo \"$file is not in the image's context\" >&2; exit 1; }
done
for other in docs target tests .git; do
    test ! -e \"$other\" || { echo \"$other is in the image's context\" >&2; exit 1; }
done
mkdir -p target/release
cp /gogeta target/release/gogeta
";

/// Builds the images `gogeta` and `gogeta-sample`: the whole `Dockerfile`, but for the compiler's work.
pub(super) async fn build(docker: &Docker) {
    docker.import("minbase", "runtime").await;
    docker.import("services", "services").await;
    let builder = docker.path("builder");
    std::fs::create_dir(&builder).expect("a folder");
    std::fs::copy(env!("CARGO_BIN_EXE_gogeta"), builder.join("gogeta")).expect("a file");
    std::fs::write(builder.join("cargo"), CARGO).expect("a file");
    let text = "FROM runtime\nCOPY gogeta /gogeta\nCOPY cargo /usr/bin/cargo\nRUN chmod 755 /usr/bin/cargo\n";
    std::fs::write(builder.join("Dockerfile"), text).expect("a file");
    docker.run(&["build", "--tag", "builder", builder.to_str().expect("a path")]).await;
    for (image, target) in [("gogeta", "runtime"), ("gogeta-sample", "sample")] {
        let bases = ["BUILDER=builder", "RUNTIME=runtime", "SAMPLE=services"];
        let mut line = vec!["build", "--tag", image, "--target", target];
        line.extend(bases.iter().flat_map(|base| ["--build-arg", base]));
        line.push(ROOT);
        docker.run(&line).await;
    }
}

/// The image's gogeta instead of the binary that a [`crate::support::gogeta::Builder`] names first, which is the shell's
/// name here.
const INSTEAD: [&str; 3] = ["gogeta", "-c", "exec /usr/bin/gogeta \"$@\""];

/// What the processes of a container may still do.
async fn capabilities(docker: &Docker, name: &str) -> String {
    let pid = docker.run(&["inspect", "--format", "{{.State.Pid}}", name]).await;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let value = |field: &str| status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"].map(|field| value(field).trim()).join(" ")
}

const NONE: &str = "0000000000000000 0000000000000000 0000000000000000 0000000000000000";

#[tokio::test]
async fn the_image_of_the_dockerfile_serves_by_each_engine_and_without_any_privilege() {
    let Some(mut world) = World::new().await else { return };
    let Some(docker) = Docker::on(&world.proxy).await else { return };
    build(&docker).await;
    filter(&world.proxy, STATEFUL).await;
    (world.backends, world.back) = docker.container("web").await;
    let networks =
        [("own", &["--publish=8080:8080", "--publish=8081:8081"][..]), ("hosts", &["--network=host"])];
    let shared = ["--volume", "/tmp:/tmp", "--entrypoint", "/bin/sh"];
    for (name, network) in networks {
        // The group is that of its directory for state.
        let root = [&["--user", "0:65532"], &PRIVILEGES[..], network, &shared, &INSTEAD].concat();
        let start = |builder| docker.starts(name, builder, &root);
        {
            let Some(mut setting) = Setting::with(&world, start).await else { return };
            setting.gogeta.admin.set_ip(world.admin_address());
            setting.expect(&world, world.front(), Expected::Carried).await;
            nothing_was_dropped(&world.proxy).await;
            assert_eq!(capabilities(&docker, name).await, NONE);
        }
        docker.run(&["rm", "--force", name]).await;

        let (_web, at_web) = world.backend("web", world.back);
        let routes = || Gogeta::routes(&service_at("a.test", &[at_web]));
        let placed = world.place(start(routes()));
        let Some(mut gogeta) = parking_by(Kind::Sockmap, placed).await else { return };
        gogeta.admin.set_ip(world.admin_address());
        answers(&world, &gogeta, async || parked(&gogeta, 1.0).await).await;
        assert_eq!(carried(&gogeta).await, 4.0);
        parked(&gogeta, 0.0).await;
        assert_eq!(capabilities(&docker, name).await, NONE);
        drop(gogeta);
        docker.run(&["rm", "--force", name]).await;

        // As the image is by itself, and a user whom it does not know.
        for (user, mode) in [("65532:65532", "off"), ("65534:65534", "auto")] {
            let nobody = [&["--user", user, "--cap-drop=ALL"], network, &shared, &INSTEAD].concat();
            let nobody = world.place(docker.starts(name, routes(), &nobody));
            let mut gogeta = nobody.args(["--splice", mode]).start().await;
            gogeta.admin.set_ip(world.admin_address());
            answers(&world, &gogeta, async || ()).await;
            assert_eq!(gogeta.lines_with("userspace carries all connections").len(), 1);
            assert_eq!(metric(&gogeta, "gogeta_splice_pairs").await, 0.0);
            assert_eq!(capabilities(&docker, name).await, NONE);
            drop(gogeta);
            docker.run(&["rm", "--force", name]).await;
        }
    }
}

/// Five requests on one connection are answered, and `then` follows each; then it is closed, and gogeta has seen that.
async fn answers(world: &World, gogeta: &Gogeta, then: impl AsyncFn()) {
    let address: SocketAddr = world.front();
    let mut client = world.client(address).await;
    for number in 0..5 {
        let path = format!("/{number}/200");
        crate::parked_network::talk::get(&mut client, "a.test", &path, "web").await;
        then().await;
    }
    drop(client);
    until("no connection is open", async || {
        (metric(gogeta, "gogeta_connections_open").await == 0.0).then_some(())
    })
    .await;
}
