//! The deadlines of one client's connection.
//!
//! A connection has few deadlines and sets them often, several times a request; so setting one writes a cell,
//! and the worker looks at all of its connections a few times a second. A deadline is late by one
//! [`Clock::TICK`] at the most.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::LazyLock;
use std::task::Waker;
use std::time::{Duration, Instant};

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// Nobody asked for anything.
    Idle,
    /// A request's head did not come to its end.
    Head,
    /// The upstream did not answer.
    Response,
    /// The client did not go on sending its body.
    Read,
    /// The client did not go on reading.
    Write,
    /// A tunnel without traffic.
    Tunnel,
    /// The upstream did not say whether it wants the request's body.
    Continue,
    /// The upstream did not go on sending its response.
    Stall,
}

const KINDS: [Deadline; 8] = [
    Deadline::Idle,
    Deadline::Head,
    Deadline::Response,
    Deadline::Read,
    Deadline::Write,
    Deadline::Tunnel,
    Deadline::Continue,
    Deadline::Stall,
];

/// A worker's clock: milliseconds since the first of the workers' clocks was made, renewed each tick.
#[derive(Debug)]
pub struct Clock {
    now: Cell<u64>,
}

/// When the first clock was made: all of them tell the same time, up to a tick.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock {
    /// How often the worker looks at its connections.
    pub const TICK: Duration = Duration::from_millis(200);

    /// A clock that stands at 1, since 0 means no deadline.
    pub fn new() -> Rc<Self> {
        Rc::new(Self { now: Cell::new(1) })
    }

    fn renew(&self) -> u64 {
        let now = now();
        self.now.set(now);
        now
    }
}

/// What the workers' clocks will tell at their next tick, for those that are no worker.
pub fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The deadlines of one connection, and how to wake it when one has passed.
#[derive(Debug)]
pub struct Vitals {
    clock: Rc<Clock>,
    deadlines: [Cell<u64>; KINDS.len()],
    passed: Cell<Option<Deadline>>,
    waker: RefCell<Waker>,
}

impl Vitals {
    fn new(clock: Rc<Clock>) -> Self {
        Self {
            clock,
            deadlines: Default::default(),
            passed: Cell::new(None),
            waker: RefCell::new(Waker::noop().clone()),
        }
    }

    /// Sets a deadline, `after` from now.
    pub fn set(&self, deadline: Deadline, after: Duration) {
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.deadlines[deadline as usize].set(self.clock.now.get().saturating_add(after));
    }

    /// The worker's clock, in milliseconds; late by one tick at the most.
    pub fn now(&self) -> u64 {
        self.clock.now.get()
    }

    /// Sets a deadline unless it is set.
    pub fn set_once(&self, deadline: Deadline, after: Duration) {
        if !self.is_set(deadline) {
            self.set(deadline, after);
        }
    }

    /// Whether a deadline is set.
    pub fn is_set(&self, deadline: Deadline) -> bool {
        self.deadlines[deadline as usize].get() != 0
    }

    /// Takes a deadline away.
    pub fn clear(&self, deadline: Deadline) {
        self.deadlines[deadline as usize].set(0);
        if self.passed.get() == Some(deadline) {
            self.passed.set(None);
        }
    }

    /// The deadline that has passed, if one has.
    pub fn passed(&self) -> Option<Deadline> {
        self.passed.get()
    }

    /// Who is woken when a deadline passes.
    pub fn watch(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.will_wake(waker) {
            known.clone_from(waker);
        }
    }

    /// Wakes the connection, so that it looks around.
    pub fn wake(&self) {
        self.waker.borrow().wake_by_ref();
    }

    fn check(&self, now: u64) {
        let passed = |kind: &&Deadline| (1..=now).contains(&self.deadlines[**kind as usize].get());
        if self.passed.get().is_none()
            && let Some(kind) = KINDS.iter().find(passed)
        {
            self.passed.set(Some(*kind));
            self.wake();
        }
    }
}

/// All connections of a worker.
#[derive(Debug)]
pub struct Ward {
    clock: Rc<Clock>,
    patients: RefCell<Vec<Weak<Vitals>>>,
}

impl Ward {
    /// An empty ward.
    pub fn new() -> Self {
        Self { clock: Clock::new(), patients: RefCell::default() }
    }

    /// Vitals for a new connection.
    pub fn admit(&self) -> Rc<Vitals> {
        let vitals = Rc::new(Vitals::new(self.clock.clone()));
        self.patients.borrow_mut().push(Rc::downgrade(&vitals));
        vitals
    }

    /// Looks at every connection, and forgets those that are gone.
    pub fn tick(&self) {
        let now = self.clock.renew();
        self.patients.borrow_mut().retain(|patient| match patient.upgrade() {
            Some(vitals) => {
                vitals.check(now);
                true
            }
            None => false,
        });
    }

    /// The time in milliseconds, as of the last tick; the same for all workers.
    pub fn now(&self) -> u64 {
        self.clock.now.get()
    }

    /// Wakes every connection.
    pub fn wake_all(&self) {
        for vitals in self.patients.borrow().iter().filter_map(Weak::upgrade) {
            vitals.wake();
        }
    }
}

impl Default for Ward {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ward: &Ward, now: u64) {
        ward.clock.now.set(now);
        for vitals in ward.patients.borrow().iter().filter_map(Weak::upgrade) {
            vitals.check(now);
        }
    }

    #[test]
    fn a_deadline_passes_once_and_can_be_taken_away() {
        let ward = Ward::new();
        let vitals = ward.admit();
        vitals.set(Deadline::Idle, Duration::from_millis(100));
        at(&ward, 100);
        assert_eq!(vitals.passed(), None);
        at(&ward, 101);
        assert_eq!(vitals.passed(), Some(Deadline::Idle));
        vitals.clear(Deadline::Idle);
        at(&ward, 1000);
        assert_eq!(vitals.passed(), None);
        vitals.set(Deadline::Read, Duration::from_millis(10));
        vitals.set_once(Deadline::Read, Duration::from_millis(1000));
        at(&ward, 1010);
        assert_eq!(vitals.passed(), Some(Deadline::Read));
    }

    #[test]
    fn those_that_left_are_forgotten() {
        let ward = Ward::new();
        drop(ward.admit());
        let _stays = ward.admit();
        ward.tick();
        assert_eq!(ward.patients.borrow().len(), 1);
    }
}
