//! The last known routes, kept on disk: a gogeta that starts while etcd is away serves from them.

mod file;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

pub use file::{Kept, load};

use crate::routes::key::KeySpace;
use crate::routes::table::RouteTable;
use crate::store::position::Position;

/// Changed routes are written at most so often.
const REST: Duration = Duration::from_secs(3);
/// And where only time went by, so often.
const LONG_REST: Duration = Duration::from_secs(300);
/// After a failure it is tried again so much later.
const AGAIN: Duration = Duration::from_secs(30);

/// What is known, and up to where.
#[derive(Debug, Clone)]
pub struct Known {
    /// The routes.
    pub table: RouteTable,
    /// The place in etcd's history where they were so.
    pub position: Position,
    /// How often they changed so far.
    pub changes: u64,
}

/// Writes what is known, now and then and at the end.
#[derive(Debug)]
pub struct Keeper {
    task: JoinHandle<()>,
    end: Arc<Notify>,
}

impl Keeper {
    /// Begins to keep in a directory.
    pub fn start(directory: PathBuf, space: KeySpace, known: watch::Receiver<Option<Known>>) -> Self {
        let end = Arc::new(Notify::new());
        let keeping =
            Keeping { directory, space, known, end: end.clone(), written: None, told: String::new() };
        Self { task: tokio::spawn(keeping.run()), end }
    }

    /// Writes what is known now, and ends.
    pub async fn finish(self) {
        self.end.notify_one();
        let _ = self.task.await;
    }

    /// Writes no more: the directory is another one's.
    pub fn abandon(self) {
        self.task.abort();
    }
}

struct Keeping {
    directory: PathBuf,
    space: KeySpace,
    known: watch::Receiver<Option<Known>>,
    end: Arc<Notify>,
    /// The changes and the revision that are on disk.
    written: Option<(u64, i64)>,
    told: String,
}

impl Keeping {
    async fn run(mut self) {
        // Of a burst of changes at the start, one writing is enough.
        let mut next = Instant::now() + REST / 3;
        loop {
            let rest = timeout_at(next, self.end.notified());
            if rest.await.is_ok() {
                self.write().await;
                return;
            }
            let ok = self.write().await;
            let changed = tokio::select! {
                changed = Self::change(&mut self.known, self.written) => changed,
                () = self.end.notified() => {
                    self.write().await;
                    return;
                }
            };
            if !changed {
                return;
            }
            next = Instant::now() + if ok { REST } else { AGAIN };
        }
    }

    /// Waits until there is reason to write: new routes, or a position that has long been out of date.
    async fn change(known: &mut watch::Receiver<Option<Known>>, written: Option<(u64, i64)>) -> bool {
        let late = Instant::now() + LONG_REST;
        loop {
            let is_new = |known: &Option<Known>| {
                known
                    .as_ref()
                    .is_some_and(|known| written.is_none_or(|(changes, _)| changes != known.changes))
            };
            if is_new(&known.borrow_and_update()) {
                return true;
            }
            match timeout_at(late, known.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Writes what is known, unless that is on disk. Whether that went well.
    async fn write(&mut self) -> bool {
        let Some(known) = self.known.borrow_and_update().clone() else { return true };
        let what = (known.changes, known.position.revision);
        if self.written == Some(what) {
            return true;
        }
        let (directory, space) = (self.directory.clone(), self.space.clone());
        let writing = tokio::task::spawn_blocking(move || file::write(&directory, &space, &known));
        let error = match writing.await {
            Ok(Ok(())) => {
                self.written = Some(what);
                self.told.clear();
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if self.told != error {
            tracing::warn!(
                error,
                directory = %self.directory.display(),
                "cannot keep the routes on disk (--state-dir); gogeta serves on, and tries again now and then"
            );
            self.told = error;
        }
        false
    }
}
