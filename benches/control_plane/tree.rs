//! A tree of many domains and, for each five of them, an instance.

use crate::support::etcd::{Etcd, Op, location};

/// Writes so many domains; two of ten share a service, whose two instances are started.
pub(crate) async fn write(etcd: &Etcd, domains: u32) {
    let services = (domains / 10).max(1);
    let mut pairs: Vec<(String, String)> = Vec::new();
    for number in 0..domains {
        let key = format!("/domains/host-{number}.example.com");
        pairs.push((format!("{key}/type"), "service".to_owned()));
        pairs.push((format!("{key}/value"), format!("service-{}", number % services)));
    }
    for number in 0..2 * services {
        let key = format!("/services/service-{}/{}", number % services, number / services);
        let port = u16::try_from(1_000 + number % 50_000).expect("it is small");
        pairs.push((format!("{key}/location"), location(port)));
        for (status, value) in [("current", "started"), ("expected", "started"), ("alive", "1")] {
            pairs.push((format!("{key}/status/{status}"), value.to_owned()));
        }
    }
    let mut session = etcd.session().await;
    // As many as etcd takes at once.
    for chunk in pairs.chunks(128) {
        let chunk: Vec<Op<'_>> = chunk.iter().map(|(key, value)| Op::Put(key, value)).collect();
        session.txn(&chunk).await;
    }
}
