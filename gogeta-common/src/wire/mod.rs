//! The wire engine's rules: a pair of connections that is carried packet by packet.
//!
//! Between the client and gogeta's socket **C** there is one TCP connection, between gogeta's socket **U** and the
//! upstream another. While the pair is carried, packets of the one go on as packets of the other, with other numbers:
//!
//! ```text
//! client                             C   U                             upstream
//!    │  seq x ─────────────────────────▶ seq x + up + what was added ─────▶ │
//!    │ ◀───────────────────── seq y + down ◀───────────────────────── seq y │
//! ```
//!
//! C and U take no part in it and never learn of it. Where a pair goes back to them, nothing may be on its way: all that
//! was carried has been acknowledged by whom it was for. From then on they are as many bytes behind as were carried,
//! and their packets are moved by that ([`Side`]).
//!
//! A block of lines is added to each request, at the end of its head, by which all numbers behind it move on. A request
//! is one segment, and there is one at a time: so what a number means is told by the last request alone ([`Last`]).
//! This is the scheme of the kernel's `nf_conntrack_seqadj.c`, with a history of one.
//!
//! The rules here are pure: kernel programs and the tests' simulated endpoints run the same ones. A rule looks at a
//! segment and says what is to be done with it, and which [`Step`] the pair takes for it; whoever loses the race for
//! that step drops the segment, and TCP brings it again.

pub mod clock;
pub mod drive;
pub mod notice;
pub mod options;
pub mod pair;
pub mod segment;
pub mod tunnel;

use self::segment::{FIN, RST, SYN, Segment, after};
use crate::pair::{Phase, Step};

/// The names of the engine's programs in the eBPF object, for what comes by a device and what leaves by it; of devices
/// with an Ethernet header first.
pub const PROGRAMS: [&str; 4] = ["wire_in", "wire_out", "wire_in_bare", "wire_out_bare"];

/// Those for devices with an Ethernet header, in and out.
pub const ETHERNET: [&str; 2] = [PROGRAMS[0], PROGRAMS[1]];

/// Those for devices without.
pub const BARE: [&str; 2] = [PROGRAMS[2], PROGRAMS[3]];

/// The name of the map that tells whose packets those of a connection are.
pub const WAYS: &str = "WAYS";

/// A constant of the programs: what is written on a packet that one of them has seen to, not 0.
pub const DONE: &str = "DONE";

/// Longest block that is added to a request, with a line end, in bytes.
pub const BLOCK_MAX: usize = 512;

/// How far one of gogeta's sockets is behind its connection: what was carried past it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Side {
    /// Bytes from the other side that it has not got.
    pub received: u32,
    /// Bytes to the other side that it has not sent.
    pub sent: u32,
}

impl Side {
    /// The numbers of a segment to the socket.
    #[inline(always)]
    pub const fn inward(&self, seq: u32, ack: u32) -> Numbers {
        Numbers { seq: seq.wrapping_sub(self.received), ack: ack.wrapping_sub(self.sent) }
    }

    /// The numbers of a segment from the socket.
    #[inline(always)]
    pub const fn outward(&self, seq: u32, ack: u32) -> Numbers {
        Numbers { seq: seq.wrapping_add(self.sent), ack: ack.wrapping_add(self.received) }
    }
}

impl Side {
    /// The numbers that whoever is at the other end knows a socket's place by.
    #[inline(always)]
    const fn of(&self, place: Place) -> Numbers {
        self.outward(place.sent, place.received)
    }

    /// So many bytes more.
    #[inline(always)]
    const fn and(self, received: u32, sent: u32) -> Self {
        Self { received: self.received.wrapping_add(received), sent: self.sent.wrapping_add(sent) }
    }
}

/// Where one of gogeta's sockets is, in numbers of its own.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Place {
    /// The byte that it waits for.
    pub received: u32,
    /// The byte that it sends next.
    pub sent: u32,
}

/// A segment's new numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Of its first byte.
    pub seq: u32,
    /// Of the byte that its sender waits for.
    pub ack: u32,
}

/// The last request of a carriage, in one word, so that it is always seen whole.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Last(pub u64);

