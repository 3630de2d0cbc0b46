//! ICMP's messages that a packet was too long for its way (RFC 792, RFC 1191; RFC 4443, 3.2), for whoever has sent it.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_RECOMPUTE_CSUM},
    helpers::generated::{
        bpf_csum_diff, bpf_redirect_neigh, bpf_skb_change_head, bpf_skb_load_bytes, bpf_skb_store_bytes,
    },
    macros::map,
    maps::PerCpuArray,
};
use gogeta_common::{
    pair::Flow,
    wire::{
        notice::{self, Sender},
        pair::{MAPPED, Tuple, Way, mended},
    },
};

use crate::{
    events,
    packet::{ETHERNET, IPV4, IPV6},
    wire::{CARRIED, DROP, NEXT, WAYS, done, pair_of},
};

/// What a program reads of its message, and what it makes of it.
#[map]
static NOTICE: PerCpuArray<Notice> = PerCpuArray::with_max_entries(1, 0);

/// Words of the longest message that counts: two headers of IPv6's, ICMP's, and what there is of TCP's at least.
const WORDS: usize = 24;

#[repr(C)]
struct Notice {
    old: Words,
    new: Words,
    /// The connection that its packet was of.
    tuple: Tuple,
    /// The packet's number, as its sender knows it.
    seq: u32,
    /// Whose connection that is: the client's (0) or the upstream's (1).
    side: u64,
}

impl Notice {
    /// The same as an index, of which the verifier knows nothing: see [`Packet`](crate::packet::Packet).
    #[inline(always)]
    fn side(&self) -> usize {
        // SAFETY: it is there.
        (unsafe { (&raw const self.side).read_volatile() } & 1) as usize
    }
}

/// A message, in words as on the wire.
#[repr(C)]
struct Words([u32; WORDS]);

impl Words {
    #[inline(always)]
    fn at(&self, at: usize) -> u32 {
        // SAFETY: it is there; a place in the message is a constant.
        unsafe { (&raw const self.0).cast::<u32>().add(at).read_volatile() }
    }

    #[inline(always)]
    fn set(&mut self, at: usize, word: u32) {
        // SAFETY: as above.
        unsafe { (&raw mut self.0).cast::<u32>().add(at).write_volatile(word) }
    }

    /// The two halves of a word.
    #[inline(always)]
    fn halves(&self, at: usize) -> [u16; 2] {
        let [a, b, c, d] = self.at(at).to_ne_bytes();
        [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]
    }

    #[inline(always)]
    fn set_halves(&mut self, at: usize, [one, two]: [u16; 2]) {
        let ([a, b], [c, d]) = (one.to_ne_bytes(), two.to_ne_bytes());
        self.set(at, u32::from_ne_bytes([a, b, c, d]));
    }

    #[inline(always)]
    fn byte(&self, at: usize, of: usize) -> u8 {
        self.at(at).to_ne_bytes()[of]
    }

    /// An address as [`Tuple`] has it.
    #[inline(always)]
    fn address<V: Version>(&self, at: usize) -> [u32; 4] {
        if V::IS_V4 {
            [MAPPED[0], MAPPED[1], MAPPED[2], self.at(at)]
        } else {
            [self.at(at), self.at(at + 1), self.at(at + 2), self.at(at + 3)]
        }
    }

    #[inline(always)]
    fn set_address<V: Version>(&mut self, at: usize, address: [u32; 4]) {
        if V::IS_V4 {
            self.set(at, address[3]);
        } else {
            self.set(at, address[0]);
            self.set(at + 1, address[1]);
            self.set(at + 2, address[2]);
            self.set(at + 3, address[3]);
        }
    }
}

/// Where fields of a message are, in words.
trait Version {
    const IS_V4: bool;
    /// Words of an IP header, behind which ICMP's is.
    const IP: usize;
    /// Its source address, and its destination.
    const ADDRESSES: [usize; 2];
    /// The header of the packet that the message is about, and the one of TCP behind it, of which two words are there.
    const INNER: usize = Self::IP + 2;
    const TCP: usize = Self::INNER + Self::IP;
    const ALL: usize = Self::TCP + 2;

    /// Whether it is a message of that kind about a packet of TCP.
    fn is_meant(words: &Words) -> bool;
}

struct V4;
struct V6;

impl Version for V4 {
    const IS_V4: bool = true;
    const IP: usize = 5;
    const ADDRESSES: [usize; 2] = [3, 4];

