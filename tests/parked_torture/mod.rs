//! Parked connections under torture: anything at once, in any order, while backends die and routes change. A body is
//! right, or its connection is visibly cut; never a byte of another response.
//!
//! `GOGETA_TEST_SEED` brings a run back, as far as the kernel goes along; `GOGETA_TEST_SECONDS` sets how long it is.

mod ask;
mod client;
mod kernel_log;
mod killed;
mod links;
mod origin;
mod reader;
mod routing;
mod unread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gogeta::splice::Kind;
use tokio::task::JoinSet;

use self::ask::{BAD, SIMPLE};
use self::client::{Tally, Tormentor};
use self::kernel_log::KernelLog;
use self::origin::origin_at;
use self::routing::{History, Service};
use crate::support::etcd::requires_all;
use crate::support::gogeta::Gogeta;
use crate::support::netns::{Namespace, connect};
use crate::support::parking::{carried, parked, parking_by};
use crate::support::random::{Random, number, seed};
use crate::support::truth::metric;
use crate::support::wait::{until, within};

const CLIENTS: u64 = 24;

#[tokio::test]
async fn each_response_by_sockmap_is_right_or_visibly_cut() {
    each_response_is_right_or_visibly_cut(Kind::Sockmap).await;
}

#[tokio::test]
async fn each_response_by_the_wire_is_right_or_visibly_cut() {
    each_response_is_right_or_visibly_cut(Kind::Wire).await;
}

async fn each_response_is_right_or_visibly_cut(kind: Kind) {
    let seed = seed();
    let length = number("SECONDS").unwrap_or(if requires_all() { 30 } else { 15 });
    let length = Duration::from_secs(length);
    // gogeta has a host of its own, with a cable to ours.
    let Some(host) = Namespace::new() else { return };
    let (here, there) = connect(&Namespace::host(), &host).await;
    let names = ["a1", "a2", "a3", "b1", "b2", "bad1", "bad2"];
    let mut backends = Vec::new();
    for name in names {
        backends.push(origin_at(name, here).await);
    }
    let addresses = backends.iter().map(|backend| (here, backend.port).into());
    let all: Vec<_> = names.into_iter().zip(addresses).collect();
    let services: [Service; 3] =
        [("a.test", all[..3].into()), (SIMPLE, all[3..5].into()), (BAD, all[5..].into())];
    let (history, mut random) = (Arc::new(History::default()), Random(seed));
    let builder = Gogeta::routes(&history.routes(0, &services, &mut random));
    let [listen, admin] = [8080, 0].map(|port| SocketAddr::new(there, port).to_string());
    let builder = builder.on(&host).args(["--listen", &listen, "--admin", &admin]);
    // On a busy machine a client that sends bytes one by one is too slow for others' sake.
    let builder = builder.args(["--splice-max-requests", "100", "--min-rate", "0"]);
    let Some(gogeta) = parking_by(kind, builder).await else { return };
    gogeta.ready().await;
    let (mut kernel, descriptors) = (KernelLog::from_now_on(), descriptors(&gogeta));

    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for index in 0..CLIENTS {
        let tormentor = Tormentor {
            proxy: gogeta.proxy,
            history: history.clone(),
            random: Random(seed ^ (index + 1) << 48),
            tally: Tally::default(),
            story: Vec::new(),
        };
        clients.spawn(tormentor.run(begun + length));
    }
    let mut tallies = Vec::new();
    let mut early = 0;
    {
        let changing = history.go_on(&gogeta, &services, &backends, random);
        let third = tokio::time::sleep(length / 3);
        tokio::pin!(changing, third);
        loop {
            tokio::select! {
                () = &mut changing => {}
                () = &mut third, if early == 0 => early = gogeta.rss_kib(),
                client = clients.join_next() => match client {
                    Some(Ok(tally)) => tallies.push(tally),
                    Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                    None => break,
                },
            }
        }
    }
    judge(&gogeta, &tallies).await;

    parked(&gogeta, 0.0).await;
    until("no connection is open", async || {
        (metric(&gogeta, "gogeta_connections_open").await == 0.0).then_some(())
    })
    .await;
    drop(backends);
    let mut now = 0;
    within(Duration::from_secs(20), &format!("about {descriptors} descriptors are open"), async || {
        now = self::descriptors(&gogeta);
        (now <= descriptors + 8).then_some(())
    })
    .await;
    let late = gogeta.rss_kib();
    assert!(late < early + (64 << 10), "{early} KiB after a third of the time, {late} KiB at the end");
    let faults = kernel.faults();
    assert!(faults.is_empty(), "{faults:?}");
}

async fn judge(gogeta: &Gogeta, tallies: &[Tally]) {
    let whole: u64 = tallies.iter().map(|tally| tally.whole).sum();
    let carried = carried(gogeta).await;
    // The kernel has its part in it, or this is about something else.
    assert!(carried * 20.0 > whole as f64, "{carried} of {whole} were carried");
}

/// How many descriptors it has.
fn descriptors(gogeta: &Gogeta) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gogeta.pid())).expect("it runs").count()
}
