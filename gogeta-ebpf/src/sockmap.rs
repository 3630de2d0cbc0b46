//! The sockmap engine: a verdict on what comes on the two sockets of a parked pair.
//!
//! A stream verdict runs on each piece of received bytes before its socket has them. `SK_PASS` gives it to the socket,
//! unless a redirect helper has named another one, which then sends it. The rules that this program keeps are in
//! ARCHITECTURE.md ("The sockmap engine"); the kernel's side of them is in `net/core/skmsg.c`.

use aya_ebpf::{
    bindings::{
        BPF_F_NO_PREALLOC,
        sk_action::{SK_DROP, SK_PASS},
    },
    helpers::{bpf_get_socket_cookie, bpf_ktime_get_ns, generated::bpf_sk_redirect_hash},
    macros::{map, stream_verdict},
    maps::{HashMap, SockHash},
    programs::SkBuffContext,
};
use gogeta_common::pair::{ANSWER_MAX, Flow, Pair, Phase, Step, Word};

use crate::{
    events::{PAIRS, carried, load, slot, swap, wake},
    guard, messages,
};

/// The sockets of all pairs, by cookie. Userspace sets how many there may be before it loads this, here and below.
#[map]
static SOCKETS: SockHash<u64> = SockHash::with_max_entries(2, 0);

/// Which pair a socket is of, by cookie.
#[map]
static FLOWS: HashMap<u64, u32> = HashMap::with_max_entries(2, BPF_F_NO_PREALLOC);

/// What is done with the bytes.
type Verdict = u32;

#[stream_verdict]
fn sockmap_verdict(ctx: SkBuffContext) -> Verdict {
    let len = ctx.len();
    if len == 0 {
        // A FIN without data. Redirected, it would break the other socket.
        return SK_DROP;
    }
    // SAFETY: the context is the kernel's own.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) };
    // SAFETY: userspace writes an entry once, before its socket gets here.
    let Some(flow) = (unsafe { FLOWS.get(cookie) }).map(|flow| Flow(*flow)) else {
        return SK_PASS;
    };
    let Some(pair) = PAIRS.get_ptr_mut(flow.slot()) else {
        return SK_PASS;
    };
    // SAFETY: the map's values live as long as the map, and each field has one writer at a time (see `Pair`).
    let pair = unsafe { &mut *pair };
    let [client, upstream] = [look(&pair.client), look(&pair.upstream)];
    let expected = if flow.is_upstream() { upstream } else { client };
    if cookie != expected {
        return SK_PASS;
    }
    // SAFETY: a helper without arguments.
    pair.last = unsafe { bpf_ktime_get_ns() };
    let word = load(pair);
    match (word.phase(), flow.is_upstream()) {
        (Phase::Idle, false) => request(&ctx, pair, word, len),
        (Phase::Busy, true) => answer(&ctx, pair, len),
        (Phase::Body, true) => body(&ctx, pair, len),
        (Phase::Open, is_down) => carry(&ctx, pair, is_down, len),
        (Phase::Idle, true) => {
            messages::unasked(slot(pair), len.into());
            hand_over(pair, Step::Refuse)
        }
        _ => {
            // Where userspace has armed the pair since its word was read, it does not know of these bytes.
            if advance(pair, Step::Pass).is_none() && advance(pair, Step::Refuse).is_some() {
                wake(pair);
            }
            SK_PASS
        }
    }
}

/// Bytes of a client who may ask: a request, if all of them are one that may pass.
#[inline(always)]
fn request(ctx: &SkBuffContext, pair: &mut Pair, word: Word, len: u32) -> Verdict {
    let next = word.after(Step::Request).filter(|_| pair.requests < pair.allowance);
    let Some(next) = next else {
        messages::due(slot(pair), pair.requests);
        return hand_over(pair, Step::Refuse);
    };
    let Some(method) = guard::judge(ctx.skb.skb, 0, pair, len) else {
        return hand_over(pair, Step::Refuse);
    };
    pair.carried.begun = pair.last;
    pair.carried.method = method as u32;
    if !swap(pair, word, next) {
        messages::overtaken(slot(pair), word.0);
        return hand_over(pair, Step::Refuse);
    }
    let upstream = pair.upstream;
    if guard::keep(ctx.skb.skb, 0, &pair.carried) && redirect(ctx, upstream) {
        pair.up += u64::from(len);
        pair.requests += 1;
        make_room(pair);
        return SK_PASS;
    }
    hand_over(pair, Step::Lose)
}

