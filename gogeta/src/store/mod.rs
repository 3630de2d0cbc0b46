//! Where routes come from, and where what requests have to say goes.
//!
//! A store is a task. It sends [`Event`]s and takes [`Batch`](crate::feedback::Batch)es; it knows nothing of
//! tables, and whoever applies its events knows nothing of it.
//!
//! - [`etcd`]: etcd v3, the only user of its client
//! - [`mod@file`]: a TOML file, watched
//! - [`position`]: where in its history a store is

pub mod etcd;
pub mod file;
pub mod lines;
pub mod position;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::routes::key::{Key, KeySpace};
use crate::routes::registry::Change;
use position::{Position, Why};

/// What a store has to say.
#[derive(Debug)]
pub enum Event {
    /// The routes changed.
    Change {
        /// How.
        change: Change,
        /// How to name its keys to people.
        names: Names,
    },
    /// Everything was read anew. What is read may be wrong as a whole (half a cluster, an empty one), so whoever
    /// takes it may doubt it, once.
    Reread {
        /// Everything.
        change: Change,
        /// How to name its keys to people.
        names: Names,
        /// Why it was read.
        why: Why,
        /// Where to say whether it is doubted, and then not applied; none where this is the second look.
        doubted: Option<oneshot::Sender<bool>>,
    },
    /// Everything was read for comparison; it should be what is known already.
    Compared {
        /// All keys and their values.
        entries: Vec<(Key, Vec<u8>)>,
        /// Keys that changed meanwhile.
        except: HashSet<Key>,
        /// How to name keys to people.
        names: Names,
    },
    /// What was said so far is everything up to this position.
    At(Position),
    /// The store can be reached.
    Up,
    /// It cannot.
    Down,
}

/// The way of a store's events.
pub type Events = mpsc::Sender<Event>;

/// How a key is named to people: as they wrote it.
#[derive(Debug, Clone)]
pub enum Names {
    /// By its text in etcd.
    Keys(KeySpace),
    /// By its line in a file.
    Lines {
        /// The file.
        file: PathBuf,
        /// The line of each key, from 1.
        lines: Arc<HashMap<Key, usize>>,
    },
}

impl Names {
    /// A key's name.
    pub fn of(&self, key: &Key) -> String {
        match self {
            Self::Keys(space) => space.render(key),
            Self::Lines { file, lines } => {
                let line = lines.get(key).map_or(String::new(), |line| format!(":{line}"));
                format!("{}{line}: {}", file.display(), file::path_of(key))
            }
        }
    }
}
