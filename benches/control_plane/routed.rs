//! From a put to the first request that it routes.

use std::time::Instant;

use crate::percentiles::{Micros, Percentiles};
use crate::report::Routed;
use crate::support::client::Client;
use crate::support::etcd::{Etcd, Op};
use crate::support::gogeta::Gogeta;

/// Routes so many new hosts, one after the other, each asked for again and again until it is there.
pub(crate) async fn measure(etcd: &Etcd, gogeta: &Gogeta, puts: u32) -> Routed {
    println!("routing {puts} new hosts");
    let mut session = etcd.session().await;
    let mut client = Client::connect(gogeta.proxy).await;
    let (mut since_sent, mut since_stored) = (Vec::new(), Vec::new());
    for number in 0..puts {
        let host = format!("new-{number}.test");
        let [kind, value] = ["type", "value"].map(|field| format!("/domains/{host}/{field}"));
        session.txn(&[Op::Put(&kind, "service")]).await;
        let sent = Instant::now();
        session.txn(&[Op::Put(&value, "web")]).await;
        let stored = Instant::now();
        // No waiting in between: the first moment is looked for, at the price of asking often.
        while client.get(&host, "/").await.status != 200 {
            assert!(stored.elapsed().as_secs() < 10, "{host} is not routed");
        }
        since_sent.push(Micros::since(sent));
        since_stored.push(Micros::since(stored));
    }
    Routed { puts, since_sent: Percentiles::of(since_sent), since_stored: Percentiles::of(since_stored) }
}
