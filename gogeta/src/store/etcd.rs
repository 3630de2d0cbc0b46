//! Routes from etcd v3: a snapshot, then a watch from the next revision on.
//!
//! Whatever breaks the watch (a lost connection, a compaction, another cluster) leads to a new snapshot, and the
//! registry applies only what differs. Events of one transaction arrive as one change, also across the two
//! directories: one watcher covers both, and etcd sends all that it sees of a revision at once. Where that is not
//! allowed (a user who may read the two directories and nothing between them), two watchers share a stream, and a
//! change is what has arrived when the stream falls quiet.

use std::error::Error as _;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, EventType, GetOptions, Identity, TlsOptions,
    Txn, TxnOp, WatchOptions, WatchResponse, WatchStream,
};
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Event, Events, Names};
use crate::config::{ConfigError, Etcd};
use crate::feedback::{Batch, Inbox, Name};
use crate::routes::key::{BadKey, InstanceField, Key, KeySpace};
use crate::routes::registry::{Change, Op};

/// Keys read at once: a response stays far below what either side takes for too large.
const PAGE: i64 = 5000;
/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);
/// The stream of two watchers is quiet when nothing came for so long.
const QUIET: Duration = Duration::from_millis(1);
/// A change is applied after so long, quiet or not.
const WINDOW: Duration = Duration::from_millis(20);
/// The first and the longest pause between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Why there is no connection, in words.
type Reason = String;

/// Checks what can be checked without etcd: that the certificate files are there.
///
/// # Errors
///
/// Names the file.
pub fn check(etcd: &Etcd) -> Result<(), ConfigError> {
    tls(etcd).map(drop).map_err(ConfigError)
}

