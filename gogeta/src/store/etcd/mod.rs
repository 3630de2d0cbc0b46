//! Routes from etcd v3: a snapshot, then a watch from the next revision on.
//!
//! Whatever breaks the watch (a lost connection, a compaction, another cluster) leads to a new snapshot, and the
//! registry applies only what differs. Events of one transaction arrive as one change, also across the two
//! directories: one watcher covers both, and etcd sends all that it sees of a revision at once. Where that is not
//! allowed (a user who may read the two directories and nothing between them), two watchers share a stream, and a
//! change is what has arrived when the stream falls quiet.

mod backoff;
mod connect;
mod follow;
mod snapshot;
pub mod tree;
mod watch;
mod write;

use etcd_client::KeyValue;

pub use connect::{check, connect};
pub use follow::run;

use crate::routes::key::{BadKey, Key, KeySpace};

/// Why something could not be had of etcd, in words.
pub type Reason = String;

/// What a key names; none for others' keys beside ours.
fn key_of(space: &KeySpace, text: &[u8]) -> Option<Key> {
    let text = std::str::from_utf8(text).ok()?;
    match space.parse(text) {
        Ok(key) => Some(key),
        Err(BadKey::Host(error)) => {
            tracing::warn!(key = text, %error, "this key names no host, and is ignored");
            None
        }
        Err(error) => {
            tracing::debug!(key = text, %error, "this key is not gogeta's");
            None
        }
    }
}

/// A pair, if it is one of ours.
fn entry(space: &KeySpace, pair: &KeyValue) -> Option<(Key, Vec<u8>)> {
    Some((key_of(space, pair.key())?, pair.value().to_vec()))
}

/// Where the range of a prefix ends: its last byte, plus one.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        // It is a slash.
        *last += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_directory() {
        assert_eq!(end_of("/domains/"), b"/domains0");
    }
}
