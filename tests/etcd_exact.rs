//! Whatever happens to etcd or to the way there: no change is lost or applied twice, and no more is read than needs
//! to be.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::etcd::{Etcd, Op};
use crate::support::gogeta::Gogeta;
use crate::support::link::Link;
use crate::support::truth::{agrees, agrees_within, metric, resyncs};
use crate::support::wait::{until, within};

/// An etcd with some routes, and a gogeta that has them; no comparison mends what a watch missed.
async fn begun() -> Option<(Etcd, Gogeta)> {
    let etcd = Etcd::start().await?;
    routes(&etcd, 0..3).await;
    let gogeta = follow(&[&etcd.url()]).await;
    agrees(&gogeta, &etcd).await;
    Some((etcd, gogeta))
}

async fn follow(urls: &[&str]) -> Gogeta {
    let gogeta = Gogeta::bare()
        .args(["--etcd-address", &urls.join(","), "--resync-interval=0", "--log=info,gogeta=debug"])
        // What is published has revisions, too.
        .arg("--publish-dir=off")
        .start()
        .await;
    gogeta.ready().await;
    gogeta
}

/// A domain and an instance for each number.
async fn routes(etcd: &Etcd, numbers: std::ops::Range<u16>) {
    for number in numbers {
        etcd.route(&format!("h{number}.test"), &format!("s{number}")).await;
        etcd.locate(&format!("s{number}"), "1", 1000 + number).await;
    }
}

async fn is_away(gogeta: &Gogeta) {
    within(Duration::from_secs(20), "the loss is noticed", async || {
        let ready = get(gogeta.admin, "admin", "/readyz").await.text();
        ready.contains("\"store_connected\":false").then_some(())
    })
    .await;
}

/// All that was read since the start, by reason.
async fn rereads(gogeta: &Gogeta) -> [f64; 4] {
    let mut counts = [0.0; 4];
    for (count, reason) in counts.iter_mut().zip(["compacted", "cluster", "revision_back", "history"]) {
        *count = resyncs(gogeta, reason).await;
    }
    counts
}

#[tokio::test]
async fn a_crash_costs_no_reading() {
    let Some((mut etcd, gogeta)) = begun().await else { return };
    for turn in 0..3 {
        etcd.kill().await;
        is_away(&gogeta).await;
        etcd.restart().await;
        routes(&etcd, 10 * turn..10 * turn + 5).await;
        etcd.del_prefix(&format!("/domains/h{turn}.test/")).await;
        agrees(&gogeta, &etcd).await;
    }
    assert_eq!((rereads(&gogeta).await, resyncs(&gogeta, "first").await), ([0.0; 4], 1.0));
    assert_eq!(gogeta.lines_with("watching etcd from where it was left").len(), 3);
}

#[tokio::test]
async fn a_cut_wire_loses_nothing_and_repeats_nothing() {
    let Some(etcd) = Etcd::start().await else { return };
    let link = Link::to(etcd.port()).await;
    let gogeta = follow(&[&link.url()]).await;
    for turn in 0..5_u16 {
        routes(&etcd, 5 * turn..5 * turn + 3).await;
        link.cut();
        // What happens while nobody looks: a thing comes and goes, another stays.
        etcd.route("ghost.test", "s0").await;
        etcd.del_prefix("/domains/ghost.test/").await;
        routes(&etcd, 5 * turn + 3..5 * turn + 5).await;
        is_away(&gogeta).await;
        link.mend();
        agrees(&gogeta, &etcd).await;
    }
    assert_eq!(rereads(&gogeta).await, [0.0; 4]);
    // Each domain that stays was told of once: it is set by one transaction, and nothing was applied again.
    for number in 0..25 {
        let told = gogeta.lines_with(&format!("\"host\":\"h{number}.test\""));
        assert!(told.len() <= 1, "{told:#?}");
    }
}

