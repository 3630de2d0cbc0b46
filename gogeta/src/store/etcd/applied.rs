//! What each gogeta tells the others in etcd: how far the routes that it serves are. `gogeta wait` reads it.
//!
//! The key is `<publish-dir>/applied/<id>`, under a lease, so that it goes when its gogeta does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{Client, PutOptions};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Reason;
use super::connect::in_time;
use crate::clock::{since_1970, unix_seconds};

/// How long the key outlives its gogeta, in seconds.
const TTL: i64 = 15;
/// The lease is renewed so often.
const RENEW: Duration = Duration::from_secs(5);
/// The key is written at most so often.
const REST: Duration = Duration::from_secs(1);

/// What a running gogeta says of itself, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// All changes up to this revision of etcd's are served.
    pub revision: i64,
    /// The machine's name.
    pub host: String,
    /// The process there.
    pub pid: u32,
    /// gogeta's version.
    pub version: String,
    /// When this was written, in seconds since 1970.
    pub at: u64,
}

impl Applied {
    /// What all such keys below a `--publish-dir` begin with; ends in a slash.
    pub fn prefix(publish_dir: &str) -> String {
        format!("{}/applied/", publish_dir.trim_end_matches('/'))
    }

    fn now(revision: i64) -> Self {
        Self {
            revision,
            host: host(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: unix_seconds(),
        }
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whoever publishes a revision.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    key: String,
    revision: watch::Receiver<i64>,
    told: Arc<AtomicBool>,
}

impl Publisher {
    /// One for this process.
    pub(super) fn new(publish_dir: &str, revision: watch::Receiver<i64>) -> Self {
        // Containers may share a name, and all be process 1.
        let started = since_1970().as_micros();
        let id = format!("{}-{}-{started:x}", host().replace('/', "-"), std::process::id());
        let key = format!("{}{id}", Applied::prefix(publish_dir));
        Self { key, revision, told: Arc::default() }
    }

    /// Publishes by a connection, for as long as what is returned lives.
    pub(super) fn start(&self, client: &Client) -> JoinSet<()> {
        let mut task = JoinSet::new();
        let (publisher, client) = (self.clone(), client.clone());
        task.spawn(publisher.run(client));
        task
    }

    /// Takes the key back; the lease would, too, but later.
    pub(super) async fn withdraw(self, client: &Client) {
        let mut client = client.clone();
        if let Err(reason) = in_time(client.delete(self.key, None)).await {
            tracing::debug!(reason, "cannot take back what was published");
        }
    }

    /// It helps whoever waits for a revision, and nobody else: that it cannot be written hurts no route.
    async fn run(mut self, mut client: Client) {
        while let Err(reason) = self.publish(&mut client).await {
            if !self.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    key = self.key,
                    reason,
                    "cannot tell in etcd which revision is served (--publish-dir): gogeta wait does not see this one"
                );
            }
            if reason.contains("permission denied") {
                return;
            }
            tokio::time::sleep(RENEW).await;
        }
    }

    async fn publish(&mut self, client: &mut Client) -> Result<(), Reason> {
        let lease = in_time(client.lease_grant(TTL, None)).await?.id();
        let (mut keeper, mut kept) = in_time(client.lease_keep_alive(lease)).await?;
        let mut renew = interval(RENEW);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = Instant::now() - REST;
        self.revision.mark_changed();
        loop {
            tokio::select! {
                changed = self.revision.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    sleep_until(written + REST).await;
                    written = Instant::now();
                    let revision = *self.revision.borrow_and_update();
                    let value = serde_json::to_vec(&Applied::now(revision)).unwrap_or_default();
                    let options = PutOptions::new().with_lease(lease);
                    in_time(client.put(self.key.as_str(), value, Some(options))).await?;
                    self.told.store(false, Ordering::Relaxed);
                }
                _ = renew.tick() => in_time(keeper.keep_alive()).await?,
                response = kept.message() => match response {
                    Ok(Some(kept)) if kept.ttl() > 0 => {}
                    _ => return Err("its lease is lost".to_owned()),
                },
            }
        }
    }
}
