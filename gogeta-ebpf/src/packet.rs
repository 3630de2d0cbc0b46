//! A TCP packet at a device's door: what is read of it, and how it is changed.

mod change;
mod sound;
mod write;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_loop, bpf_skb_load_bytes},
};
use gogeta_common::wire::{
    drive::On,
    options::{OPTIONS_MAX, Options},
    pair::{MAPPED, Tuple},
    segment::Segment,
};

/// Where the TCP header is in [`Headers`]: behind Ethernet's, with two bytes before it, and the longest IP header that is
/// read.
const TCP: usize = 56;
/// Where the IP headers begin.
const IPV4_AT: usize = TCP - 20;
const IPV6_AT: usize = TCP - 40;
/// Where its options are.
const OPTIONS: usize = TCP + 20;
/// All of it, with room for what the verifier thinks there might be.
const ROOM: usize = 144;
const _: () = assert!(OPTIONS + 63 + 4 <= ROOM);

/// The headers of a packet, as on the wire; each ends where the next one begins.
#[repr(C, align(8))]
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
    /// Bytes before the IP header that are written, too: Ethernet's, or none.
    link: u32,
    /// Bytes of the TCP header.
    header: u32,
    pub(crate) segment: Segment,
    pub(crate) options: Options,
    /// Whether it is IPv6: 0 or 1.
    is_v6: u32,
    ip: Place,
    /// How it goes on.
    pub(crate) on: On,
    /// Whose connection it is of: the client's (0) or the upstream's (1).
    pub(crate) side: u32,
    /// Its addresses as the kernel looks sockets up by them (`struct bpf_sock_tuple`), with room for what the verifier
    /// thinks there might be.
    lookup: [u32; 16],
    summing: sound::Summing,
    /// Whether it has come as it was sent: 0 or 1.
    is_sound: u32,
}

/// Where what matters of the IP header is in [`Headers`].
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Place {
    /// The header itself, and how long it is.
    ip: u8,
    length: u8,
    /// Its addresses, and how long they are.
    pair: u8,
    pair_length: u8,
    /// The length of the packet, and what it counts besides the TCP segment.
    total: u8,
    own: u8,
    /// How many hops it may go.
    hops: u8,
    unused: u8,
}

const OF_IPV4: Place = Place {
    ip: IPV4_AT as u8,
    length: 20,
    pair: IPV4_AT as u8 + 12,
    pair_length: 8,
    total: IPV4_AT as u8 + 2,
    own: 20,
    hops: IPV4_AT as u8 + 8,
    unused: 0,
};
const OF_IPV6: Place = Place {
    ip: IPV6_AT as u8,
    length: 40,
    pair: IPV6_AT as u8 + 8,
    pair_length: 32,
    total: IPV6_AT as u8 + 4,
    own: 0,
    hops: IPV6_AT as u8 + 7,
    unused: 0,
};

/// IP protocols, as the kernel gives them (`linux/if_ether.h`).
pub(crate) const IPV4: u32 = 0x0800_u16.to_be() as u32;
pub(crate) const IPV6: u32 = 0x86dd_u16.to_be() as u32;
/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: u32 = 14;
/// What IP calls TCP.
const PROTOCOL: u8 = 6;

/// Its fields are read and written where they are and nowhere else: of two places that depend on a condition the
/// compiler would make one that is computed, and that the verifier lets only `CAP_PERFMON` do.
impl Headers {
    /// The two bytes at an even place, as they are.
    #[inline(always)]
    fn word(&self, at: usize) -> u16 {
        // SAFETY: they are there, and aligned.
        unsafe { (&raw const self.bytes).cast::<u8>().add(at).cast::<u16>().read_volatile() }
    }

    /// The four bytes at a place that is a multiple of four.
    #[inline(always)]
    fn long(&self, at: usize) -> u32 {
        // SAFETY: as above.
        unsafe { (&raw const self.bytes).cast::<u8>().add(at).cast::<u32>().read_volatile() }
    }

