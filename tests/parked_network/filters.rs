//! Packet filters that follow connections, and that translate addresses: on gogeta's host and on the way.

use std::path::Path;
use std::process::Command;

use super::settings::{Expected, Setting};
use super::world::{PORT, World};
use crate::support::etcd::skip;
use crate::support::netns::Namespace;
use crate::support::wait::until;

/// Lets nothing in that is not of a connection which the host has seen begin.
pub(super) const STATEFUL: &str = "
table ip state {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state invalid counter drop
        ct state established,related accept
        iifname lo accept
        tcp dport { 8080, 8081, 32768-65535 } ct state new tcp flags syn accept
        icmp type echo-request accept
        counter drop
    }
    chain output {
        type filter hook output priority filter; policy drop;
        ct state invalid counter drop
        ct state established,related,new accept
        counter drop
    }
}";

/// Whether what comes to a bridge is filtered as what is routed (`br_netfilter`).
const BRIDGED: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// Whether there is what these tests need.
fn is_possible() -> bool {
    let is_there = |name: &str| Command::new(name).arg("--version").output().is_ok();
    let is_possible = is_there("nft") && is_there("conntrack");
    if !is_possible {
        skip("packet filters need nft and conntrack");
    }
    is_possible
}

/// Sets rules of nft(8).
pub(super) async fn filter(namespace: &Namespace, rules: &str) {
    namespace.shell(&format!("nft -f - <<'END'\n{rules}\nEND\n")).await;
}

/// How many open connections a host follows, to that port or, without one, in all.
async fn followed(namespace: &Namespace, port: &str) -> usize {
    let shown = namespace.shell("conntrack -L -p tcp 2>/dev/null").await;
    shown.lines().filter(|line| line.contains("ESTABLISHED") && line.contains(port)).count()
}

/// Its rules have dropped nothing.
pub(super) async fn nothing_was_dropped(namespace: &Namespace) {
    let shown = namespace.shell("nft list table ip state").await;
    let counters: Vec<_> = shown.lines().filter(|line| line.contains("counter packets")).collect();
    assert!(!counters.is_empty(), "{shown}");
    assert!(counters.iter().all(|line| line.contains("counter packets 0 ")), "{shown}");
}

#[tokio::test]
async fn a_host_that_follows_connections_sees_whole_ones_where_the_wire_carries_most_of_them() {
    if !is_possible() {
        return;
    }
    let Some(world) = World::new().await else { return };
    filter(&world.proxy, STATEFUL).await;
    follows(&world).await;
}

#[tokio::test]
async fn a_host_that_follows_connections_through_its_bridges_sees_whole_ones_too() {
    if !is_possible() {
        return;
    }
    if !Path::new(BRIDGED).exists() {
        return skip("br_netfilter is not there");
    }
    let Some(world) = World::new().await else { return };
    world.bridge().await;
    world.proxy.shell(&format!("echo 1 > {BRIDGED}")).await;
    filter(&world.proxy, STATEFUL).await;
    follows(&world).await;
}

async fn follows(world: &World) {
    let Some(setting) = Setting::new(world).await else { return };
    let mut clients = setting.connect(world, world.front()).await;
    setting.ask(&mut clients, Expected::Carried).await;
    assert!(followed(&world.proxy, "").await >= 2 * clients.len());
    nothing_was_dropped(&world.proxy).await;
    setting.end(clients).await;
    until("all have ended for the host, too", async || {
        // Those for the metrics are open.
        (followed(&world.proxy, &format!("dport={PORT} ")).await == 0).then_some(())
    })
    .await;
    nothing_was_dropped(&world.proxy).await;
}

#[tokio::test]
async fn a_connection_whose_addresses_the_host_translates_stays_in_userspace() {
    if !is_possible() {
        return;
    }
    let rows = [
        // Another port on the way to backends.
        (
            "chain out { type nat hook postrouting priority srcnat; tcp dport != 8080 masquerade to :20000-30000\n }",
            PORT,
        ),
        // Another port for clients.
        ("chain in { type nat hook prerouting priority dstnat; tcp dport 80 redirect to :8080\n }", 80),
    ];
    for (chain, port) in rows {
        let Some(world) = World::new().await else { return };
        filter(&world.proxy, &format!("table ip nat {{\n {chain}\n }}\n{STATEFUL}")).await;
        let Some(setting) = Setting::new(&world).await else { return };
        let address = (world.front().ip(), port).into();
        setting.expect(&world, address, Expected::Stays("unseen")).await;
        nothing_was_dropped(&world.proxy).await;
    }
}

#[tokio::test]
async fn routers_on_the_way_may_translate_addresses() {
    if !is_possible() {
        return;
    }
    let Some((world, routers)) = World::routed().await else { return };
    for router in &routers {
        let rule = "chain out { type nat hook postrouting priority srcnat; masquerade\n }";
        filter(router.namespace(), &format!("table ip nat {{\n {rule}\n }}")).await;
    }
    filter(&world.proxy, STATEFUL).await;
    let Some(setting) = Setting::new(&world).await else { return };
    setting.expect(&world, world.front(), Expected::Carried).await;
    nothing_was_dropped(&world.proxy).await;
}

#[tokio::test]
async fn masquerading_that_changes_nothing_changes_nothing_for_the_wire() {
    if !is_possible() {
        return;
    }
    let Some(world) = World::new().await else { return };
    let rule = "table ip nat {\n chain out {\n type nat hook postrouting priority srcnat; masquerade\n }\n }";
    filter(&world.proxy, &format!("{rule}\n{STATEFUL}")).await;
    follows(&world).await;
}