const LEN_BITS: u32 = 12;
const COUNT_BITS: u32 = 20;

/// Most requests of one carriage.
pub const REQUESTS_MAX: u64 = (1 << COUNT_BITS) - 1;

const _: () = assert!(crate::guard::HEAD_MAX < 1 << LEN_BITS);
const _: () = assert!(32 + LEN_BITS + COUNT_BITS == u64::BITS);

impl Last {
    /// The request of so many bytes that begins at that number of the client's, and is the so-manieth.
    #[inline(always)]
    pub const fn new(seq: u32, len: u32, count: u32) -> Self {
        Self(((seq as u64) << 32) | ((len as u64) << COUNT_BITS) | count as u64)
    }

    /// Its first byte, in the client's numbers.
    #[inline(always)]
    pub const fn seq(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Its length, as the client sent it.
    #[inline(always)]
    pub const fn bytes(self) -> u32 {
        (self.0 >> COUNT_BITS) as u32 & ((1 << LEN_BITS) - 1)
    }

    /// How many requests there were with it.
    #[inline(always)]
    pub const fn count(self) -> u32 {
        self.0 as u32 & ((1 << COUNT_BITS) - 1)
    }

    /// What the client sends next.
    #[inline(always)]
    pub const fn next(self) -> u32 {
        self.seq().wrapping_add(self.bytes())
    }
}

/// What a pair is carried by, from its first request to the next time that it goes back.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Carriage {
    /// The last request. As what follows of the request and its response, it is written behind the [`Step`], and
    /// before anything goes on: so where a pair goes back to gogeta's sockets, the numbers are those of what was
    /// carried.
    pub last: Last,
    /// What makes the upstream's numbers of the client's, before anything was added.
    pub up: u32,
    /// What makes the client's numbers of the upstream's.
    pub down: u32,
    /// Bytes that are added to each request.
    pub block: u32,
    /// Where the response to the last request begins, in the upstream's numbers.
    pub from: u32,
    /// Where it ends, once its head is known; before that, where it begins.
    pub till: u32,
    /// How far it was sent on.
    pub high: u32,
    /// Where C was when it began.
    pub client: Place,
    /// Where U was.
    pub upstream: Place,
}

/// How far ahead of what came here a client may be that has sent more, in bytes: a window without scale. Nothing that it
/// may send while it waits for an answer is longer.
const AHEAD: u32 = 0xffff;

/// What is to be done with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is for gogeta's own socket.
    Up,
    /// It goes on.
    On,
    /// It goes on without its [`FIN`], which will come again.
    Open,
    /// It is the last request once more, and gets its block once more; without its [`FIN`], as above.
    Again,
    /// It may be a request: whether it is, the guard says. If not, it is [`Act::Up`], by [`Step::Refuse`].
    Ask,
    /// It is the beginning of a response. If that is not simple, it is [`Act::Up`], by [`Step::Answer`].
    Answer,
    /// It is dropped.
    Drop,
}

/// What is to be done with a segment, behind a step that the pair has to take first.
pub type Move = (Act, Option<Step>);

impl Carriage {
    /// The carriage that begins where C and U are.
    #[inline(always)]
    pub const fn begin(client: (Place, Side), upstream: (Place, Side), block: u32) -> Self {
        let (c, u) = (client.1.of(client.0), upstream.1.of(upstream.0));
        let from = u.ack;
        Self {
            last: Last::new(c.ack, 0, 0),
            up: u.seq.wrapping_sub(c.ack),
            down: c.seq.wrapping_sub(from),
            block,
            from,
            till: from,
            high: from,
            client: client.0,
            upstream: upstream.0,
        }
    }

    /// A request of so many bytes has been let pass.
    #[inline(always)]
    pub const fn request(&mut self, len: u32) {
        self.last = Last::new(self.last.next(), len, self.last.count() + 1);
        self.from = self.till;
        self.high = self.till;
    }

    /// Where the last request begins and ends, in the upstream's numbers.
    #[inline(always)]
    const fn request_at_upstream(&self) -> (u32, u32) {
        let last = self.last;
        // Before the first request there is nothing that was added.
        let added = self.block.wrapping_mul(last.count().saturating_sub(1));
        let begin = last.seq().wrapping_add(self.up).wrapping_add(added);
        let block = if last.count() == 0 { 0 } else { self.block };
        (begin, begin.wrapping_add(last.bytes()).wrapping_add(block))
    }