    #[inline(always)]
    fn is_meant(words: &Words) -> bool {
        // No options, no fragments (RFC 791, 3.1); "fragmentation needed".
        let is_whole = |at, bits| u16::from_be(words.halves(at)[1]) & bits == 0;
        words.byte(0, 0) == 0x45
            && is_whole(1, 0x3fff)
            && words.byte(2, 1) == 1
            && words.byte(Self::IP, 0) == 3
            && words.byte(Self::IP, 1) == 4
            && words.byte(Self::INNER, 0) == 0x45
            && is_whole(Self::INNER + 1, 0x1fff)
            && words.byte(Self::INNER + 2, 1) == 6
    }
}

impl Version for V6 {
    const IS_V4: bool = false;
    const IP: usize = 10;
    const ADDRESSES: [usize; 2] = [2, 6];

    #[inline(always)]
    fn is_meant(words: &Words) -> bool {
        // "Packet too big"; no header between (RFC 8200, 4).
        words.byte(1, 2) == 58
            && words.byte(Self::IP, 0) == 2
            && words.byte(Self::IP, 1) == 0
            && words.byte(Self::INNER + 1, 2) == 6
    }
}

const _: () = assert!(V4::ALL <= WORDS && V6::ALL <= WORDS);

/// A packet that has come and is none of TCP's, or of no pair.
#[inline(always)]
pub(crate) fn inward(skb: *mut __sk_buff, l3: u32) -> i32 {
    // SAFETY: the context is the kernel's own.
    match unsafe { (*skb).protocol } {
        IPV4 if protocol(skb, l3 + 9) == 1 => read::<V4>(skb, l3),
        IPV6 if protocol(skb, l3 + 6) == 58 => read::<V6>(skb, l3),
        _ => NEXT,
    }
}

#[inline(always)]
fn protocol(skb: *mut __sk_buff, at: u32) -> u8 {
    let mut protocol = 0_u8;
    // SAFETY: a byte is there.
    unsafe { bpf_skb_load_bytes(skb.cast(), at, (&raw mut protocol).cast(), 1) };
    protocol
}

/// Who is to hear of it.
const NOBODY: u32 = 0;
const SOCKET: u32 = 1;
const END: u32 = 2;

#[inline(never)]
fn read<V: Version>(skb: *mut __sk_buff, l3: u32) -> i32 {
    let Some(notice) = NOTICE.get_ptr_mut(0) else { return NEXT };
    // SAFETY: a program is not interrupted by another of its kind on its CPU.
    let notice = unsafe { &mut *notice };
    if !is_meant::<V>(skb, l3, notice) {
        return NEXT;
    }
    let Some(way) = WAYS.get_ptr_mut(&notice.tuple) else { return NEXT };
    // SAFETY: it is there, and if it is deleted meanwhile, it is kept until this program ends.
    let way = unsafe { &*way };
    match find::<V>(notice, way) {
        SOCKET => to_socket::<V>(skb, l3, notice),
        END => to_end::<V>(skb, l3, notice, way),
        _ => NEXT,
    }
}

/// Whether it is a message that may be about a pair's packet.
#[inline(never)]
fn is_meant<V: Version>(skb: *mut __sk_buff, l3: u32, notice: &mut Notice) -> bool {
    let count = 4 * V::ALL as u32;
    // SAFETY: so many bytes are there.
    let is_short = unsafe {
        bpf_skb_load_bytes(skb.cast(), l3, (&raw mut notice.old).cast(), count) != 0
            || bpf_skb_load_bytes(skb.cast(), l3, (&raw mut notice.new).cast(), count) != 0
    };
    if is_short || !V::is_meant(&notice.old) {
        return false;
    }
    let [source, target] = V::ADDRESSES;
    let near = notice.old.address::<V>(V::INNER + source);
    let [near_port, far_port] = notice.old.halves(V::TCP);
    notice.tuple = Tuple { near, far: notice.old.address::<V>(V::INNER + target), near_port, far_port };
    notice.old.address::<V>(target) == near
}

