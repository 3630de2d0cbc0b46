//! What changes, from a revision on, each change whole.

use std::time::Duration;

use etcd_client::{Client, EventType, WatchOptions, WatchResponse, WatchStream};
use tokio::time::{Instant, timeout_at};

use super::connect::{SILENCE, first, in_time, reason};
use super::pages::LARGE;
use super::{Reason, end_of, key_of};
use crate::routes::key::{Key, KeySpace};
use crate::routes::registry::Op;
use crate::store::position::{Position, Witness};

/// How long the slower one of two watchers is waited for, where etcd can say how far it is.
const BARRIER: Duration = Duration::from_millis(500);
/// And where it cannot: so long nothing more may come. etcd sends both watchers' halves of a revision in a row.
const QUIET: Duration = Duration::from_millis(5);
/// But no longer than this.
const WINDOW: Duration = Duration::from_millis(50);

/// Both directories, watched.
pub(super) struct Watch {
    stream: WatchStream,
    /// How far each watcher has got; there are one or two.
    reached: Vec<i64>,
    /// Whether what etcd says of its progress, when asked, can be believed.
    tells_progress: bool,
    /// What has arrived and is not passed on yet, in the order of its arrival.
    pending: Vec<Happened>,
    /// Whether more parts of a response are to come.
    in_parts: bool,
}

/// One key written or deleted.
struct Happened {
    revision: i64,
    key: Key,
    text: String,
    /// What it was set to; none where it was deleted.
    value: Option<Vec<u8>>,
}

/// What came of trying to watch from a revision on.
pub(super) enum Opened {
    /// It is watched.
    Watch(Box<Watch>),
    /// What happened from there on has been compacted.
    Compacted,
}

/// Why a watch is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Break {
    /// What it needs has been compacted; etcd remembers from this revision on.
    Compacted(i64),
    /// Anything else.
    Broken(Reason),
}

impl From<Reason> for Break {
    fn from(reason: Reason) -> Self {
        Self::Broken(reason)
    }
}

/// Watches both directories from a revision on: by one watcher over both and what lies between, if that is allowed.
pub(super) async fn open(
    client: &mut Client,
    space: &KeySpace,
    from: i64,
    tells_progress: bool,
) -> Result<Opened, Reason> {
    let mut client = client.watch_client().max_decoding_message_size(LARGE);
    let options = || WatchOptions::new().with_start_revision(from).with_progress_notify().with_fragment();
    let (low, high) = match space.domains() < space.services() {
        true => (space.domains(), space.services()),
        false => (space.services(), space.domains()),
    };
    let whole = options().with_range(end_of(high));
    let mut stream = in_time(client.watch(low, Some(whole))).await?;
    let mut response = in_time(stream.message()).await?;
    let mut reached = vec![from - 1];
    let denied = |response: &WatchResponse| {
        response.canceled() && response.cancel_reason().contains("permission denied")
    };
    if response.as_ref().is_some_and(denied) {
        tracing::info!(
            "the user may not watch all keys between the two directories; each is watched for itself"
        );
        stream = in_time(client.watch(low, Some(options().with_prefix()))).await?;
        in_time(stream.watch(high, Some(options().with_prefix()))).await?;
        response = in_time(stream.message()).await?;
        reached.push(from - 1);
    }
    let mut watch = Watch { stream, reached, tells_progress, pending: Vec::new(), in_parts: false };
    let response = response.ok_or("etcd ended the watch")?;
    match watch.add(space, &response) {
        Ok(()) => Ok(Opened::Watch(Box::new(watch))),
        Err(Break::Compacted(_)) => Ok(Opened::Compacted),
        Err(Break::Broken(reason)) => Err(reason),
    }
}

/// What a watch says next. Cancel-safe.
pub(super) async fn message(stream: &mut WatchStream) -> Result<WatchResponse, Reason> {
    match stream.message().await {
        Ok(Some(response)) => Ok(response),
        Ok(None) => Err("etcd ended the watch".to_owned()),
        Err(error) => Err(reason(&error)),
    }
}

/// Whether a watch goes on behind that response.
pub(super) fn check(response: &WatchResponse) -> Result<(), Break> {
    if response.compact_revision() > 0 {
        return Err(Break::Compacted(response.compact_revision()));
    }
    if response.canceled() {
        return Err(Break::Broken(format!("etcd cancelled the watch: {}", response.cancel_reason())));
    }
    Ok(())
}

impl Watch {
    /// What etcd says next. Cancel-safe.
    pub(super) async fn message(&mut self) -> Result<WatchResponse, Reason> {
        message(&mut self.stream).await
    }

    /// Takes a response, and waits for what belongs to it.
    pub(super) async fn take_in(&mut self, space: &KeySpace, response: &WatchResponse) -> Result<(), Break> {
        self.add(space, response)?;
        if self.reached.len() > 1 && !self.pending.is_empty() {
            self.wait_for_the_other(space).await?;
        }
        Ok(())
    }

