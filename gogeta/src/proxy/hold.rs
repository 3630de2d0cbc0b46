//! Holding a request back until its service may have started.

use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::time::Instant;

use super::worker::Worker;

/// One request that may be held back.
#[derive(Debug)]
pub struct Hold<'a> {
    worker: &'a Worker,
    place: Option<Place>,
}

/// The place of one that is held.
#[derive(Debug)]
struct Place {
    changes: watch::Receiver<u64>,
    until: Instant,
}

impl<'a> Hold<'a> {
    /// A request that is not held yet.
    pub fn new(worker: &'a Worker) -> Self {
        Self { worker, place: None }
    }

    /// Waits until it is worth another look at the routes; false when it is time to serve the page.
    pub async fn until_change(&mut self) -> bool {
        let config = self.worker.config();
        if config.wake_hold.is_zero() || self.worker.draining.get() {
            return false;
        }
        if let Some(Place { changes, until }) = &mut self.place {
            return matches!(tokio::time::timeout_at(*until, changes.changed()).await, Ok(Ok(())));
        }
        if !self.takes_place(config.wake_hold_max) {
            return false;
        }
        let changes = self.worker.shared.changed.subscribe();
        self.place = Some(Place { changes, until: Instant::now() + config.wake_hold });
        // The routes may have changed before we listened: looked at once more, before the wait.
        true
    }

    /// Takes one of the places of those who are held, if one is free.
    fn takes_place(&self, places: usize) -> bool {
        let held = &self.worker.shared.held;
        let one_more = |count| (count < places).then_some(count + 1);
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.worker.shared.held.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
