//! The map of pairs, as memory that kernel and userspace both have.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use gogeta_common::latency::Answered;
use gogeta_common::pair::{Pair, Word};
use gogeta_common::wire::clock::Clock;
use gogeta_common::wire::drive::Books;
use gogeta_common::wire::pair::{End, Hop, Tuple, sum};
use gogeta_common::wire::tunnel::Stream;
use gogeta_common::wire::{Carriage, Side};

use super::socket::Agreed;

/// All pairs. A field is written by one side at a time, as [`Pair`] says; the word by both, atomically.
#[derive(Debug)]
pub struct Pairs {
    first: NonNull<Pair>,
    count: u32,
    length: usize,
}

// SAFETY: it is memory shared with the kernel anyway; all access is volatile or atomic.
unsafe impl Send for Pairs {}
// SAFETY: as above.
unsafe impl Sync for Pairs {}

/// One field of a pair.
macro_rules! field {
    ($pairs:expr, $slot:expr, $field:ident $(. $inner:ident)?) => {{
        let pair = $pairs.at($slot);
        // SAFETY: `at` gives a pair within the mapping, which lives as long as `self`.
        unsafe { &raw mut (*pair).$field$(.$inner)? }
    }};
}

impl Pairs {
    /// Maps the map of that descriptor.
    pub(super) fn map(map: BorrowedFd<'_>, count: u32) -> io::Result<Self> {
        let length = size_of::<Pair>() * count as usize;
        // SAFETY: a new mapping; the kernel checks what it is asked for.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped to nowhere"))?;
        Ok(Self { first, count, length })
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    fn at(&self, slot: u32) -> *mut Pair {
        assert!(slot < self.count, "slot {slot} of {}", self.count);
        // SAFETY: it is within the mapping.
        unsafe { self.first.as_ptr().add(slot as usize) }
    }

    fn word(&self, slot: u32) -> &AtomicU64 {
        let word = field!(self, slot, word);
        // SAFETY: aligned, within the mapping, and used atomically by everyone.
        unsafe { AtomicU64::from_ptr(word) }
    }

    /// The pair's word.
    pub fn load(&self, slot: u32) -> Word {
        Word(self.word(slot).load(Ordering::Acquire))
    }

    /// Replaces the pair's word by another if it is still that one.
    pub fn swap(&self, slot: u32, old: Word, new: Word) -> bool {
        self.word(slot).compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Nobody's from now on. No socket may lead there any more.
    pub fn free(&self, slot: u32) {
        let word = self.load(slot).freed();
        self.word(slot).store(word.0, Ordering::Release);
    }

    /// Reads something of a pair.
    pub fn read(&self, slot: u32, number: Number) -> u64 {
        let field = match number {
            Number::Down => field!(self, slot, down),
            Number::Up => field!(self, slot, up),
            Number::Requests => field!(self, slot, requests),
            Number::Last => field!(self, slot, last),
            Number::Begun => field!(self, slot, carried.begun),
            Number::Sent => field!(self, slot, sent),
            Number::Again => field!(self, slot, again),
        };
        // SAFETY: within the mapping; it may change meanwhile, which volatile says.
        unsafe { field.read_volatile() }
    }

    /// What was answered of a pair.
    pub fn answered(&self, slot: u32) -> Answered {
        let field = field!(self, slot, answered);
        // SAFETY: within the mapping; it may change meanwhile, which volatile says.
        unsafe { field.read_volatile() }
    }

    /// Lets more bytes go to the client.
    pub fn raise(&self, slot: u32, limit: u64) {
        let field = field!(self, slot, limit);
        // SAFETY: within the mapping, and aligned: the kernel reads the old or the new one.
        unsafe { field.write_volatile(limit) };
    }

    /// Lets more bytes of a tunnel go to the upstream.
    pub fn raise_up(&self, slot: u32, limit: u64) {
        let field = field!(self, slot, limit_up);
        // SAFETY: as above.
        unsafe { field.write_volatile(limit) };
    }

    /// The head of the request on its way; to be read while the pair is userspace's.
    pub fn head(&self, slot: u32) -> Vec<u8> {
        let (length, head) = (field!(self, slot, carried.head_len), field!(self, slot, carried.head));
        // SAFETY: within the mapping.
        let (length, head) = unsafe { (length.read_volatile(), head.read_volatile()) };
        head[..(length as usize).min(head.len())].to_vec()
    }

    /// A slot's new owner; everything else begins at zero. No socket may lead there yet.
    pub fn seat(&self, slot: u32, client: u64) {
        let pair = self.at(slot);
        let word = self.load(slot).seated();
        // SAFETY: within the mapping; a pair is integers, for which zero is a value.
        unsafe { pair.write_bytes(0, 1) };
        // SAFETY: within the mapping.
        unsafe {
            (*pair).client = client;
            (*pair).carried.wake.client = client;
            (*pair).carried.wake.slot = slot;
            (*pair).carried.wake.kind = gogeta_common::pair::Carried::KIND;
        }
        self.word(slot).store(word.0, Ordering::Release);
    }

    /// What holds from the next arming on. The pair must be userspace's.
    pub fn set(&self, slot: u32, terms: &Armed<'_>) {
        let pair = self.at(slot);
        let count = terms.host.len().min(gogeta_common::guard::HOST_MAX);
        // SAFETY: within the mapping; the kernel reads these only when the pair is armed.
        unsafe {
            (*pair).upstream = terms.upstream;
            (*pair).limit = terms.limit;
            (*pair).limit_up = terms.limit_up;
            (*pair).allowance = terms.allowance;
            (*pair).last = terms.now;
            (*pair).margin = terms.margin;
            (*pair).host_len = u32::try_from(count).unwrap_or_default();
            (&mut (*pair).host)[..count].copy_from_slice(&terms.host[..count]);
        }
    }
}

/// What the wire engine has of each pair.
impl Pairs {
    /// A pair of two connections of which nothing was carried; its client's socket is so far behind already. No packet
    /// may lead there yet.
    pub fn lay(&self, slot: u32, [client, upstream]: &[Wired; 2], behind: Behind) {
        let pair = self.at(slot);
        let end = |wired: &Wired| {
            let (lookup, lookup_len) = wired.tuple.lookup();
            let scales = wired.agreed.scales.map(u16::from);
            let mss = wired.agreed.sizes[0];
            let (tuple, devices) = (wired.tuple, wired.devices);
            End { tuple, scales, mss, devices, lookup, lookup_len, ..End::default() }
        };
        let mut clocks = [client, upstream].map(|wired| Clock::new(wired.agreed.clock));
        clocks[0].shift = behind.shift;
        // SAFETY: within the mapping; nobody else reads it yet.
        unsafe {
            (*pair).wire.books = Books::new(Carriage::resting(behind.side));
            (*pair).wire.clocks = clocks;
            (*pair).wire.ends = [end(client), end(upstream)];
        }
    }

    /// What holds of the two connections from the next arming on: the block that is added to requests, and of each
    /// socket the bytes that it has received when all is read, and that it knows to have arrived when all has. The
    /// pair must be userspace's.
    pub fn wire(&self, slot: u32, block: &[u8], ends: [(u64, u64); 2]) {
        let pair = self.at(slot);
        let tail = [block, b"\r\n"].concat();
        let word = self.load(slot);
        // SAFETY: within the mapping; the kernel reads these only when the pair is armed.
        unsafe {
            (*pair).wire.books.clear_next(word);
            (*pair).wire.block_len = u32::try_from(block.len()).unwrap_or_default();
            (*pair).wire.block_sum = sum(&tail);
            (&mut (*pair).wire.block)[..tail.len()].copy_from_slice(&tail);
            for (end, (received, acked)) in (*pair).wire.ends.iter_mut().zip(ends) {
                (end.received, end.acked) = (received, acked);
            }
        }
    }

    /// The pair is carried by these numbers. It must be userspace's.
    pub fn carry(&self, slot: u32, carriage: Carriage) {
        let books = field!(self, slot, wire.books);
        // SAFETY: within the mapping; the kernel reads them only when the pair is armed.
        unsafe { books.write_volatile(Books::new(carriage)) };
    }

    /// Packets to the upstream leave by that. The pair must be one that has no sockets.
    pub fn lead_by(&self, slot: u32, hop: Hop) {
        let ends = field!(self, slot, wire.ends);
        // SAFETY: within the mapping; the kernel looks there only while it has a packet.
        unsafe { (&raw mut (*ends)[1].hop).write_volatile(hop) };
    }

    /// Whether packets of both connections were seen to come and to go.
    pub fn is_seen(&self, slot: u32) -> bool {
        let ends = field!(self, slot, wire.ends);
        // SAFETY: within the mapping.
        let ends = unsafe { ends.read_volatile() };
        ends.iter().all(|end| !end.devices.contains(&0))
    }

    /// How far the sockets of a pair are behind: the client's, and the upstream's. The pair must be userspace's.
    pub fn behind(&self, slot: u32) -> (Behind, Behind) {
        let word = self.load(slot);
        let (books, clocks) = (field!(self, slot, wire.books), field!(self, slot, wire.clocks));
        // SAFETY: within the mapping.
        let (books, clocks) = unsafe { (books.read_volatile(), clocks.read_volatile()) };
        let (client, upstream) = books.sides(word);
        let behind = |side: Side, clock: &Clock| Behind { side, shift: clock.shift };
        (behind(client, &clocks[0]), behind(upstream, &clocks[1]))
    }

    /// How far the directions of a tunnel are, up and down, as the word says that is there now.
    pub fn streams(&self, slot: u32) -> [Stream; 2] {
        let word = self.load(slot);
        let books = field!(self, slot, wire.books);
        // SAFETY: within the mapping; it may change meanwhile, which volatile says.
        *unsafe { books.read_volatile() }.streams(word)
    }

    /// The addresses of the client's connection, and of the upstream's.
    pub fn tuples(&self, slot: u32) -> [Tuple; 2] {
        let ends = field!(self, slot, wire.ends);
        // SAFETY: within the mapping.
        unsafe { ends.read_volatile() }.map(|end| end.tuple)
    }

    /// Goes on by gogeta's own clocks. The pair must be userspace's.
    pub fn end_clocks(&self, slot: u32, now: u32) {
        let clocks = field!(self, slot, wire.clocks);
        // SAFETY: within the mapping; the kernel writes them only while it has the pair, and when it gives it back.
        unsafe {
            let mut ended = clocks.read_volatile();
            ended.iter_mut().for_each(|clock| clock.end(now));
            clocks.write_volatile(ended);
        }
    }
}

/// One of the connections of a pair, to the wire engine.
#[derive(Debug, Clone, Copy)]
pub struct Wired {
    /// Its addresses.
    pub tuple: Tuple,
    /// What its ends have agreed upon.
    pub agreed: Agreed,
    /// Where its packets were seen to leave and to come.
    pub devices: [u32; 2],
}

/// How far a socket is behind its connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// In bytes.
    pub side: Side,
    /// By how much its clock was moved on.
    pub shift: u32,
}

/// What userspace says of a pair before it arms it.
#[derive(Debug)]
pub struct Armed<'a> {
    /// The upstream's cookie.
    pub upstream: u64,
    /// See [`Pair::limit`].
    pub limit: u64,
    /// See [`Pair::limit_up`].
    pub limit_up: u64,
    /// See [`Pair::last`], which begins here.
    pub now: u64,
    /// See [`Pair::allowance`].
    pub allowance: u64,
    /// See [`Pair::margin`].
    pub margin: u32,
    /// In lower case; at most [`HOST_MAX`](gogeta_common::guard::HOST_MAX) bytes.
    pub host: &'a [u8],
}

/// A number that the kernel keeps of a pair; see the fields of [`Pair`].
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// Bytes to the client.
    Down,
    /// Bytes to the upstream.
    Up,
    /// Requests carried.
    Requests,
    /// When something came last.
    Last,
    /// When the current request came.
    Begun,
    /// Data that went on.
    Sent,
    /// So much of it that had gone before.
    Again,
}

impl Drop for Pairs {
    fn drop(&mut self) {
        // SAFETY: our mapping, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.first.as_ptr().cast(), self.length) };
    }
}