    /// Asks how far the watch has got, if the answer can be believed: of a quiet watch only that says how far.
    pub(super) async fn ask_for_progress(&mut self) -> Result<(), Reason> {
        if !self.tells_progress {
            return Ok(());
        }
        self.stream.request_progress().await.map_err(|error| reason(&error))
    }

    /// Up to where everything has arrived.
    fn complete_to(&self) -> i64 {
        if self.in_parts { 0 } else { self.reached.iter().copied().min().unwrap_or(0) }
    }

    /// All that has arrived whole, as one change, and how far `position` is with it.
    pub(super) fn take(&mut self, position: &mut Position) -> Vec<Op> {
        let to = self.complete_to();
        if to <= position.revision && self.pending.is_empty() {
            return Vec::new();
        }
        // Two watchers' events, in the order in which they happened.
        self.pending.sort_by_key(|happened| happened.revision);
        let whole = self.pending.partition_point(|happened| happened.revision <= to);
        position.revision = position.revision.max(to);
        let mut ops = Vec::with_capacity(whole);
        for Happened { revision, key, text, value } in self.pending.drain(..whole) {
            match value {
                Some(value) => {
                    position.witness = Some(Witness { key: text.into(), revision });
                    ops.push(Op::Put(key, value));
                }
                None => {
                    if position.witness.as_ref().is_some_and(|witness| *witness.key == *text) {
                        position.witness = None;
                    }
                    ops.push(Op::Delete(key));
                }
            }
        }
        ops
    }

    fn add(&mut self, space: &KeySpace, response: &WatchResponse) -> Result<(), Break> {
        check(response)?;
        if response.created() {
            return Ok(());
        }
        let continues = std::mem::replace(&mut self.in_parts, response.0.fragment);
        // Progress that was asked for is every watcher's, and has no watcher's number.
        let watcher = usize::try_from(response.watch_id()).ok().filter(|id| *id < self.reached.len());
        let known = watcher.map_or(0, |watcher| self.reached[watcher]);
        let mut last = 0;
        for event in response.events() {
            let Some(pair) = event.kv() else { continue };
            // Some versions of etcd send a thing twice.
            if pair.mod_revision() <= known && self.reached.len() == 1 && !continues {
                continue;
            }
            last = last.max(pair.mod_revision());
            let Some(key) = key_of(space, pair.key()).filter(Key::is_routing) else { continue };
            self.pending.push(Happened {
                revision: pair.mod_revision(),
                key,
                text: String::from_utf8_lossy(pair.key()).into_owned(),
                value: (event.event_type() == EventType::Put).then(|| pair.value().to_vec()),
            });
        }
        if response.events().is_empty() {
            last = response.header().map_or(0, etcd_client::ResponseHeader::revision);
        }
        for (at, reached) in self.reached.iter_mut().enumerate() {
            if watcher.is_none_or(|watcher| watcher == at) {
                *reached = last.max(*reached);
            }
        }
        Ok(())
    }

    /// Waits until both watchers have got as far as either has.
    async fn wait_for_the_other(&mut self, space: &KeySpace) -> Result<(), Break> {
        let begun = Instant::now();
        self.ask_for_progress().await?;
        loop {
            let ahead = self.reached.iter().copied().max().unwrap_or(0);
            if self.complete_to() >= ahead {
                return Ok(());
            }
            let until = match self.tells_progress {
                true => begun + BARRIER,
                false => (begun + WINDOW).min(Instant::now() + QUIET),
            };
            match timeout_at(until, self.message()).await {
                Ok(response) => self.add(space, &response?)?,
                // Bounded: half a change is better than none for ever.
                Err(_) if !self.in_parts => {
                    self.reached.fill(ahead);
                    return Ok(());
                }
                Err(_) => return Ok(()),
            }
        }
    }
}

/// Whether this member tells of its progress in the order of its events. Versions before 3.4.25 and 3.5.8 may say
/// that a watch has got as far as a revision whose events are still to come (etcd-io/etcd#15220).
pub(super) async fn tells_progress(client: &mut Client) -> Result<bool, Reason> {
    match first(client.status()).await {
        Ok(status) => Ok(orders_progress(status.version())),
        Err(reason) if reason == SILENCE => Err(reason),
        // A proxy may not know the question; whatever else is wrong shows with the next one.
        Err(_) => Ok(false),
    }
}

fn orders_progress(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    match (next(), next(), next()) {
        (3, 4, patch) => patch >= 25,
        (3, 5, patch) => patch >= 8,
        version => version >= (3, 6, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_can_be_believed() {
        for (version, believed) in [
            ("3.4.23", false),
            ("3.4.25", true),
            ("3.5.7", false),
            ("3.5.8", true),
            ("3.6.0-rc.1", true),
            ("4.0.0", true),
            ("3.3.99", false),
            ("nonsense", false),
        ] {
            assert_eq!(orders_progress(version), believed, "{version}");
        }
    }
}
