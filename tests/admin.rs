//! The admin listener: health, metrics, and what is routed where.

use std::collections::{HashMap, HashSet};

use crate::support::backend::Backend;
use crate::support::client::{get, request};
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

fn routes(port: u16) -> String {
    format!(
        "[domains.\"a.test\"]\ntype = \"service\"\nvalue = \"web\"\n\
         [domains.\"uri.test\"]\ntype = \"uri\"\nvalue = \"http://127.0.0.1:{port}\"\n\
         [domains.\"half.test\"]\ntype = \"service\"\n\
         [domains.\"stopped.test\"]\ntype = \"service\"\nvalue = \"stopped\"\n\
         [services.web.1]\nlocation = {{ host = \"127.0.0.1\", port = {port} }}\n\
         [services.stopped.1]\nstatus = {{ current = \"stopped\", expected = \"stopped\" }}\n"
    )
}

/// The samples of an OpenMetrics text, by name and labels; panics where it is none.
fn samples(text: &str) -> HashMap<String, f64> {
    let mut kinds: HashMap<&str, &str> = HashMap::new();
    let mut samples = HashMap::new();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.last(), Some(&"# EOF"), "it ends as it should");
    for line in &lines[..lines.len() - 1] {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<&str> = comment.splitn(3, ' ').collect();
            assert!(["HELP", "TYPE", "UNIT"].contains(&words[0]) && words.len() == 3, "{line}");
            if words[0] == "TYPE" {
                assert!(kinds.insert(words[1], words[2]).is_none(), "a family comes once: {line}");
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
            None => (series, ""),
        };
        let word = |text: &str| {
            !text.is_empty()
                && !text.starts_with(|letter: char| letter.is_ascii_digit())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        assert!(word(name), "{line}");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (key, text) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
            assert!(word(key) && text.len() >= 2 && text.starts_with('"') && text.ends_with('"'), "{line}");
        }
        let suffixes: &[(&str, &str)] = &[
            ("_total", "counter"),
            ("_bucket", "histogram"),
            ("_sum", "histogram"),
            ("_count", "histogram"),
            ("", "gauge"),
        ];
        let declared = suffixes.iter().any(|(suffix, kind)| {
            name.strip_suffix(suffix).is_some_and(|family| kinds.get(family) == Some(kind))
        });
        assert!(declared, "its family is declared before it: {line}");
        assert!(samples.insert(series.to_owned(), value).is_none(), "a series comes once: {line}");
    }
    samples
}

async fn scrape(gogeta: &Gogeta) -> HashMap<String, f64> {
    let accept = "GET /metrics HTTP/1.1\r\nHost: admin\r\nAccept: application/openmetrics-text\r\n\r\n";
    let reply = request(gogeta.admin, accept).await;
    assert_eq!(reply.status, 200);
    let kind = reply.header("content-type").expect("a type");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    samples(&reply.text())
}

#[tokio::test]
async fn health_readiness_and_an_index() {
    let gogeta = Gogeta::routes("").start().await;
    let healthy = get(gogeta.admin, "admin", "/healthz").await;
    assert_eq!((healthy.status, healthy.text().as_str()), (200, "ok\n"));
    let ready = get(gogeta.admin, "admin", "/readyz").await;
    let body: serde_json::Value = serde_json::from_slice(&ready.body).expect("JSON");
    assert_eq!((ready.status, &body["ready"], &body["draining"]), (200, &true.into(), &false.into()));
    let index = get(gogeta.admin, "localhost", "/").await.text();
    for path in ["/healthz", "/readyz", "/metrics", "/api/routes"] {
        assert!(index.contains(path), "{index}");
        assert_eq!(get(gogeta.admin, "localhost", path).await.status, 200);
    }
    assert_eq!(get(gogeta.admin, "admin", "/nothing").await.status, 404);
}

