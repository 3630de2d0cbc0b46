//! What kernel and userspace share of a pair that is carried packet by packet.

use super::clock::Clock;
use super::drive::Books;
use super::{BLOCK_MAX, Side};

/// Which connection a packet belongs to: the key of the map of ways. IPv4 addresses are mapped into IPv6's
/// (RFC 4291, 2.5.5.2); ports are as on the wire.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Tuple {
    /// gogeta's address.
    pub near: [u32; 4],
    /// The other end's.
    pub far: [u32; 4],
    /// gogeta's port.
    pub near_port: u16,
    /// The other end's.
    pub far_port: u16,
}

/// What an IPv4 address has before it.
pub const MAPPED: [u32; 3] = [0, 0, 0xffff_u32.to_be()];

const _: () = assert!(size_of::<Tuple>() == 36);

impl Tuple {
    /// Whether its addresses are of IPv4.
    pub fn is_v4(&self) -> bool {
        self.near[..3] == MAPPED
    }

    /// The same as `struct bpf_sock_tuple` (`linux/bpf.h`) has it, the other end first, and how many bytes that takes.
    pub fn lookup(&self) -> ([u32; 16], u32) {
        let Self { near, far, near_port, far_port } = *self;
        let [a, b] = far_port.to_ne_bytes();
        let [c, d] = near_port.to_ne_bytes();
        let ports = u32::from_ne_bytes([a, b, c, d]);
        let mut words = [0; 16];
        if self.is_v4() {
            words[..3].copy_from_slice(&[far[3], near[3], ports]);
            return (words, 12);
        }
        words[..4].copy_from_slice(&far);
        words[4..8].copy_from_slice(&near);
        words[8] = ports;
        (words, 36)
    }
}

/// Whose packets those of a connection are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Way {
    /// A [`Flow`](crate::pair::Flow), or [`Way::GONE`]: then only the rest of this counts.
    pub flow: u32,
    /// How far gogeta's clock was moved on for the other end.
    pub shift: u32,
    /// How far gogeta's socket is behind.
    pub side: Side,
    /// When the socket has sent a packet last, in nanoseconds of `CLOCK_MONOTONIC`: the kernel, as what follows.
    pub last: u64,
    /// The device by which its socket's packets were seen to leave, and those to it to come; 0 where none was.
    pub devices: [u32; 2],
}

impl Way {
    /// The pair is no more, but its sockets are not all gone: the kernel keeps them for a while when they are closed.
    pub const GONE: u32 = u32::MAX;

    /// There is no pair yet; it is noted only by which devices packets come and go.
    pub const WATCHED: u32 = u32::MAX - 1;
}

const _: () = assert!(size_of::<Way>() == 32);

/// One of the two connections.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct End {
    /// Which it is: userspace, as all to the bytes acknowledged.
    pub tuple: Tuple,
    /// By how many bits the other end's windows are to be moved, and those that it is told.
    pub scales: [u16; 2],
    /// Bytes of a segment that the other end takes, without its options.
    pub mss: u32,
    /// Bytes that its socket has received when all is read.
    pub received: u64,
    /// Bytes that its socket knows to have arrived when all has.
    pub acked: u64,
    /// As [`Way::devices`]: the kernel, too.
    pub devices: [u32; 2],
    /// The addresses as the kernel looks sockets up by them (`struct bpf_sock_tuple`), and how many bytes of that
    /// count: userspace. There are as many as the verifier thinks might count.
    pub lookup: [u32; 16],
    /// See there.
    pub lookup_len: u32,
    /// Nothing.
    pub unused: u32,
    /// How packets to the other end leave: the kernel, too.
    pub hop: Hop,
}

const _: () = assert!(size_of::<End>() == 72 + 64 + 8 + 24);

/// The Ethernet header that the kernel puts before packets of a connection: it knows the route and the neighbour.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Hop {
    /// When it was seen, in nanoseconds of `CLOCK_MONOTONIC`; 0 where it was not. Another processor may be ahead.
    pub seen: u64,
    /// As on the wire.
    pub header: [u16; 7],
    /// Nothing.
    pub unused: u16,
}

impl Hop {
    /// For so many nanoseconds it is believed. Routes and neighbours change; whoever was sent to the wrong one meanwhile
    /// is sent the same again by TCP.
    pub const FRESH: u64 = 100_000_000;

