//! Whether what is known can be gone on from.

use etcd_client::Client;

use super::Reason;
use super::snapshot::look;
use crate::routes::key::KeySpace;
use crate::store::position::{Position, Why};

/// What keeps us from going on from a position; none if nothing does, as far as can be seen before the watch.
///
/// Neither the cluster's id nor its revision proves anything: a cluster that is restored from a backup at the same
/// address has the same id, and may have been written to since. So a key is asked for, too, that must have been
/// written when we saw it written.
pub(super) async fn obstacle(
    client: &mut Client,
    space: &KeySpace,
    known: &Position,
) -> Result<Option<Why>, Reason> {
    // Any key that we may read does where none is known: the header is what counts.
    let key = known.witness.as_ref().map_or(space.domains(), |witness| &witness.key);
    let (now, written) = look(client, key, 0).await?;
    if now.cluster != known.cluster {
        return Ok(Some(Why::Cluster));
    }
    if now.revision < known.revision {
        return Ok(Some(Why::RevisionBack));
    }
    if now.term < known.term {
        return Ok(Some(Why::History));
    }
    let written = if now.revision == known.revision {
        written
    } else {
        // What stood there when we saw it? And is what happened since still there? A watch from the very revision
        // that was compacted could still be had, but lacks what was deleted there (etcd-io/etcd#18089).
        match look(client, key, known.revision).await {
            Ok((_, written)) => written,
            Err(reason) if reason.contains("compacted") => return Ok(Some(Why::Compacted)),
            Err(reason) => return Err(reason),
        }
    };
    let differs = known.witness.as_ref().is_some_and(|witness| written != Some(witness.revision));
    Ok(differs.then_some(Why::History))
}
