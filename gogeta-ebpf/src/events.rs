//! What userspace is told, and the pairs that both sides have.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::generated::bpf_ringbuf_output,
    macros::map,
    maps::{Array, RingBuf},
};
use gogeta_common::{
    guard::HEAD_MAX,
    pair::{Carried, Pair, Wake, Word},
};

/// The pairs, in memory that userspace has too. It sets how many before it loads this.
#[map]
pub(crate) static PAIRS: Array<Pair> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What userspace should know.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Requests that userspace was not told of, for there was no room.
#[map]
static LOST: Array<u64> = Array::with_max_entries(1, 0);

/// Whether userspace wants to know of each request.
#[unsafe(no_mangle)]
static LOGS: u32 = 0;

/// How messages call the pair.
#[inline(always)]
pub(crate) fn slot(pair: &Pair) -> u64 {
    pair.carried.wake.slot.into()
}

/// Tells userspace to look at the pair. Where there is no room, it looks by itself now and then.
#[inline(always)]
pub(crate) fn wake(pair: &Pair) {
    let mut event = Wake { client: pair.client, slot: pair.carried.wake.slot, kind: 0 };
    // SAFETY: so many bytes are there.
    unsafe { bpf_ringbuf_output(events(), (&raw mut event).cast(), size_of::<Wake>() as u64, 0) };
}

/// Counts the request whose response is at its end, and tells userspace of it, if it wants to know.
#[inline(always)]
pub(crate) fn carried(pair: &mut Pair) {
    pair.carried.took = pair.last - pair.carried.begun;
    pair.answered.add(pair.carried.status, pair.carried.took);
    // SAFETY: userspace sets it before the program is loaded; it must be read from the map, not taken for zero.
    if unsafe { core::ptr::read_volatile(&raw const LOGS) } != 0 {
        let size = offset_of!(Carried, head) as u64 + u64::from(pair.carried.head_len).min(HEAD_MAX as u64);
        // SAFETY: so many bytes are there.
        let is_told = unsafe { bpf_ringbuf_output(events(), (&raw mut pair.carried).cast(), size, 0) == 0 };
        if !is_told && let Some(lost) = LOST.get_ptr_mut(0) {
            add(lost, 1);
        }
    }
}

#[inline(always)]
fn events() -> *mut core::ffi::c_void {
    (&raw const EVENTS).cast_mut().cast()
}

#[inline(always)]
pub(crate) fn load(pair: &Pair) -> Word {
    // SAFETY: it is there; that it may change at any time is what volatile says.
    Word(unsafe { (&raw const pair.word).read_volatile() })
}

/// Replaces the pair's word by another if it is still that one.
#[inline(always)]
pub(crate) fn swap(pair: &mut Pair, old: Word, new: Word) -> bool {
    exchange(&raw mut pair.word, old.0, new.0)
}

/// Whether the claim to a pair is the caller's from now on.
#[inline(always)]
pub(crate) fn claim(pair: &mut Pair) -> bool {
    exchange(&raw mut pair.claim, 0, 1)
}

/// Gives it back.
#[inline(always)]
pub(crate) fn let_go(pair: &mut Pair) {
    exchange(&raw mut pair.claim, 1, 0);
}

/// Replaces a word of a pair's by another if it is still that one.
#[inline(always)]
fn exchange(word: *mut u64, old: u64, new: u64) -> bool {
    let mut found = old;
    // `core` has no such function for this target. SAFETY: the word is aligned and there; BPF_CMPXCHG compares with
    // R0 and leaves there what it found (`Documentation/bpf/standardization/instruction-set.rst`).
    unsafe {
        core::arch::asm!(
            "r0 = cmpxchg_64({word} + 0, r0, {new})",
            word = in(reg) word,
            new = in(reg) new,
            inout("r0") found,
        );
    }
    found == old
}

/// Adds a turn to the pair's word, and gives it. What was written before is there for whoever sees the turn
/// (`Documentation/bpf/linux-notes.rst`).
#[inline(always)]
pub(crate) fn pass(pair: &mut Pair) -> Word {
    let found = add(&raw mut pair.word, Word::PASSED);
    Word(found.wrapping_add(Word::PASSED))
}

/// Adds to a number, and gives what it was.
#[inline(always)]
fn add(to: *mut u64, more: u64) -> u64 {
    let mut found = more;
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            "{found} = atomic_fetch_add((u64 *)({to} + 0), {found})",
            to = in(reg) to,
            found = inout(reg) found,
        );
    }
    found
}
