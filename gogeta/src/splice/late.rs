//! Tunnels that came to their end while they were carried: gogeta has closed its sockets, of which nobody has heard, and
//! the two ends may still have something to say to each other, of what was lost. So the slot stays for a while, and both
//! ways lead there.

use std::collections::VecDeque;
use std::time::Duration;

use gogeta_common::pair::{Flow, Phase};

use super::engine::{Engine, lock};
use super::kernel::socket::now;
use super::kernel::{Change, Number};

/// How long nothing may have come of such a tunnel until both ends have forgotten it: the time between the last two
/// times that one says the same, or is in TIME_WAIT.
const LINGER: Duration = Duration::from_secs(130);

/// Slots, and when to look whether they can be forgotten, in that order.
pub(super) type Late = VecDeque<(Duration, u32)>;

impl Engine {
    /// Whether the slot is a tunnel's that is over.
    pub(super) fn is_over(&self, slot: u32) -> bool {
        self.program.pairs.load(slot).phase() == Phase::Over
    }

    /// The slot's tunnel is over, and its sockets are closed.
    pub(super) fn linger(&self, slot: u32) {
        self.settle(slot);
        lock(&self.late).push_back((Duration::from_nanos(now()) + LINGER, slot));
    }

    /// Forgets those of which nothing has come for long enough.
    pub(super) fn forget_late(&self) {
        let now = Duration::from_nanos(now());
        let next = || lock(&self.late).pop_front_if(|(due, _)| *due <= now);
        while let Some((_, slot)) = next() {
            if Duration::from_nanos(self.program.pairs.read(slot, Number::Last)) + LINGER <= now {
                self.end(slot);
                self.free(slot);
            } else {
                lock(&self.late).push_back((now + LINGER, slot));
            }
        }
    }

    /// Forgets the one that is over for the longest time, where its slot or its ways are needed, and gives the slot.
    pub(super) fn end_oldest(&self) -> Option<u32> {
        let (_, slot) = lock(&self.late).pop_front()?;
        self.end(slot);
        Some(slot)
    }

    fn end(&self, slot: u32) {
        let flows = [Flow::client(slot), Flow::upstream(slot)];
        for (tuple, flow) in self.program.pairs.tuples(slot).iter().zip(flows) {
            // It may be another connection's by now.
            self.program
                .change_way(tuple, |way| if way.flow == flow.0 { Change::Forget } else { Change::Leave });
        }
    }
}