/// The first bytes of a response.
#[inline(always)]
fn answer(ctx: &SkBuffContext, pair: &mut Pair, len: u32) -> Verdict {
    let Some(framing) = guard::frame(ctx.skb.skb, 0, pair, len) else {
        return hand_over(pair, Step::Answer);
    };
    let total = u64::from(framing.head) + framing.body;
    // All of it has to fit, so that nothing but its own length decides in its midst.
    if u64::from(len) > total || pair.down + total > pair.limit {
        messages::too_much(slot(pair), total, pair.limit - pair.down);
        return hand_over(pair, Step::Answer);
    }
    let client = pair.client;
    if !guard::keep_answer(ctx.skb.skb, 0, pair) || !redirect(ctx, client) {
        return hand_over(pair, Step::Answer);
    }
    count_down(pair, len);
    pair.left = total - u64::from(len);
    if pair.left == 0 {
        finish(pair);
    } else {
        advance(pair, Step::Head);
    }
    SK_PASS
}

/// More of a response.
#[inline(always)]
fn body(ctx: &SkBuffContext, pair: &mut Pair, len: u32) -> Verdict {
    let client = pair.client;
    if u64::from(len) > pair.left || !redirect(ctx, client) {
        messages::broken(slot(pair), len.into(), pair.left);
        return hand_over(pair, Step::Break);
    }
    count_down(pair, len);
    pair.left -= u64::from(len);
    if pair.left == 0 {
        finish(pair);
    }
    SK_PASS
}

/// Bytes of a tunnel: they go on as far as there is room for them at the other end.
#[inline(always)]
fn carry(ctx: &SkBuffContext, pair: &mut Pair, is_down: bool, len: u32) -> Verdict {
    let down = [look(&pair.down), look(&pair.limit), look(&pair.client)];
    let up = [look(&pair.up), look(&pair.limit_up), look(&pair.upstream)];
    let [count, limit, target] = if is_down { down } else { up };
    if count + u64::from(len) > limit {
        messages::no_room(slot(pair), len.into(), limit - count);
        return hand_over(pair, Step::Refuse);
    }
    if !redirect(ctx, target) {
        return hand_over(pair, Step::Refuse);
    }
    if is_down {
        count_down(pair, len);
        return SK_PASS;
    }
    pair.up += u64::from(len);
    if pair.up + u64::from(pair.margin) > pair.limit_up && pair.asked_up != pair.limit_up {
        pair.asked_up = pair.limit_up;
        wake(pair);
    }
    SK_PASS
}

/// Asks userspace for room, while the upstream thinks about it, where an answer as long as the last one would not fit:
/// what the client had not acknowledged then, it has by now.
#[inline(always)]
fn make_room(pair: &mut Pair) {
    let last = pair.carried.length.saturating_add(ANSWER_MAX as u64);
    let margin = u64::from(pair.margin);
    if pair.down + if last > margin { last } else { margin } > pair.limit {
        pair.asked = pair.limit;
        wake(pair);
    }
}

/// Counts bytes to the client, and asks userspace for room in time.
#[inline(always)]
fn count_down(pair: &mut Pair, len: u32) {
    pair.down += u64::from(len);
    if pair.down + u64::from(pair.margin) > pair.limit && pair.asked != pair.limit {
        pair.asked = pair.limit;
        wake(pair);
    }
}

/// The last byte of a response is on its way.
#[inline(always)]
fn finish(pair: &mut Pair) {
    carried(pair);
    if advance(pair, Step::End) == Some(Phase::Local) {
        wake(pair);
    }
}

/// Gives the pair, and the bytes at hand, to userspace.
#[inline(always)]
fn hand_over(pair: &mut Pair, step: Step) -> Verdict {
    if advance(pair, step).is_none() {
        // It was there already.
        advance(pair, Step::Pass);
    }
    wake(pair);
    SK_PASS
}

/// Takes that step from where the pair is now.
#[inline(always)]
fn advance(pair: &mut Pair, step: Step) -> Option<Phase> {
    // Others can be in between once or twice: userspace that stops the pair, the other socket's bytes.
    for _ in 0..4 {
        let old = load(pair);
        let new = old.after(step)?;
        if swap(pair, old, new) {
            return Some(new.phase());
        }
    }
    messages::not_swapped(slot(pair), load(pair).0);
    None
}

/// Reads a field that may not be wanted. Else the compiler reads one of two by an address that it computes, and that the
/// verifier lets only `CAP_PERFMON` do.
#[inline(always)]
fn look(field: &u64) -> u64 {
    // SAFETY: it is there.
    unsafe { (&raw const *field).read_volatile() }
}

/// Names the socket that is to send the bytes at hand; `SK_PASS` means that from then on.
#[inline(always)]
fn redirect(ctx: &SkBuffContext, mut cookie: u64) -> bool {
    // SAFETY: the context is the kernel's own, the map is there.
    let verdict = unsafe {
        bpf_sk_redirect_hash(ctx.skb.skb, (&raw const SOCKETS).cast_mut().cast(), (&raw mut cookie).cast(), 0)
    };
    // A missing socket gives SK_DROP, which would lose bytes that are acknowledged already.
    let is_there = verdict == i64::from(SK_PASS);
    if !is_there {
        messages::no_target(cookie);
    }
    is_there
}
