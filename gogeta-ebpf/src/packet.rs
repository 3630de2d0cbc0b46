//! A TCP packet at a device's door: what is read of it, and how it is changed.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_PSEUDO_HDR},
    helpers::generated::{
        bpf_csum_diff, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_loop, bpf_skb_load_bytes,
        bpf_skb_store_bytes,
    },
};
use gogeta_common::wire::{
    Numbers,
    options::{NOP, OPTIONS_MAX, Options},
    pair::{End, MAPPED, Tuple, fold},
    segment::Segment,
};

/// Where the TCP header is in [`Headers`]: behind the longest IP header that is read.
const TCP: usize = 40;
/// Where its options are.
const OPTIONS: usize = TCP + 20;
/// All of it, with room for what the verifier thinks there might be.
const ROOM: usize = 128;

/// The headers of a packet, as on the wire; the IP header ends where TCP's begins.
#[repr(C)]
pub(crate) struct Headers {
    bytes: [u8; ROOM],
}

/// What is read of a packet. It is larger than a program's stack may be.
#[repr(C)]
pub(crate) struct Packet {
    /// As it came.
    old: Headers,
    /// As it goes.
    new: Headers,
    pub(crate) tuple: Tuple,
    /// Where the IP header is in the packet, and the TCP header.
    l3: u32,
    l4: u32,
    /// Bytes of the TCP header.
    header: u32,
    pub(crate) segment: Segment,
    pub(crate) options: Options,
    /// Whether it is IPv6: 0 or 1.
    is_v6: u32,
}

/// IP protocols, as the kernel gives them (`linux/if_ether.h`).
const IPV4: u32 = 0x0800_u16.to_be() as u32;
const IPV6: u32 = 0x86dd_u16.to_be() as u32;
/// What IP calls TCP.
const PROTOCOL: u8 = 6;

impl Headers {
    #[inline(always)]
    fn word(&self, at: usize) -> u16 {
        u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    #[inline(always)]
    fn long(&self, at: usize) -> u32 {
        let [a, b, c, d] = [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]];
        u32::from_ne_bytes([a, b, c, d])
    }

    #[inline(always)]
    fn set_word(&mut self, at: usize, word: u16) {
        [self.bytes[at], self.bytes[at + 1]] = word.to_ne_bytes();
    }

    #[inline(always)]
    fn set_long(&mut self, at: usize, long: u32) {
        [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]] = long.to_ne_bytes();
    }

    /// The number at that place of the options.
    #[inline(always)]
    fn number(&self, at: u8) -> u32 {
        u32::from_be(self.long(OPTIONS + (at as usize & 31)))
    }

    #[inline(always)]
    fn set_number(&mut self, at: u8, number: u32) {
        self.set_long(OPTIONS + (at as usize & 31), number.to_be());
    }
}

impl Packet {
    /// Reads the packet, of which the IP header is at `l3`; false where it is none that a pair may have: not TCP, a
    /// fragment, with options of IP's. `inward` says that it is on its way to gogeta.
    #[inline(always)]
    pub(crate) fn read(&mut self, skb: *mut __sk_buff, l3: u32, inward: bool) -> bool {
        // SAFETY: the context is the kernel's own.
        let (protocol, total) = unsafe { ((*skb).protocol, (*skb).len) };
        self.l3 = l3;
        let (ip, count) = match protocol {
            IPV4 => (20_usize, 40_u32),
            IPV6 => (0, 60),
            _ => return false,
        };
        // SAFETY: so many bytes are there, behind either place.
        let outcome = unsafe {
            bpf_skb_load_bytes(skb.cast(), l3, (&raw mut self.old.bytes).cast::<u8>().add(ip).cast(), count)
        };
        if outcome != 0 {
            return false;
        }
        let old = &self.old;
        let length = if protocol == IPV4 {
            // No options, no fragment (RFC 791, 3.1).
            let is_whole = u16::from_be(old.word(26)) & 0x3fff == 0;
            if old.bytes[20] != 0x45 || !is_whole || old.bytes[29] != PROTOCOL {
                return false;
            }
            self.is_v6 = 0;
            self.l4 = l3 + 20;
            let whole = u32::from(u16::from_be(old.word(22)));
            if whole > 0 && whole < 20 {
                return false;
            }
            whole.saturating_sub(20)
        } else {
            // TCP behind the header, with no extension between (RFC 8200, 3 and 4).
            if old.bytes[6] != PROTOCOL {
                return false;
            }
            self.is_v6 = 1;
            self.l4 = l3 + 40;
            u32::from(u16::from_be(old.word(4)))
        };
        // A segment that is larger than IP can say, made of several, has its length from the packet.
        let length = if length == 0 { total.wrapping_sub(self.l4) } else { length };
        let header = u32::from(old.bytes[TCP + 12] >> 4) * 4;
        if header < 20 || header > length || self.l4 + length > total {
            return false;
        }
        self.header = header;
        if header > 20 && !self.read_options(skb, header - 20) {
            return false;
        }
        self.segment = Segment {
            seq: u32::from_be(self.old.long(TCP + 4)),
            ack: u32::from_be(self.old.long(TCP + 8)),
            len: length - header,
            flags: self.old.bytes[TCP + 13],
        };
        self.read_tuple(inward);
        true
    }

