//! Clients and backends behind bridges of gogeta's host.

use super::settings::{Expected, Setting};
use super::world::World;
use crate::support::gogeta::Builder;
use crate::support::netns::{Namespace, connect};

#[tokio::test]
async fn the_wire_carries_what_comes_by_bridges() {
    let Some(world) = World::new().await else { return };
    world.bridge().await;
    let Some(setting) = Setting::new(&world).await else { return };
    setting.expect(&world, world.front(), Expected::Carried).await;
}

#[tokio::test]
async fn a_container_may_come_to_a_bridge_when_gogeta_runs() {
    let Some(mut world) = World::new().await else { return };
    let Some(container) = Namespace::new() else { return };
    world.bridge().await;
    world.proxy.shell("ip address add 192.0.2.1/24 dev back").await;
    (world.back, world.backends) = ("192.0.2.2".parse().expect("an address"), container);
    // The listener needs its address, and gogeta is to know of the device only when it runs.
    world.backends.shell("ip address add 192.0.2.2/32 dev lo").await;
    let telling = |builder: Builder| builder.args(["--log", "info,gogeta::splice=debug"]);
    let Some(setting) = Setting::with(&world, telling).await else { return };
    let (near, far) = connect(&world.proxy, &world.backends).await;
    let (port, inside) = (world.proxy.device(near).await, world.backends.device(far).await);
    world.proxy.shell(&format!("ip address flush dev {port}; ip link set {port} master back")).await;
    let lines = format!(
        "ip address del 192.0.2.2/32 dev lo; ip address flush dev {inside}; ip address add 192.0.2.2/24 dev {inside}"
    );
    world.backends.shell(&lines).await;
    setting.gogeta.log_has(&port).await;
    setting.expect(&world, world.front(), Expected::Carried).await;
}
