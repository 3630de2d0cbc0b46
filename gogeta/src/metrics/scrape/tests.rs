//! What a scrape shows, and that it stays small.

use std::time::{Duration, Instant};

use super::*;
use crate::metrics::Answered;
use crate::routes::census::Census;
use crate::routes::key::{DomainField, InstanceField, Key};
use crate::routes::registry::{Change, Op, Registry as Routes};
use crate::routes::table::Resolver;

fn now(table: &Arc<RouteTable>) -> impl Fn() -> Now + Send + Sync + 'static {
    let table = table.clone();
    move || Now { open: 3, most: 10, is_ready: true, table: table.clone() }
}

fn scrape(metrics: &Arc<Metrics>, table: &Arc<RouteTable>) -> String {
    Scrape::new(metrics.clone(), None, now(table)).text(Format::OpenMetrics).expect("it encodes")
}

fn answered(target: Target, status: u16, took: Duration) -> Answered {
    Answered { target, place: None, status, failed: false, took }
}

#[test]
fn what_a_scrape_shows() {
    let metrics = Arc::new(Metrics::new(2, None));
    metrics.worker(0).request(answered(Target::Service, 200, Duration::from_micros(300)));
    metrics.worker(1).request(answered(Target::Service, 200, Duration::from_secs(60)));
    metrics.worker(1).request(answered(Target::None, 404, Duration::from_micros(1)));
    metrics.worker(0).error("unknown_domain");
    metrics.worker(0).upstream_error("connect");
    metrics.worker(0).received(7);
    metrics.revision.set(7);
    let text = scrape(&metrics, &Arc::default());
    for line in [
        "gogeta_requests_total{engine=\"userspace\",target=\"service\",code=\"200\"} 2",
        "gogeta_requests_total{engine=\"userspace\",target=\"none\",code=\"404\"} 1",
        "gogeta_errors_total{reason=\"unknown_domain\"} 1",
        "gogeta_upstream_errors_total{reason=\"connect\"} 1",
        "gogeta_client_bytes_total{engine=\"userspace\",direction=\"received\"} 7",
        "gogeta_connections_open 3",
        "gogeta_connections_max 10",
        "gogeta_ready 1",
        "gogeta_instances_resting 0",
        "gogeta_config_revision 7",
        "gogeta_request_duration_seconds_count{engine=\"userspace\"} 3",
        "gogeta_request_duration_seconds_bucket{le=\"0.0005\",engine=\"userspace\"} 2",
        "gogeta_request_duration_seconds_bucket{le=\"30.0\",engine=\"userspace\"} 2",
        "gogeta_request_duration_seconds_bucket{le=\"+Inf\",engine=\"userspace\"} 3",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

/// So many domains, and so many services of one instance each.
fn table(domains: usize, services: usize) -> (Arc<RouteTable>, crate::routes::census::Counts) {
    let put = |key, value: String| Op::Put(key, value.into_bytes());
    let domains = (0..domains).flat_map(|at| {
        let host: Arc<str> = format!("d{at}.test").into();
        let key = |field| Key::Domain { host: host.clone(), field };
        [
            put(key(DomainField::Type), "service".to_owned()),
            put(key(DomainField::Value), format!("s{}", at % services)),
        ]
    });
    let services = (0..services).map(|at| {
        let (service, index) = (format!("s{at}").as_str().into(), "1".into());
        let key = Key::Instance { service, index, field: InstanceField::Location };
        put(key, format!("{{\"host\":\"10.0.0.1\",\"port\":{}}}", 1 + at % 65535))
    });
    let mut routes = Routes::new(Resolver::Domains);
    let applied = routes.apply(Change::Delta { revision: 1, ops: domains.chain(services).collect() });
    let counts = Census::default().follow(&routes.table(), &applied);
    (Arc::new(routes.table()), counts)
}

#[test]
fn a_hundred_thousand_domains_and_twenty_thousand_services_are_a_few_thousand_series() {
    let (table, counts) = table(100_000, 20_000);
    let metrics = Arc::new(Metrics::new(4, Some(200)));
    metrics.set_counts(counts);
    let small = {
        let (table, counts) = self::table(1000, 200);
        let metrics = Arc::new(Metrics::new(4, Some(200)));
        metrics.set_counts(counts);
        ask_all(&metrics, &table);
        scrape(&metrics, &table).lines().count()
    };
    ask_all(&metrics, &table);
    let text = scrape(&metrics, &table);
    for line in [
        "gogeta_domains{state=\"started\"} 100000",
        "gogeta_instances{state=\"started\"} 20000",
        "gogeta_service_requests_total{service=\"other\",code=\"2xx\"} 19800",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}");
    }
    // The others' own series, but for their instances, are all that more of them can add.
    let most = text.lines().count();
    assert!(most <= small + 20 && most < 6000, "{most} lines of so many, {small} of few");
    // Its time is that of the lines, not of the table: `cargo xtask bench micro` measures it, here it is bounded.
    let scraper = Scrape::new(metrics, None, now(&table));
    let best = (0..5).map(|_| {
        let begun = Instant::now();
        scraper.text(Format::Plain).expect("it encodes");
        begun.elapsed()
    });
    let best = best.min().expect("five");
    let limit = Duration::from_millis(if cfg!(debug_assertions) { 100 } else { 10 });
    assert!(best < limit, "a scrape takes {best:?}");
}

/// A request to each service, on one of the workers.
fn ask_all(metrics: &Metrics, table: &RouteTable) {
    for (at, service) in table.services().enumerate() {
        let worker = metrics.worker(at % 4);
        let place = worker.routed(service, None);
        let took = Duration::from_millis(3);
        worker.request(Answered { target: Target::Service, place, status: 200, failed: at == 0, took });
    }
}

#[test]
fn a_service_is_shown_with_its_instances() {
    let (table, counts) = table(2, 2);
    let metrics = Arc::new(Metrics::new(4, Some(10)));
    metrics.set_counts(counts);
    ask_all(&metrics, &table);
    let open = metrics.worker(0).routed(table.service("s0").expect("it is there"), None);
    assert!(open.is_some());
    let text = scrape(&metrics, &table);
    for line in [
        "gogeta_service_requests_total{service=\"s0\",code=\"2xx\"} 1",
        "gogeta_service_requests_total{service=\"s1\",code=\"5xx\"} 0",
        "gogeta_service_requests_open{service=\"s0\"} 1",
        "gogeta_service_requests_open{service=\"s1\"} 0",
        "gogeta_service_instances{service=\"s1\",state=\"started\"} 1",
        "gogeta_service_instances{service=\"s1\",state=\"error\"} 0",
        "gogeta_service_request_duration_seconds_count{service=\"s1\"} 1",
        "gogeta_service_request_duration_seconds_bucket{le=\"0.001\",service=\"s1\"} 0",
        "gogeta_service_request_duration_seconds_bucket{le=\"0.005\",service=\"s1\"} 1",
        "gogeta_service_request_duration_seconds_bucket{le=\"+Inf\",service=\"s1\"} 1",
        "gogeta_service_request_duration_seconds_sum{service=\"s1\"} 0.003",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    let failed = text.lines().filter(|line| line.starts_with("gogeta_service_errors_total{"));
    assert_eq!(failed.filter(|line| line.ends_with("} 1")).count(), 1);
    let uncounted = Arc::new(Metrics::new(4, None));
    ask_all(&uncounted, &table);
    assert!(!scrape(&uncounted, &table).contains("gogeta_service_"));
    // A service that goes by an odd name is a label all the same.
    assert!(uncounted.services().is_empty() && uncounted.service("s0").is_none());
}
