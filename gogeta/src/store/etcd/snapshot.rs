//! Everything there is, at one revision.

use std::time::Duration;

use etcd_client::{Client, GetOptions, GetResponse, KvClient};

use super::connect::{first, in_time};
use super::{Reason, end_of, key_of};
use crate::routes::key::{Key, KeySpace};
use crate::store::position::{Position, Witness};

/// Keys read at once: a response stays far below what either side takes for too large.
const PAGE: i64 = 5000;
/// What a response may have, in bytes; the library's own limit is below what etcd sends.
pub(super) const LARGE: usize = 64 << 20;
/// Between two pages of a reading that nobody waits for.
const PAUSE: Duration = Duration::from_millis(50);

/// Everything below both directories, and where in etcd's history it was so.
pub(super) struct Snapshot {
    pub(super) position: Position,
    pub(super) entries: Vec<(Key, Vec<u8>)>,
}

/// How a snapshot is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Haste {
    /// Someone waits for it.
    Now,
    /// Nobody does: a member may answer for itself, and gets a rest between two pages.
    Leisurely,
}

/// Reads everything below both directories: at that revision, or, where it is 0, at the current one.
pub(super) async fn snapshot(
    client: &mut Client,
    space: &KeySpace,
    mut revision: i64,
    haste: Haste,
) -> Result<Snapshot, Reason> {
    let mut reader =
        Reader { client: client.kv_client().max_decoding_message_size(LARGE), limit: PAGE, haste };
    let mut position: Option<Position> = None;
    let mut entries = Vec::new();
    let mut witness: Option<Witness> = None;
    for prefix in [space.domains(), space.services()] {
        let mut from = prefix.as_bytes().to_vec();
        let end = end_of(prefix);
        loop {
            let mut page = reader.page(from, &end, revision).await?;
            if position.is_none() {
                let mut here = position_of(&page)?;
                if revision > 0 {
                    here.revision = revision;
                }
                revision = here.revision;
                position = Some(here);
            }
            let more = page.more();
            let pairs = page.take_kvs();
            // The next page begins right behind this one's last key.
            from = pairs.last().map(|pair| [pair.key(), &[0]].concat()).unwrap_or_default();
            for pair in pairs {
                let Some(key) = key_of(space, pair.key()) else { continue };
                if !key.is_routing() {
                    continue;
                }
                if witness.as_ref().is_none_or(|known| known.revision < pair.mod_revision())
                    && let Ok(text) = pair.key_str()
                {
                    witness = Some(Witness { key: text.into(), revision: pair.mod_revision() });
                }
                entries.push((key, pair.into_key_value().1));
            }
            if !more {
                break;
            }
        }
    }
    let position = position.ok_or("etcd answered without a header")?;
    Ok(Snapshot { position: Position { witness, ..position }, entries })
}

struct Reader {
    client: KvClient,
    limit: i64,
    haste: Haste,
}

impl Reader {
    /// The next page of a range; a smaller one where it is too large for one message.
    async fn page(&mut self, from: Vec<u8>, end: &[u8], revision: i64) -> Result<GetResponse, Reason> {
        if matches!(self.haste, Haste::Leisurely) {
            tokio::time::sleep(PAUSE).await;
        }
        loop {
            let mut options =
                GetOptions::new().with_range(end.to_vec()).with_limit(self.limit).with_revision(revision);
            if matches!(self.haste, Haste::Leisurely) {
                options = options.with_serializable();
            }
            match in_time(self.client.get(from.clone(), Some(options))).await {
                Err(reason) if reason.contains("message length too large") && self.limit > 1 => {
                    self.limit /= 4
                }
                outcome => return outcome,
            }
        }
    }
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
