//! The rules for header fields.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BatchSize, Criterion};
use gogeta::cli::Options;
use gogeta::config::Config;
use gogeta::proxy::headers::{Original, Survey, forwarded::Peer, to_client, to_upstream};
use http::Version;
use http::header::{HOST, HeaderMap};

use crate::samples;

/// A request's fields on their way to an instance, a response's on theirs to the client.
pub(crate) fn headers(criterion: &mut Criterion) {
    let rules = Config::try_from(Options::default()).expect("the defaults are right").headers;
    let peer = Peer::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), &[]);
    let mut group = criterion.benchmark_group("headers");
    for (name, head) in [("get", samples::get()), ("browser", samples::browser()), ("post", samples::post())]
    {
        let fields = samples::fields(&head);
        let host = fields.get(HOST).cloned();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (with_room(&fields), host.clone()),
                |(mut fields, host)| {
                    let survey = Survey::of(black_box(&fields));
                    let original = Original { version: Version::HTTP_11, host, port: None, survey };
                    let wishes = to_upstream(black_box(&mut fields), &peer, original, &rules);
                    (fields, wishes)
                },
                BatchSize::SmallInput,
            );
        });
    }
    let fields = samples::response_fields(&samples::response());
    group.bench_function("response", |bencher| {
        bencher.iter_batched_ref(
            || with_room(&fields),
            |fields| to_client(black_box(fields), Version::HTTP_11, false, &rules),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// hyper reads a head into the map that the last one was written from, so there is room for what gogeta adds.
fn with_room(fields: &HeaderMap) -> HeaderMap {
    let mut with_room = fields.clone();
    with_room.reserve(16);
    with_room
}
