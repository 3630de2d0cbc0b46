//! A gogeta that parks connections, and what it says of them.

use gogeta::splice::{Engine, Kind, Kinds};

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
    parking_by(Kind::Sockmap, builder).await
}

/// The same by that engine.
pub(crate) async fn parking_by(kind: Kind, builder: Builder) -> Option<Gogeta> {
    parking_as(kind.name(), builder).await
}

/// The same, by what that mode chooses.
pub(crate) async fn parking_as(mode: &str, builder: Builder) -> Option<Gogeta> {
    // Where the tests run, there is but loopback maybe: the other engine asks for no more of the kernel than this.
    if let Err(why) = Engine::load(1, false, Kinds { sockmap: true, wire: false }) {
        skip(&why.to_string());
        return None;
    }
    Some(builder.args(["--splice", mode]).start().await)
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