    /// The numbers of a client's segment at the upstream.
    #[inline(always)]
    pub const fn to_upstream(&self, seq: u32, ack: u32) -> Numbers {
        let (begin, end) = self.request_at_upstream();
        let (first, next) = (self.last.seq(), self.last.next());
        // The block stands before the request's last two bytes.
        let seq = if !after(next, seq.wrapping_add(2)) {
            end.wrapping_add(seq.wrapping_sub(next))
        } else {
            begin.wrapping_add(seq.wrapping_sub(first))
        };
        Numbers { seq, ack: ack.wrapping_sub(self.down) }
    }

    /// The numbers of an upstream's segment at the client. Of a request that it has only a part of, it has nothing.
    #[inline(always)]
    pub const fn to_client(&self, seq: u32, ack: u32) -> Numbers {
        let (begin, end) = self.request_at_upstream();
        let (first, next) = (self.last.seq(), self.last.next());
        let ack = if !after(end, ack) {
            next.wrapping_add(ack.wrapping_sub(end))
        } else if after(ack, begin) {
            first
        } else {
            first.wrapping_add(ack.wrapping_sub(begin))
        };
        Numbers { seq: seq.wrapping_add(self.down), ack }
    }

    /// What is to be done with a segment of the client. In [`Phase::Body`], ask [`is_over`](Self::is_over) first.
    #[inline(always)]
    pub const fn of_client(&self, phase: Phase, segment: &Segment) -> Move {
        match phase {
            Phase::Armed if segment.has(FIN | RST | SYN) => (Act::Up, Some(Step::Refuse)),
            Phase::Armed if segment.len > 0 => (Act::Ask, None),
            Phase::Idle | Phase::Busy | Phase::Body if !self.may_be_clients(segment) => (Act::Drop, None),
            Phase::Idle => self.of_idle_client(segment),
            Phase::Busy | Phase::Body => self.of_busy_client(segment),
            // It has become a tunnel meanwhile.
            Phase::Ajar | Phase::Open | Phase::Over => (Act::Drop, None),
            _ => (Act::Up, None),
        }
    }

    #[inline(always)]
    const fn of_idle_client(&self, segment: &Segment) -> Move {
        let next = self.last.next();
        if segment.has(SYN) {
            return (Act::Up, Some(Step::Refuse));
        }
        if !segment.has(FIN | RST) && (segment.len == 0 || segment.is_probe(next)) {
            return self.pass(segment);
        }
        if segment.seq == next {
            if segment.has(FIN | RST) {
                return (Act::Up, Some(Step::Refuse));
            }
            return if self.has_all(segment.ack) { (Act::Ask, None) } else { (Act::Drop, None) };
        }
        if segment.has(RST) || !after(segment.seq, next) || !self.has_all(segment.ack) {
            // A retransmission of what is acknowledged, or from another time.
            return (Act::Drop, None);
        }
        // What is before it is lost or late. Of several segments it is one, and gogeta's own socket can keep it, and
        // say so; were it dropped, all would be sent again only when the client's patience is over.
        (Act::Up, Some(Step::Refuse))
    }

    /// Whether a segment acknowledges something that the client may have got. Who guesses is not heard: the ends would
    /// not be taken in, but clocks here would, and a pair must not end by it (RFC 5961).
    #[inline(always)]
    const fn may_be_clients(&self, segment: &Segment) -> bool {
        let first = self.from.wrapping_add(self.down);
        segment.has(SYN | RST) || segment.ack.wrapping_sub(first) <= self.till.wrapping_sub(self.from)
    }

    /// The same of the upstream's: it has the requests before the last one.
    #[inline(always)]
    const fn may_be_upstreams(&self, segment: &Segment) -> bool {
        let (begin, end) = self.request_at_upstream();
        segment.has(SYN | RST) || segment.ack.wrapping_sub(begin) <= end.wrapping_sub(begin)
    }

