//! Everything there is, at one revision.

use etcd_client::{Client, GetOptions, GetResponse};

use super::connect::first;
use super::pages::{Haste, Pages};
use super::{Reason, key_of};
use crate::routes::key::{Key, KeySpace};
use crate::store::position::{Position, Witness};

/// Everything below both directories, and where in etcd's history it was so.
pub(super) struct Snapshot {
    pub(super) position: Position,
    pub(super) entries: Vec<(Key, Vec<u8>)>,
}

/// Reads everything below both directories: at that revision, or, where it is 0, at the current one.
pub(super) async fn snapshot(
    client: &Client,
    space: &KeySpace,
    revision: i64,
    haste: Haste,
) -> Result<Snapshot, Reason> {
    let mut pages = Pages::of(client, &[space.domains(), space.services()], revision, haste);
    let mut position: Option<Position> = None;
    let mut entries = Vec::new();
    let mut witness: Option<Witness> = None;
    while let Some(mut page) = pages.next().await? {
        if position.is_none() {
            position = Some(Position { revision: pages.revision(), ..position_of(&page)? });
        }
        for pair in page.take_kvs() {
            let Some(key) = key_of(space, pair.key()).filter(Key::is_routing) else { continue };
            if witness.as_ref().is_none_or(|known| known.revision < pair.mod_revision())
                && let Ok(text) = pair.key_str()
            {
                witness = Some(Witness { key: text.into(), revision: pair.mod_revision() });
            }
            entries.push((key, pair.into_key_value().1));
        }
    }
    let position = position.ok_or("etcd answered without a header")?;
    Ok(Snapshot { position: Position { witness, ..position }, entries })
}

/// Where etcd stands, by a response of its.
fn position_of(response: &GetResponse) -> Result<Position, Reason> {
    let header = response.header().ok_or("etcd answered without a header")?;
    Ok(Position {
        cluster: header.cluster_id(),
        term: header.raft_term(),
        revision: header.revision(),
        witness: None,
    })
}

/// What etcd has under a key now, or had at a revision, and where etcd stands.
pub(super) async fn look(
    client: &mut Client,
    key: &str,
    revision: i64,
) -> Result<(Position, Option<i64>), Reason> {
    let options = GetOptions::new().with_revision(revision).with_keys_only();
    let response = first(client.get(key, Some(options))).await?;
    let written = response.kvs().first().map(etcd_client::KeyValue::mod_revision);
    Ok((position_of(&response)?, written))
}
