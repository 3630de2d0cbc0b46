//! The certificates for etcd, watched: whoever renews them need not restart gogeta.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::config::Etcd;
use crate::store::file;

/// The files that a connection to etcd is made with.
pub(super) struct Papers {
    changed: Arc<Notify>,
    _watches: JoinSet<()>,
}

impl Papers {
    /// Watches them for as long as it lives.
    pub(super) fn watch(etcd: &Etcd) -> Self {
        let changed = Arc::new(Notify::new());
        let mut watches = JoinSet::new();
        let pair = etcd.identity.iter().flat_map(|(cert, key)| [cert, key]);
        for path in pair.chain(&etcd.ca) {
            match file::watch(path) {
                Ok((watcher, mut changes)) => {
                    let changed = changed.clone();
                    watches.spawn(async move {
                        while changes.recv().await.is_some() {
                            file::settle(&mut changes).await;
                            changed.notify_one();
                        }
                        drop(watcher);
                    });
                }
                Err(error) => tracing::warn!(
                    %error, file = %path.display(),
                    "cannot watch this certificate; it is read anew with the next connection to etcd"
                ),
            }
        }
        Self { changed, _watches: watches }
    }

    /// Waits until one of them changed. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
