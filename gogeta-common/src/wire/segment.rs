//! What the wire engine looks at in a TCP segment, and arithmetic on its numbers (RFC 9293, 3.1 and 3.4).

/// No more data comes.
pub const FIN: u8 = 0x01;
/// A connection begins.
pub const SYN: u8 = 0x02;
/// A connection is broken off.
pub const RST: u8 = 0x04;
/// The receiver should not wait for more.
pub const PSH: u8 = 0x08;
/// There is an acknowledgement.
pub const ACK: u8 = 0x10;
/// Some of the data is urgent.
pub const URG: u8 = 0x20;

/// A segment, without its payload and its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Number of its first byte.
    pub seq: u32,
    /// Number of the byte that its sender waits for.
    pub ack: u32,
    /// Bytes of payload.
    pub len: u32,
    /// [`FIN`] and the like.
    pub flags: u8,
}

impl Segment {
    /// The number behind its payload.
    #[inline(always)]
    pub const fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len)
    }

    /// Whether one of these flags is set.
    #[inline(always)]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Whether it is a byte that was acknowledged long ago, or none: what keeps a connection alive (RFC 9293, 3.8.4),
    /// or asks for the window.
    #[inline(always)]
    pub const fn is_probe(&self, next: u32) -> bool {
        self.len <= 1 && self.seq.wrapping_add(1) == next
    }
}

/// Whether `a` is behind `b` on the circle of numbers.
#[inline(always)]
pub const fn after(a: u32, b: u32) -> bool {
    b.wrapping_sub(a).cast_signed() < 0
}