    #[inline(always)]
    fn set_word(&mut self, at: usize, word: u16) {
        // SAFETY: as above.
        unsafe { (&raw mut self.bytes).cast::<u8>().add(at).cast::<u16>().write_volatile(word) }
    }

    #[inline(always)]
    fn set_long(&mut self, at: usize, long: u32) {
        // SAFETY: as above.
        unsafe { (&raw mut self.bytes).cast::<u8>().add(at).cast::<u32>().write_volatile(long) }
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        // SAFETY: as above.
        unsafe { (&raw const self.bytes).cast::<u8>().add(at).read_volatile() }
    }

    #[inline(always)]
    fn set_byte(&mut self, at: usize, byte: u8) {
        // SAFETY: as above.
        unsafe { (&raw mut self.bytes).cast::<u8>().add(at).write_volatile(byte) }
    }

    /// The number at that place of the options, which may be any: the room ends behind the last one of the mask's.
    #[inline(always)]
    fn number(&self, at: u8) -> u32 {
        let at = OPTIONS + (at as usize & 63);
        u32::from_be_bytes([self.byte(at), self.byte(at + 1), self.byte(at + 2), self.byte(at + 3)])
    }

    #[inline(always)]
    fn set_number(&mut self, at: u8, number: u32) {
        let at = OPTIONS + (at as usize & 63);
        let [a, b, c, d] = number.to_be_bytes();
        self.set_byte(at, a);
        self.set_byte(at + 1, b);
        self.set_byte(at + 2, c);
        self.set_byte(at + 3, d);
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
            IPV4 => (IPV4_AT, 40_u32),
            IPV6 => (IPV6_AT, 60),
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
            let is_whole = u16::from_be(old.word(IPV4_AT + 6)) & 0x3fff == 0;
            if old.byte(IPV4_AT) != 0x45 || !is_whole || old.byte(IPV4_AT + 9) != PROTOCOL {
                return false;
            }
            self.is_v6 = 0;
            self.ip = OF_IPV4;
            self.l4 = l3 + 20;
            let whole = u32::from(u16::from_be(old.word(IPV4_AT + 2)));
            if whole > 0 && whole < 20 {
                return false;
            }
            whole.saturating_sub(20)
        } else {
            // TCP behind the header, with no extension between (RFC 8200, 3 and 4).
            if old.byte(IPV6_AT + 6) != PROTOCOL {
                return false;
            }
            self.is_v6 = 1;
            self.ip = OF_IPV6;
            self.l4 = l3 + 40;
            u32::from(u16::from_be(old.word(IPV6_AT + 4)))
        };
        // A segment that is larger than IP can say, made of several, has its length from the packet.
        let length = if length == 0 { total.wrapping_sub(self.l4) } else { length };
        let header = u32::from(old.byte(TCP + 12) >> 4) * 4;
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
            flags: self.old.byte(TCP + 13),
        };
        self.read_tuple(inward);
        true
    }

    /// Makes what a socket is looked up by, of a packet that has come; gives how many bytes that is.
    #[inline(always)]
    pub(crate) fn look_up(&mut self) -> u32 {
        if self.is_v6 == 0 { self.look_up_v4() } else { self.look_up_v6() }
    }

    /// It and the next one are functions of their own: where both end by the same the compiler writes by an address that
    /// is computed.
    #[inline(never)]
    fn look_up_v4(&mut self) -> u32 {
        self.set_lookup(0, self.old.long(IPV4_AT + 12));
        self.set_lookup(1, self.old.long(IPV4_AT + 16));
        self.set_lookup(2, self.old.long(TCP));
        12
    }

    #[inline(never)]
    fn look_up_v6(&mut self) -> u32 {
        for at in 0..8 {
            self.set_lookup(at, self.old.long(IPV6_AT + 8 + 4 * at));
        }
        self.set_lookup(8, self.old.long(TCP));
        36
    }

    #[inline(always)]
    fn set_lookup(&mut self, at: usize, word: u32) {
        // SAFETY: it is there.
        unsafe { (&raw mut self.lookup).cast::<u32>().add(at).write_volatile(word) }
    }

    /// What [`look_up`](Self::look_up) has made.
    #[inline(always)]
    pub(crate) fn looked_up(&mut self) -> *mut u32 {
        (&raw mut self.lookup).cast()
    }

    #[inline(never)]
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

    #[inline(never)]
    fn read_tuple(&mut self, inward: bool) {
        let old = &self.old;
        let (source, target) = if self.is_v6 == 0 {
            let [zero, one, mapped] = MAPPED;
            ([zero, one, mapped, old.long(IPV4_AT + 12)], [zero, one, mapped, old.long(IPV4_AT + 16)])
        } else {
            (six(old, 8), six(old, 24))
        };
        let (from, to) = (old.word(TCP), old.word(TCP + 2));
        self.tuple = if inward {
            Tuple { near: target, far: source, near_port: to, far_port: from }
        } else {
            Tuple { near: source, far: target, near_port: from, far_port: to }
        };
    }

    /// Looks where the options are that have numbers in them; false where there are others.
    #[inline(never)]
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
        !self.options.is_odd()
    }

    /// What was found of them: what the verifier knows of an index on one path and not on another it holds against
    /// whoever has no `CAP_PERFMON`, and of this it knows nothing.
    #[inline(always)]
    fn found(&self) -> Options {
        // SAFETY: it is there.
        unsafe { (&raw const self.options).read_volatile() }
    }

    /// Whose connection it is of, as an index.
    #[inline(always)]
    pub(crate) fn side(&self) -> usize {
        // SAFETY: it is there.
        (unsafe { (&raw const self.side).read_volatile() } & 1) as usize
    }

    /// Where the payload begins.
    #[inline(always)]
    pub(crate) fn payload(&self) -> u32 {
        self.l4 + self.header
    }

    /// The sender's time, and the one that it echoes.
    #[inline(always)]
    pub(crate) fn times(&self) -> Option<(u32, u32)> {
        if self.found().times() == 0 { None } else { Some((self.time(0), self.time(4))) }
    }

    /// One of them. A function of its own, as those below: what is inlined needs so many registers that the compiler
    /// puts them where pointers were, which the verifier lets only `CAP_PERFMON` do.
    #[inline(never)]
    fn time(&self, behind: u8) -> u32 {
        self.old.number(self.found().times().wrapping_add(behind))
    }

    /// The window that it tells of.
    #[inline(always)]
    pub(crate) fn window(&self) -> u16 {
        u16::from_be(self.old.word(TCP + 14))
    }

    /// Where the IP header is in [`Headers`], and how long it is; the same of its addresses. Of these, too, the verifier
    /// had better know nothing.
    #[inline(always)]
    fn place(&self) -> Place {
        // SAFETY: it is there.
        unsafe { (&raw const self.ip).read_volatile() }
    }
}

/// An address of IPv6's that is there in the header.
#[inline(always)]
fn six(headers: &Headers, at: usize) -> [u32; 4] {
    let at = IPV6_AT + at;
    [headers.long(at), headers.long(at + 4), headers.long(at + 8), headers.long(at + 12)]
}

unsafe extern "C" fn look(_: u32, packet: *const *mut Packet) -> i64 {
    // SAFETY: `look` passes it, and it outlives the loop.
    let packet = unsafe { &mut **packet };
    // SAFETY: so many bytes are there.
    let bytes =
        unsafe { &*(&raw const packet.old.bytes).cast::<u8>().add(OPTIONS).cast::<[u8; OPTIONS_MAX]>() };
    i64::from(!packet.options.step(bytes))
}
