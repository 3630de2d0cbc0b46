//! What single steps of a request take: `cargo xtask bench micro`, or `cargo bench -p gogeta --bench micro`.
//!
//! Only functions without I/O, and what Prometheus gets. What a whole request takes is counted in instructions, by the same command.

mod gate;
mod guard;
mod headers;
mod routing;
mod samples;
mod scrape;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    steps,
    routing::resolve,
    routing::balance,
    gate::requests,
    gate::responses,
    guard::guard,
    headers::headers,
    scrape::scrape
);
criterion_main!(steps);
