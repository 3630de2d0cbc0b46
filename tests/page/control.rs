//! What an operator does from the page takes a token, and is seen in the page.

use super::browser::Browser;
use crate::support::backend::{Backend, service};
use crate::support::client::get;
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

#[tokio::test]
async fn an_instance_is_drained_with_the_token_and_not_without() {
    let Some(browser) = Browser::start().await else { return };
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let routes = service("a.test", &[one.port, two.port]);
    let gogeta = Gogeta::routes(&routes).env("GOGETA_ADMIN_TOKEN", "a-good-long-token").start().await;
    let tab = browser.tab().await;
    tab.open(&gogeta, "/domains/a.test").await;
    tab.click("#detail .instance:first-child button").await;
    tab.until("the token is asked for", "document.querySelector('#token-dialog').open").await;
    tab.type_in("wrong").await;
    tab.press("Enter").await;
    tab.until("why is told", "document.querySelector('#token-why').innerText !== ''").await;
    tab.type_in("a-good-long-token").await;
    tab.press("Enter").await;
    tab.shows("#detail .instance:first-child", "drained").await;
    tab.shows("#detail .toast", "is drained").await;
    until("the other one gets all", async || {
        let replies =
            [get(gogeta.proxy, "a.test", "/").await.text(), get(gogeta.proxy, "a.test", "/").await.text()];
        (replies == ["two", "two"]).then_some(())
    })
    .await;
    tab.click("#detail .instance:first-child button").await;
    tab.shows("#detail .instance:first-child button", "Drain").await;
    // It is kept for this tab, and nowhere that outlives it.
    assert_eq!(tab.eval("sessionStorage.length").await, 1);
    assert_eq!(tab.eval("localStorage.length + document.cookie.length").await, 0);
    tab.press("Escape").await;
    tab.open(&gogeta, "/control").await;
    tab.until("the filter is read", "document.querySelector('#log-filter').value !== ''").await;
    tab.eval("document.querySelector('#log-filter').value = 'debug'").await;
    tab.click("#log-form button").await;
    tab.shows("#toasts", "debug").await;
    tab.click("#tasks-form button").await;
    tab.until("tasks are shown", "document.querySelector('#tasks-text').innerText.length > 20").await;
    tab.asked_nobody_else(&gogeta);
}

#[tokio::test]
async fn how_a_request_would_be_routed_is_told_step_by_step() {
    let Some(browser) = Browser::start().await else { return };
    let web = Backend::named("web").await;
    let gogeta = Gogeta::routes(&service("a.test", &[web.port])).start().await;
    let tab = browser.tab().await;
    tab.open(&gogeta, "/explain").await;
    tab.type_in("http://a.test/some/path?query").await;
    tab.press("Enter").await;
    tab.shows("#explanation .verdict", &web.port.to_string()).await;
    tab.until("there are steps", "document.querySelectorAll('.steps li').length > 1").await;
    assert!(tab.eval("location.hash").await.as_str().is_some_and(|hash| hash.starts_with("#/explain?url=")));
    tab.open(&gogeta, "/explain?url=nobody.test").await;
    tab.shows("#explanation .verdict", "404").await;
    tab.is_clean(&gogeta);
}
