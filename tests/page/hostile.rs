//! Whoever may write routes does not get to run scripts in an operator's browser.

use serde_json::json;

use super::browser::Browser;
use crate::support::etcd::{Etcd, Op};
use crate::support::gogeta::Gogeta;

const SCRIPT: &str = "<img src=x onerror=\"window.broken=1\"><script>window.broken=2</script>\"'&amp;";

#[tokio::test]
async fn names_that_are_markup_are_shown_and_nothing_else() {
    let Some(etcd) = Etcd::start().await else { return };
    let Some(browser) = Browser::start().await else { return };
    let host = "<img src=x onerror=window.broken=3>";
    let config = json!({ SCRIPT: SCRIPT }).to_string();
    etcd.txn(&[
        Op::Put(&format!("/domains/{host}/type"), "service"),
        Op::Put(&format!("/domains/{host}/value"), host),
        Op::Put("/domains/a.test/type", "service"),
        Op::Put("/domains/a.test/value", SCRIPT),
        Op::Put("/domains/a.test/config", &config),
        Op::Put("/domains/b.test/type", SCRIPT),
        Op::Put("/domains/u.test/type", "uri"),
        Op::Put("/domains/u.test/value", "javascript:window.broken=4"),
        Op::Put(&format!("/services/{host}/<b>/location"), SCRIPT),
        Op::Put(&format!("/services/{host}/<b>/config/gogeta"), &config),
        Op::Put(&format!("/services/{host}/<b>/status/current"), SCRIPT),
        Op::Put(&format!("/services/{host}/<b>/status/expected"), "started"),
        Op::Put(&format!("/services/{host}/<b>/status/alive"), SCRIPT),
    ])
    .await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    gogeta.ready().await;
    let tab = browser.tab().await;
    let code = percent(host);
    for (view, selector, text) in [
        ("/".to_owned(), "#domains tbody", "a.test"),
        ("/domains/a.test".to_owned(), "#detail-body .facts", SCRIPT),
        ("/services".to_owned(), "#services tbody", host),
        (format!("/services/{code}"), "#detail-body .instance", "<b>"),
        ("/problems".to_owned(), "#problems-body", "<b>"),
        ("/changes".to_owned(), "#changes", "Changes"),
        (format!("/explain?url={code}"), "#explain", "Explain"),
        (format!("/domains?q={}", percent(SCRIPT)), "#domains tbody", "a.test"),
    ] {
        tab.open(&gogeta, &view).await;
        tab.shows(selector, text).await;
        assert_eq!(tab.eval("window.broken ?? null").await, json!(null), "{view}");
        // The page's own pictures are its mark's.
        let pictures = "[...document.images].every((picture) => picture.src.endsWith('/page/favicon.svg'))";
        assert_eq!(tab.eval(pictures).await, true, "{view}");
        let links = "[...document.links].every((link) => link.protocol === 'http:')";
        assert_eq!(tab.eval(links).await, true, "{view}");
    }
    // The browser refuses markup from any script, were there one that tried.
    let markup = "(() => { try { document.body.innerHTML = '<b>'; return 'made'; } catch (error) { return error.name; } })()";
    assert_eq!(tab.eval(markup).await, "TypeError");
    tab.asked_nobody_else(&gogeta);
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