/// Who has sent the packet, and by which number it knows that.
#[inline(never)]
fn find<V: Version>(notice: &mut Notice, way: &Way) -> u32 {
    let seq = u32::from_be(notice.old.at(V::TCP + 1));
    if way.flow == Way::WATCHED {
        return NOBODY;
    }
    if way.flow == Way::GONE {
        notice.seq = way.side.inward(0, seq).ack;
        return SOCKET;
    }
    let Some(pair) = pair_of(way) else { return NOBODY };
    let is_upstream = Flow(way.flow).is_upstream();
    notice.side = u64::from(is_upstream);
    if pair.wire.ends[notice.side()].tuple != notice.tuple {
        return NOBODY;
    }
    match notice::sender(&pair.wire.books, events::load(pair), is_upstream, seq) {
        Sender::Nobody => NOBODY,
        Sender::Socket(seq) => {
            notice.seq = seq;
            SOCKET
        }
        Sender::End(seq) => {
            notice.seq = seq;
            END
        }
    }
}

/// The message goes up to gogeta's socket, which has sent that number.
#[inline(always)]
fn to_socket<V: Version>(skb: *mut __sk_buff, l3: u32, notice: &mut Notice) -> i32 {
    notice.new.set(V::TCP + 1, notice.seq.to_be());
    // SAFETY: the context is the kernel's own.
    unsafe { (*skb).tc_index = done() };
    if write::<V>(skb, l3, notice) { NEXT } else { DROP }
}

/// The message goes on to the pair's other end, as one about its own packet.
#[inline(never)]
fn to_end<V: Version>(skb: *mut __sk_buff, l3: u32, notice: &mut Notice, way: &Way) -> i32 {
    let Some(pair) = pair_of(way) else { return NEXT };
    let end = &pair.wire.ends[(notice.side() ^ 1) & 1];
    let (tuple, device) = (&end.tuple, end.devices[0]);
    let seq = notice.seq;
    let [source, target] = V::ADDRESSES;
    let new = &mut notice.new;
    new.set_address::<V>(source, tuple.near);
    new.set_address::<V>(target, tuple.far);
    new.set_address::<V>(V::INNER + source, tuple.far);
    new.set_address::<V>(V::INNER + target, tuple.near);
    new.set_halves(V::TCP, [tuple.far_port, tuple.near_port]);
    new.set(V::TCP + 1, seq.to_be());
    if V::IS_V4 {
        check::<0, 20, 2>(notice, 1, 0);
        check::<28, 20, 9>(notice, 1, 0);
    }
    if !write::<V>(skb, l3, notice) {
        return DROP;
    }
    // SAFETY: the context is the kernel's own.
    unsafe {
        if l3 == 0 && bpf_skb_change_head(skb, ETHERNET, 0) != 0 {
            return DROP;
        }
        (*skb).tc_index = CARRIED;
        bpf_redirect_neigh(device, core::ptr::null_mut(), 0, 0) as i32
    }
}

/// Writes the message, with ICMP's checksum as it is then.
#[inline(always)]
fn write<V: Version>(skb: *mut __sk_buff, l3: u32, notice: &mut Notice) -> bool {
    if V::IS_V4 {
        check::<20, 36, 5>(notice, 1, 0);
    } else {
        // Over the addresses, too (RFC 4443, 2.3).
        let addresses = changed::<8, 32>(notice, 0);
        check::<40, 56, 10>(notice, 1, addresses);
    }
    // SAFETY: so many bytes are there.
    unsafe {
        let new = (&raw const notice.new).cast();
        bpf_skb_store_bytes(skb, l3, new, 4 * V::ALL as u32, u64::from(BPF_F_RECOMPUTE_CSUM)) == 0
    }
}

/// Mends the checksum in that half of a word, over so many bytes, and over `more`.
#[inline(always)]
fn check<const FROM: usize, const BYTES: u32, const AT: usize>(notice: &mut Notice, half: usize, more: u32) {
    let changed = changed::<FROM, BYTES>(notice, more);
    let mut halves = notice.old.halves(AT);
    halves[half] = mended(halves[half], changed);
    notice.new.set_halves(AT, halves);
}

/// How the sum over so many bytes has changed, and `more` besides.
#[inline(always)]
fn changed<const FROM: usize, const BYTES: u32>(notice: &mut Notice, more: u32) -> u32 {
    // SAFETY: so many bytes are there.
    unsafe {
        let old = (&raw mut notice.old).cast::<u8>().add(FROM);
        let new = (&raw mut notice.new).cast::<u8>().add(FROM);
        bpf_csum_diff(old.cast(), BYTES, new.cast(), BYTES, more) as u32
    }
}
