//! `gogeta wait`: until something is so, and every running gogeta knows.

mod applied;
mod state;

use std::cell::RefCell;
use std::time::Duration;

use serde_json::json;

use super::output::{count, say, say_json};
use super::{Failure, context, routes};
use crate::cli::{Cli, WaitOptions};
use crate::config::Etcd;
use crate::store::etcd::Reason;
use crate::store::etcd::applied::Applied;
use crate::store::etcd::tree::{Break, Tree};

/// Between two tries to reach etcd.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(cli: &Cli, options: &WaitOptions) -> Result<u8, Failure> {
    let common = &options.common;
    let etcd = context::etcd(&context::options(cli, &common.etcd, common.config.as_deref())?)?;
    let tree = Tree::open(&etcd).await.map_err(Failure::Etcd)?;
    // What is waited for, to be told when the time is over.
    let waiting = RefCell::new(String::new());
    let mut waiter = Waiter { etcd, tree, waiting: &waiting };
    let outcome = tokio::time::timeout(options.timeout.0, async {
        let revision = match (options.revision, &options.host, &options.state) {
            (Some(revision), ..) => revision,
            (None, Some(host), Some(state)) => state::wait(&mut waiter, &routes::host(host)?, state).await?,
            _ => return Err(Failure::Usage("give HOST and STATE, or --revision".to_owned())),
        };
        let directory = Applied::prefix(&options.publish_dir);
        Ok((revision, applied::wait(&mut waiter, &directory, revision, options.count).await?))
    });
    let (revision, gogetas) = match outcome.await {
        Ok(outcome) => outcome?,
        Err(_) => {
            let waiting = waiting.borrow();
            return Err(Failure::No(format!("waited {} in vain: {waiting}", options.timeout)));
        }
    };
    if common.json {
        say_json(&json!({ "revision": revision, "applied": gogetas }))?;
    } else {
        let all = count(gogetas.len(), "gogeta", "gogetas");
        say(&format!("revision {revision} is applied by {all}\n"))?;
    }
    Ok(0)
}

/// Looks again each time that something changes.
struct Waiter<'a> {
    etcd: Etcd,
    tree: Tree,
    waiting: &'a RefCell<String>,
}

impl Waiter<'_> {
    fn tell(&self, what: String) {
        *self.waiting.borrow_mut() = what;
    }

    /// Waits until something below these directories changes, from a revision on.
    async fn change(&mut self, directories: &[&str], from: i64) {
        let changed = async {
            let mut watch = self.tree.watch(directories, from).await?;
            // Whatever it says, a compaction too, is a reason to look again.
            match watch.next().await {
                Ok(_) | Err(Break::Compacted(_)) => Ok(()),
                Err(Break::Broken(reason)) => Err(reason),
            }
        };
        let outcome: Result<(), Reason> = changed.await;
        if let Err(reason) = outcome {
            self.reopen(&reason).await;
        }
    }

    /// Finds an etcd that answers: one that is away for a moment is waited for.
    async fn reopen(&mut self, reason: &str) {
        self.tell(format!("etcd is away: {reason}"));
        self.tree = Tree::reopen(&self.etcd, PAUSE).await;
    }
}
