//! How what was changed of a packet is written, and its checksums with it.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_PSEUDO_HDR},
    helpers::generated::{bpf_csum_diff, bpf_l4_csum_replace, bpf_skb_change_tail, bpf_skb_store_bytes},
};
use gogeta_common::wire::pair::{fold, mended};

use super::{IPV4_AT, PROTOCOL, Packet, TCP};

const RECOMPUTE: u64 = aya_ebpf::bindings::BPF_F_RECOMPUTE_CSUM as u64;

impl Packet {
    /// Writes what has changed for gogeta's own socket, or from it: the TCP header.
    #[inline(never)]
    pub(crate) fn renumber(&mut self, skb: *mut __sk_buff) -> bool {
        let count = (self.header.wrapping_sub(1) & 63) + 1;
        let changed = self.tcp_changed(0);
        // SAFETY: so many bytes are there: the room is as large as the mask.
        unsafe {
            let new = (&raw mut self.new.bytes).cast::<u8>().add(TCP);
            bpf_skb_store_bytes(skb, self.l4, new.cast(), count, 0) == 0
                && bpf_l4_csum_replace(skb, self.l4 + 16, 0, changed, 0) == 0
        }
    }

    /// Writes both headers: `more` is what was added to the segment, in bytes and to its checksum's sum.
    #[inline(never)]
    pub(crate) fn write(&mut self, skb: *mut __sk_buff, more: u32, sum: u32) -> bool {
        let was = self.header + self.segment.len;
        let lengths = if more == 0 {
            0
        } else {
            let is = u32::from(((was + more) as u16).to_be());
            fold(is + u32::from(!(was as u16).to_be()))
        };
        let changed = self.tcp_changed(sum);
        let pseudo = self.addresses_changed(lengths);
        let check = self.l4 + 16;
        // SAFETY: helpers that are given numbers alone.
        self.write_both(skb, 0)
            && unsafe {
                bpf_l4_csum_replace(skb, check, 0, changed, 0) == 0
                    && bpf_l4_csum_replace(skb, check, 0, pseudo.into(), u64::from(BPF_F_PSEUDO_HDR)) == 0
            }
    }

    /// How the sum over the TCP header has changed, and `more` besides.
    #[inline(never)]
    fn tcp_changed(&mut self, more: u32) -> u64 {
        let size = ((self.header.wrapping_sub(1) & 63) + 1) & 60;
        // SAFETY: so many bytes are there.
        unsafe {
            let old = (&raw mut self.old.bytes).cast::<u8>().add(TCP);
            let new = (&raw mut self.new.bytes).cast::<u8>().add(TCP);
            bpf_csum_diff(old.cast(), size, new.cast(), size, more).cast_unsigned() & 0xffff_ffff
        }
    }

    /// How the sum over the addresses has changed, and `lengths` besides.
    #[inline(never)]
    fn addresses_changed(&mut self, lengths: u32) -> u32 {
        let place = self.place();
        let (at, size) = ((place.pair & 63) as usize, u32::from(place.pair_length & 63));
        // SAFETY: so many bytes are there.
        unsafe {
            let old = (&raw mut self.old.bytes).cast::<u8>().add(at);
            let new = (&raw mut self.new.bytes).cast::<u8>().add(at);
            bpf_csum_diff(old.cast(), size, new.cast(), size, lengths) as u32
        }
    }

    /// Writes both headers, of which one is right behind the other, and Ethernet's, where there is one.
    #[inline(never)]
    fn write_both(&mut self, skb: *mut __sk_buff, flags: u64) -> bool {
        if self.is_v6 == 0 {
            self.check_ip();
        }
        let place = self.place();
        let count = ((self.link + u32::from(place.length) + self.header).wrapping_sub(1) & 127) + 1;
        let at = (u32::from(place.ip).wrapping_sub(self.link) & 63) as usize;
        // SAFETY: so many bytes are there: what the mask lets be more is of this structure, too.
        unsafe {
            let new = (&raw mut self.new.bytes).cast::<u8>().add(at);
            bpf_skb_store_bytes(skb, self.l3.wrapping_sub(self.link), new.cast(), count, flags) == 0
        }
    }

    /// Mends the checksum of IPv4's header. IPv6 has none.
    #[inline(never)]
    fn check_ip(&mut self) {
        // SAFETY: so many bytes are there.
        let changed = unsafe {
            let old = (&raw mut self.old.bytes).cast::<u8>().add(IPV4_AT);
            let new = (&raw mut self.new.bytes).cast::<u8>().add(IPV4_AT);
            bpf_csum_diff(old.cast(), 20, new.cast(), 20, 0) as u32
        };
        self.new.set_word(IPV4_AT + 10, mended(self.old.word(IPV4_AT + 10), changed));
    }

    /// Makes an acknowledgement of it, without its payload, for gogeta's own socket.
    #[inline(never)]
    pub(crate) fn trim(&mut self, skb: *mut __sk_buff) -> bool {
        let header = self.header;
        self.set_total(header);
        // The whole sum anew: what it was over is gone.
        self.new.set_word(TCP + 16, 0);
        let sum = self.sum_alone();
        self.new.set_word(TCP + 16, !(sum as u16));
        // SAFETY: a helper that is given numbers alone.
        unsafe { bpf_skb_change_tail(skb, self.l4 + header, 0) == 0 && self.write_both(skb, RECOMPUTE) }
    }

    /// The sum over the TCP header, and what counts besides, without a payload.
    #[inline(never)]
    fn sum_alone(&mut self) -> u32 {
        let place = self.place();
        let (at, size) = ((place.pair & 63) as usize, u32::from(place.pair_length & 63));
        let count = ((self.header.wrapping_sub(1) & 63) + 1) & 60;
        let rest = u32::from((self.header as u16).to_be()) + u32::from(u16::from(PROTOCOL).to_be());
        // SAFETY: so many bytes are there.
        unsafe {
            let new = (&raw mut self.new.bytes).cast::<u8>();
            let sum = bpf_csum_diff(core::ptr::null_mut(), 0, new.add(at).cast(), size, rest);
            let sum = bpf_csum_diff(core::ptr::null_mut(), 0, new.add(TCP).cast(), count, sum as u32);
            fold(fold(sum as u32))
        }
    }
}