    /// Whether it is believed at that time.
    #[inline(always)]
    pub const fn is_fresh(&self, now: u64) -> bool {
        now < self.seen.wrapping_add(Self::FRESH)
    }
}

/// A pair's part that is the wire engine's.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Wire {
    /// The numbers that it is carried by.
    pub books: Books,
    /// The clocks that the client and the upstream see.
    pub clocks: [Clock; 2],
    /// The client's connection, and the upstream's.
    pub ends: [End; 2],
    /// Bytes of the block.
    pub block_len: u32,
    /// The Internet checksum's sum over the block and the line end behind it (RFC 1071), as the machine adds words.
    pub block_sum: u32,
    /// What is added to each request, and a line end.
    pub block: [u8; BLOCK_MAX + 8],
}

const _: () = assert!(size_of::<Wire>().is_multiple_of(8));

/// The sum that the Internet checksum is made of, over these bytes, folded to 16 bits (RFC 1071).
pub fn sum(bytes: &[u8]) -> u32 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        let word = [pair[0], if pair.len() == 2 { pair[1] } else { 0 }];
        sum += u32::from(u16::from_ne_bytes(word));
    }
    fold(sum)
}

/// Adds what does not fit into 16 bits.
#[inline(always)]
pub const fn fold(sum: u32) -> u32 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

/// A checksum after what it is over has changed, by so much as `bpf_csum_diff` tells (RFC 1624, 3).
#[inline(always)]
pub const fn mended(check: u16, changed: u32) -> u16 {
    !(fold(!check as u32 + fold(fold(changed))) as u16)
}

/// How the sum over a segment changes where its last line end gives way to a block and a line end: `block_sum` is
/// that of the two, and the payload has so many bytes.
#[inline(always)]
pub const fn grown(block_sum: u32, len: u32) -> u32 {
    let line_end = u16::from_ne_bytes(*b"\r\n") as u32;
    let sum = fold(block_sum + (!line_end & 0xffff));
    // Words are counted from the segment's beginning.
    if len.is_multiple_of(2) { sum } else { (sum as u16).swap_bytes() as u32 }
}

/// What a window is to one who counts in other units: `from` and `to` are by how many bits either moves it.
#[inline(always)]
pub const fn window(window: u16, from: u16, to: u16) -> u16 {
    let bytes = (window as u32) << (from & 15);
    let told = bytes >> (to & 15);
    if told > 0xffff { 0xffff } else { told as u16 }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    #[test]
    fn a_hop_is_believed_for_a_while() {
        let seen = 5 * Hop::FRESH + 3;
        let hop = Hop { seen, ..Hop::default() };
        assert!(hop.is_fresh(seen) && hop.is_fresh(seen + Hop::FRESH - 1));
        assert!(hop.is_fresh(seen - 1), "told by a processor that is ahead");
        assert!(!hop.is_fresh(seen + Hop::FRESH) && !Hop::default().is_fresh(seen));
    }

    #[test]
    fn a_window_is_never_told_to_be_larger_than_it_is() {
        let rows = [
            (1000, 7, 7, 1000),
            (1000, 0, 7, 7),
            (100, 0, 7, 0),
            (1000, 7, 0, 65535),
            (500, 7, 0, 64000),
            (65535, 14, 14, 65535),
            (65535, 14, 0, 65535),
        ];
        for (told, from, to, expected) in rows {
            assert_eq!(window(told, from, to), expected, "{told} {from} {to}");
            assert!(u64::from(expected) << to <= u64::from(told) << from);
        }
    }

    #[test]
    fn the_sum_of_what_has_grown_is_that_of_all_of_it() {
        let block = b"X-A: 1\r\nX-Bc: 23\r\n";
        for block in [&block[..], &block[..8], &block[..17]] {
            let tail: Vec<u8> = [block, b"\r\n"].concat();
            for len in 2..9 {
                let head: Vec<u8> = (0..len - 2).map(|at| b'a' + at as u8).collect();
                let old = [&head[..], b"\r\n"].concat();
                let new = [&head[..], &tail].concat();
                let told = fold(sum(&old) + grown(sum(&tail), len));
                // Both zeros of this arithmetic are the same.
                assert_eq!(told % 0xffff, sum(&new) % 0xffff, "{len} {block:?}");
            }
        }
    }
}
