//! Links that lose, delay, reorder and duplicate, and the time that passes: what simulations have between their ends.

extern crate std;

use core::cmp::Reverse;
use std::collections::BinaryHeap;
use std::vec::Vec;

use super::segment::Segment;

/// Numbers that look random (Vigna's SplitMix64), from a seed that tells them all.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(super) fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }
}

#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) segment: Segment,
    pub(super) data: Vec<u8>,
}

/// Where a packet is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum To {
    Client,
    Upstream,
    WireOfClient,
    WireOfUpstream,
    Tick,
}

/// All links together, and what is on its way over them.
pub(super) struct Links {
    pub(super) chance: Chance,
    pub(super) now: u64,
    count: u64,
    events: BinaryHeap<Reverse<(u64, u64, To, usize)>>,
    /// All that was ever sent.
    pub(super) packets: Vec<Packet>,
    /// Of a hundred packets so many are lost, and as many come twice, or late.
    loss: usize,
}

impl Links {
    pub(super) fn new(chance: Chance, loss: usize) -> Self {
        let (events, packets) = Default::default();
        let mut links = Self { chance, now: 0, count: 0, events, packets, loss };
        links.tick();
        links
    }

    /// Sends a packet.
    pub(super) fn send(&mut self, packet: &Packet, to: To) {
        if self.chance.percent(self.loss) {
            return;
        }
        for _ in 0..=usize::from(self.chance.percent(self.loss)) {
            let late = if self.chance.percent(self.loss) { self.chance.below(200) } else { 0 };
            self.count += 1;
            self.packets.push(packet.clone());
            self.events.push(Reverse((self.now + 5 + late as u64, self.count, to, self.packets.len() - 1)));
        }
    }

    /// The clock ticks once more, after a while.
    pub(super) fn tick(&mut self) {
        self.events.push(Reverse((self.now + 300, 0, To::Tick, 0)));
    }

    /// What happens next, and to which packet.
    pub(super) fn next(&mut self) -> Option<(To, usize)> {
        let Reverse((now, _, to, packet)) = self.events.pop()?;
        self.now = now;
        Some((to, packet))
    }
}