    #[inline(always)]
    fn read_options(&mut self, skb: *mut __sk_buff, length: u32) -> bool {
        let count = (length.wrapping_sub(1) & 63) + 1;
        // SAFETY: so many bytes are there: the room is as large as the mask.
        let outcome = unsafe {
            bpf_skb_load_bytes(
                skb.cast(),
                self.l4 + 20,
                (&raw mut self.old.bytes).cast::<u8>().add(OPTIONS).cast(),
                count,
            )
        };
        outcome == 0
    }

    #[inline(always)]
    fn read_tuple(&mut self, inward: bool) {
        let old = &self.old;
        let (source, target) = if self.is_v6 == 0 {
            let [zero, one, mapped] = MAPPED;
            ([zero, one, mapped, old.long(32)], [zero, one, mapped, old.long(36)])
        } else {
            (
                [old.long(8), old.long(12), old.long(16), old.long(20)],
                [old.long(24), old.long(28), old.long(32), old.long(36)],
            )
        };
        let (from, to) = (old.word(TCP), old.word(TCP + 2));
        self.tuple = if inward {
            Tuple { near: target, far: source, near_port: to, far_port: from }
        } else {
            Tuple { near: source, far: target, near_port: from, far_port: to }
        };
    }

    /// Looks where the options are that have numbers in them; false where there are others.
    #[inline(always)]
    pub(crate) fn look(&mut self) -> bool {
        let length = (self.header - 20) as u8;
        // SAFETY: so many bytes are there.
        let bytes =
            unsafe { &*(&raw const self.old.bytes).cast::<u8>().add(OPTIONS).cast::<[u8; OPTIONS_MAX]>() };
        self.options = Options::new(bytes, length);
        if !self.options.is_over() {
            let mut looking: *mut Self = self;
            // SAFETY: the callback takes what it is given here.
            unsafe { bpf_loop(OPTIONS_MAX as u32, look as *mut _, (&raw mut looking).cast(), 0) };
        }
        self.options.is_odd == 0
    }

    /// Where the payload begins.
    #[inline(always)]
    pub(crate) fn payload(&self) -> u32 {
        self.l4 + self.header
    }

    /// The sender's time, and the one that it echoes.
    #[inline(always)]
    pub(crate) fn times(&self) -> Option<(u32, u32)> {
        let at = self.options.times;
        if at == 0 { None } else { Some((self.old.number(at), self.old.number(at + 4))) }
    }

    /// The window that it tells of.
    #[inline(always)]
    pub(crate) fn window(&self) -> u16 {
        u16::from_be(self.old.word(TCP + 14))
    }

    /// Goes as it came, until it is changed.
    #[inline(always)]
    pub(crate) fn begin(&mut self) {
        self.new.bytes = self.old.bytes;
    }

    #[inline(always)]
    pub(crate) fn set_numbers(&mut self, numbers: Numbers) {
        self.new.set_long(TCP + 4, numbers.seq.to_be());
        self.new.set_long(TCP + 8, numbers.ack.to_be());
    }

