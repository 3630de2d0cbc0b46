//! What Prometheus gets, of few routes and of many: it must not take longer for many.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use gogeta::metrics::scrape::{Format, Now, Scrape};
use gogeta::metrics::{Answered, Metrics, Target};
use gogeta::routes::census::Census;
use gogeta::routes::registry::Applied;
use gogeta::routes::table::RouteTable;

use super::routing;

/// A scrape of so many domains, and a fifth as many services of one instance each, each of which was asked.
pub(crate) fn scrape(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scrape");
    for domains in [1_000, 100_000] {
        let table = Arc::new(routing::table(domains, domains / 5, 1));
        let scrape = Scrape::new(counted(&table), None, {
            let table = table.clone();
            move || Now { open: 1, most: 10, is_ready: true, table: table.clone() }
        });
        for (format, name) in [(Format::OpenMetrics, "openmetrics"), (Format::Plain, "plain")] {
            group.bench_function(BenchmarkId::new(name, domains), |bencher| {
                bencher.iter(|| assert!(scrape.text(format).is_ok_and(|text| text.len() > 10_000)));
            });
        }
    }
    group.finish();
}

fn counted(table: &RouteTable) -> Arc<Metrics> {
    let metrics = Metrics::new(4, Some(200));
    let applied = Applied {
        domains: table.domains().map(|domain| domain.host.clone()).collect(),
        services: table.services().map(|service| service.name.clone()).collect(),
        ..Applied::default()
    };
    metrics.set_counts(Census::default().follow(table, &applied));
    for (at, service) in table.services().enumerate() {
        let worker = metrics.worker(at % 4);
        let (target, took) = (Target::Service, Duration::from_millis(3));
        let place = worker.routed(service, None);
        worker.request(Answered { target, place, status: 200, failed: false, took });
    }
    Arc::new(metrics)
}