#[tokio::test]
async fn metrics_count_requests() {
    let web = Backend::named("web").await;
    let gogeta = Gogeta::routes(&routes(web.port)).start().await;
    scrape(&gogeta).await;
    for (host, times) in [("a.test", 3), ("uri.test", 2), ("nobody.test", 4), ("stopped.test", 1)] {
        for _ in 0..times {
            get(gogeta.proxy, host, "/").await;
        }
    }
    assert_eq!(request(gogeta.proxy, "GET / HTTP/1.1\r\n\r\n").await.status, 400);
    // A request is counted when its last byte is on its way, which the client may see first.
    let found = until("all are counted", async || {
        let found = scrape(&gogeta).await;
        (found.get("gogeta_request_duration_seconds_count{engine=\"userspace\"}") == Some(&11.0))
            .then_some(found)
    })
    .await;
    let count = |series: &str| found.get(series).copied().unwrap_or(0.0);
    assert_eq!(count("gogeta_requests_total{engine=\"userspace\",target=\"service\",code=\"200\"}"), 3.0);
    assert_eq!(count("gogeta_requests_total{engine=\"userspace\",target=\"uri\",code=\"200\"}"), 2.0);
    assert_eq!(count("gogeta_requests_total{engine=\"userspace\",target=\"none\",code=\"404\"}"), 4.0);
    assert_eq!(count("gogeta_requests_total{engine=\"userspace\",target=\"service\",code=\"503\"}"), 1.0);
    assert_eq!(count("gogeta_requests_total{engine=\"userspace\",target=\"none\",code=\"400\"}"), 1.0);
    assert_eq!(count("gogeta_errors_total{reason=\"unknown_domain\"}"), 4.0);
    assert_eq!(count("gogeta_errors_total{reason=\"not_started\"}"), 1.0);
    assert_eq!(count("gogeta_request_duration_seconds_bucket{le=\"+Inf\",engine=\"userspace\"}"), 11.0);
    assert_eq!(count("gogeta_connections_accepted_total"), 11.0);
    for (series, wanted) in [
        ("gogeta_domains{state=\"started\"}", 1.0),
        ("gogeta_domains{state=\"uri\"}", 1.0),
        ("gogeta_domains{state=\"pending\"}", 1.0),
        ("gogeta_domains{state=\"stopped\"}", 1.0),
        ("gogeta_services{state=\"started\"}", 1.0),
        ("gogeta_instances{state=\"stopped\"}", 1.0),
    ] {
        assert_eq!(count(series), wanted, "{series}");
    }
    assert_eq!(count("gogeta_store_connected"), 1.0);
}

#[tokio::test]
async fn a_broken_upstream_is_counted() {
    let gogeta = Gogeta::routes(&routes(1)).start().await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 502);
    until("the error is counted", async || {
        let found = scrape(&gogeta).await;
        let count = |series: &str| found.get(series).copied().unwrap_or(0.0);
        (count("gogeta_requests_total{engine=\"userspace\",target=\"service\",code=\"502\"}") == 1.0
            && count("gogeta_upstream_errors_total{reason=\"connect\"}") >= 1.0)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_api_shows_every_domain_and_service() {
    let gogeta = Gogeta::routes(&routes(80)).start().await;
    let reply = get(gogeta.admin, "localhost", "/api/routes").await;
    let api: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    let names = |list: &str, name: &str| -> HashSet<String> {
        let list = api[list].as_array().expect("a list");
        list.iter()
            .map(|item| {
                format!("{} {}", item[name].as_str().unwrap_or("?"), item["state"].as_str().unwrap_or("?"))
            })
            .collect()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<HashSet<_>>();
    assert_eq!(
        names("domains", "host"),
        set(&["a.test started", "uri.test uri", "half.test pending", "stopped.test stopped"])
    );
    assert_eq!(names("services", "name"), set(&["web started", "stopped stopped"]));
}

#[tokio::test]
async fn the_admin_listener_can_be_left_out() {
    let web = Backend::named("web").await;
    let gogeta = Gogeta::routes(&routes(web.port)).arg("--admin=off").start().await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
    assert!(gogeta.lines_with("gogeta is up")[0].contains("\"admin\":\"None\""));
    assert_eq!(gogeta.admin.port(), 0);
    // It is no way around by the proxy, either.
    assert_eq!(get(gogeta.proxy, "admin", "/metrics").await.status, 404);
}
