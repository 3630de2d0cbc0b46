//! Everything read again now and then, for comparison with what is known: nothing should differ, and what does is a
//! mistake somewhere.

use std::collections::HashSet;
use std::time::Duration;

use etcd_client::Client;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Reason;
use super::backoff::jitter;
use super::pages::Haste;
use super::snapshot::{Snapshot, snapshot};
use crate::routes::key::{Key, KeySpace};
use crate::routes::registry::Op;

/// After a watch went on from where another one was, the comparison is not far off: not everything that a restored
/// backup can look like is seen at once.
const SOON: Duration = Duration::from_secs(30);

/// When to read, and the reading that is under way.
pub(super) struct Comparison {
    interval: Duration,
    due: Option<Instant>,
    reading: Option<JoinHandle<Result<Snapshot, Reason>>>,
    /// What changed since the revision that is being read.
    changed: HashSet<Key>,
}

impl Comparison {
    /// One in each interval; none where it is zero.
    pub(super) fn every(interval: Duration) -> Self {
        Self { interval, due: None, reading: None, changed: HashSet::new() }
    }

    /// A watch has begun; `resumed` where it went on from another.
    pub(super) fn begin(&mut self, resumed: bool) {
        self.stop();
        self.plan(if resumed { SOON.min(self.interval) } else { self.interval });
    }

    /// What is being read is of no more use.
    pub(super) fn stop(&mut self) {
        if let Some(reading) = self.reading.take() {
            reading.abort();
        }
        self.changed = HashSet::new();
    }

    fn plan(&mut self, pause: Duration) {
        self.due = (!self.interval.is_zero()).then(|| Instant::now() + jitter(pause));
    }

    /// Notes what changes while everything is read.
    pub(super) fn note(&mut self, ops: &[Op]) {
        if self.reading.is_some() {
            self.changed.extend(ops.iter().map(|op| op.key().clone()));
        }
    }

    /// Waits until a reading is due, or done. Cancel-safe.
    pub(super) async fn next(&mut self) -> Due {
        if let Some(reading) = &mut self.reading {
            let outcome = reading.await;
            self.reading = None;
            self.plan(self.interval);
            let except = std::mem::take(&mut self.changed);
            return match outcome {
                Ok(Ok(Snapshot { entries, .. })) => Due::Compare(entries, except),
                Ok(Err(reason)) => Due::Failed(reason),
                Err(error) => Due::Failed(error.to_string()),
            };
        }
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
        Due::Read
    }

    /// Begins to read everything as it was at the revision that is applied.
    pub(super) fn read(&mut self, client: &Client, space: &KeySpace, revision: i64) {
        let (client, space) = (client.clone(), space.clone());
        self.reading =
            Some(tokio::spawn(async move { snapshot(&client, &space, revision, Haste::Leisurely).await }));
    }
}

impl Drop for Comparison {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What [`Comparison::next`] waited for.
pub(super) enum Due {
    /// Everything is to be read.
    Read,
    /// This was read; the keys changed meanwhile.
    Compare(Vec<(Key, Vec<u8>)>, HashSet<Key>),
    /// It could not be read.
    Failed(Reason),
}
