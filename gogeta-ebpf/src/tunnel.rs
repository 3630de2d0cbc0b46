//! Tunnels: their packets at the doors of devices.

use gogeta_common::wire::tunnel;

use crate::wire::Kernel;

impl Kernel<'_> {
    /// A packet that has come, of a pair that is a tunnel.
    #[inline(always)]
    pub(crate) fn of_tunnel(&mut self, is_upstream: bool) -> u32 {
        if is_upstream {
            let is_first = self.begin_tunnel::<true>();
            self.of_open::<true>(is_first)
        } else {
            let is_first = self.begin_tunnel::<false>();
            self.of_open::<false>(is_first)
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
    fn of_open<const UPSTREAM: bool>(&mut self, is_first: bool) -> u32 {
        let segment = self.packet.segment;
        let books = &raw mut self.pair.wire.books;
        // SAFETY: as above.
        let outcome = tunnel::of_tunnel::<UPSTREAM, _>(self, unsafe { &mut *books }, &segment, is_first);
        self.note(outcome)
    }
}
