//! The page is for people who see, hear or move differently, too: axe-core finds nothing serious.

use std::path::Path;

use serde_json::{Value, json};

use super::browser::Browser;
use super::tab::Tab;
use crate::support::backend::service;
use crate::support::etcd::skip;
use crate::support::gogeta::Gogeta;

/// Where `cargo xtask test` puts axe-core, seen from the repository's root.
const AXE: &str = "target/axe/bin/axe_playwright_python/axe.min.js";

/// axe-core as one script; none where it is not installed.
fn axe() -> Option<String> {
    let found = std::fs::read_to_string(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(AXE));
    if found.is_err() {
        skip("axe-core is not installed: cargo xtask test does that");
    }
    found.ok()
}

/// What is wrong in what is shown, in a line each.
async fn violations(tab: &Tab) -> Vec<String> {
    let run = "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.flatMap((one) =>
        one.nodes.map((node) => `${one.impact} ${one.id}: ${node.target} ${node.failureSummary}`)))";
    let found = tab.eval(run).await;
    found.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[tokio::test]
async fn nothing_serious_is_in_anybodys_way() {
    let Some(axe) = axe() else { return };
    let Some(browser) = Browser::start().await else { return };
    let mut routes: String =
        (0..30).map(|number| service(&format!("host-{number}.test"), &[9, 10])).collect();
    for (name, current, expected) in [
        ("asleep", "passivated", "passivated"),
        ("up", "starting", "started"),
        ("off", "stopped", "stopped"),
        ("bad", "started", "started"),
    ] {
        routes += &format!(
            "[domains.\"{name}.test\"]\ntype = \"service\"\nvalue = \"{name}\"\n[services.{name}.1]\n\
             status = {{ current = {current:?}, expected = {expected:?} }}\n"
        );
    }
    routes += "[domains.\"half.test\"]\ntype = \"service\"\n[domains.\"uri.test\"]\ntype = \"uri\"\nvalue = \"http://127.0.0.1:9/\"\n";
    let gogeta = Gogeta::routes(&routes).start().await;
    let tab = browser.tab().await;
    let mut looked_at = 0;
    for (view, there) in [
        ("/", "#domains tbody tr"),
        ("/services", "#services tbody tr"),
        ("/domains/bad.test", "#detail .instance"),
        ("/explain", "#explain"),
        ("/pairs", "#engines-body tr"),
        ("/control", "#control"),
    ] {
        tab.open(&gogeta, view).await;
        tab.until(view, &format!("document.querySelector({there:?})")).await;
        tab.until("a chart is told in words", "document.querySelector('.plot[aria-label]')").await;
        if view == "/control" {
            tab.click("#token-give").await;
        }
        tab.eval(&axe).await;
        for (width, height) in [(1280, 900), (360, 740)] {
            tab.size(width, height).await;
            // Nothing hangs over the edge.
            let over = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(tab.eval(over).await, 0, "{view} at {width}");
            for is_dark in [false, true] {
                tab.dark(is_dark).await;
                let found = violations(&tab).await;
                assert_eq!(found, [""; 0], "{view} at {width}, dark: {is_dark}");
                looked_at += 1;
            }
        }
    }
    assert_eq!(looked_at, 24);
    tab.is_clean(&gogeta);
}

#[tokio::test]
async fn what_is_not_seen_is_told() {
    let Some(browser) = Browser::start().await else { return };
    let gogeta = Gogeta::routes(&service("a.test", &[9])).start().await;
    let tab = browser.tab().await;
    tab.open(&gogeta, "/").await;
    tab.shows("#domains tbody", "a.test").await;
    let told = "document.querySelector('#chart-requests .plot').getAttribute('aria-label')";
    tab.until("the chart is told in words", told).await;
    let words = tab.eval(told).await;
    assert!(
        words.as_str().is_some_and(|words| words.starts_with("Requests over the last 5 minutes. all: now ")),
        "{words}"
    );
    tab.click("#chart-requests summary").await;
    tab.until("there is a table", "document.querySelector('#chart-requests table caption')").await;
    // Nothing that changes each second is read out by itself.
    let live = "[...document.querySelectorAll('[aria-live], [role=status], [role=alert], [role=log]')].map((one) => one.id || one.className).sort()";
    let expected = json!(["announcer", "announcer unseen", "explanation", "token-why"]);
    assert_eq!(tab.eval(live).await, expected);
    tab.is_clean(&gogeta);
}
