//! What the engines have carried, and who carries what.

use super::engine::{Engine, Kind, Name};
use super::kernel::Number;

/// One engine's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes from clients.
    pub up: u64,
    /// Bytes to clients.
    pub down: u64,
    /// Requests.
    pub requests: u64,
    /// Pairs that it has now.
    pub pairs: u64,
}

impl Engine {
    /// Bytes up, bytes down, and requests carried in all.
    pub fn carried(&self) -> [u64; 3] {
        let [sockmap, wire] = self.carried_by_each();
        [sockmap.up + wire.up, sockmap.down + wire.down, sockmap.requests + wire.requests]
    }

    /// The same of each engine: sockmap's, and wire's.
    pub fn carried_by_each(&self) -> [Carried; 2] {
        let mut both = [Kind::Sockmap, Kind::Wire].map(|kind| {
            let [up, down, requests] = self.counts.carried(kind);
            Carried { up, down, requests, pairs: 0 }
        });
        for slot in 0..self.program.pairs.count() {
            let place = self.slot(slot);
            // Of who has left it, it was added before.
            if place.client != 0 {
                let [up, down, requests] = self.numbers(slot);
                let one = &mut both[place.kind as usize];
                one.up += up;
                one.down += down;
                one.requests += requests;
                one.pairs += u64::from(place.tenant.is_some());
            }
        }
        both
    }

    /// Wants all those pairs back that are chosen by their name; how many those are.
    pub fn recall_those(&self, mut is_wanted: impl FnMut(&Name) -> bool) -> usize {
        let mut count = 0;
        for slot in 0..self.program.pairs.count() {
            let tenant = self.slot(slot).tenant.clone();
            if tenant.is_some_and(|tenant| is_wanted(&tenant.name())) {
                count += usize::from(self.recall(slot));
            }
        }
        count
    }

    /// Bytes up, bytes down, and requests of a slot.
    pub(super) fn numbers(&self, slot: u32) -> [u64; 3] {
        [Number::Up, Number::Down, Number::Requests].map(|number| self.program.pairs.read(slot, number))
    }
}