#[tokio::test]
async fn the_watch_goes_on_at_another_member() {
    let Some(mut members) = Etcd::three().await else { return };
    let urls = members.each_ref().map(Etcd::url);
    let gogeta = follow(&urls.each_ref().map(String::as_str)).await;
    for turn in 0..2 {
        let mut leader = 0;
        for (at, member) in members.iter().enumerate() {
            if member.leads().await {
                leader = at;
            }
        }
        members[leader].kill().await;
        let other = (leader + 1) % 3;
        // A new leader has to be elected before anything can be written.
        until("the others go on", async || members[other].try_put("/other", "x").await).await;
        routes(&members[other], 5 * turn..5 * turn + 5).await;
        agrees(&gogeta, &members[other]).await;
        members[leader].restart().await;
    }
    assert_eq!(rereads(&gogeta).await, [0.0; 4]);
}

#[tokio::test]
async fn a_member_that_hangs_is_left() {
    let Some(members) = Etcd::three().await else { return };
    let mut follower = 0;
    for (at, member) in members.iter().enumerate() {
        if !member.leads().await {
            follower = at;
        }
    }
    let other = (follower + 1) % 3;
    let gogeta = follow(&[&members[follower].url(), &members[other].url()]).await;
    members[follower].stop();
    routes(&members[other], 0..5).await;
    // Silence is noticed after eight seconds.
    agrees_within(Duration::from_secs(20), &gogeta, &members[other]).await;
    members[follower].cont();
    assert_eq!(rereads(&gogeta).await, [0.0; 4]);
}

#[tokio::test]
async fn a_compaction_behind_our_back_is_a_reading() {
    let Some(etcd) = Etcd::start().await else { return };
    routes(&etcd, 0..3).await;
    let link = Link::to(etcd.port()).await;
    let gogeta = follow(&[&link.url()]).await;
    link.cut();
    is_away(&gogeta).await;
    routes(&etcd, 2..9).await;
    etcd.del_prefix("/services/s1/").await;
    etcd.compact().await;
    link.mend();
    agrees(&gogeta, &etcd).await;
    assert_eq!(rereads(&gogeta).await, [1.0, 0.0, 0.0, 0.0]);
    // What the reading did not change was not changed.
    assert!(gogeta.lines_with("routes read anew").len() == 1, "{}", gogeta.log());
    // A compaction of what is known already costs nothing; one of the very next change does, since etcd forgets
    // what it deletes.
    for (deleted, readings) in [(0, 1.0), (1, 2.0)] {
        routes(&etcd, 10..11).await;
        agrees(&gogeta, &etcd).await;
        link.cut();
        is_away(&gogeta).await;
        for _ in 0..deleted {
            etcd.del("/services/s10/1/location").await;
        }
        etcd.compact().await;
        link.mend();
        agrees(&gogeta, &etcd).await;
        routes(&etcd, 11..12).await;
        agrees(&gogeta, &etcd).await;
        assert_eq!(rereads(&gogeta).await, [readings, 0.0, 0.0, 0.0], "{deleted} deleted");
    }
}

#[tokio::test]
async fn a_quiet_watch_keeps_up() {
    let Some(etcd) = Etcd::absent() else { return };
    let mut etcd = etcd.with(&["--experimental-watch-progress-notify-interval=200ms"]);
    etcd.restart().await;
    let link = Link::to(etcd.port()).await;
    let gogeta = follow(&[&link.url()]).await;
    // Nothing of this is watched.
    for _ in 0..10 {
        etcd.put("/zoo", "x").await;
    }
    let revision = etcd.revision().await;
    until("etcd has said how far it is", async || {
        (metric(&gogeta, "gogeta_config_revision").await as i64 == revision).then_some(())
    })
    .await;
    link.cut();
    is_away(&gogeta).await;
    etcd.compact().await;
    link.mend();
    routes(&etcd, 0..1).await;
    agrees(&gogeta, &etcd).await;
    assert_eq!(rereads(&gogeta).await, [0.0; 4]);
}

#[tokio::test]
async fn an_older_backup_is_noticed() {
    let Some((mut etcd, gogeta)) = begun().await else { return };
    let backup = etcd.back_up().await;
    routes(&etcd, 3..6).await;
    agrees(&gogeta, &etcd).await;
    etcd.kill().await;
    etcd.restore(&backup).await;
    etcd.restart().await;
    agrees(&gogeta, &etcd).await;
    // The id may be the same or not, depending on how it was restored; the past is another.
    let [compacted, cluster, back, _] = rereads(&gogeta).await;
    assert_eq!((compacted, cluster + back), (0.0, 1.0));
}

