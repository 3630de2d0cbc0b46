//! When gogeta is gone the page says so, keeps what it knew, and comes back by itself.

use rustix::process::Signal;

use super::browser::Browser;
use crate::support::backend::service;
use crate::support::etcd::free_port;
use crate::support::gogeta::Gogeta;

#[tokio::test]
async fn a_lost_connection_is_told_and_found_again() {
    let Some(browser) = Browser::start().await else { return };
    let admin = format!("127.0.0.1:{}", free_port());
    let start = async |hosts: &[&str]| {
        let routes: String = hosts.iter().map(|host| service(host, &[9])).collect();
        Gogeta::routes(&routes).args(["--admin", &admin]).start().await
    };
    let mut gogeta = start(&["old.test"]).await;
    let tab = browser.tab().await;
    tab.open(&gogeta, "/").await;
    tab.shows("#domains tbody", "old.test").await;
    assert_eq!(tab.eval("document.querySelector('#lost').hidden").await, true);
    gogeta.signal(Signal::KILL);
    // Until then its address is its own.
    gogeta.wait().await;
    tab.shows("#lost", "gogeta cannot be reached").await;
    tab.shows("#announcer", "is lost").await;
    assert!(tab.text("#domains tbody").await.contains("old.test"), "the last picture stays");
    let gogeta = start(&["new.test"]).await;
    tab.shows("#domains tbody", "new.test").await;
    tab.until("the banner is gone", "document.querySelector('#lost').hidden").await;
    assert!(!tab.text("#domains tbody").await.contains("old.test"));
    tab.asked_nobody_else(&gogeta);
}
