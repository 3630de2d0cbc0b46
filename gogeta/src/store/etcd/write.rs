//! What gogeta itself writes: wake-ups and lastAccess.

use std::sync::Arc;

use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::Notify;

use super::Reason;
use super::connect::in_time;
use crate::feedback::{Batch, Name};
use crate::routes::key::{InstanceField, Key, KeySpace};
use crate::routes::model::ServiceName;

/// Writes what requests had to say. What cannot be written is told and forgotten: the next request says it again.
/// `stale` is told where etcd does not know us any more.
pub(super) async fn write(mut client: Client, space: KeySpace, batch: Batch, stale: Arc<Notify>) {
    for name in &batch.wakes {
        if let Err(reason) = wake(&mut client, &space, name).await {
            tracing::warn!(service = %name.0, index = %name.1, reason, "cannot wake a passivated instance");
            note(&reason, &stale);
        }
    }
    if batch.accesses.is_empty() {
        return;
    }
    let accesses: Vec<TxnOp> =
        batch.accesses.iter().map(|(name, at)| TxnOp::txn(access(&space, name, *at))).collect();
    if let Err(reason) = in_time(client.txn(Txn::new().and_then(accesses))).await {
        tracing::warn!(reason, "cannot write lastAccess to etcd");
        note(&reason, &stale);
    }
}

/// A token that expired is renewed by the library; one whose user or role changed is not.
fn note(reason: &Reason, stale: &Notify) {
    if reason.contains("auth token") || reason.contains("revision of auth store") {
        stale.notify_one();
    }
}

/// Sets `expected` from passivated to started: of any number of gogetas, one does.
async fn wake(client: &mut Client, space: &KeySpace, (service, index): &Name) -> Result<(), Reason> {
    let expected = space.render(&instance_key(service, index, InstanceField::Expected));
    let txn = Txn::new()
        .when([Compare::value(expected.clone(), CompareOp::Equal, "passivated")])
        .and_then([TxnOp::put(expected, "started", None)]);
    match in_time(client.txn(txn)).await?.succeeded() {
        true => tracing::info!(%service, %index, "woke a passivated instance"),
        false => tracing::debug!(%service, %index, "it was woken already"),
    }
    Ok(())
}

/// Writes `lastAccess`, unless the instance is gone: it must not come back as a lone key.
fn access(space: &KeySpace, (service, index): &Name, at: u64) -> Txn {
    let key = |field| space.render(&instance_key(service, index, field));
    let at = i64::try_from(at).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let text = at.and_then(|at| at.format(form).ok()).unwrap_or_default();
    Txn::new()
        .when([Compare::create_revision(key(InstanceField::Location), CompareOp::Greater, 0)])
        .and_then([TxnOp::put(key(InstanceField::LastAccess), text, None)])
}

fn instance_key(service: &ServiceName, index: &Arc<str>, field: InstanceField) -> Key {
    Key::Instance { service: service.clone(), index: index.clone(), field }
}
