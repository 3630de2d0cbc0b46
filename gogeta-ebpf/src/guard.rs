//! The guard, over the bytes of a packet.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_loop, bpf_skb_load_bytes, bpf_skb_store_bytes},
};
use gogeta_common::{
    guard::{Framing, HEAD_MAX, Method, Reader, RequestScan, ResponseScan},
    pair::{ANSWER_MAX, Carried, Pair},
};

use crate::{events::slot, messages};

/// Before the first byte of a request.
static UNASKED: RequestScan = RequestScan::new();

/// The method, if the `len` bytes at `at` are a head that may pass. It is kept: an answer that userspace has to give
/// needs it.
#[inline(always)]
pub(crate) fn judge(skb: *mut __sk_buff, at: u32, pair: &mut Pair, len: u32) -> Option<Method> {
    if len > HEAD_MAX as u32 {
        messages::too_long(slot(pair), len.into());
        return None;
    }
    // What is at least 1 the verifier believes only when it sees it so.
    let count = (len.wrapping_sub(1) & (HEAD_MAX as u32 - 1)) + 1;
    // SAFETY: so many bytes fit there.
    if unsafe { bpf_skb_load_bytes(skb.cast(), at, (&raw mut pair.carried.head).cast(), count) } != 0 {
        messages::unread(slot(pair), len.into());
        return None;
    }
    pair.carried.head_len = count;
    // SAFETY: both are there. Written field by field it would be a call of `memset`, whose steps through memory the
    // verifier lets only `CAP_PERFMON` do.
    unsafe { (&raw mut pair.asking).copy_from_nonoverlapping(&raw const UNASKED, 1) };
    let mut reading: *mut Pair = pair;
    // SAFETY: the callback takes what it is given here.
    unsafe { bpf_loop(HEAD_MAX as u32, ask as *mut _, (&raw mut reading).cast(), 0) };
    let method = pair.asking.accepted();
    if method.is_none() {
        messages::refused(slot(pair), count.into(), pair.asking.taken().into());
    }
    method
}

/// Puts the head that was judged last where it was: its sender may have the pages that the packet is made of, and have
/// written to them since (`sendfile(2)`).
#[inline(always)]
pub(crate) fn keep(skb: *mut __sk_buff, at: u32, carried: &Carried) -> bool {
    let count = (carried.head_len.wrapping_sub(1) & (HEAD_MAX as u32 - 1)) + 1;
    // SAFETY: so many bytes are there.
    unsafe { bpf_skb_store_bytes(skb, at, (&raw const carried.head).cast(), count, 0) == 0 }
}

/// The same of what was read of a response.
#[inline(always)]
pub(crate) fn keep_answer(skb: *mut __sk_buff, at: u32, pair: &Pair) -> bool {
    let count = (pair.answer_len.wrapping_sub(1) & (ANSWER_MAX as u32 - 1)) + 1;
    // SAFETY: as above.
    unsafe { bpf_skb_store_bytes(skb, at, (&raw const pair.answer).cast(), count, 0) == 0 }
}

unsafe extern "C" fn ask(_: u32, pair: *const *mut Pair) -> i64 {
    // SAFETY: `judge` passes it, and it outlives the loop.
    let pair = unsafe { &mut **pair };
    i64::from(!pair.asking.run::<Eyes, _>(
        &pair.carried.head,
        &pair.carried.head_len,
        &pair.host,
        pair.host_len,
    ))
}

/// Before the first byte of a response.
static UNREAD: ResponseScan = ResponseScan::new();

/// The framing of the response that begins with the `len` bytes at `at`, if it is a simple one.
#[inline(always)]
pub(crate) fn frame(skb: *mut __sk_buff, at: u32, pair: &mut Pair, len: u32) -> Option<Framing> {
    let method = if pair.carried.method == Method::Head as u32 { Method::Head } else { Method::Get };
    let count = if len > ANSWER_MAX as u32 { ANSWER_MAX as u32 } else { len };
    let count = (count.wrapping_sub(1) & (ANSWER_MAX as u32 - 1)) + 1;
    // SAFETY: so many bytes fit there.
    if unsafe { bpf_skb_load_bytes(skb.cast(), at, (&raw mut pair.answer).cast(), count) } != 0 {
        messages::unread(slot(pair), count.into());
        return None;
    }
    // SAFETY: both are there. As above.
    unsafe { (&raw mut pair.answering).copy_from_nonoverlapping(&raw const UNREAD, 1) };
    pair.answer_len = count;
    let mut reading: *mut Pair = pair;
    // SAFETY: the callback takes what it is given here.
    unsafe { bpf_loop(ANSWER_MAX as u32, read as *mut _, (&raw mut reading).cast(), 0) };
    let framing = pair.answering.framing(method);
    match framing {
        Some(framing) => {
            pair.carried.length = framing.body;
            pair.carried.status = u32::from(framing.status);
        }
        None => messages::not_simple(slot(pair), len.into()),
    }
    framing
}

unsafe extern "C" fn read(_: u32, pair: *const *mut Pair) -> i64 {
    // SAFETY: `frame` passes it, and it outlives the loop.
    let pair = unsafe { &mut **pair };
    i64::from(!pair.answering.run::<Eyes, _>(&pair.answer, &pair.answer_len))
}

/// How the program reads memory.
struct Eyes;

impl Reader for Eyes {
    #[inline(always)]
    fn unknown<T: Copy>(of: &T) -> T {
        // SAFETY: it is there.
        unsafe { (&raw const *of).read_volatile() }
    }

    /// Where the place is no multiple of eight the compiler would read byte by byte.
    #[inline(always)]
    fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
        let word: u64;
        // SAFETY: the caller has seen that they are there. The verifier knows only that the place is below N, and lets it
        // be where sixteen bytes more follow in the same structure.
        unsafe {
            let place = (&raw const *bytes).cast::<u8>().add(at);
            core::arch::asm!("{word} = *(u64 *)({place} + 0)", word = out(reg) word, place = in(reg) place);
        }
        word
    }
}
