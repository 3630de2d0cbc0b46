//! Tunnels: their packets at the doors of devices.

use gogeta_common::wire::{drive::Outcome, tunnel};

use crate::wire::Kernel;

/// What a tunnel's packet becomes; how, is in the packet.
const ON: u32 = 1;
const UP: u32 = 2;

impl Kernel<'_> {
    /// A packet that has come, of a pair that is a tunnel.
    #[inline(always)]
    pub(crate) fn tunnel(&mut self, l3: u32, is_upstream: bool) -> i32 {
        let becomes = if is_upstream {
            let is_first = self.begin_tunnel::<true>();
            self.of_tunnel::<true>(is_first)
        } else {
            let is_first = self.begin_tunnel::<false>();
            self.of_tunnel::<false>(is_first)
        };
        match becomes {
            ON => self.on(l3),
            UP => self.up(self.packet.on.numbers),
            _ => self.drop(is_upstream.into()),
        }
    }

    /// It and the next one are functions of their own, for either needs a good part of the stack.
    #[inline(never)]
    fn begin_tunnel<const UPSTREAM: bool>(&mut self) -> bool {
        let segment = self.packet.segment;
        let books = &raw mut self.pair.wire.books;
        // SAFETY: nothing else of the pair is reached by it.
        tunnel::begin::<UPSTREAM, _>(self, unsafe { &mut *books }, &segment)
    }

    #[inline(never)]
    fn of_tunnel<const UPSTREAM: bool>(&mut self, is_first: bool) -> u32 {
        let segment = self.packet.segment;
        let books = &raw mut self.pair.wire.books;
        // SAFETY: as above.
        match tunnel::of_tunnel::<UPSTREAM, _>(self, unsafe { &mut *books }, &segment, is_first) {
            Outcome::Up(numbers) => {
                self.packet.on.numbers = numbers;
                UP
            }
            Outcome::On(on) => {
                self.packet.on = on;
                ON
            }
            Outcome::Drop => 0,
        }
    }
}
