//! A gogeta that parks connections, and what it says of them.

use super::etcd::skip;
use super::gogeta::{Builder, Gogeta};
use super::truth::metric;
use super::wait::until;

/// A gogeta that parks; none where the kernel does not let it, which is an error where nothing may be skipped.
pub(crate) async fn parking(routes: &str) -> Option<Gogeta> {
    parking_with(Gogeta::routes(routes)).await
}

/// The same, started with more arguments.
pub(crate) async fn parking_with(builder: Builder) -> Option<Gogeta> {
    if let Err(why) = gogeta::splice::Engine::load(1, false) {
        skip(&why.to_string());
        return None;
    }
    Some(builder.args(["--splice", "sockmap"]).start().await)
}

/// Waits until so many pairs are parked.
pub(crate) async fn parked(gogeta: &Gogeta, pairs: f64) {
    until(&format!("{pairs} pairs are parked"), async || {
        (metric(gogeta, "gogeta_splice_pairs").await == pairs).then_some(())
    })
    .await;
}

/// How many requests the kernel has carried.
pub(crate) async fn carried(gogeta: &Gogeta) -> f64 {
    metric(gogeta, "gogeta_splice_requests_total").await
}

/// Bytes that the kernel carried, either way.
pub(crate) async fn carried_bytes(gogeta: &Gogeta) -> f64 {
    metric(gogeta, "gogeta_splice_bytes_total{direction=\"to_client\"}").await
        + metric(gogeta, "gogeta_splice_bytes_total{direction=\"to_upstream\"}").await
}
