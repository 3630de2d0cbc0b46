//! The page tells what is so, and soon: a new domain within a second, an instance's states, an instance that is dead.

use std::time::{SystemTime, UNIX_EPOCH};

use super::browser::Browser;
use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::etcd::{Etcd, free_port};
use crate::support::gogeta::Gogeta;

/// A change is in the page after so many milliseconds at the latest.
const PROMISE: f64 = 1000.0;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs_f64() * 1000.0
}

/// A promise in the page of the moment, in milliseconds since 1970, at which the list has a row of that name.
fn appearance_of(host: &str) -> String {
    format!(
        "new Promise((resolve) => {{
            const body = document.querySelector('#domains tbody');
            const look = () => [...body.querySelectorAll('a')].some((link) => link.textContent === {host:?})
                && (watch.disconnect(), resolve(Date.now()));
            const watch = new MutationObserver(look);
            watch.observe(body, {{ childList: true, subtree: true, characterData: true }});
            look();
        }})"
    )
}

#[tokio::test]
async fn a_new_domain_is_in_the_page_within_a_second_of_its_write() {
    let Some(etcd) = Etcd::start().await else { return };
    let Some(browser) = Browser::start().await else { return };
    let web = Backend::named("web").await;
    etcd.locate("web", "1", web.port).await;
    etcd.route("first.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    let tab = browser.tab().await;
    tab.open(&gogeta, "/").await;
    tab.shows("#domains tbody", "first.test").await;
    let mut slowest: f64 = 0.0;
    for number in 0..5 {
        let host = format!("new-{number}.test");
        let script = appearance_of(&host);
        let write = async {
            // The page has begun to watch for it when it has answered this.
            tab.eval("1").await;
            let before = now();
            etcd.route(&host, "web").await;
            before
        };
        let (seen, before) = tokio::join!(tab.eval(&script), write);
        slowest = slowest.max(seen.as_f64().expect("a time") - before);
    }
    println!("a new domain is in the page {slowest:.0} ms after its write at the latest");
    assert!(slowest < PROMISE, "{slowest} ms");
    tab.shows("#journal", "new-4.test: it is new").await;
    etcd.del_prefix("/domains/new-4.test/").await;
    let is_gone = "!document.querySelector('#domains tbody').innerText.includes('new-4.test')";
    tab.until("the domain is gone from the page", is_gone).await;
    tab.is_clean(&gogeta);
}

#[tokio::test]
async fn an_instance_is_followed_through_its_states() {
    let Some(etcd) = Etcd::start().await else { return };
    let Some(browser) = Browser::start().await else { return };
    let web = Backend::named("web").await;
    etcd.put("/domains/a.test/type", "service").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    let tab = browser.tab().await;
    tab.open(&gogeta, "/domains/a.test").await;
    let domain = |state: &'static str| {
        let tab = &tab;
        async move {
            tab.shows("#detail .verdict .state", state).await;
            tab.shows("#domains tbody .state", state).await;
        }
    };
    domain("pending").await;
    tab.shows("#detail .verdict", "its value is not set").await;
    etcd.put("/domains/a.test/value", "web").await;
    domain("error").await;
    tab.shows("#detail .verdict", "the service web does not exist").await;
    etcd.locate("web", "1", web.port).await;
    for (status, state) in [
        (["starting", "started", "-"], "starting"),
        (["started", "started", "1"], "started"),
        (["stopping", "stopped", "-"], "stopped"),
        (["stopped", "passivated", "-"], "passivated"),
        (["started", "started", "-"], "error"),
    ] {
        etcd.status("web", "1", status).await;
        domain(state).await;
        tab.shows("#detail .instance .state", state).await;
    }
    tab.shows("#detail .instance .why", "its heartbeat is gone").await;
    tab.shows("#detail .instance .location", &format!("127.0.0.1:{}", web.port)).await;
    // The state is a word, and what is read out is the word.
    tab.press("Escape").await;
    tab.until("it is closed", "!document.querySelector('#detail').open").await;
    for state in ["starting", "started", "stopped", "passivated"] {
        tab.shows("#journal", &format!("web/1: it is {state}, and was")).await;
    }
    tab.shows("#worst", "web").await;
    tab.is_clean(&gogeta);
}

#[tokio::test]
async fn an_instance_that_cannot_be_connected_to_is_told_of() {
    let Some(browser) = Browser::start().await else { return };
    let dead = free_port();
    let routes = format!(
        "[domains.\"down.test\"]\ntype = \"service\"\nvalue = \"down\"\n\
         [services.down.1]\nlocation = {{ host = \"127.0.0.1\", port = {dead} }}\n"
    );
    let gogeta = Gogeta::routes(&routes).start().await;
    let tab = browser.tab().await;
    tab.open(&gogeta, "/").await;
    tab.shows("#now .calm", "Nothing is wrong").await;
    tab.shows("#domains tbody .state", "started").await;
    for _ in 0..5 {
        assert_eq!(get(gogeta.proxy, "down.test", "/").await.status, 502);
    }
    tab.shows("#journal [data-level=error]", "down/1").await;
    tab.shows("#worst", "down").await;
    let errors = "/[1-9]/.test(document.querySelector('.tile:nth-child(2) .value').innerText)";
    tab.until("the share of errors is shown", errors).await;
    tab.click("#worst a").await;
    tab.shows("#detail .instance", "resting").await;
    tab.is_clean(&gogeta);
}
