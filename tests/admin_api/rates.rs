//! What was asked lately, whoever carried it.

use super::shown;
use crate::metrics::web;
use crate::support::backend::Backend;
use crate::support::client::{Client, get};
use crate::support::etcd::skip;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{parked, parking};
use crate::support::wait::until;

#[tokio::test]
async fn rates_are_a_services_and_its_only_domains_whoever_carried_the_requests() {
    let backend = Backend::scripted(web).await;
    let domain = |host: &str, service: &str| {
        format!("[domains.\"{host}\"]\ntype = \"service\"\nvalue = \"{service}\"\n")
    };
    let at = |service: &str| {
        format!("[services.{service}.1]\nlocation = {{ host = \"127.0.0.1\", port = {} }}\n", backend.port)
    };
    let routes = domain("own.test", "own")
        + &domain("one.test", "shared")
        + &domain("two.test", "shared")
        + &at("own")
        + &at("shared");
    let gogeta = match parking(&routes).await {
        Some(gogeta) => gogeta,
        None => Gogeta::routes(&routes).args(["--splice", "off"]).start().await,
    };
    let mut client = Client::connect(gogeta.proxy).await;
    assert_eq!(client.get("own.test", "/").await.status, 200);
    let is_kernels = shown(&gogeta, "/api/status").await["engines"][1]["loaded"] == true;
    if is_kernels {
        parked(&gogeta, 1.0).await;
    } else {
        skip("the kernel carries nothing here");
    }
    // Each of its errors is the kernel's.
    for _ in 0..4 {
        assert_eq!(client.get("own.test", "/500").await.status, 500);
    }
    assert_eq!(get(gogeta.proxy, "one.test", "/").await.status, 200);
    until("all rates are shown", async || {
        let status = shown(&gogeta, "/api/status").await;
        let traffic = &status["traffic"];
        let own = shown(&gogeta, "/api/services/own").await;
        let shared = shown(&gogeta, "/api/services/shared").await;
        let domain = shown(&gogeta, "/api/domains/own.test").await;
        let is_some = |rate: &serde_json::Value| rate.as_f64() > Some(0.0);
        let is_shown = traffic["error_ratio"].as_f64() > Some(0.5)
            && is_some(&traffic["errors_per_second"])
            && is_some(&traffic["p99_seconds"])
            && own["error_ratio"].as_f64() > Some(0.7)
            && is_some(&own["requests_per_second"])
            && is_some(&own["p99_seconds"])
            && is_some(&shared["requests_per_second"])
            && shared["error_ratio"] == 0.0
            && domain["requests_per_second"] == domain["service"]["requests_per_second"]
            && is_some(&domain["requests_per_second"]);
        is_shown.then_some(())
    })
    .await;
    let listed = shown(&gogeta, "/api/domains").await;
    let rates = listed["items"].as_array().expect("a list").iter();
    let is_known: Vec<bool> = rates.map(|item| item["requests_per_second"].is_number()).collect();
    assert_eq!(is_known, [false, true, false], "of a service with two domains nobody knows whose they are");
    if is_kernels {
        let status = shown(&gogeta, "/api/status").await;
        assert_eq!(status["engines"][1]["requests_total"], 4);
    }
}
