//! Where in a store's history a state stands, and what proves that it is that history.

use serde::{Deserialize, Serialize};

/// A place in etcd's history: everything up to `revision` is known, nothing behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The cluster. A cluster that is made anew with the same names and addresses has the same id.
    pub cluster: u64,
    /// The raft term, which never falls in one cluster's life.
    pub term: u64,
    /// The revision.
    pub revision: i64,
    /// A key and when it was written last, as far as this revision: another history has it otherwise.
    pub witness: Option<Witness>,
}

/// A key that was written at a revision, and at that revision stood there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Its text.
    pub key: Box<str>,
    /// When it was written last.
    pub revision: i64,
}

/// Why everything is read again, though a state is there; or is read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// Nothing was known.
    First,
    /// etcd is another cluster.
    Cluster,
    /// etcd's revision is behind ours: an older backup was restored.
    RevisionBack,
    /// The revision is there, with another past: a backup was restored, and written to since.
    History,
    /// What happened meanwhile has been compacted.
    Compacted,
}

impl Why {
    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Cluster => "cluster",
            Self::RevisionBack => "revision_back",
            Self::History => "history",
            Self::Compacted => "compacted",
        }
    }
}
