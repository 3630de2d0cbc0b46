//! Everything works without a mouse.

use super::browser::Browser;
use crate::support::backend::service;
use crate::support::gogeta::Gogeta;

const FOCUS: &str = "document.activeElement.textContent.trim() || document.activeElement.id";

#[tokio::test]
async fn search_move_open_and_close_by_keys() {
    let Some(browser) = Browser::start().await else { return };
    let hosts: Vec<String> = (0..130).map(|number| format!("host-{number:03}.test")).collect();
    let routes: String = hosts.iter().map(|host| service(host, &[9])).collect();
    let gogeta = Gogeta::routes(&routes).start().await;
    let tab = browser.tab().await;
    tab.open(&gogeta, "/domains").await;
    tab.shows("#domains .pager .count", "1–50 of 130 domains").await;

    // The first thing that Tab comes to skips the rest.
    tab.press("Tab").await;
    assert_eq!(tab.eval(FOCUS).await, "Skip to the content");
    tab.press("Enter").await;
    assert_eq!(tab.eval("document.activeElement.id").await, "main");

    tab.press("/").await;
    assert_eq!(tab.eval(FOCUS).await, "domains-search");
    tab.type_in("host-11").await;
    tab.shows("#domains .pager .count", "10 of 130 domains").await;
    assert!(tab.eval("location.hash").await.as_str().is_some_and(|hash| hash.contains("q=host-11")));
    tab.press("ArrowDown").await;
    assert_eq!(tab.eval(FOCUS).await, "host-110.test");
    tab.press("j").await;
    tab.press("ArrowDown").await;
    assert_eq!(tab.eval(FOCUS).await, "host-112.test");
    tab.press("k").await;
    assert_eq!(tab.eval(FOCUS).await, "host-111.test");
    // What has the focus shows it.
    let outline = "parseFloat(getComputedStyle(document.activeElement).outlineWidth)";
    assert!(tab.eval(outline).await.as_f64().is_some_and(|width| width >= 2.0));
    tab.press("Enter").await;
    tab.shows("#detail-title", "host-111.test").await;
    tab.until("it is open", "document.querySelector('#detail').open").await;
    assert_eq!(tab.eval("location.hash").await, "#/domains/host-111.test");
    tab.press("Escape").await;
    tab.until("it is closed", "!document.querySelector('#detail').open").await;
    assert_eq!(tab.eval(FOCUS).await, "host-111.test", "the focus is where it was");
    assert_eq!(tab.text("#domains .pager .count").await, "10 of 130 domains", "so is the search");

    tab.press("/").await;
    tab.press("Escape").await;
    tab.shows("#domains .pager .count", "1–50 of 130 domains").await;
    tab.type_in("host-042").await;
    tab.shows("#domains .pager .count", "1 of 130 domains").await;
    tab.press("Enter").await;
    tab.shows("#detail-title", "host-042.test").await;
    tab.press("Escape").await;
    tab.press("/").await;
    tab.press("Escape").await;
    tab.shows("#domains .pager .count", "1–50 of 130 domains").await;

    // On to the next page, and back.
    tab.eval("document.querySelectorAll('#domains tbody a')[49].focus()").await;
    tab.press("j").await;
    tab.until("the next page is there", &format!("({FOCUS}) === 'host-050.test'")).await;
    tab.press("k").await;
    tab.until("the page before is there", &format!("({FOCUS}) === 'host-049.test'")).await;

    tab.press("?").await;
    tab.until("the keys are told", "document.querySelector('#keys').open").await;
    tab.press("Escape").await;
    tab.until("they are gone", "!document.querySelector('#keys').open").await;
    tab.is_clean(&gogeta);
}
