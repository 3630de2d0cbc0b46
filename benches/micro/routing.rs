//! From a host to an instance.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use gogeta::balance::{Pick, pick};
use gogeta::routes::key::KeySpace;
use gogeta::routes::registry::{Change, Registry};
use gogeta::routes::table::{Resolver, Route, RouteTable};

/// A step through all hosts that is prime to their number, so that none is in the processor's cache because its
/// neighbour was asked for.
const STRIDE: usize = 7919;

/// A host's route, at some sizes of the table.
pub(crate) fn resolve(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resolve");
    for domains in [1_000, 10_000, 100_000] {
        let table = table(domains, domains / 5, 2);
        let hosts: Vec<String> = (0..domains).map(host).collect();
        let mut at = 0;
        group.bench_function(BenchmarkId::from_parameter(domains), |bencher| {
            bencher.iter(|| {
                at = (at + STRIDE) % hosts.len();
                let route = table.resolve(black_box(&hosts[at]));
                assert!(matches!(route, Route::Service { .. }));
            });
        });
        if domains == 100_000 {
            let route = |host| matches!(table.resolve(black_box(host)), Route::Unknown);
            group.bench_function("unknown of 100000", |bencher| {
                bencher.iter(|| assert!(route("www.unknown.example.com")));
            });
        }
    }
    group.finish();
}

/// The instance whose turn it is.
pub(crate) fn balance(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("balance");
    for instances in [2, 20, 200] {
        let table = table(1, 1, instances);
        let service = table.service("service-0").expect("it is there");
        assert_eq!(service.instances.len(), instances);
        group.bench_function(BenchmarkId::from_parameter(instances), |bencher| {
            bencher.iter(|| assert!(matches!(pick(black_box(service), 1), Pick::Instance(..))));
        });
    }
    group.finish();
}

fn host(number: usize) -> String {
    format!("host-{number}.example.com")
}

/// A table of so many domains, services, and instances of each.
pub(crate) fn table(domains: usize, services: usize, instances: usize) -> RouteTable {
    let mut pairs = Vec::new();
    for number in 0..domains {
        let key = format!("/domains/{}", host(number));
        pairs.push((format!("{key}/type"), "service".to_owned()));
        pairs.push((format!("{key}/value"), format!("service-{}", number % services)));
    }
    for number in 0..services * instances {
        let key = format!("/services/service-{}/{}", number / instances, number % instances);
        let port = 1_000 + number % 50_000;
        pairs.push((format!("{key}/location"), format!("{{\"host\":\"127.0.0.1\",\"port\":{port}}}")));
        for (status, value) in [("current", "started"), ("expected", "started"), ("alive", "1")] {
            pairs.push((format!("{key}/status/{status}"), value.to_owned()));
        }
    }
    let space = KeySpace::new("/domains", "/services");
    let key = |text: &str| space.parse(text).expect("a key that gogeta knows");
    let entries = pairs.into_iter().map(|(text, value)| (key(&text), value.into_bytes())).collect();
    let mut registry = Registry::new(Resolver::Domains);
    registry.apply(Change::Snapshot { revision: 1, entries });
    let table = registry.table();
    assert_eq!((table.domain_count(), table.problem_count()), (domains, 0));
    table
}
