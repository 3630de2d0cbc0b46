//! Whether a packet has come as it was sent.
//!
//! What gogeta's socket would find out the program has to: what it believes of a damaged packet the right one cannot
//! undo, for it has the same numbers.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_csum_diff, bpf_csum_level, bpf_loop, bpf_skb_load_bytes},
};
use gogeta_common::wire::pair::fold;

use super::{PROTOCOL, Packet, TCP};

/// Bytes that are added up at a time.
const PIECE: u32 = 128;
/// Bytes that IP can say a packet has.
const MOST: u32 = 0xffff;

/// Asks how often the device has verified the packet's checksum (`enum` in `linux/bpf.h`).
const QUERY: u64 = 0;

/// A payload that is being added up.
#[repr(C)]
pub(super) struct Summing {
    at: u32,
    left: u32,
    sum: u32,
    unused: u32,
}

/// What the callback is given.
struct Given {
    skb: *mut __sk_buff,
    packet: *mut Packet,
}

impl Packet {
    /// Whether the TCP checksum is right, or somebody has seen to that: the device, or a sender on this machine, who
    /// leaves it to the device (`CHECKSUM_PARTIAL` in `linux/skbuff.h`). Whoever has put several packets together has, too.
    #[inline(always)]
    pub(crate) fn is_sound(&mut self, skb: *mut __sk_buff) -> bool {
        self.look_through(skb);
        // SAFETY: it is there. The verifier had better not follow each of the ways here any further.
        unsafe { (&raw const self.is_sound).read_volatile() != 0 }
    }

    #[inline(never)]
    fn look_through(&mut self, skb: *mut __sk_buff) -> u64 {
        // SAFETY: the context is the kernel's own.
        let is_sound = unsafe { (*skb).gso_segs > 1 || bpf_csum_level(skb, QUERY) >= 0 || self.adds_up(skb) };
        self.is_sound = u32::from(is_sound);
        0
    }

    #[inline(never)]
    fn adds_up(&mut self, skb: *mut __sk_buff) -> bool {
        let place = self.place();
        let (at, size) = ((place.pair & 63) as usize, u32::from(place.pair_length & 63));
        let length = self.header + self.segment.len;
        let rest = u32::from((length as u16).to_be()) + u32::from(u16::from(PROTOCOL).to_be());
        // SAFETY: so many bytes are there.
        let pseudo = unsafe {
            let old = (&raw mut self.old.bytes).cast::<u8>().add(at);
            fold(fold(bpf_csum_diff(core::ptr::null_mut(), 0, old.cast(), size, rest) as u32))
        };
        // What the device adds the rest to (`tcp_v4_send_check`).
        u32::from(self.old.word(TCP + 16)) == pseudo || self.sum_all(skb, pseudo) == 0xffff
    }

    /// The sum over all of the segment, and `sum` (RFC 9293, 3.1).
    #[inline(never)]
    fn sum_all(&mut self, skb: *mut __sk_buff, sum: u32) -> u32 {
        let count = ((self.header.wrapping_sub(1) & 63) + 1) & 60;
        // SAFETY: so many bytes are there.
        let sum = unsafe {
            let old = (&raw mut self.old.bytes).cast::<u8>().add(TCP);
            bpf_csum_diff(core::ptr::null_mut(), 0, old.cast(), count, sum) as u32
        };
        self.summing = Summing { at: self.payload(), left: self.segment.len, sum, unused: 0 };
        let mut given = Given { skb, packet: self };
        // SAFETY: the callback takes what it is given here.
        unsafe { bpf_loop(MOST / PIECE + 1, add as *mut _, (&raw mut given).cast(), 0) };
        fold(fold(self.summing.sum))
    }
}

/// Adds the next piece up, in the room where the packet will be made as it goes.
unsafe extern "C" fn add(_: u32, given: *const Given) -> i64 {
    // SAFETY: `sum_all` passes it, and both outlive the loop.
    let (skb, packet) = unsafe { ((*given).skb, &mut *(*given).packet) };
    let Summing { at, left, sum, .. } = packet.summing;
    if left == 0 {
        return 1;
    }
    let piece = if left < PIECE { left } else { PIECE };
    if piece < PIECE {
        // The last word is filled up.
        packet.clear_new();
    }
    let count = (piece.wrapping_sub(1) & (PIECE - 1)) + 1;
    // SAFETY: so many bytes are there.
    unsafe {
        let room = (&raw mut packet.new.bytes).cast::<u8>();
        if bpf_skb_load_bytes(skb.cast(), at, room.cast(), count) != 0 {
            return 1;
        }
        packet.summing.sum =
            bpf_csum_diff(core::ptr::null_mut(), 0, room.cast(), (count + 3) & 252, sum) as u32;
    }
    packet.summing.at = at + piece;
    packet.summing.left = left - piece;
    0
}

impl Packet {
    /// Makes the room empty, word by word: a loop would be a call of `memset`.
    #[inline(always)]
    fn clear_new(&mut self) {
        macro_rules! clear {
            ($($at:literal)*) => { $(self.new.set_long($at, 0);)* };
        }
        clear!(0 4 8 12 16 20 24 28 32 36 40 44 48 52 56 60 64 68 72 76 80 84 88 92 96 100 104 108 112 116 120 124);
    }
}
