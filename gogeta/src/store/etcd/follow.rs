//! Following etcd: a snapshot, then what changes; and again, whatever breaks.

use super::Reason;
use super::backoff::Backoff;
use super::connect::connect;
use super::snapshot::snapshot;
use super::watch::{Pending, Watch, watch};
use super::write::write;
use crate::config::Etcd;
use crate::feedback::Inbox;
use crate::routes::key::KeySpace;
use crate::routes::registry::Change;
use crate::store::{Event, Events, Names};

/// Follows etcd for as long as someone listens.
pub async fn run(etcd: Etcd, events: Events, mut inbox: Inbox) {
    let space = KeySpace::new(&etcd.domain_dir, &etcd.service_dir);
    let mut backoff = Backoff::default();
    // Endpoints take turns. A client of several asks whichever is quickest to say something, and that is a dead
    // one that refuses the connection.
    let mut told = vec![String::new(); etcd.endpoints.len()];
    for turn in (0..etcd.endpoints.len()).cycle() {
        if events.is_closed() {
            return;
        }
        let address = &etcd.endpoints[turn];
        let outcome = follow(&etcd, address, &space, &events, &mut inbox, &mut backoff).await;
        let Err(reason) = outcome else { return };
        if events.send(Event::Down).await.is_err() {
            return;
        }
        // A reason that stays is told once, not with each try; what was told before the last success is history.
        if backoff.is_fresh() {
            told.fill(String::new());
        }
        if told[turn] != reason {
            tracing::error!(
                address,
                reason,
                "cannot read routes from etcd (--etcd-address); the routes stay as they are, and gogeta goes on trying"
            );
            told[turn] = reason;
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Connects, reads everything, then passes on what changes until something breaks. Ends well only when nobody
/// listens any more.
async fn follow(
    etcd: &Etcd,
    address: &str,
    space: &KeySpace,
    events: &Events,
    inbox: &mut Inbox,
    backoff: &mut Backoff,
) -> Result<(), Reason> {
    let mut client = connect(etcd, address).await?;
    let (revision, entries) = snapshot(&mut client, space).await?;
    let Watch { mut stream, first, quiet } = watch(&mut client, space, revision + 1).await?;
    let names = Names::Keys(space.clone());
    tracing::info!(revision, keys = entries.len(), address, "routes read from etcd");
    let all = Event::Change { change: Change::Snapshot { revision, entries }, names: names.clone() };
    if events.send(all).await.is_err() || events.send(Event::Up).await.is_err() {
        return Ok(());
    }
    backoff.reset();
    let mut pending = Pending::default();
    pending.add(space, Ok(first))?;
    loop {
        tokio::select! {
            response = stream.message() => {
                pending.add(space, response)?;
                pending.gather(space, &mut stream, quiet).await?;
                if let Some(change) = pending.take()
                    && events.send(Event::Change { change, names: names.clone() }).await.is_err()
                {
                    return Ok(());
                }
            }
            batch = inbox.next() => match batch {
                // Written by a task of its own: changes must not wait for it.
                Some(batch) => drop(tokio::spawn(write(client.clone(), space.clone(), batch))),
                None => return Ok(()),
            },
        }
    }
}
