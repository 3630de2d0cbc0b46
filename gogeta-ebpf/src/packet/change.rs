//! How a packet is made another one.

use gogeta_common::wire::{
    Numbers,
    options::NOP,
    pair::{End, Hop, Tuple},
    segment::{FIN, PSH, RST},
};

use super::{ETHERNET, IPV4_AT, IPV6_AT, OPTIONS, Packet, TCP};

impl Packet {
    /// Goes as it came, until it is changed.
    #[inline(always)]
    pub(crate) fn begin(&mut self) {
        self.new.bytes = self.old.bytes;
        self.link = 0;
    }

    /// It goes by that Ethernet header.
    #[inline(always)]
    pub(crate) fn set_link(&mut self, hop: &Hop) {
        self.link = ETHERNET;
        if self.is_v6 == 0 {
            self.set_link_v4(hop);
        } else {
            self.set_link_v6(hop);
        }
    }

    #[inline(never)]
    fn set_link_v4(&mut self, hop: &Hop) {
        for word in 0..7 {
            self.new.set_word(IPV4_AT - 14 + 2 * word, hop.header[word]);
        }
    }

    #[inline(never)]
    fn set_link_v6(&mut self, hop: &Hop) {
        for word in 0..7 {
            self.new.set_word(IPV6_AT - 14 + 2 * word, hop.header[word]);
        }
    }

    #[inline(always)]
    pub(crate) fn set_numbers(&mut self, numbers: Numbers) {
        self.new.set_long(TCP + 4, numbers.seq.to_be());
        self.new.set_long(TCP + 8, numbers.ack.to_be());
    }

    #[inline(never)]
    pub(crate) fn set_times(&mut self, time: u32, echo: u32) {
        let at = self.found().times();
        self.new.set_number(at, time);
        self.new.set_number(at + 4, echo);
    }

    #[inline(always)]
    pub(crate) fn set_window(&mut self, window: u16) {
        self.new.set_word(TCP + 14, window.to_be());
    }

    #[inline(always)]
    pub(crate) fn clear_flags(&mut self, flags: u8) {
        self.new.set_byte(TCP + 13, self.old.byte(TCP + 13) & !flags);
    }

    /// Makes a reset of what ends a connection.
    #[inline(always)]
    pub(crate) fn reset(&mut self) {
        self.new.set_byte(TCP + 13, self.old.byte(TCP + 13) & !(FIN | PSH) | RST);
    }

    /// Moves what its sender acknowledges beyond the first gap.
    #[inline(never)]
    pub(crate) fn move_sack(&mut self, by: u32) {
        let (first, blocks) = (self.found().sack(), self.found().blocks());
        for block in 0..4_u8 {
            if first == 0 || block >= blocks {
                break;
            }
            let at = first + 8 * block;
            self.new.set_number(at, self.old.number(at).wrapping_sub(by));
            self.new.set_number(at + 4, self.old.number(at + 4).wrapping_sub(by));
        }
    }

    /// Says nothing of that: the other end's numbers are not made by adding something.
    #[inline(never)]
    pub(crate) fn drop_sack(&mut self) {
        let (first, blocks) = (self.found().sack(), self.found().blocks());
        if first == 0 {
            return;
        }
        // Behind the first of 40 bytes there are two and at least eight more.
        let from = OPTIONS + (first.wrapping_sub(2) as usize & 31);
        self.new.set_byte(from, NOP);
        self.new.set_byte(from + 1, NOP);
        // One after the other: to the verifier, an index that grows is another one each time.
        if blocks > 0 {
            self.clear(from + 2);
        }
        if blocks > 1 {
            self.clear(from + 10);
        }
        if blocks > 2 {
            self.clear(from + 18);
        }
        if blocks > 3 {
            self.clear(from + 26);
        }
    }

    /// Puts eight bytes there that say nothing.
    #[inline(always)]
    fn clear(&mut self, at: usize) {
        self.new.set_byte(at, NOP);
        self.new.set_byte(at + 1, NOP);
        self.new.set_byte(at + 2, NOP);
        self.new.set_byte(at + 3, NOP);
        self.new.set_byte(at + 4, NOP);
        self.new.set_byte(at + 5, NOP);
        self.new.set_byte(at + 6, NOP);
        self.new.set_byte(at + 7, NOP);
    }

    /// It goes from gogeta's end of that connection to the other, one hop further, and `more` bytes are added to it;
    /// false where it has come too far.
    #[inline(never)]
    pub(crate) fn address(&mut self, end: &End, more: u32) -> bool {
        let Tuple { near, far, near_port, far_port } = &end.tuple;
        if self.is_v6 == 0 {
            self.address_v4(near, far)
        } else {
            self.address_v6(near, far)
        }
        let new = &mut self.new;
        new.set_word(TCP, *near_port);
        new.set_word(TCP + 2, *far_port);
        if more > 0 {
            self.set_total(self.header + self.segment.len + more);
        }
        self.hop()
    }

    #[inline(never)]
    fn address_v4(&mut self, near: &[u32; 4], far: &[u32; 4]) {
        self.new.set_long(IPV4_AT + 12, near[3]);
        self.new.set_long(IPV4_AT + 16, far[3]);
    }

    #[inline(never)]
    fn address_v6(&mut self, near: &[u32; 4], far: &[u32; 4]) {
        for word in 0..4 {
            self.new.set_long(IPV6_AT + 8 + 4 * word, near[word]);
            self.new.set_long(IPV6_AT + 24 + 4 * word, far[word]);
        }
    }

    /// Says how long the packet is with a TCP segment of so many bytes.
    #[inline(never)]
    pub(super) fn set_total(&mut self, segment: u32) {
        let place = self.place();
        let total = (segment + u32::from(place.own)) as u16;
        self.new.set_word((place.total & 62) as usize, total.to_be());
    }

    /// It goes one hop further; false where it has come too far.
    #[inline(never)]
    fn hop(&mut self) -> bool {
        let at = (self.place().hops & 63) as usize;
        let hops = self.old.byte(at);
        self.new.set_byte(at, hops.wrapping_sub(1));
        hops > 1
    }
}