#[tokio::test]
async fn an_older_backup_that_was_written_to_since_is_noticed() {
    let Some((mut etcd, gogeta)) = begun().await else { return };
    let backup = etcd.back_up().await;
    routes(&etcd, 3..6).await;
    agrees(&gogeta, &etcd).await;
    gogeta.signal(Signal::STOP);
    etcd.kill().await;
    etcd.restore(&backup).await;
    etcd.restart().await;
    // Further than gogeta ever was: neither the revision nor, where it is the same, the id gives it away.
    routes(&etcd, 20..40).await;
    gogeta.signal(Signal::CONT);
    agrees(&gogeta, &etcd).await;
    let [compacted, cluster, back, history] = rereads(&gogeta).await;
    assert_eq!((compacted, back, cluster + history), (0.0, 0.0, 1.0));
}

#[tokio::test]
async fn what_is_too_large_for_one_message_comes_in_parts() {
    let Some(etcd) = Etcd::start().await else { return };
    let link = Link::to(etcd.port()).await;
    let gogeta = follow(&[&link.url()]).await;
    link.cut();
    is_away(&gogeta).await;
    // What was missed comes in one answer: more than a message may have, by the library's own limit.
    let large = "x".repeat(10_000);
    let keys: Vec<String> = (0..100).map(|number| format!("/services/s{number}/1/status/alive")).collect();
    for _ in 0..5 {
        let ops: Vec<Op<'_>> = keys.iter().map(|key| Op::Put(key, &large)).collect();
        etcd.txn(&ops).await;
    }
    routes(&etcd, 0..1).await;
    link.mend();
    agrees(&gogeta, &etcd).await;
    assert_eq!(rereads(&gogeta).await, [0.0; 4]);
    // Its parts were one change.
    assert_eq!(metric(&gogeta, "gogeta_config_changes_total").await, 1.0);
}

#[tokio::test]
async fn most_of_the_routes_gone_is_looked_at_twice() {
    let Some(mut etcd) = Etcd::start().await else { return };
    routes(&etcd, 0..20).await;
    let gogeta = follow(&[&etcd.url()]).await;
    agrees(&gogeta, &etcd).await;
    etcd.kill().await;
    etcd.wipe();
    etcd.restart().await;
    // An empty cluster; its owner puts the routes back at once.
    gogeta.log_has("it is read once more before that is believed").await;
    // Not in the same way as before: the same past again could be gone on from.
    etcd.put("/other", "x").await;
    routes(&etcd, 0..20).await;
    until("the second reading is applied", async || {
        (rereads(&gogeta).await.iter().sum::<f64>() == 1.0).then_some(())
    })
    .await;
    agrees(&gogeta, &etcd).await;
    assert_eq!(metric(&gogeta, "gogeta_store_doubts_total").await, 1.0);
    assert!(gogeta.lines_with("a second reading shows the same").is_empty(), "{}", gogeta.log());
    // One that stays empty is believed.
    etcd.kill().await;
    etcd.wipe();
    etcd.restart().await;
    gogeta.log_has("a second reading shows the same").await;
    agrees(&gogeta, &etcd).await;
    assert_eq!(metric(&gogeta, "gogeta_store_doubts_total").await, 2.0);
}

#[tokio::test]
async fn a_client_may_delete_everything() {
    let Some(etcd) = Etcd::start().await else { return };
    routes(&etcd, 0..20).await;
    let gogeta = follow(&[&etcd.url()]).await;
    etcd.del_prefix("/domains/").await;
    agrees(&gogeta, &etcd).await;
    etcd.del_prefix("/services/").await;
    agrees(&gogeta, &etcd).await;
    assert_eq!(metric(&gogeta, "gogeta_store_doubts_total").await, 0.0);
}

