//! A gogeta that parks connections, and what it says of them.

use gogeta::splice::{Engine, Kind, Kinds};

use super::etcd::skip;
use super::gogeta::{Builder, Gogeta};
use super::truth::sum;
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
        (sum(gogeta, "gogeta_splice_pairs", "").await == pairs).then_some(())
    })
    .await;
}

/// How many requests the kernel has answered.
pub(crate) async fn carried(gogeta: &Gogeta) -> f64 {
    let by =
        async |kind: Kind| sum(gogeta, "gogeta_requests_total", &format!("engine=\"{}\"", kind.name())).await;
    by(Kind::Sockmap).await + by(Kind::Wire).await
}

/// The same, by the text of `/metrics` of a gogeta that is none of the harness's.
pub(crate) fn carried_as_told(metrics: &str) -> f64 {
    let is_carried = |labels: &str| {
        [Kind::Sockmap, Kind::Wire].iter().any(|kind| labels.contains(&format!("engine=\"{}\"", kind.name())))
    };
    let samples =
        metrics.lines().filter_map(|line| line.strip_prefix("gogeta_requests_total{")?.rsplit_once("} "));
    let samples = samples.filter(|(labels, _)| is_carried(labels));
    samples.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
}

/// Bytes that the kernel carried, either way.
pub(crate) async fn carried_bytes(gogeta: &Gogeta) -> f64 {
    carried_to(gogeta, "sent").await + carried_to(gogeta, "received").await
}

/// Bytes that it carried to clients ("sent"), or from them ("received").
pub(crate) async fn carried_to(gogeta: &Gogeta, direction: &str) -> f64 {
    let by = async |kind: Kind| {
        let labels = format!("engine=\"{}\",direction=\"{direction}\"", kind.name());
        sum(gogeta, "gogeta_client_bytes_total", &labels).await
    };
    by(Kind::Sockmap).await + by(Kind::Wire).await
}