    #[inline(always)]
    pub(crate) fn set_times(&mut self, time: u32, echo: u32) {
        let at = self.options.times;
        self.new.set_number(at, time);
        self.new.set_number(at + 4, echo);
    }

    #[inline(always)]
    pub(crate) fn set_window(&mut self, window: u16) {
        self.new.set_word(TCP + 14, window.to_be());
    }

    #[inline(always)]
    pub(crate) fn clear_flags(&mut self, flags: u8) {
        self.new.bytes[TCP + 13] &= !flags;
    }

    /// Moves what its sender acknowledges beyond the first gap.
    #[inline(always)]
    pub(crate) fn move_sack(&mut self, by: u32) {
        let (first, blocks) = (self.options.sack, self.options.blocks);
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
    #[inline(always)]
    pub(crate) fn drop_sack(&mut self) {
        let (first, blocks) = (self.options.sack, self.options.blocks);
        if first == 0 {
            return;
        }
        let from = OPTIONS + (first as usize & 31) - 2;
        for at in 0..34_usize {
            if at >= 2 + 8 * blocks as usize {
                break;
            }
            self.new.bytes[(from + at) & (ROOM - 1)] = NOP;
        }
    }

    /// It goes from gogeta's end of that connection to the other, one hop further, and `more` bytes are added to it;
    /// false where it has come too far.
    #[inline(always)]
    pub(crate) fn address(&mut self, end: &End, more: u32) -> bool {
        let Tuple { near, far, near_port, far_port } = &end.tuple;
        let new = &mut self.new;
        let hops = if self.is_v6 == 0 { 28 } else { 7 };
        if new.bytes[hops] <= 1 {
            return false;
        }
        new.bytes[hops] -= 1;
        if self.is_v6 == 0 {
            new.set_long(32, near[3]);
            new.set_long(36, far[3]);
            let length = u16::from_be(new.word(22));
            new.set_word(22, length.wrapping_add(more as u16).to_be());
        } else {
            for word in 0..4 {
                new.set_long(8 + 4 * word, near[word]);
                new.set_long(24 + 4 * word, far[word]);
            }
            let length = u16::from_be(new.word(4));
            new.set_word(4, length.wrapping_add(more as u16).to_be());
        }
        new.set_word(TCP, *near_port);
        new.set_word(TCP + 2, *far_port);
        true
    }

    /// Writes the TCP header. `more` is by how much the rest of the segment has changed the checksum's sum, `pseudo` by
    /// how much what counts besides has (RFC 9293, 3.1).
    #[inline(always)]
    fn write_tcp(&mut self, skb: *mut __sk_buff, more: u32, pseudo: u32) -> bool {
        let count = (self.header.wrapping_sub(1) & 63) + 1;
        let old = (&raw mut self.old.bytes).cast::<u8>();
        let new = (&raw mut self.new.bytes).cast::<u8>();
        // SAFETY: so many bytes are there: the room is as large as the mask. A header is a multiple of four long.
        unsafe {
            let size = count & 60;
            let changed = bpf_csum_diff(old.add(TCP).cast(), size, new.add(TCP).cast(), size, more);
            let check = self.l4 + 16;
            bpf_skb_store_bytes(skb, self.l4, new.add(TCP).cast(), count, 0) == 0
                && bpf_l4_csum_replace(skb, check, 0, changed.cast_unsigned() & 0xffff_ffff, 0) == 0
                && (pseudo == 0
                    || bpf_l4_csum_replace(skb, check, 0, pseudo.into(), u64::from(BPF_F_PSEUDO_HDR)) == 0)
        }
    }

    /// Writes what has changed for gogeta's own socket, or from it: the TCP header.
    #[inline(always)]
    pub(crate) fn renumber(&mut self, skb: *mut __sk_buff) -> bool {
        self.write_tcp(skb, 0, 0)
    }

    /// Writes both headers: `more` is what was added to the segment, in bytes and to its checksum's sum.
    #[inline(always)]
    pub(crate) fn write(&mut self, skb: *mut __sk_buff, more: (u32, u32)) -> bool {
        let old = (&raw mut self.old.bytes).cast::<u8>();
        let new = (&raw mut self.new.bytes).cast::<u8>();
        let was = self.header + self.segment.len;
        let lengths = if more.0 == 0 {
            0
        } else {
            let is = u32::from(((was + more.0) as u16).to_be());
            fold(is + u32::from(!(was as u16).to_be()))
        };
        // SAFETY: so many bytes are there.
        let (pseudo, written) = unsafe {
            if self.is_v6 == 0 {
                let pseudo = bpf_csum_diff(old.add(32).cast(), 8, new.add(32).cast(), 8, lengths);
                let changed = bpf_csum_diff(old.add(20).cast(), 20, new.add(20).cast(), 20, 0);
                let changed = changed.cast_unsigned() & 0xffff_ffff;
                let written = bpf_skb_store_bytes(skb, self.l3, new.add(20).cast(), 20, 0) == 0
                    && bpf_l3_csum_replace(skb, self.l3 + 10, 0, changed, 0) == 0;
                (pseudo, written)
            } else {
                let pseudo = bpf_csum_diff(old.add(8).cast(), 32, new.add(8).cast(), 32, lengths);
                (pseudo, bpf_skb_store_bytes(skb, self.l3, new.cast(), 40, 0) == 0)
            }
        };
        written && self.write_tcp(skb, more.1, pseudo as u32)
    }

    /// Makes an acknowledgement of it, without its payload, for gogeta's own socket.
    #[inline(always)]
    pub(crate) fn trim(&mut self, skb: *mut __sk_buff) -> bool {
        let (l3, header) = (self.l3, self.header);
        let new = &mut self.new;
        let length = if self.is_v6 == 0 {
            new.set_word(22, ((20 + header) as u16).to_be());
            20
        } else {
            new.set_word(4, (header as u16).to_be());
            40
        };
        // The whole sum anew: what it was over is gone.
        new.set_word(TCP + 16, 0);
        let new = (&raw mut self.new.bytes).cast::<u8>();
        let old = (&raw mut self.old.bytes).cast::<u8>();
        let count = ((header.wrapping_sub(1) & 63) + 1) & 60;
        // SAFETY: so many bytes are there.
        unsafe {
            let rest = u32::from((header as u16).to_be()) + u32::from(u16::from(PROTOCOL).to_be());
            let sum = if self.is_v6 == 0 {
                bpf_csum_diff(core::ptr::null_mut(), 0, new.add(32).cast(), 8, rest)
            } else {
                bpf_csum_diff(core::ptr::null_mut(), 0, new.add(8).cast(), 32, rest)
            };
            let sum = bpf_csum_diff(core::ptr::null_mut(), 0, new.add(TCP).cast(), count, sum as u32);
            let check = !(fold(fold(sum as u32)) as u16);
            self.new.set_word(TCP + 16, check);
            let trimmed =
                aya_ebpf::helpers::generated::bpf_skb_change_tail(skb, l3 + length + header, 0) == 0;
            let changed = if self.is_v6 == 0 {
                let changed = bpf_csum_diff(old.add(20).cast(), 20, new.add(20).cast(), 20, 0);
                let changed = changed.cast_unsigned() & 0xffff_ffff;
                bpf_skb_store_bytes(skb, l3, new.add(20).cast(), 20, u64::from(RECOMPUTE)) == 0
                    && bpf_l3_csum_replace(skb, l3 + 10, 0, changed, 0) == 0
            } else {
                bpf_skb_store_bytes(skb, l3, new.cast(), 40, u64::from(RECOMPUTE)) == 0
            };
            let count = (header.wrapping_sub(1) & 63) + 1;
            trimmed
                && changed
                && bpf_skb_store_bytes(skb, self.l4, new.add(TCP).cast(), count, u64::from(RECOMPUTE)) == 0
        }
    }
}

const RECOMPUTE: u32 = aya_ebpf::bindings::BPF_F_RECOMPUTE_CSUM;

unsafe extern "C" fn look(_: u32, packet: *const *mut Packet) -> i64 {
    // SAFETY: `look` passes it, and it outlives the loop.
    let packet = unsafe { &mut **packet };
    // SAFETY: so many bytes are there.
    let bytes =
        unsafe { &*(&raw const packet.old.bytes).cast::<u8>().add(OPTIONS).cast::<[u8; OPTIONS_MAX]>() };
    i64::from(!packet.options.step(bytes))
}
