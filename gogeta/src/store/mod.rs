//! Where routes come from, and where what requests have to say goes.
//!
//! A store is a task. It sends [`Event`]s and takes [`Batch`](crate::feedback::Batch)es; it knows nothing of
//! tables, and whoever applies its events knows nothing of it.
//!
//! - [`etcd`]: etcd v3, the only user of its client
//! - [`mod@file`]: a TOML file, watched

pub mod etcd;
pub mod file;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::routes::key::{Key, KeySpace};
use crate::routes::registry::Change;

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
