//! A gogeta that parks connections, and what it says of them.

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};

use gogeta::splice::{Engine, Kind, Kinds};

use super::backend::{Backend, ok, service_at};
use super::client::Client;
use super::etcd::skip;
use super::gogeta::{Builder, Gogeta};
use super::netns::{Namespace, connect};
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

/// Has the kernel carry the second request of a client, the first that this gogeta has carried.
pub(crate) async fn carries(gogeta: &Gogeta, answer: &str) {
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..2 {
        assert_eq!(client.get("a.test", "/").await.text(), answer);
        parked(gogeta, 1.0).await;
    }
    assert_eq!(carried(gogeta).await, 1.0);
}

/// A gogeta in a namespace, before a backend of this host and called from here: what comes and goes takes a device, as
/// the wire engine wants it.
pub(crate) struct Beyond {
    host: Namespace,
    there: IpAddr,
    routes: String,
    _backend: Backend,
}

impl Beyond {
    /// None where namespaces cannot be made.
    pub(crate) async fn new(answer: &'static str) -> Option<Self> {
        let host = Namespace::new()?;
        let (here, there) = connect(&Namespace::host(), &host).await;
        let backend = Backend::listening(Namespace::host().listener(here), move |mut peer| async move {
            while peer.request().await.is_some() && peer.send(ok(answer)).await.is_ok() {}
        });
        let routes = service_at("a.test", &[(here, backend.port).into()]);
        Some(Self { host, there, routes, _backend: backend })
    }

    /// Started by that command.
    pub(crate) fn gogeta(&self, command: &[impl AsRef<OsStr>]) -> Builder {
        let [listen, admin] = [8080, 0].map(|port| SocketAddr::new(self.there, port).to_string());
        let builder = Gogeta::routes(&self.routes).by(command).on(&self.host);
        builder.args(["--listen", &listen, "--admin", &admin])
    }
}

/// How many requests the kernel has answered.
pub(crate) async fn carried(gogeta: &Gogeta) -> f64 {
    let by =
        async |kind: Kind| sum(gogeta, "gogeta_requests_total", &format!("engine=\"{}\"", kind.name())).await;
    by(Kind::Sockmap).await + by(Kind::Wire).await
}

/// The same, by the text of `/metrics` of a gogeta that is none of the harness's.
fn carried_as_told(metrics: &str) -> f64 {
    let is_carried = |labels: &str| {
        [Kind::Sockmap, Kind::Wire].iter().any(|kind| labels.contains(&format!("engine=\"{}\"", kind.name())))
    };
    let samples =
        metrics.lines().filter_map(|line| line.strip_prefix("gogeta_requests_total{")?.rsplit_once("} "));
    let samples = samples.filter(|(labels, _)| is_carried(labels));
    samples.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
}

/// Has requests of one connection carried by the kernel, or sees that it carries none: `ask` asks once, and gives what
/// `/metrics` says then. Asking for that is a pause in which the connection is parked.
pub(crate) async fn carries_as_told(is_carried: bool, mut ask: impl AsyncFnMut() -> String) {
    if is_carried {
        until("the kernel carries", async || (carried_as_told(&ask().await) > 0.0).then_some(())).await;
    } else {
        for _ in 0..5 {
            assert_eq!(carried_as_told(&ask().await), 0.0);
        }
    }
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
