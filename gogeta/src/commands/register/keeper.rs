//! The keys of a registered instance, under one lease that is kept while there is an etcd to keep it.

use std::time::Duration;

use tokio::sync::watch;

use crate::commands::output::note;
use crate::config::Etcd;
use crate::store::etcd::Reason;
use crate::store::etcd::tree::{Seen, Step, Tree};

/// The longest pause between two tries to reach etcd.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a transaction is tried that somebody else's comes before.
const TRIES: u32 = 10;

/// How far the instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its command runs, its port does not answer yet.
    Starting,
    /// It takes requests.
    Started,
    /// It is over.
    Gone,
}

/// Whoever keeps an instance registered.
pub(super) struct Keeper {
    etcd: Etcd,
    tree: Tree,
    /// `service/index`
    name: String,
    directory: String,
    ttl: Duration,
    /// Keys that do not change, below the directory.
    fields: Vec<(&'static str, String)>,
    /// 0 where there is none.
    lease: i64,
}

impl Keeper {
    pub(super) fn new(etcd: Etcd, tree: Tree, service: &str, index: &str, ttl: Duration) -> Self {
        let name = format!("{service}/{index}");
        let directory = format!("{}{name}/", tree.space().services());
        Self { etcd, tree, name, directory, ttl, fields: Vec::new(), lease: 0 }
    }

    /// One more key.
    pub(super) fn add(&mut self, field: &'static str, value: &str) {
        self.fields.push((field, value.to_owned()));
    }

    /// Writes all keys, under a new lease if there is none.
    pub(super) async fn register(&mut self, phase: Phase) -> Result<(), Reason> {
        if self.lease == 0 {
            self.lease = self.tree.grant(self.ttl).await?;
        }
        let current = if phase == Phase::Started { "started" } else { "starting" };
        for _ in 0..TRIES {
            let (seen, own) = self.expected().await?;
            let mut steps: Vec<Step> =
                self.fields.iter().map(|(field, value)| self.put(field, value)).collect();
            steps.extend([self.put("status/current", current), self.put("status/alive", "1")]);
            if own {
                steps.push(self.put("status/expected", "started"));
            }
            if self.tree.commit(&[seen], &steps).await?.done {
                return Ok(());
            }
        }
        Err(format!("somebody else goes on changing {}status/expected", self.directory))
    }

    fn put(&self, field: &str, value: &str) -> Step {
        let key = format!("{}{field}", self.directory).into_bytes();
        Step::Put { key, value: value.into(), lease: self.lease }
    }

    /// `status/expected` as it is, and whether it is ours to set: who has set it for good knows better.
    async fn expected(&mut self) -> Result<(Seen, bool), Reason> {
        let key = format!("{}status/expected", self.directory).into_bytes();
        let snapshot = self.tree.read(&[&self.directory]).await?;
        let pair = snapshot.pairs.into_iter().find(|pair| pair.key == key);
        let own = pair.as_ref().is_none_or(|pair| pair.lease != 0);
        if !own && pair.as_ref().is_some_and(|pair| pair.value != b"started") {
            note(&format!(
                "{} is expected to be something else than started, so it gets no requests",
                self.name
            ));
        }
        Ok(((key, pair.map_or(0, |pair| pair.revision)), own))
    }

    /// Keeps the keys until the instance is gone, and then takes them out; false where etcd is away by then.
    pub(super) async fn keep(mut self, mut phases: watch::Receiver<Phase>) -> bool {
        let mut told = false;
        loop {
            let Err(reason) = self.hold(&mut phases).await else { return true };
            if !told {
                note(&format!("cannot keep {} in etcd, and go on trying: {reason}", self.name));
                told = true;
            }
            if !self.reconnect(&mut phases).await {
                return false;
            }
            let phase = *phases.borrow();
            match self.resume(phase).await {
                Ok(()) => {
                    note(&format!("{} is kept in etcd again", self.name));
                    told = false;
                }
                Err(_) => tokio::time::sleep(self.pause()).await,
            }
        }
    }

    fn pause(&self) -> Duration {
        PAUSE.min(self.ttl / 3)
    }

    /// Finds an endpoint that answers; false where the instance is gone before there is one.
    async fn reconnect(&mut self, phases: &mut watch::Receiver<Phase>) -> bool {
        loop {
            tokio::select! {
                tree = Tree::open(&self.etcd) => {
                    if let Ok(tree) = tree {
                        self.tree = tree;
                        return true;
                    }
                }
                _ = phases.wait_for(|phase| *phase == Phase::Gone) => return false,
            }
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// Keeps the lease for its whole time once more; false where it is lost.
    async fn renew(&mut self) -> Result<bool, Reason> {
        let kept = self.tree.keep_alive(self.lease, self.ttl / 3).await?;
        if !kept {
            self.lease = 0;
            note(&format!("the lease of {} was lost; it is registered anew", self.name));
        }
        Ok(kept)
    }

    /// Goes on with the lease where there still is one, and registers anew where not.
    async fn resume(&mut self, phase: Phase) -> Result<(), Reason> {
        self.renew().await?;
        // The phase may be another one by now.
        if phase == Phase::Gone { Ok(()) } else { self.register(phase).await }
    }

    /// Keeps the lease, and writes what changes. Ends well when the instance is gone and its keys are, too.
    async fn hold(&mut self, phases: &mut watch::Receiver<Phase>) -> Result<(), Reason> {
        loop {
            let phase = *phases.borrow();
            if phase == Phase::Gone {
                return self.leave().await;
            }
            tokio::select! {
                () = tokio::time::sleep(self.ttl / 3) => {
                    if !self.renew().await? {
                        self.register(phase).await?;
                    }
                }
                changed = phases.changed() => {
                    let phase = *phases.borrow();
                    if changed.is_err() || phase == Phase::Gone {
                        return self.leave().await;
                    }
                    self.register(phase).await?;
                    note(&format!("{} is started", self.name));
                }
            }
        }
    }

    /// Takes all keys out, as one.
    async fn leave(&mut self) -> Result<(), Reason> {
        if self.lease == 0 { Ok(()) } else { self.tree.revoke(self.lease).await }
    }
}
