//! What is told of each service.

use super::Scene;
use crate::support::backend::{Backend, service};
use crate::support::client::get;
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

#[tokio::test]
async fn a_services_requests_are_counted_whoever_carried_them() {
    let scene = Scene::played().await;
    let web = |code: &str| format!("gogeta_service_requests_total{{service=\"web\",code=\"{code}\"}}");
    let more = if scene.kernel { [3.0, 1.0, 1.0] } else { [0.0; 3] };
    for (code, by_kernel) in ["2xx", "4xx", "5xx"].into_iter().zip(more) {
        assert_eq!(scene.sample(&web(code)).await, 1.0 + by_kernel, "{code}");
    }
    let series = |name: &str, service: &str| format!("gogeta_service_{name}{{service=\"{service}\"}}");
    assert_eq!(scene.sample(&series("requests_open", "web")).await, 1.0, "the tunnel");
    let count = scene.sample(&series("request_duration_seconds_count", "web")).await;
    assert_eq!(count, 3.0 + more.iter().sum::<f64>());
    assert!(scene.sample(&series("request_duration_seconds_sum", "web")).await > 0.0);
    for (service, errors) in [("web", 0.0), ("broken", 1.0), ("stopped", 1.0)] {
        assert_eq!(scene.sample(&series("errors_total", service)).await, errors, "{service}");
    }
    let instances = "gogeta_service_instances{service=\"stopped\",state=\"stopped\"}";
    assert_eq!(scene.sample(instances).await, 1.0);
    if scene.kernel {
        let kernel = |code: &str| {
            format!("gogeta_requests_total{{engine=\"sockmap\",target=\"service\",code=\"{code}\"}}")
        };
        for (code, count) in [("2xx", 2.0), ("3xx", 0.0), ("4xx", 1.0), ("5xx", 1.0)] {
            assert_eq!(scene.sample(&kernel(code)).await, count, "{code}");
        }
        let took = |what: &str| format!("gogeta_request_duration_seconds_{what}{{engine=\"sockmap\"}}");
        assert_eq!(scene.sample(&took("count")).await, 4.0);
        let seconds = scene.sample(&took("sum")).await;
        assert!(seconds > 0.0 && seconds < 10.0, "{seconds}");
        let bytes = "gogeta_client_bytes_total{engine=\"sockmap\",direction=\"sent\"}";
        assert!(scene.sample(bytes).await > 100.0);
    }
}

#[tokio::test]
async fn services_beyond_the_limit_are_others_and_none_is_told_of_where_that_is_off() {
    let web = Backend::named("web").await;
    let routes: String =
        (0..5).map(|at| service(&format!("s{at}.test"), &[web.port])).collect::<Vec<_>>().concat();
    let start = |flag: &'static str| Gogeta::routes(&routes).arg(flag).start();
    let (few, off) = (start("--metrics-max-services=2").await, start("--metrics-per-service=false").await);
    for gogeta in [&few, &off] {
        for at in 0..5 {
            assert_eq!(get(gogeta.proxy, &format!("s{at}.test"), "/").await.text(), "web");
        }
    }
    until("all are counted", async || {
        let text = get(few.admin, "admin", "/metrics").await.text();
        let others = "gogeta_service_requests_total{service=\"other\",code=\"2xx\"} 3";
        text.contains(others).then_some(())
    })
    .await;
    let text = get(few.admin, "admin", "/metrics").await.text();
    assert_eq!(text.matches("gogeta_service_requests_open{").count(), 3, "{text}");
    let text = get(off.admin, "admin", "/metrics").await.text();
    assert!(!text.contains("service=") && text.contains("gogeta_services{"), "{text}");
}
