//! Devices of other kinds than a cable, those that come later, and kernels that attach programs to them in the old way.

use std::net::IpAddr;
use std::process::Stdio;

use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use super::settings::{Expected, Setting};
use super::world::{PORT, World};
use crate::support::gogeta::Builder;
use crate::support::netns::{Namespace, connect};
use crate::support::wait::DEADLINE;

/// gogeta tells to which devices it comes.
fn telling(builder: Builder) -> Builder {
    builder.args(["--log", "info,gogeta::splice=debug"])
}

#[tokio::test]
async fn a_packet_is_seen_to_once_where_it_passes_two_devices_of_the_host() {
    let Some(world) = World::new().await else { return };
    for (name, address) in [("front", world.front().ip()), ("back", world.near_back)] {
        let device = world.proxy.device(address).await;
        let lines = format!(
            "ip address flush dev {device}; ip link add {name} link {device} type macvlan mode bridge
             ip address add {address}/30 dev {name}; ip link set {name} up"
        );
        world.proxy.shell(&lines).await;
    }
    let Some(setting) = Setting::new(&world).await else { return };
    setting.expect(&world, world.front(), Expected::Carried).await;
}

#[tokio::test]
async fn the_wire_carries_by_a_tunnel_what_fits_through_it() {
    let Some(mut world) = World::new().await else { return };
    let (near, far) = ("192.0.2.1".parse().expect("an address"), "192.0.2.2".parse().expect("an address"));
    tunnel(&world.proxy, world.near_back, world.back, near).await;
    tunnel(&world.backends, world.back, world.near_back, far).await;
    world.back = far;
    let Some(setting) = Setting::new(&world).await else { return };
    setting.expect(&world, world.front(), Expected::Carried).await;
}

#[tokio::test]
async fn an_instance_whose_segments_do_not_fit_through_the_clients_tunnel_stays_with_userspace() {
    let Some(world) = World::new().await else { return };
    let outer = world.front().ip();
    let client = world.client_address();
    let (near, far) = ("192.0.2.1".parse().expect("an address"), "192.0.2.2".parse().expect("an address"));
    tunnel(&world.proxy, outer, client, near).await;
    tunnel(&world.clients, client, outer, far).await;
    let Some(setting) = Setting::new(&world).await else { return };
    setting.expect(&world, (near, PORT).into(), Expected::Stays("differs")).await;
}

/// An end of a tunnel (VXLAN, RFC 7348) between two addresses, of 50 bytes less.
async fn tunnel(namespace: &Namespace, near: IpAddr, far: IpAddr, inner: IpAddr) {
    let device = namespace.device(near).await;
    let lines = format!(
        "ip link add tunnel type vxlan id 7 local {near} remote {far} dev {device} dstport 4789
         ip address add {inner}/24 dev tunnel; ip link set tunnel up"
    );
    namespace.shell(&lines).await;
}

#[tokio::test]
async fn devices_without_ethernet_carry_too() {
    let Some(mut world) = World::new().await else { return };
    let (near, far) = ("192.0.2.1".parse().expect("an address"), "192.0.2.2".parse().expect("an address"));
    let _backends = bare(&world.proxy, near, &world.backends, far).await;
    world.back = far;
    {
        // From Ethernet to none, and back.
        let Some(setting) = Setting::new(&world).await else { return };
        setting.expect(&world, world.front(), Expected::Carried).await;
    }
    let Some(cabled) = World::new().await else { return };
    let _clients = bare(&cabled.proxy, near, &cabled.clients, far).await;
    // What fits the instance's way fits the other.
    let Some(setting) = Setting::new(&cabled).await else { return };
    setting.expect(&cabled, (near, PORT).into(), Expected::Carried).await;
}

/// A way between two of them, of packets without any header before IP's; it is there for as long as this is.
async fn bare(one: &Namespace, near: IpAddr, other: &Namespace, far: IpAddr) -> Child {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/parked_network/pump.py");
    let mut pump = Command::new("python3")
        .arg(script)
        .args([one.file(), other.file()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 runs");
    let mut said = [0; 3];
    let out = pump.stdout.as_mut().expect("it is piped");
    tokio::time::timeout(DEADLINE, out.read_exact(&mut said)).await.expect("in time").expect("it says so");
    for (namespace, address) in [(one, near), (other, far)] {
        // The way is as slow as the machine is busy. What is sent again after a moment, before its acknowledgement could
        // come (RFC 8985, 7), gives a pair back that nothing was carried of yet.
        namespace.set_variable("ipv4/tcp_early_retrans", "0");
        namespace.shell(&format!("ip address add {address}/24 dev tun; ip link set tun up")).await;
    }
    pump
}

#[tokio::test]
async fn answers_may_leave_by_another_device_than_requests_come_by() {
    let Some(world) = World::new().await else { return };
    let (other_client, _) = connect(&world.clients, &world.proxy).await;
    world.proxy.shell(&format!("ip route add {} via {other_client}", world.client_address())).await;
    let Some(setting) = Setting::new(&world).await else { return };
    setting.expect(&world, world.front(), Expected::Carried).await;
}

#[tokio::test]
async fn what_comes_by_a_device_that_is_newer_than_gogeta_is_carried_too() {
    let Some(world) = World::new().await else { return };
    let Some(setting) = Setting::with(&world, telling).await else { return };
    let (_, front) = connect(&world.clients, &world.proxy).await;
    setting.gogeta.log_has(&world.proxy.device(front).await).await;
    setting.expect(&world, (front, PORT).into(), Expected::Carried).await;
}

#[tokio::test]
async fn filters_carry_where_the_kernel_knows_no_links_and_are_removed_by_the_next_gogeta() {
    let Some(world) = World::new().await else { return };
    let device = world.proxy.device(world.front().ip()).await;
    let filters = async || {
        let script = format!("for door in ingress egress; do tc filter show dev {device} $door; done");
        world.proxy.shell(&script).await.matches(" name wire_").count()
    };
    let old = |builder: Builder| telling(builder).env("GOGETA_NO_TCX", "1");
    let Some(mut setting) = Setting::with(&world, old).await else { return };
    setting.expect(&world, world.front(), Expected::Carried).await;
    let _clients = setting.connect(&world, world.front()).await;
    let doors = filters().await;
    assert_eq!(doors, 2, "one for each way");
    setting.gogeta.signal(Signal::KILL);
    setting.gogeta.wait().await;
    assert_eq!(filters().await, doors, "the kernel keeps them");
    let Some(first) = Setting::with(&world, old).await else { return };
    assert_eq!(filters().await, doors, "they are the new one's");
    first.expect(&world, world.front(), Expected::Carried).await;
    let another = |builder: Builder| old(builder).args(["--listen", "0.0.0.0:8081"]);
    let Some(_second) = Setting::with(&world, another).await else { return };
    assert_eq!(filters().await, 2 * doors, "of one that runs nothing is removed");
}
