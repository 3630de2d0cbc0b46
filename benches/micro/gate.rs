//! What passes between a socket and hyper.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use gogeta::proxy::gate::{Asked, Gate, Limits, Piece, ResponseGate, ResponseLimits, Verdict};

use crate::samples;

/// What gogeta has by itself.
const LIMITS: Limits = Limits { head: 32 << 10, fields: 100, target: 8 << 10, body: u64::MAX };
const RESPONSE_LIMITS: ResponseLimits = ResponseLimits { head: 64 << 10, fields: 100 };

/// Requests, each in one read, one behind the other on one connection.
pub(crate) fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gate");
    for (name, request) in
        [("get", samples::get()), ("browser", samples::browser()), ("post", samples::post())]
    {
        let mut gate = Gate::new(LIMITS);
        group.throughput(Throughput::Bytes(request.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(gate.judge(black_box(request.as_bytes())), Verdict::Pass));
        });
    }
    let refused = samples::smuggler();
    group.throughput(Throughput::Bytes(refused.len() as u64));
    group.bench_function("refuse", |bencher| {
        bencher.iter(|| {
            let verdict = Gate::new(LIMITS).judge(black_box(refused.as_bytes()));
            assert!(matches!(verdict, Verdict::Refuse(..)));
        });
    });
    group.finish();
}

/// Responses, likewise.
pub(crate) fn responses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("response gate");
    for (name, response) in [("length", samples::response()), ("chunked", samples::chunked())] {
        let mut gate = ResponseGate::new(RESPONSE_LIMITS);
        group.throughput(Throughput::Bytes(response.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                gate.expect(Asked::default());
                let mut rest = black_box(response.as_bytes());
                while !rest.is_empty() {
                    let (count, piece) = gate.take(rest).expect("it passes");
                    assert_eq!(piece, Piece::Part);
                    rest = &rest[count..];
                }
            });
        });
    }
    group.finish();
}
