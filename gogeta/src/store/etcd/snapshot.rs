//! Everything there is, at one revision.

use etcd_client::{Client, GetOptions, ResponseHeader};

use super::connect::in_time;
use super::{Reason, end_of, entry};
use crate::routes::key::{Key, KeySpace};

/// Keys read at once: a response stays far below what either side takes for too large.
const PAGE: i64 = 5000;

/// Everything below both directories, at one revision.
pub(super) async fn snapshot(
    client: &mut Client,
    space: &KeySpace,
) -> Result<(i64, Vec<(Key, Vec<u8>)>), Reason> {
    let mut revision = 0;
    let mut entries = Vec::new();
    for prefix in [space.domains(), space.services()] {
        let mut from = prefix.as_bytes().to_vec();
        let end = end_of(prefix);
        loop {
            let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_revision(revision);
            let mut page = in_time(client.get(from, Some(options))).await?;
            if revision == 0 {
                revision = page.header().map_or(0, ResponseHeader::revision);
            }
            let more = page.more();
            let pairs = page.take_kvs();
            // The next page begins right behind this one's last key.
            from = pairs.last().map(|pair| [pair.key(), &[0]].concat()).unwrap_or_default();
            entries.extend(pairs.iter().filter_map(|pair| entry(space, pair)));
            if !more {
                break;
            }
        }
    }
    Ok((revision, entries))
}
