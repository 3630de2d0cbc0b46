//! etcd that is not there, dies, hangs or forgets: the routes stay, and come right by themselves.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::etcd::{Etcd, Op, free_port, location};
use crate::support::gogeta::Gogeta;
use crate::support::netns::{Namespace, Router, connect};
use crate::support::truth::agrees;
use crate::support::wait::{until, within};

/// etcd is asked again after so long at the latest; and then the machine may be slow.
const AGAIN: Duration = Duration::from_secs(20);

async fn serves(gogeta: &Gogeta, host: &str, wanted: (u16, &str)) {
    within(AGAIN, &format!("{host} answers {wanted:?}"), async || {
        let reply = get(gogeta.proxy, host, "/").await;
        (reply.status == wanted.0 && reply.text().contains(wanted.1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_etcd_that_comes_later() {
    let Some(mut etcd) = Etcd::absent() else { return };
    let web = Backend::named("web").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    gogeta.log_has("cannot read routes from etcd").await;
    let reply = get(gogeta.proxy, "a.test", "/").await;
    assert_eq!((reply.status, reply.header("x-gogeta-page")), (503, Some("unavailable")));
    assert!(reply.header("retry-after").is_some());
    assert_eq!(get(gogeta.admin, "admin", "/readyz").await.status, 503);
    etcd.restart().await;
    etcd.locate("web", "1", web.port).await;
    etcd.route("a.test", "web").await;
    serves(&gogeta, "a.test", (200, "web")).await;
    assert_eq!(get(gogeta.admin, "admin", "/readyz").await.status, 200);
    // It had to try more than once meanwhile; the same reason is told once.
    let lines = gogeta.lines_with("Connection refused");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains(&etcd.url()) && lines[0].contains("--etcd-address"), "{lines:?}");
}

#[tokio::test]
async fn an_etcd_that_dies_and_comes_back() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    etcd.locate("web", "1", one.port).await;
    etcd.route("a.test", "web").await;
    etcd.route("b.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    serves(&gogeta, "a.test", (200, "one")).await;

    etcd.kill().await;
    gogeta.log_has("cannot read routes from etcd").await;
    for _ in 0..20 {
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "one", "the routes stay");
    }
    until("the loss is shown, though it serves, and so is ready", async || {
        let ready = get(gogeta.admin, "admin", "/readyz").await;
        (ready.status == 200 && ready.text().contains("\"store_connected\":false")).then_some(())
    })
    .await;

    etcd.restart().await;
    etcd.locate("web", "1", two.port).await;
    etcd.del_prefix("/domains/b.test/").await;
    etcd.route("c.test", "web").await;
    serves(&gogeta, "a.test", (200, "two")).await;
    serves(&gogeta, "b.test", (404, "")).await;
    serves(&gogeta, "c.test", (200, "two")).await;
    // The watch is there again, too, and a second loss is told again.
    etcd.route("d.test", "web").await;
    serves(&gogeta, "d.test", (200, "two")).await;
    etcd.kill().await;
    until("the second loss is told", async || {
        (gogeta.lines_with("cannot read routes from etcd").len() >= 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_etcd_that_was_emptied_meanwhile() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.locate("web", "1", web.port).await;
    etcd.route("a.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    serves(&gogeta, "a.test", (200, "web")).await;
    etcd.kill().await;
    // Another cluster: its revisions begin anew.
    etcd.wipe();
    etcd.restart().await;
    serves(&gogeta, "a.test", (404, "")).await;
    etcd.locate("web", "1", web.port).await;
    etcd.route("b.test", "web").await;
    serves(&gogeta, "b.test", (200, "web")).await;
}

#[tokio::test]
async fn a_compaction_that_was_slept_through() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    etcd.locate("web", "1", one.port).await;
    etcd.route("a.test", "web").await;
    etcd.route("b.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    serves(&gogeta, "a.test", (200, "one")).await;

    gogeta.signal(Signal::STOP);
    // Without the connection, nothing waits in its buffers: the watch must begin behind the compaction.
    etcd.kill().await;
    etcd.restart().await;
    etcd.locate("web", "1", two.port).await;
    etcd.del_prefix("/domains/b.test/").await;
    for turn in 0..50 {
        etcd.route("c.test", if turn % 2 == 0 { "web" } else { "nobody" }).await;
    }
    etcd.route("c.test", "web").await;
    etcd.compact().await;
    gogeta.signal(Signal::CONT);

    serves(&gogeta, "a.test", (200, "two")).await;
    serves(&gogeta, "b.test", (404, "")).await;
    serves(&gogeta, "c.test", (200, "two")).await;
    etcd.route("d.test", "web").await;
    serves(&gogeta, "d.test", (200, "two")).await;
}

#[tokio::test]
async fn an_etcd_that_hangs() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.locate("web", "1", web.port).await;
    etcd.route("a.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    serves(&gogeta, "a.test", (200, "web")).await;
    etcd.stop();
    within(AGAIN, "gogeta notices", async || {
        // No request waits for etcd meanwhile, though each has a lastAccess to tell.
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
        let ready = get(gogeta.admin, "admin", "/readyz").await.text();
        ready.contains("\"store_connected\":false").then_some(())
    })
    .await;
    etcd.cont();
    within(AGAIN, "gogeta is back", async || {
        let ready = get(gogeta.admin, "admin", "/readyz").await.text();
        ready.contains("\"store_connected\":true").then_some(())
    })
    .await;
    etcd.route("b.test", "web").await;
    serves(&gogeta, "b.test", (200, "web")).await;
}

#[tokio::test]
async fn one_of_two_endpoints_is_enough() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.locate("web", "1", web.port).await;
    etcd.route("a.test", "web").await;
    let dead = format!("http://127.0.0.1:{}", free_port());
    for addresses in [format!("{dead},{}", etcd.url()), format!("{},{dead}", etcd.url())] {
        let gogeta = Gogeta::bare().args(["--etcd-address", &addresses]).start().await;
        serves(&gogeta, "a.test", (200, "web")).await;
        etcd.route("b.test", "web").await;
        serves(&gogeta, "b.test", (200, "web")).await;
        etcd.del_prefix("/domains/b.test/").await;
    }
}

#[tokio::test]
async fn something_else_on_the_address() {
    let Some(_) = Etcd::absent() else { return };
    let other = Backend::named("no etcd").await;
    let url = format!("http://127.0.0.1:{}", other.port);
    let gogeta = Gogeta::bare().args(["--etcd-address", &url]).start().await;
    gogeta.log_has("cannot read routes from etcd").await;
    assert!(gogeta.lines_with("cannot read routes from etcd")[0].contains(&url));
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.header("x-gogeta-page"), Some("unavailable"));
    assert_eq!(get(gogeta.admin, "admin", "/healthz").await.status, 200);
}

/// etcd on an island, and a gogeta on the mainland that has its routes.
struct Island {
    etcd: Etcd,
    web: Backend,
    gogeta: Gogeta,
}

impl Island {
    async fn new(namespace: &Namespace, address: IpAddr) -> Option<Self> {
        let mut etcd = Etcd::absent()?.on(namespace, address);
        etcd.restart().await;
        let web = Backend::named("web").await;
        etcd.locate("web", "1", web.port).await;
        etcd.route("a.test", "web").await;
        let gogeta = Gogeta::etcd(&etcd).arg("--resync-interval=0").start().await;
        serves(&gogeta, "a.test", (200, "web")).await;
        Some(Self { etcd, web, gogeta })
    }

    /// Cuts it off for so long. Meanwhile routes are served, and others are written on the island.
    async fn is_cut_off(&self, namespace: &Namespace, time: Duration, cut: impl Fn(), mend: impl AsyncFn()) {
        let mut inside = self.etcd.session_from(namespace).await;
        let location = location(self.web.port);
        cut();
        let begun = Instant::now();
        let mut turn = 0;
        while begun.elapsed() < time {
            assert_eq!(get(self.gogeta.proxy, "a.test", "/").await.text(), "web", "the routes stay");
            let value = format!("/domains/h{}.test/value", turn % 40);
            let service = format!("s{turn}");
            let instance = format!("/services/{service}/1/location");
            inside.txn(&[Op::Put(&value, &service), Op::Put(&instance, &location)]).await;
            turn += 1;
        }
        mend().await;
        let reach = || TcpStream::connect((self.etcd.address().ip(), self.etcd.port()));
        until("etcd can be reached", async || {
            // A first packet that is lost is not sent again for a second.
            timeout(Duration::from_millis(50), reach()).await.ok()?.ok()
        })
        .await;
        agrees(&self.gogeta, &self.etcd).await;
    }
}

#[tokio::test]
async fn packets_that_vanish() {
    let (Some(namespace), host) = (Namespace::new(), Namespace::host()) else { return };
    let Some((router, _, address)) = Router::between(&host, &namespace).await else { return };
    let Some(island) = Island::new(&namespace, address).await else { return };
    // The connection lives through the first. In the second, etcd's kernel comes to wait for longer before each try than
    // routes may be wrong, and in the third gogeta tries to connect, in vain.
    for millis in [700, 3500, 6000] {
        let time = Duration::from_millis(millis);
        island.is_cut_off(&namespace, time, || router.lose(), async || router.pass()).await;
    }
    let losses = island.gogeta.lines_with("cannot read routes from etcd");
    assert!(!losses.is_empty(), "a silent network is noticed: {}", island.gogeta.log());
}

#[tokio::test]
async fn a_cable_that_is_pulled() {
    let (Some(namespace), host) = (Namespace::new(), Namespace::host()) else { return };
    let (_, address) = connect(&host, &namespace).await;
    let Some(island) = Island::new(&namespace, address).await else { return };
    for millis in [1000, 5000] {
        let time = Duration::from_millis(millis);
        island.is_cut_off(&namespace, time, || namespace.cut(), async || namespace.mend().await).await;
    }
}
