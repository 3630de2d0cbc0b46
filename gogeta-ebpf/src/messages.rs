//! What the program says of what it did not expect, and of what it leaves to userspace.
//!
//! Nothing, unless userspace has set `AYA_LOG_LEVEL` before it loads the program: the verifier removes what the level
//! never lets happen. So each message is a function that is not inlined, behind a look at the level that is.

use aya_log_ebpf::macro_support::{Level, level_enabled};

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident($($number:ident),*) $level:ident $macro:ident $text:literal)*) => {
        $($(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name($($number: u64),*) {
            #[inline(never)]
            fn say($($number: u64),*) {
                aya_log_ebpf::$macro!((), target: "", $text, $($number),*);
            }
            if level_enabled(Level::$level) {
                say($($number),*);
            }
        })*
    };
}

messages! {
    /// The socket that should send has gone.
    no_target(cookie) Warn warn "there is no socket {} any more to send by"
    /// More came than the response has, or it cannot go on.
    broken(slot, length, left) Warn warn "pair {}: broken by {} bytes of a response where {} are left"
    /// Others were faster each time.
    not_swapped(slot, word) Warn warn "pair {}: its word changed each time that it was to be swapped, to {} at last"
    /// Userspace, or the other socket's bytes, came in between.
    overtaken(slot, word) Debug debug "pair {}: its word is not {} any more, and a request stays with userspace"
    /// Nothing was asked of the upstream.
    unasked(slot, length) Warn warn "pair {}: {} bytes of its upstream that nobody asked for"
    /// The kernel does not show what came.
    unread(slot, length) Warn warn "pair {}: {} bytes cannot be read"
    /// Userspace wants to look at the pair.
    due(slot, requests) Debug debug "pair {}: userspace wants it back, after {} requests"
    /// What came is longer than the guard reads.
    too_long(slot, length) Debug debug "pair {}: the guard refuses a request of {} bytes, which is too long for it"
    /// What came is no head that may pass.
    refused(slot, length, at) Debug debug "pair {}: the guard refuses a request of {} bytes, at byte {}"
    /// The response's head is not a simple one.
    not_simple(slot, length) Debug debug "pair {}: a response that begins with {} bytes is not a simple one"
    /// The response is simple, but there is no room for it.
    too_much(slot, length, room) Debug debug "pair {}: a response of {} bytes, where there is room for {}"
    /// TCP brings it again, where it matters.
    dropped(slot, phase, side, length) Debug debug "pair {}: in phase {} a segment of side {} is dropped, of {} bytes"
    /// One of gogeta's own sockets says something while others talk.
    silenced(slot, side, length) Debug debug "pair {}: a segment of gogeta's own on side {} is dropped, of {} bytes"
    /// The sockets are not where they should be.
    not_begun(slot, which, behind) Debug debug "pair {}: a carriage does not begin, for socket {} is not at rest, {} behind"
    /// The other side of a tunnel does not read fast enough.
    no_room(slot, length, room) Debug debug "pair {}: {} bytes of a tunnel, where there is room for {}"
}
