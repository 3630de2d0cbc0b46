//! Directories read page by page, all at one revision.

use std::collections::VecDeque;
use std::time::Duration;

use etcd_client::{Client, GetOptions, GetResponse, KvClient};

use super::connect::in_time;
use super::{Reason, end_of};

/// Keys read at once: a response stays far below what either side takes for too large.
const PAGE: i64 = 5000;
/// What a response may have, in bytes; the library's own limit is below what etcd sends.
pub(super) const LARGE: usize = 64 << 20;
/// Between two pages of a reading that nobody waits for.
const PAUSE: Duration = Duration::from_millis(50);

/// How pages are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// Someone waits for them.
    Now,
    /// Nobody does: a member may answer for itself, and gets a rest between two pages.
    Leisurely,
}

/// A reading under way.
pub(super) struct Pages {
    client: KvClient,
    limit: i64,
    haste: Haste,
    /// The revision that is read; 0 until the first page says which is the current one.
    revision: i64,
    /// Where the rest of each directory begins, and where it ends.
    left: VecDeque<(Vec<u8>, Vec<u8>)>,
}

impl Pages {
    /// Reads what is below these directories, each ending in a slash: at that revision, or, where it is 0, at the
    /// current one.
    pub(super) fn of(client: &Client, directories: &[&str], revision: i64, haste: Haste) -> Self {
        let range = |directory: &&str| (directory.as_bytes().to_vec(), end_of(directory));
        Self {
            client: client.kv_client().max_decoding_message_size(LARGE),
            limit: PAGE,
            haste,
            revision,
            left: directories.iter().map(range).collect(),
        }
    }

    /// The revision that is read, as far as that is known.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// The next page; none behind the last one.
    pub(super) async fn next(&mut self) -> Result<Option<GetResponse>, Reason> {
        let Some((from, end)) = self.left.front().cloned() else { return Ok(None) };
        if self.haste == Haste::Leisurely {
            tokio::time::sleep(PAUSE).await;
        }
        let page = self.page(&from, &end).await?;
        if self.revision == 0 {
            self.revision = page.header().map_or(0, etcd_client::ResponseHeader::revision);
        }
        match (page.kvs().last(), self.left.front_mut()) {
            // The next page begins right behind this one's last key.
            (Some(last), Some((from, _))) if page.more() => *from = [last.key(), &[0]].concat(),
            _ => drop(self.left.pop_front()),
        }
        Ok(Some(page))
    }

    /// A page; a smaller one where it is too large for one message.
    async fn page(&mut self, from: &[u8], end: &[u8]) -> Result<GetResponse, Reason> {
        loop {
            let mut options =
                GetOptions::new().with_range(end).with_limit(self.limit).with_revision(self.revision);
            if self.haste == Haste::Leisurely {
                options = options.with_serializable();
            }
            match in_time(self.client.get(from, Some(options))).await {
                Err(reason) if reason.contains("message length too large") && self.limit > 1 => {
                    self.limit /= 4
                }
                outcome => return outcome,
            }
        }
    }
}
