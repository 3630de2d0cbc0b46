//! What changes, from a revision on, with what was there before.

use etcd_client::{EventType, WatchOptions, WatchStream};

use super::Tree;
use crate::store::etcd::Reason;
use crate::store::etcd::connect::in_time;
use crate::store::etcd::watch::{Break, check, message};

/// Changes as they come.
pub struct Watch(WatchStream);

/// A key that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// The key.
    pub key: Vec<u8>,
    /// Its value before; none where it is new, or where nobody remembers.
    pub old: Option<Vec<u8>>,
    /// Its value now; none where it is gone.
    pub new: Option<Vec<u8>>,
    /// When.
    pub revision: i64,
}

impl Tree {
    /// Watches all keys that begin with one of these, from a revision on.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub async fn watch(&mut self, prefixes: &[&str], from: i64) -> Result<Watch, Reason> {
        let options = || WatchOptions::new().with_prefix().with_prev_key().with_start_revision(from);
        let (first, others) = prefixes.split_first().ok_or("there is nothing to watch")?;
        let mut stream = in_time(self.client.watch(*first, Some(options()))).await?;
        for prefix in others {
            in_time(stream.watch(*prefix, Some(options()))).await?;
        }
        Ok(Watch(stream))
    }
}

impl Watch {
    /// What happened next; at least one thing.
    ///
    /// # Errors
    ///
    /// [`Break`], after which nothing comes any more.
    pub async fn next(&mut self) -> Result<Vec<Happened>, Break> {
        loop {
            let response = message(&mut self.0).await?;
            check(&response)?;
            let happened = response.events().iter().filter_map(|event| {
                let pair = event.kv()?;
                let is_there = event.event_type() == EventType::Put;
                Some(Happened {
                    key: pair.key().to_vec(),
                    old: event.prev_kv().map(|pair| pair.value().to_vec()),
                    new: is_there.then(|| pair.value().to_vec()),
                    revision: pair.mod_revision(),
                })
            });
            let happened: Vec<Happened> = happened.collect();
            if !happened.is_empty() {
                return Ok(happened);
            }
        }
    }
}
