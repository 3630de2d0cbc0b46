//! What changes, from a revision on, each change whole.

use std::time::Duration;

use etcd_client::{Client, EventType, WatchOptions, WatchResponse, WatchStream};

use super::connect::{in_time, reason};
use super::{Reason, end_of, key_of};
use crate::routes::key::KeySpace;
use crate::routes::registry::{Change, Op};

/// The stream of two watchers is quiet when nothing came for so long.
const QUIET: Duration = Duration::from_millis(1);
/// A change is applied after so long, quiet or not.
const WINDOW: Duration = Duration::from_millis(20);

/// Both directories, watched.
pub(super) struct Watch {
    pub(super) stream: WatchStream,
    /// What the stream said first.
    pub(super) first: Option<WatchResponse>,
    /// How long a change may be in coming: not at all where one watcher sees the whole of it.
    pub(super) quiet: Duration,
}

/// Watches both directories from a revision on: by one watcher over both and what lies between, if that is allowed.
pub(super) async fn watch(client: &mut Client, space: &KeySpace, from: i64) -> Result<Watch, Reason> {
    let options = || WatchOptions::new().with_start_revision(from).with_progress_notify();
    let (first, last) = match space.domains() < space.services() {
        true => (space.domains(), space.services()),
        false => (space.services(), space.domains()),
    };
    let whole = options().with_range(end_of(last));
    let mut stream = in_time(client.watch(first, Some(whole))).await?;
    let response = in_time(stream.message()).await?;
    let denied = |response: &WatchResponse| {
        response.canceled() && response.cancel_reason().contains("permission denied")
    };
    if !response.as_ref().is_some_and(denied) {
        return Ok(Watch { stream, first: response, quiet: Duration::ZERO });
    }
    tracing::info!("the user may not watch all keys between the two directories; each is watched for itself");
    let mut stream = in_time(client.watch(first, Some(options().with_prefix()))).await?;
    in_time(stream.watch(last, Some(options().with_prefix()))).await?;
    let response = in_time(stream.message()).await?;
    Ok(Watch { stream, first: response, quiet: QUIET })
}

/// Events that have arrived and are not applied yet.
#[derive(Default)]
pub(super) struct Pending {
    ops: Vec<(i64, Op)>,
    revision: i64,
}

impl Pending {
    /// Adds a response.
    pub(super) fn add(
        &mut self,
        space: &KeySpace,
        response: Result<Option<WatchResponse>, etcd_client::Error>,
    ) -> Result<(), Reason> {
        let response = match response {
            Ok(Some(response)) => response,
            Ok(None) => return Err("etcd ended the watch".to_owned()),
            Err(error) => return Err(reason(&error)),
        };
        if response.compact_revision() > 0 {
            return Err(format!(
                "etcd has compacted revision {}, which the watch needs",
                response.compact_revision()
            ));
        }
        if response.canceled() {
            return Err(format!("etcd cancelled the watch: {}", response.cancel_reason()));
        }
        for event in response.events() {
            let Some(pair) = event.kv() else { continue };
            self.revision = self.revision.max(pair.mod_revision());
            let Some(key) = key_of(space, pair.key()) else { continue };
            let op = match event.event_type() {
                EventType::Put => Op::Put(key, pair.value().to_vec()),
                EventType::Delete => Op::Delete(key),
            };
            self.ops.push((pair.mod_revision(), op));
        }
        Ok(())
    }

    /// Adds what else arrives until the stream is quiet.
    pub(super) async fn gather(
        &mut self,
        space: &KeySpace,
        stream: &mut WatchStream,
        quiet: Duration,
    ) -> Result<(), Reason> {
        let until = tokio::time::Instant::now() + WINDOW;
        while !self.ops.is_empty() && tokio::time::Instant::now() < until {
            match tokio::time::timeout(quiet, stream.message()).await {
                Ok(response) => self.add(space, response)?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// What has been gathered, as one change.
    pub(super) fn take(&mut self) -> Option<Change> {
        if self.ops.is_empty() {
            return None;
        }
        let mut ops = std::mem::take(&mut self.ops);
        // The two watchers' events, in the order in which they happened.
        ops.sort_by_key(|(revision, _)| *revision);
        Some(Change::Delta { revision: self.revision, ops: ops.into_iter().map(|(_, op)| op).collect() })
    }
}
