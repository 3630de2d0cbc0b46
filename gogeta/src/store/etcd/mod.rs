//! Routes from etcd v3: a snapshot, then a watch from the next revision on; and after a break, a watch from where
//! the last one was.
//!
//! Only what makes going on impossible (another cluster, a restored backup, a compaction) leads to a new snapshot,
//! and the registry applies only what differs. Events of one transaction arrive as one change, also across the two
//! directories: one watcher covers both. Where that is not allowed (a user who may read the two directories and
//! nothing between them), two watchers share a stream, and a change is applied when both have got as far.
//!
//! - `follow`: the loop that all of this is part of
//! - `connect`, `backoff`: the way to etcd
//! - `resume`, `snapshot`, `watch`: from what is known to what is new; `pages`: large readings
//! - `compare`: the reading now and then that should find nothing
//! - `write`, [`applied`]: what gogeta itself writes

pub mod applied;
mod backoff;
mod compare;
mod connect;
mod follow;
mod pages;
mod papers;
mod resume;
mod snapshot;
pub mod tree;
mod watch;
mod write;

pub use connect::{check, connect};
pub use follow::{Course, run};

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