    /// What goes on without data of the client's: it may have sent more than has come here.
    #[inline(always)]
    const fn pass(&self, segment: &Segment) -> Move {
        let ahead = segment.seq.wrapping_sub(self.last.seq().wrapping_sub(1));
        (if ahead <= self.last.bytes() + AHEAD { Act::On } else { Act::Drop }, None)
    }

    #[inline(always)]
    const fn of_busy_client(&self, segment: &Segment) -> Move {
        let next = self.last.next();
        if segment.has(SYN) {
            return (Act::Drop, None);
        }
        if segment.has(RST) {
            return if segment.seq == next { (Act::Up, Some(Step::Break)) } else { (Act::Drop, None) };
        }
        if segment.seq == self.last.seq() && segment.len == self.last.bytes() {
            return (Act::Again, if segment.has(FIN) { Some(Step::Stop) } else { None });
        }
        if segment.has(FIN) {
            // Not before the response is over; and who guesses is not heard.
            let is_last = segment.end() == next || segment.seq == next;
            return (Act::Drop, if is_last { Some(Step::Stop) } else { None });
        }
        if segment.len == 0 || segment.is_probe(next) {
            return self.pass(segment);
        }
        // The next request before this one is answered is userspace's.
        let step = if segment.seq == next { Some(Step::Stop) } else { None };
        (Act::Drop, step)
    }

    /// Whether a client that acknowledges this has got the whole response.
    #[inline(always)]
    pub const fn has_all(&self, ack: u32) -> bool {
        ack == self.till.wrapping_add(self.down)
    }

    /// The same while one is on its way. For a moment it is, and its end is not told yet.
    #[inline(always)]
    pub const fn is_over(&self, ack: u32) -> bool {
        self.till != self.from && self.has_all(ack)
    }

    /// What is to be done with a segment of the upstream.
    #[inline(always)]
    pub const fn of_upstream(&self, phase: Phase, segment: &Segment) -> Move {
        match phase {
            Phase::Armed if segment.has(FIN | RST | SYN) || segment.len > 0 => (Act::Up, Some(Step::Refuse)),
            Phase::Idle | Phase::Busy | Phase::Body if !self.may_be_upstreams(segment) => (Act::Drop, None),
            Phase::Idle => self.of_idle_upstream(segment),
            Phase::Busy => self.of_busy_upstream(segment),
            Phase::Body => self.of_answering_upstream(segment),
            Phase::Ajar | Phase::Open | Phase::Over => (Act::Drop, None),
            _ => (Act::Up, None),
        }
    }

    #[inline(always)]
    const fn of_idle_upstream(&self, segment: &Segment) -> Move {
        if segment.has(SYN) {
            return (Act::Up, Some(Step::Refuse));
        }
        if segment.has(RST) {
            return if segment.seq == self.till { (Act::Up, Some(Step::Refuse)) } else { (Act::Drop, None) };
        }
        if segment.len == 0 && !segment.has(FIN) {
            return (Act::On, None);
        }
        if after(segment.end(), self.till) {
            // Nobody has asked for it. Behind a gap it is not judged: the gap comes first, sooner or later.
            let is_next = !after(segment.seq, self.till);
            return if is_next { (Act::Up, Some(Step::Refuse)) } else { (Act::Drop, None) };
        }
        if segment.has(FIN) {
            let is_next = segment.end() == self.till;
            return if is_next { (Act::Up, Some(Step::Refuse)) } else { (Act::Drop, None) };
        }
        (Act::On, None)
    }

    #[inline(always)]
    const fn of_busy_upstream(&self, segment: &Segment) -> Move {
        let is_next = segment.seq == self.from;
        if segment.has(SYN) {
            return (Act::Drop, None);
        }
        if segment.has(RST) {
            return if is_next { (Act::Up, Some(Step::Answer)) } else { (Act::Drop, None) };
        }
        if segment.len == 0 && !segment.has(FIN) {
            return (Act::On, None);
        }
        // Whoever answers has got the request; what it says of it without having it comes again.
        let (_, end) = self.request_at_upstream();
        let answers = !after(end, segment.ack);
        if is_next && answers {
            return if segment.has(FIN) { (Act::Up, Some(Step::Answer)) } else { (Act::Answer, None) };
        }
        if answers && after(segment.seq, self.from) {
            // The head is lost or late. gogeta's own socket can keep what is behind it, and say so; were it dropped, the
            // upstream would hear of no gap, and send it all again only when its patience is over.
            return (Act::Up, Some(Step::Answer));
        }
        // What the client has already, or somebody says without having the request.
        if segment.has(FIN) || after(segment.end(), self.from) { (Act::Drop, None) } else { (Act::On, None) }
    }

