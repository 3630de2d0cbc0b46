//! The source of routes: started from what was kept of it on disk, kept there, and followed.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};

use crate::clock::unix_seconds;
use crate::config::{ControlPlane, Source};
use crate::control::Controller;
use crate::demo;
use crate::feedback::Inbox;
use crate::routes::key::KeySpace;
use crate::state::{self, Keeper, Known};
use crate::store::position::Position;
use crate::store::{Event, Names, etcd, file};

/// Serves what was kept on disk, as far as there is something; gives where in etcd's history that was.
pub(crate) fn start_from_disk(
    controller: &mut Controller,
    source: &Source,
    plane: &ControlPlane,
) -> Option<Position> {
    let (Source::Etcd(etcd), Some(directory)) = (source, &plane.state_dir) else { return None };
    let space = KeySpace::new(&etcd.domain_dir, &etcd.service_dir);
    let kept = state::load(directory, &space)?;
    let position = kept.position.clone();
    tracing::warn!(
        revision = position.revision,
        age_seconds = unix_seconds().saturating_sub(kept.saved),
        directory = %directory.display(),
        "starting from the routes kept on disk, until etcd is heard of"
    );
    controller.start_from(kept, &Names::Keys(space));
    Some(position)
}

/// Keeps what is known on disk, if that is wanted.
pub(crate) fn keep(
    source: &Source,
    plane: &ControlPlane,
    known: watch::Receiver<Option<Known>>,
) -> Option<Keeper> {
    let (Source::Etcd(etcd), Some(directory)) = (source, &plane.state_dir) else { return None };
    let space = KeySpace::new(&etcd.domain_dir, &etcd.service_dir);
    Some(Keeper::start(directory.clone(), space, known))
}

/// What the source of routes is followed with.
pub(crate) struct Follow {
    /// The routes file, as it was read.
    pub(crate) text: String,
    pub(crate) plane: ControlPlane,
    /// Where in etcd's history it goes on.
    pub(crate) start: Option<Position>,
    /// The revision that is served.
    pub(crate) applied: watch::Receiver<i64>,
    /// Told when the end is near.
    pub(crate) ending: Arc<Notify>,
}

impl Follow {
    /// Follows it for as long as it has something to say.
    pub(crate) async fn run(self, source: Source, events: mpsc::Sender<Event>, inbox: Inbox) {
        let Self { text, plane, start, applied, ending } = self;
        match source {
            Source::Etcd(etcd) => {
                etcd::run(etcd::Course { etcd, plane, start, events, inbox, applied, ending }).await;
            }
            Source::File(path) => {
                tokio::spawn(file::decline(inbox));
                follow_file(path, text, events).await;
            }
            Source::Demo(path) => {
                tokio::spawn(demo::supervise(path.clone(), inbox));
                follow_file(path, text, events).await;
            }
            Source::Nothing => {}
        }
    }
}

async fn follow_file(path: PathBuf, text: String, events: mpsc::Sender<Event>) {
    if let Err(error) = file::run(path.clone(), text, events).await {
        tracing::error!(%error, file = %path.display(), "cannot watch the routes file; it is read at the next start");
    }
}