#[tokio::test]
async fn a_comparison_under_churn_finds_nothing() {
    let Some(etcd) = Etcd::start().await else { return };
    routes(&etcd, 0..50).await;
    let gogeta =
        Gogeta::etcd(&etcd).args(["--resync-interval=500ms", "--log=info,gogeta=debug"]).start().await;
    gogeta.ready().await;
    let mut session = etcd.session().await;
    let mut turn = 0;
    until("everything was compared a few times", async || {
        for _ in 0..50 {
            turn += 1;
            let key = format!("/services/s{}/1/status/alive", turn % 50);
            let gone = format!("/domains/h{}.test/value", turn * 7 % 50);
            session.txn(&[Op::Put(&key, &turn.to_string()), Op::Del(&gone)]).await;
            session.txn(&[Op::Put(&gone, "s1")]).await;
        }
        (gogeta.lines_with("routes compared with etcd's").len() >= 3).then_some(())
    })
    .await;
    agrees(&gogeta, &etcd).await;
    assert_eq!(metric(&gogeta, "gogeta_store_drift_total").await, 0.0, "{}", gogeta.log());
}

#[tokio::test]
async fn a_backup_that_looks_right_is_found_by_a_comparison() {
    let Some(mut etcd) = Etcd::start().await else { return };
    routes(&etcd, 0..12).await;
    // Published revisions are revisions, too, and would be in the way of the numbers below.
    let gogeta = Gogeta::etcd(&etcd).args(["--resync-interval=2s", "--publish-dir=off"]).start().await;
    agrees(&gogeta, &etcd).await;
    // The last routes are older than the backup, and gogeta is further than the backup.
    etcd.put("/other", "1").await;
    let backup = etcd.back_up().await;
    for _ in 0..4 {
        etcd.put("/other", "2").await;
    }
    let revision = etcd.revision().await;
    until("gogeta is as far", async || {
        let text = get(gogeta.admin, "admin", "/readyz").await.text();
        text.contains(&format!("\"revision\":{revision},")).then_some(())
    })
    .await;
    gogeta.signal(Signal::STOP);
    etcd.kill().await;
    etcd.restore(&backup).await;
    etcd.restart().await;
    // What is written where gogeta believes to have been.
    etcd.route("new.test", "s0").await;
    etcd.put("/services/s5/1/status/current", "stopped").await;
    for _ in 0..4 {
        etcd.put("/other", "3").await;
    }
    gogeta.signal(Signal::CONT);
    agrees_within(Duration::from_secs(10), &gogeta, &etcd).await;
    assert_eq!(metric(&gogeta, "gogeta_store_drift_total").await, 2.0);
    assert_eq!(rereads(&gogeta).await, [0.0; 4]);
    assert_eq!(gogeta.lines_with("routes were other than in etcd").len(), 1);
}

#[tokio::test]
async fn each_gogeta_tells_what_it_serves() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.locate("web", "1", web.port).await;
    let mut gogetas = [Gogeta::etcd(&etcd).start().await, Gogeta::etcd(&etcd).start().await];
    for gogeta in &gogetas {
        gogeta.ready().await;
    }
    etcd.route("a.test", "web").await;
    // What they publish has revisions, too, which nobody publishes.
    let (_, revision) = etcd.all("/domains/").await;
    let told = async || {
        let (keys, _) = etcd.all("/gogeta/applied/").await;
        let told = keys.into_values().map(|text| serde_json::from_str(&text).expect("JSON"));
        told.collect::<Vec<serde_json::Value>>()
    };
    until("both say so", async || {
        let told = told().await;
        let both = told.len() == 2 && told.iter().all(|one| one["revision"].as_i64() >= Some(revision));
        both.then_some(())
    })
    .await;
    let mut pids: Vec<_> = told().await.iter().map(|one| one["pid"].as_u64()).collect();
    pids.sort_unstable();
    let mut wanted = gogetas.each_ref().map(|gogeta| Some(u64::from(gogeta.pid())));
    wanted.sort_unstable();
    assert_eq!(pids, wanted);
    // One that ends takes its word back.
    gogetas[0].signal(Signal::TERM);
    gogetas[0].wait().await;
    assert_eq!(told().await.len(), 1);
}
