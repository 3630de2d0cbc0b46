//! What the kernel judges of a parked pair, here by the same code in userspace.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use gogeta_common::guard::{Method, request, response};

use crate::samples::{self, HOST};

/// Heads that pass, and one that does not.
pub(crate) fn guard(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("guard");
    for (name, head, passes) in [
        ("get", samples::get(), true),
        ("browser", samples::browser(), true),
        ("refuse", samples::get().replace("Accept:", "X-Forwarded-For:"), false),
    ] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let verdict = request(black_box(head.as_bytes()), HOST.as_bytes());
                assert_eq!(verdict.is_some(), passes);
            });
        });
    }
    let answer = samples::response();
    group.throughput(Throughput::Bytes(answer.len() as u64));
    group.bench_function("response", |bencher| {
        bencher.iter(|| assert!(response(black_box(answer.as_bytes()), Method::Get).is_some()));
    });
    group.finish();
}
