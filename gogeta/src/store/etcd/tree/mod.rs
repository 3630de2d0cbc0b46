//! etcd as commands see it: keys and values as they are, read at one revision and written as one.

mod lease;
mod watch;

use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, ResponseHeader, Txn, TxnOp,
    TxnOpResponse,
};

pub use super::watch::Break;
pub use watch::{Happened, Watch};

use super::connect::{connect, in_time};
use super::pages::{Haste, Pages};
use super::{Reason, end_of};
use crate::config::Etcd;
use crate::routes::key::KeySpace;

/// An endpoint that says nothing for so long is passed over.
const HELLO: Duration = Duration::from_secs(4);

/// The way to etcd, for commands. Cloning it is cheap.
#[derive(Clone)]
pub struct Tree {
    client: Client,
    space: KeySpace,
}

/// A key and its value, as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// When it was last written.
    pub revision: i64,
    /// What its life hangs on; 0 where it stays until somebody removes it.
    pub lease: i64,
}

/// What there was at a revision.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// etcd's revision.
    pub revision: i64,
    /// All keys, in their order, directory by directory.
    pub pairs: Vec<Pair>,
}

/// A step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Sets a key; its life hangs on the lease, where that is not 0.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
        /// A lease, or 0.
        lease: i64,
    },
    /// Removes a key.
    Delete(Vec<u8>),
    /// Removes everything below a directory, which ends in a slash.
    DeleteBelow(String),
}

impl Step {
    /// Sets a key that stays.
    pub fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: 0 }
    }
}

/// A key, and the revision of it that a transaction goes by: 0 where it must not be there.
pub type Seen = (Vec<u8>, i64);

/// What became of a transaction.
#[derive(Debug, Clone, Copy)]
pub struct Committed {
    /// Whether it was done, that is, whether everything was as it had been seen.
    pub done: bool,
    /// etcd's revision behind it.
    pub revision: i64,
    /// Keys that it removed.
    pub deleted: i64,
}

impl Tree {
    /// Opens the way, by the first endpoint that answers.
    ///
    /// # Errors
    ///
    /// Why none does, in words.
    pub async fn open(etcd: &Etcd) -> Result<Self, Reason> {
        let space = KeySpace::new(&etcd.domain_dir, &etcd.service_dir);
        let mut reasons = Vec::new();
        for address in &etcd.endpoints {
            match tokio::time::timeout(HELLO, Self::try_open(etcd, address, &space)).await {
                Ok(Ok(tree)) => return Ok(tree),
                Ok(Err(reason)) => reasons.push(format!("{address}: {reason}")),
                Err(_) => reasons.push(format!("{address}: no answer within {} s", HELLO.as_secs())),
            }
        }
        Err(reasons.join("; "))
    }

    /// Opens it when an endpoint answers again, however long that takes, and with a pause before each try.
    pub async fn reopen(etcd: &Etcd, pause: Duration) -> Self {
        loop {
            tokio::time::sleep(pause).await;
            if let Ok(tree) = Self::open(etcd).await {
                return tree;
            }
        }
    }

    async fn try_open(etcd: &Etcd, address: &str, space: &KeySpace) -> Result<Self, Reason> {
        let mut tree = Self { client: connect(etcd, address).await?, space: space.clone() };
        // Nothing has been sent so far: a connection is made when something asks for it.
        tree.revision().await?;
        Ok(tree)
    }

    /// The directories of what is ours.
    pub fn space(&self) -> &KeySpace {
        &self.space
    }

    /// etcd's revision.
    ///
    /// # Errors
    ///
    /// Why it cannot be had.
    pub async fn revision(&mut self) -> Result<i64, Reason> {
        let options = GetOptions::new().with_limit(1).with_keys_only();
        let answer = in_time(self.client.get(self.space.domains(), Some(options))).await?;
        Ok(answer.header().map_or(0, ResponseHeader::revision))
    }

    /// Everything below both directories.
    ///
    /// # Errors
    ///
    /// Why it cannot be had.
    pub async fn read_all(&mut self) -> Result<Snapshot, Reason> {
        let (domains, services) = (self.space.domains().to_owned(), self.space.services().to_owned());
        self.read(&[&domains, &services]).await
    }

    /// Everything below these directories, each ending in a slash, at one revision.
    ///
    /// # Errors
    ///
    /// Why it cannot be had.
    pub async fn read(&mut self, directories: &[&str]) -> Result<Snapshot, Reason> {
        self.read_at(directories, 0).await
    }

    /// The same as it was at a revision; 0 is now.
    ///
    /// # Errors
    ///
    /// Why it cannot be had.
    pub async fn read_at(&mut self, directories: &[&str], revision: i64) -> Result<Snapshot, Reason> {
        let mut pages = Pages::of(&self.client, directories, revision, Haste::Now);
        let mut pairs = Vec::new();
        while let Some(page) = pages.next().await? {
            pairs.extend(page.kvs().iter().map(|pair| Pair {
                key: pair.key().to_vec(),
                value: pair.value().to_vec(),
                revision: pair.mod_revision(),
                lease: pair.lease(),
            }));
        }
        Ok(Snapshot { revision: pages.revision(), pairs })
    }

    /// Takes all steps as one, if every key is as it was seen; else none.
    ///
    /// # Errors
    ///
    /// Why etcd did not take it.
    pub async fn commit(&mut self, seen: &[Seen], steps: &[Step]) -> Result<Committed, Reason> {
        let when: Vec<Compare> = seen
            .iter()
            .map(|(key, revision)| Compare::mod_revision(key.clone(), CompareOp::Equal, *revision))
            .collect();
        let then: Vec<TxnOp> = steps.iter().map(operation).collect();
        let outcome = in_time(self.client.txn(Txn::new().when(when).and_then(then))).await?;
        let responses = outcome.op_responses();
        let deleted = responses.iter().map(|response| match response {
            TxnOpResponse::Delete(response) => response.deleted(),
            _ => 0,
        });
        Ok(Committed {
            done: outcome.succeeded(),
            revision: outcome.header().map_or(0, ResponseHeader::revision),
            deleted: deleted.sum(),
        })
    }
}

fn operation(step: &Step) -> TxnOp {
    match step {
        Step::Put { key, value, lease } => {
            TxnOp::put(key.clone(), value.clone(), Some(PutOptions::new().with_lease(*lease)))
        }
        Step::Delete(key) => TxnOp::delete(key.clone(), None),
        Step::DeleteBelow(directory) => {
            let below = DeleteOptions::new().with_range(end_of(directory));
            TxnOp::delete(directory.as_str(), Some(below))
        }
    }
}
