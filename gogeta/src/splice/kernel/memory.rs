//! The map of pairs, as memory that kernel and userspace both have.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use gogeta_common::pair::{Pair, Word};

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
        };
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
}

impl Drop for Pairs {
    fn drop(&mut self) {
        // SAFETY: our mapping, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.first.as_ptr().cast(), self.length) };
    }
}