    #[inline(always)]
    const fn of_answering_upstream(&self, segment: &Segment) -> Move {
        let end = segment.end();
        if segment.has(SYN) {
            return (Act::Drop, None);
        }
        let is_within = !after(self.from, segment.seq) && !after(end, self.till);
        if segment.has(RST) && segment.seq == self.till && self.high == self.till {
            // It has sent all that it had to. Whether the client has got it, that will say.
            return (Act::Drop, Some(Step::Spoil));
        }
        if segment.has(RST) && segment.seq == self.high {
            return (Act::Up, Some(Step::Break));
        }
        if segment.has(RST) {
            // Whether it is so, the client asks whoever has sent it (RFC 5961, 3.2).
            return (if is_within { Act::On } else { Act::Drop }, None);
        }
        if segment.len == 0 && !segment.has(FIN) {
            return (Act::On, None);
        }
        if segment.len > 0 && segment.seq == self.till {
            // Nobody has asked for it, and what was asked for may still have to be sent again.
            return (Act::Drop, Some(Step::Spoil));
        }
        if after(end, self.till) || (segment.has(FIN) && end != self.till) {
            // More than its head promised, or less: where that begins, and not behind a gap.
            let is_next = !after(self.from, segment.seq) && !after(segment.seq, self.till);
            return (Act::Drop, if is_next { Some(Step::Break) } else { None });
        }
        if segment.has(FIN) {
            let act = if segment.len == 0 { Act::Drop } else { Act::Open };
            return (act, Some(Step::Spoil));
        }
        (Act::On, None)
    }

    /// A response begins, of so many bytes with its head.
    #[inline(always)]
    pub const fn answer(&mut self, bytes: u32) {
        self.till = self.from.wrapping_add(bytes);
    }

    /// The response was sent on as far as that number of the upstream's. Gives how many bytes of it are new, and
    /// whether that is all.
    #[inline(always)]
    pub const fn sent(&mut self, end: u32) -> (u32, bool) {
        if !after(end, self.high) {
            return (0, false);
        }
        let new = end.wrapping_sub(self.high);
        self.high = end;
        (new, end == self.till)
    }

    /// How far gogeta's sockets are behind where the pair is theirs: C, and U. Where a response was broken off, it
    /// counts as far as the client may have it.
    #[inline(always)]
    pub const fn sides(&self, is_broken: bool) -> (Side, Side) {
        // Of one or the other the compiler would read what is at a computed address: see `Headers` in `gogeta-ebpf`.
        let mask = 0_u32.wrapping_sub(is_broken as u32);
        let theirs = (self.high & mask) | (self.till & !mask);
        let (_, asked) = self.request_at_upstream();
        let client = Side {
            received: self.last.next().wrapping_sub(self.client.received),
            sent: theirs.wrapping_add(self.down).wrapping_sub(self.client.sent),
        };
        let upstream = Side {
            received: theirs.wrapping_sub(self.upstream.received),
            sent: asked.wrapping_sub(self.upstream.sent),
        };
        (client, upstream)
    }

    /// Nothing is carried: C is so far behind, U is new.
    pub const fn resting(client: Side) -> Self {
        let place =
            Place { received: 0_u32.wrapping_sub(client.received), sent: 0_u32.wrapping_sub(client.sent) };
        let none = Place { received: 0, sent: 0 };
        Self {
            last: Last(0),
            up: 0,
            down: 0,
            block: 0,
            from: 0,
            till: 0,
            high: 0,
            client: place,
            upstream: none,
        }
    }
}

#[cfg(test)]
mod links;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod simulated_tunnel;
#[cfg(test)]
mod tests;