/// Follows etcd for as long as someone listens.
pub async fn run(etcd: Etcd, events: Events, mut inbox: Inbox) {
    let space = KeySpace::new(&etcd.domain_dir, &etcd.service_dir);
    let mut backoff = Backoff::default();
    // Endpoints take turns. A client of several asks whichever is quickest to say something, and that is a dead
    // one that refuses the connection.
    let mut told = vec![String::new(); etcd.endpoints.len()];
    for turn in (0..etcd.endpoints.len()).cycle() {
        if events.is_closed() {
            return;
        }
        let address = &etcd.endpoints[turn];
        let outcome = follow(&etcd, address, &space, &events, &mut inbox, &mut backoff).await;
        let Err(reason) = outcome else { return };
        if events.send(Event::Down).await.is_err() {
            return;
        }
        // A reason that stays is told once, not with each try; what was told before the last success is history.
        if backoff.is_fresh() {
            told.fill(String::new());
        }
        if told[turn] != reason {
            tracing::error!(
                address,
                reason,
                "cannot read routes from etcd (--etcd-address); the routes stay as they are, and gogeta goes on trying"
            );
            told[turn] = reason;
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Connects, reads everything, then passes on what changes until something breaks. Ends well only when nobody
/// listens any more.
async fn follow(
    etcd: &Etcd,
    address: &str,
    space: &KeySpace,
    events: &Events,
    inbox: &mut Inbox,
    backoff: &mut Backoff,
) -> Result<(), Reason> {
    let mut client = connect(etcd, address).await?;
    let (revision, entries) = snapshot(&mut client, space).await?;
    let Watch { mut stream, first, quiet } = watch(&mut client, space, revision + 1).await?;
    let names = Names::Keys(space.clone());
    tracing::info!(revision, keys = entries.len(), address, "routes read from etcd");
    let all = Event::Change { change: Change::Snapshot { revision, entries }, names: names.clone() };
    if events.send(all).await.is_err() || events.send(Event::Up).await.is_err() {
        return Ok(());
    }
    backoff.reset();
    let mut pending = Pending::default();
    pending.add(space, Ok(first))?;
    loop {
        tokio::select! {
            response = stream.message() => {
                pending.add(space, response)?;
                pending.gather(space, &mut stream, quiet).await?;
                if let Some(change) = pending.take()
                    && events.send(Event::Change { change, names: names.clone() }).await.is_err()
                {
                    return Ok(());
                }
            }
            batch = inbox.next() => match batch {
                // Written by a task of its own: changes must not wait for it.
                Some(batch) => drop(tokio::spawn(write(client.clone(), space.clone(), batch))),
                None => return Ok(()),
            },
        }
    }
}

/// Events that have arrived and are not applied yet.
#[derive(Default)]
struct Pending {
    ops: Vec<(i64, Op)>,
    revision: i64,
}

impl Pending {
    fn add(
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
            let Some(key) = key(space, pair.key()) else { continue };
            let op = match event.event_type() {
                EventType::Put => Op::Put(key, pair.value().to_vec()),
                EventType::Delete => Op::Delete(key),
            };
            self.ops.push((pair.mod_revision(), op));
        }
        Ok(())
    }

    /// Adds what else arrives until the stream is quiet.
    async fn gather(
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

    fn take(&mut self) -> Option<Change> {
        if self.ops.is_empty() {
            return None;
        }
        let mut ops = std::mem::take(&mut self.ops);
        // The two watchers' events, in the order in which they happened.
        ops.sort_by_key(|(revision, _)| *revision);
        Some(Change::Delta { revision: self.revision, ops: ops.into_iter().map(|(_, op)| op).collect() })
    }
}

/// What a key names; none for others' keys beside ours.
fn key(space: &KeySpace, text: &[u8]) -> Option<Key> {
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

async fn connect(etcd: &Etcd, address: &str) -> Result<Client, Reason> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(Duration::from_secs(3))
        // A peer that is silent is gone: found in so long, also by an idle watch.
        .with_keep_alive(Duration::from_secs(5), Duration::from_secs(3))
        .with_keep_alive_while_idle(true)
        .with_require_leader(true);
    if let Some((user, password)) = &etcd.user {
        options = options.with_user(user, password);
    }
    if let Some(tls) = tls(etcd)? {
        options = options.with_tls(tls);
    }
    in_time(Client::connect([address], Some(options))).await
}

fn tls(etcd: &Etcd) -> Result<Option<TlsOptions>, Reason> {
    let read = |flag: &str, path: &std::path::Path| {
        std::fs::read(path).map_err(|error| format!("cannot read {} ({flag}): {error}", path.display()))
    };
    if etcd.ca.is_none()
        && etcd.identity.is_none()
        && !etcd.endpoints.iter().any(|url| url.starts_with("https:"))
    {
        return Ok(None);
    }
    let mut tls = TlsOptions::new();
    tls = match &etcd.ca {
        Some(path) => tls.ca_certificate(Certificate::from_pem(read("--etcd-ca", path)?)),
        None => tls.with_enabled_roots(),
    };
    if let Some((cert, key)) = &etcd.identity {
        tls = tls.identity(Identity::from_pem(read("--etcd-cert", cert)?, read("--etcd-key", key)?));
    }
    Ok(Some(tls))
}

/// Everything below both directories, at one revision.
async fn snapshot(client: &mut Client, space: &KeySpace) -> Result<(i64, Vec<(Key, Vec<u8>)>), Reason> {
    let mut revision = 0;
    let mut entries = Vec::new();
    for prefix in [space.domains(), space.services()] {
        let mut from = prefix.as_bytes().to_vec();
        let end = end_of(prefix);
        loop {
            let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_revision(revision);
            let mut page = in_time(client.get(from, Some(options))).await?;
            if revision == 0 {
                revision = page.header().map_or(0, etcd_client::ResponseHeader::revision);
            }
            let more = page.more();
            let pairs = page.take_kvs();
            // The next page begins right behind this one's last key.
            from = pairs.last().map(|pair| [pair.key(), &[0]].concat()).unwrap_or_default();
            entries.extend(
                pairs.into_iter().filter_map(|pair| Some((key(space, pair.key())?, pair.value().to_vec()))),
            );
            if !more {
                break;
            }
        }
    }
    Ok((revision, entries))
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

/// Both directories, watched.
struct Watch {
    stream: WatchStream,
    /// What the stream said first.
    first: Option<WatchResponse>,
    /// How long a change may be in coming: not at all where one watcher sees the whole of it.
    quiet: Duration,
}

/// Watches both directories from a revision on: by one watcher over both and what lies between, if that is allowed.
async fn watch(client: &mut Client, space: &KeySpace, from: i64) -> Result<Watch, Reason> {
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

/// Writes what requests had to say. What cannot be written is told and forgotten: the next request says it again.
async fn write(mut client: Client, space: KeySpace, batch: Batch) {
    for name in &batch.wakes {
        wake(&mut client, &space, name).await;
    }
    if batch.accesses.is_empty() {
        return;
    }
    let accesses: Vec<TxnOp> =
        batch.accesses.iter().map(|(name, at)| TxnOp::txn(access(&space, name, *at))).collect();
    if let Err(reason) = in_time(client.txn(Txn::new().and_then(accesses))).await {
        tracing::warn!(reason, "cannot write lastAccess to etcd");
    }
}

/// Sets `expected` from passivated to started: of any number of gogetas, one does.
async fn wake(client: &mut Client, space: &KeySpace, (service, index): &Name) {
    let expected = space.render(&instance_key(service, index, InstanceField::Expected));
    let txn = Txn::new()
        .when([Compare::value(expected.clone(), CompareOp::Equal, "passivated")])
        .and_then([TxnOp::put(expected, "started", None)]);
    match in_time(client.txn(txn)).await {
        Ok(outcome) if outcome.succeeded() => tracing::info!(%service, %index, "woke a passivated instance"),
        Ok(_) => tracing::debug!(%service, %index, "it was woken already"),
        Err(reason) => tracing::warn!(%service, %index, reason, "cannot wake a passivated instance"),
    }
}

/// Writes `lastAccess`, unless the instance is gone: it must not come back as a lone key.
fn access(space: &KeySpace, (service, index): &Name, at: u64) -> Txn {
    let key = |field| space.render(&instance_key(service, index, field));
    let at = i64::try_from(at).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let text = at.and_then(|at| at.format(form).ok()).unwrap_or_default();
    Txn::new()
        .when([Compare::create_revision(key(InstanceField::Location), CompareOp::Greater, 0)])
        .and_then([TxnOp::put(key(InstanceField::LastAccess), text, None)])
}

fn instance_key(
    service: &crate::routes::model::ServiceName,
    index: &std::sync::Arc<str>,
    field: InstanceField,
) -> Key {
    Key::Instance { service: service.clone(), index: index.clone(), field }
}

async fn in_time<T>(call: impl Future<Output = Result<T, etcd_client::Error>>) -> Result<T, Reason> {
    match tokio::time::timeout(CALL, call).await {
        Ok(outcome) => outcome.map_err(|error| reason(&error)),
        Err(_) => Err(format!("no answer within {} s", CALL.as_secs())),
    }
}

/// An error and what caused it, each once.
fn reason(error: &etcd_client::Error) -> Reason {
    let mut text = match error {
        etcd_client::Error::GRpcStatus(status) => format!("{}: {}", status.code(), status.message()),
        error => error.to_string(),
    };
    let mut source = match error {
        etcd_client::Error::GRpcStatus(status) => status.source(),
        error => error.source(),
    };
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Pauses between tries, longer each time, and not all gogetas' at once.
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(BACKOFF.0)
    }
}

impl Backoff {
    fn pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(BACKOFF.1);
        // Half to all of it; the clock's nanoseconds are as good as dice here.
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |now| now.subsec_nanos());
        pause / 2 + (pause / 2).mul_f64(f64::from(nanos % 1000) / 1000.0)
    }

    fn reset(&mut self) {
        self.0 = BACKOFF.0;
    }

    /// Whether nothing has failed since the beginning, or since the last success.
    fn is_fresh(&self) -> bool {
        self.0 == BACKOFF.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_fresh());
        let pauses: Vec<Duration> = (0..10).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= BACKOFF.0 / 2 && pauses[0] <= BACKOFF.0);
        assert!(pauses[9] >= BACKOFF.1 / 2 && pauses[9] <= BACKOFF.1);
        assert!(!backoff.is_fresh());
    }

    #[test]
    fn the_range_of_a_directory() {
        assert_eq!(end_of("/domains/"), b"/domains0");
    }
}
