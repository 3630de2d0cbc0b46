//! Whom an upstream connection's socket wakes: whoever drives the connection now.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The bell.
///
/// hyper keeps the waker that a connection was polled with in several places. This one stays the same, so that
/// it is never copied there anew, and can be muted; and whoever polled with it and found nothing need not poll again
/// before it has rung.
///
/// Everything that rings it lives on one thread; the types only do not know.
#[derive(Debug)]
pub struct Bell {
    owner: Mutex<Waker>,
    muted: AtomicBool,
    rung: AtomicBool,
}

impl Default for Bell {
    fn default() -> Self {
        let owner = Mutex::new(Waker::noop().clone());
        Self { owner, muted: AtomicBool::new(false), rung: AtomicBool::new(false) }
    }
}

impl Bell {
    /// It wakes that one from now on.
    pub fn ring_for(&self, waker: &Waker) {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        if !owner.will_wake(waker) {
            owner.clone_from(waker);
        }
    }

    /// Whether it wakes nobody.
    pub fn mute(&self, muted: bool) {
        self.muted.store(muted, Ordering::Relaxed);
    }

    /// Whether it has rung since [`listen`](Self::listen), muted or not.
    pub fn has_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }

    /// From now on it has not rung.
    pub fn listen(&self) {
        self.rung.store(false, Ordering::Relaxed);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Relaxed);
        if !self.muted.load(Ordering::Relaxed) {
            self.owner.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Owner(AtomicBool);

    impl Wake for Owner {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_is_known_to_have_rung_though_nobody_heard() {
        let (bell, owner) = (Arc::new(Bell::default()), Arc::new(Owner::default()));
        bell.ring_for(&owner.clone().into());
        let waker = Waker::from(bell.clone());
        bell.mute(true);
        waker.wake_by_ref();
        assert!(bell.has_rung() && !owner.0.load(Ordering::Relaxed));
        bell.listen();
        assert!(!bell.has_rung());
        bell.mute(false);
        waker.wake_by_ref();
        assert!(bell.has_rung() && owner.0.load(Ordering::Relaxed));
    }
}
