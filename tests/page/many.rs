//! A hundred thousand domains are as quick to look through as ten.

use std::time::Duration;

use serde_json::Value;

use super::browser::Browser;
use crate::support::etcd::{Etcd, Op};
use crate::support::gogeta::Gogeta;

const MANY: usize = 100_000;

#[tokio::test]
async fn a_hundred_thousand_domains_do_not_freeze_the_page() {
    let Some(etcd) = Etcd::start().await else { return };
    let Some(browser) = Browser::start().await else { return };
    let mut session = etcd.session().await;
    // Half of a domain is one to look for, too.
    let keys: Vec<String> = (0..MANY).map(|number| format!("/domains/host-{number:06}.test/type")).collect();
    // As many as etcd takes at once.
    for chunk in keys.chunks(120) {
        session.txn(&chunk.iter().map(|key| Op::Put(key, "service")).collect::<Vec<_>>()).await;
    }
    let gogeta = Gogeta::etcd(&etcd).start().await;
    let tab = browser.tab().await;
    tab.open(&gogeta, "/domains").await;
    let all = "document.querySelector('#domains .pager .count').innerText === '1–50 of 100,000 domains'";
    tab.within(Duration::from_secs(60), "all domains are there", all).await;
    tab.eval(
        "window.long = []; new PerformanceObserver((list) => long.push(...list.getEntries().map((task) => task.duration)))
            .observe({ type: 'longtask' })",
    )
    .await;
    tab.press("/").await;
    for (text, found) in [("host-09", "1–50 of 10,000 of 100,000 domains"), ("9999", "1 of 100,000 domains")]
    {
        tab.type_in(text).await;
        tab.shows("#domains .pager .count", found).await;
    }
    tab.press("Escape").await;
    tab.shows("#domains .pager .count", "1–50 of 100,000 domains").await;
    for _ in 0..3 {
        tab.click("#domains .pager button:last-child").await;
    }
    tab.shows("#domains .pager .count", "151–200 of 100,000 domains").await;
    tab.click("#domains .chips [data-name=pending]").await;
    tab.shows("#domains .pager .count", "1–50 of 100,000 domains").await;
    // Some seconds of live events, too.
    let status = "new Promise((resolve) => { let left = 3; const watch = new MutationObserver(() => --left || resolve());
        watch.observe(document.querySelector('#uptime'), { childList: true }); })";
    tokio::time::timeout(Duration::from_secs(20), tab.eval(status)).await.expect("it is live");
    let long = tab.eval("long").await;
    let longest = long.as_array().into_iter().flatten().filter_map(Value::as_f64).fold(0.0, f64::max);
    let nodes = tab.eval("document.querySelectorAll('*').length").await;
    // How long the page held its thread is the machine's affair, too; how much there is to draw is the page's alone.
    println!("the longest task took {longest} ms, with {nodes} elements");
    assert!(nodes.as_u64().is_some_and(|nodes| nodes < 2000), "{nodes}");
    tab.is_clean(&gogeta);
}
