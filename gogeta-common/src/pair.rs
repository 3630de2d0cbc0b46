//! A pair: a client's socket and the upstream's that belongs to it alone, as kernel and userspace share it.
//!
//! A pair is in one phase at a time, and its phase says who may do what. Kernel programs and userspace move it by
//! compare-and-swap of one [`Word`], so each edge is taken by one of them only:
//!
//! ```text
//!              Arm                 Request                Head                 End
//!   Local ───────────▶ Idle ───────────────────▶ Busy ───────────▶ Body ───────────────▶ Idle, or Local if stopped
//!     ▲   Refuse, Take  │                         │                 │
//!     └─────────────────┴───────── Lose ──────────┤ Answer          │ Break
//!                                                 ▼                 ▼
//!                                              Pending           Broken
//! ```
//!
//! A response that ends in the packet in which it began takes `End` out of `Busy`. `Resume` leads userspace from
//! `Pending` and `Broken` to `Local`. What an upstream does behind its response, before the client has all of it,
//! stops the pair and tells userspace so (`Spoil`).
//!
//! A tunnel has no requests. `Open` leads it from `Local` to `Open`, `Refuse` and `Take` lead it back.
//!
//! The wire engine has more phases. In one the kernel takes over with the first request that comes: `Ready` leads
//! from `Local` to `Armed`, `Start` from there to `Busy`, `Refuse` and `Take` lead back. In another it takes over with
//! the first bytes of a tunnel: `Unlatch` leads from `Local` to `Ajar`, `Open` from there to `Open`, `Refuse` and `Take`
//! lead back. A tunnel's end leads from `Open` to `Over` (`Close`), and where it cannot come back, to `Broken` (`Break`).

use crate::guard::{HEAD_MAX, HOST_MAX, RequestScan, ResponseScan};
use crate::latency::Answered;
use crate::wire::pair::Wire;

/// Who has a pair, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Nobody: the slot is not in use.
    Free = 0,
    /// Userspace has both sockets; whatever comes is passed to it.
    Local = 1,
    /// The kernel has both; a request may come.
    Idle = 2,
    /// A request was forwarded; its response has not begun.
    Busy = 3,
    /// A part of the response's body is to come.
    Body = 4,
    /// Userspace has both, and the upstream's answer to a request that the kernel forwarded.
    Pending = 5,
    /// The upstream sent more than its response's head promised, or something else has broken off.
    Broken = 6,
    /// The kernel has both, and carries whatever comes.
    Open = 7,
    /// The kernel has both from the first request on; what else comes is for the sockets.
    Armed = 8,
    /// The kernel has both from the first bytes of a tunnel on, of either side.
    Ajar = 9,
    /// The tunnel has ended. What comes late is carried; what the sockets say is not.
    Over = 10,
}

impl Phase {
    /// Whether the kernel has the pair.
    #[inline(always)]
    pub const fn is_carried(self) -> bool {
        matches!(self, Self::Idle | Self::Busy | Self::Body | Self::Open | Self::Armed | Self::Ajar)
    }
}

/// What happens to a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Userspace has nothing left to do with it.
    Arm,
    /// The same, of a tunnel; or its first bytes came.
    Open,
    /// The same, and the kernel is to take over with the next request.
    Ready,
    /// The same of a tunnel, and the kernel is to take over with its next bytes.
    Unlatch,
    /// The tunnel's two sides have ended.
    Close,
    /// The first request since then passed the guard.
    Start,
    /// A request passed the guard.
    Request,
    /// Something else came: a request that does not pass, bytes of an upstream that nobody asked, or more than may
    /// be under way.
    Refuse,
    /// The request could not be forwarded: the upstream's socket is gone.
    Lose,
    /// A simple response began, and goes on.
    Head,
    /// The response came to its end.
    End,
    /// A response began that is not simple.
    Answer,
    /// More came than the response has; or a tunnel ends in the midst of something.
    Break,
    /// Userspace has done what was left to do for it.
    Resume,
    /// Userspace wants it back, now.
    Take,
    /// Userspace wants it back, at the end of the request at the latest.
    Stop,
    /// The upstream has done something behind its response. The pair goes back at the end of it, and its upstream is
    /// not fit for another request.
    Spoil,
    /// Bytes were passed to userspace.
    Pass,
}

/// A pair's phase; whether it is to stop; and how often something was passed to userspace, or the phase changed
/// hands. Whoever has seen a word, and swaps it for another, knows that nothing happened in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word(pub u64);

const STOP: u64 = 1 << 8;
/// Which of two books the pair's numbers are in; see [`crate::wire::drive::Books`].
const BOOK: u64 = 1 << 9;
/// Whether its upstream is of no more use; userspace has to see it when the pair is its own again.
const SPOILT: u64 = 1 << 10;
const TURN: u64 = 1 << 16;

impl Word {
    /// What is added to a word where something came of which only its turn tells. It does not go round: that would
    /// take years.
    pub const PASSED: u64 = TURN;

    /// Whose it is.
    #[inline(always)]
    pub const fn phase(self) -> Phase {
        match self.0 as u8 {
            1 => Phase::Local,
            2 => Phase::Idle,
            3 => Phase::Busy,
            4 => Phase::Body,
            5 => Phase::Pending,
            6 => Phase::Broken,
            7 => Phase::Open,
            8 => Phase::Armed,
            9 => Phase::Ajar,
            10 => Phase::Over,
            _ => Phase::Free,
        }
    }

    /// Which of two books the pair's numbers are in: 0 or 1.
    #[inline(always)]
    pub const fn book(self) -> usize {
        (self.0 & BOOK != 0) as usize
    }

    /// Whether userspace wants it back.
    #[inline(always)]
    pub const fn is_stopped(self) -> bool {
        self.0 & STOP != 0
    }

    /// Whether its upstream is not fit for another request.
    #[inline(always)]
    pub const fn is_spoilt(self) -> bool {
        self.0 & SPOILT != 0
    }

    /// What it is after that step; none where there is no such edge.
    #[inline(always)]
    pub const fn after(self, step: Step) -> Option<Self> {
        match (step, self.phase()) {
            (Step::Arm, Phase::Local) => Some(self.turn(Phase::Idle)),
            (Step::Request, Phase::Idle) if !self.is_stopped() => Some(self.turn(Phase::Busy)),
            (Step::Open, Phase::Local) => Some(self.turn(Phase::Open)),
            (Step::Ready, Phase::Local) => Some(self.turn(Phase::Armed)),
            (Step::Start, Phase::Armed) if !self.is_stopped() => Some(Self(self.turn(Phase::Busy).0 ^ BOOK)),
            (Step::Unlatch, Phase::Local) => Some(self.turn(Phase::Ajar)),
            (Step::Open, Phase::Ajar) if !self.is_stopped() => Some(Self(self.turn(Phase::Open).0 ^ BOOK)),
            (Step::Close, Phase::Open) => Some(self.turn(Phase::Over)),
            (Step::Refuse | Step::Take, Phase::Idle | Phase::Open | Phase::Armed | Phase::Ajar) => {
                Some(self.turn(Phase::Local))
            }
            (Step::Lose, Phase::Busy) => Some(self.turn(Phase::Local)),
            (Step::Head, Phase::Busy) => Some(self.turn(Phase::Body)),
            (Step::End, Phase::Busy | Phase::Body) if self.is_stopped() => Some(self.turn(Phase::Local)),
            (Step::End, Phase::Busy | Phase::Body) => Some(self.turn(Phase::Idle)),
            (Step::Answer, Phase::Busy) => Some(self.turn(Phase::Pending)),
            (Step::Break, Phase::Busy | Phase::Body | Phase::Open) => Some(self.turn(Phase::Broken)),
            (Step::Resume, Phase::Pending | Phase::Broken) => Some(self.turn(Phase::Local)),
            (Step::Stop, phase) if phase.is_carried() => Some(Self(self.0 | STOP)),
            (Step::Spoil, Phase::Body) => Some(Self(self.0 | STOP | SPOILT)),
            (Step::Pass, Phase::Local | Phase::Pending | Phase::Broken) => Some(self.turn(self.phase())),
            // Who sends on while it is to wait has to be looked at when the response is over.
            (Step::Pass, Phase::Busy | Phase::Body) => Some(Self((self.0 | STOP).wrapping_add(TURN))),
            _ => None,
        }
    }

    /// The word of the slot's next owner. Turns go on, so that nobody takes it for the word of one before.
    pub const fn seated(self) -> Self {
        Self(self.turn(Phase::Local).0 & !SPOILT)
    }

    /// The word of the slot without an owner.
    pub const fn freed(self) -> Self {
        self.turn(Phase::Free)
    }

    /// The phase, one turn on. In userspace's hands there is nothing left to stop.
    #[inline(always)]
    const fn turn(self, phase: Phase) -> Self {
        let turns = self.0.wrapping_add(TURN) & !(TURN - 1);
        let kept = match phase {
            Phase::Busy | Phase::Body => BOOK | STOP | SPOILT,
            Phase::Local => BOOK | SPOILT,
            _ => BOOK,
        };
        Self(turns | self.0 & kept | phase as u64)
    }
}

/// Bytes of a response in which its head has to end.
pub const ANSWER_MAX: usize = 1024;

/// One pair in the map that kernel and userspace share. Counters only grow; a field is written by one side only,
/// as noted. Times are nanoseconds of `CLOCK_MONOTONIC`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// The [`Word`]: both.
    pub word: u64,
    /// Cookie of the client's socket (`SO_COOKIE`): userspace, as all to the margin.
    pub client: u64,
    /// Cookie of the upstream's.
    pub upstream: u64,
    /// What `down` may come to: so that a client who does not read holds no more than the window. Userspace raises
    /// it, also while the pair is parked.
    pub limit: u64,
    /// What `up` may come to in a tunnel, likewise.
    pub limit_up: u64,
    /// The count of requests at which userspace wants to look at the pair.
    pub allowance: u64,
    /// Bytes of the host.
    pub host_len: u32,
    /// Bytes below the limit at which userspace is asked to raise it.
    pub margin: u32,
    /// Bytes sent to the client by the kernel: the kernel, as all that follow but the host.
    pub down: u64,
    /// Bytes sent to the upstream by the kernel.
    pub up: u64,
    /// What is to come of the body that is on its way.
    pub left: u64,
    /// Requests that were carried.
    pub requests: u64,
    /// When the last bytes came.
    pub last: u64,
    /// The limit that userspace was asked to raise.
    pub asked: u64,
    /// The same of the other one.
    pub asked_up: u64,
    /// Data that went on, in kilobytes begun of each packet; the wire engine counts it, as what follows.
    pub sent: u64,
    /// So much of it that went before, or that came late: what either connection has lost.
    pub again: u64,
    /// The request on its way. Its first field is userspace's.
    pub carried: Carried,
    /// The host that it was routed by, in lower case.
    pub host: [u8; HOST_MAX],
    /// The first bytes of the response on its way.
    pub answer: [u8; ANSWER_MAX],
    /// Its head as far as it was read. What a program's indices are made of is here and not on its stack: what the
    /// verifier knows of them it holds against whoever has no `CAP_PERFMON`.
    pub answering: ResponseScan,
    /// The same of the request's head.
    pub asking: RequestScan,
    /// Whether somebody judges what has come, of a pair that is carried packet by packet: 0 or 1.
    pub claim: u64,
    /// How many of the response's first bytes count.
    pub answer_len: u32,
    /// Bytes that the client's socket sent and that it did not know to have arrived when the last carriage began.
    pub behind: u32,
    /// What was answered.
    pub answered: Answered,
    /// What is the wire engine's.
    pub wire: Wire,
}

const _: () = assert!(
    size_of::<Pair>()
        == 17 * 8
            + size_of::<Carried>()
            + HOST_MAX
            + ANSWER_MAX
            + size_of::<ResponseScan>()
            + size_of::<RequestScan>()
            + 2 * 4
            + size_of::<Answered>()
            + size_of::<Wire>()
);

/// Which of its pair's sockets one is, and where the pair is: the value of the map of flows, by cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Flow(pub u32);

impl Flow {
    /// The client's socket of the pair in that slot.
    pub const fn client(slot: u32) -> Self {
        Self(slot << 1)
    }

    /// The upstream's.
    pub const fn upstream(slot: u32) -> Self {
        Self(slot << 1 | 1)
    }

    /// Where the pair is.
    #[inline(always)]
    pub const fn slot(self) -> u32 {
        self.0 >> 1
    }

    /// Whether it is the upstream's.
    #[inline(always)]
    pub const fn is_upstream(self) -> bool {
        self.0 & 1 != 0
    }
}

/// What the kernel tells of a pair by the ring buffer: that userspace should look at it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Wake {
    /// The client's cookie, for the slot may be another's by now.
    pub client: u64,
    /// Where the pair is.
    pub slot: u32,
    /// Zero; a [`Carried`] has something else here.
    pub kind: u32,
}

const _: () = assert!(size_of::<Wake>() == 16);

/// What the kernel tells of a request that it carried, where requests are logged. It begins as a [`Wake`], and ends
/// with the request's head.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// Whose it was; its `kind` is [`Carried::KIND`].
    pub wake: Wake,
    /// When it came.
    pub begun: u64,
    /// How long it took to the last byte of its response, in nanoseconds.
    pub took: u64,
    /// Bytes of its response's body.
    pub length: u64,
    /// The status of its response.
    pub status: u32,
    /// Its method, as a number ([`crate::guard::Method`]).
    pub method: u32,
    /// Bytes of its head that count.
    pub head_len: u32,
    /// Nothing.
    pub unused: u32,
    /// Its head.
    pub head: [u8; HEAD_MAX],
}

impl Carried {
    /// What tells it from a [`Wake`].
    pub const KIND: u32 = 1;
}

const _: () = assert!(size_of::<Carried>() == 16 + 3 * 8 + 4 * 4 + HEAD_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 11] = [
        Phase::Free,
        Phase::Local,
        Phase::Idle,
        Phase::Busy,
        Phase::Body,
        Phase::Pending,
        Phase::Broken,
        Phase::Open,
        Phase::Armed,
        Phase::Ajar,
        Phase::Over,
    ];
    const STEPS: [Step; 18] = [
        Step::Unlatch,
        Step::Close,
        Step::Ready,
        Step::Start,
        Step::Resume,
        Step::Open,
        Step::Arm,
        Step::Request,
        Step::Refuse,
        Step::Lose,
        Step::Head,
        Step::End,
        Step::Answer,
        Step::Break,
        Step::Take,
        Step::Stop,
        Step::Spoil,
        Step::Pass,
    ];

    fn word(phase: Phase) -> Word {
        Word((7 * TURN) | phase as u64)
    }

    fn after(phase: Phase, step: Step) -> Option<Phase> {
        word(phase).after(step).map(Word::phase)
    }

    #[test]
    fn each_edge_leads_where_the_figure_says_and_there_is_no_other() {
        let edges = [
            (Phase::Local, Step::Arm, Phase::Idle),
            (Phase::Local, Step::Open, Phase::Open),
            (Phase::Local, Step::Ready, Phase::Armed),
            (Phase::Armed, Step::Start, Phase::Busy),
            (Phase::Local, Step::Unlatch, Phase::Ajar),
            (Phase::Ajar, Step::Open, Phase::Open),
            (Phase::Ajar, Step::Refuse, Phase::Local),
            (Phase::Ajar, Step::Take, Phase::Local),
            (Phase::Ajar, Step::Stop, Phase::Ajar),
            (Phase::Open, Step::Close, Phase::Over),
            (Phase::Open, Step::Break, Phase::Broken),
            (Phase::Armed, Step::Refuse, Phase::Local),
            (Phase::Armed, Step::Take, Phase::Local),
            (Phase::Armed, Step::Stop, Phase::Armed),
            (Phase::Busy, Step::Break, Phase::Broken),
            (Phase::Open, Step::Refuse, Phase::Local),
            (Phase::Open, Step::Take, Phase::Local),
            (Phase::Open, Step::Stop, Phase::Open),
            (Phase::Idle, Step::Request, Phase::Busy),
            (Phase::Idle, Step::Refuse, Phase::Local),
            (Phase::Idle, Step::Take, Phase::Local),
            (Phase::Busy, Step::Head, Phase::Body),
            (Phase::Busy, Step::Lose, Phase::Local),
            (Phase::Busy, Step::End, Phase::Idle),
            (Phase::Busy, Step::Answer, Phase::Pending),
            (Phase::Body, Step::End, Phase::Idle),
            (Phase::Body, Step::Break, Phase::Broken),
            (Phase::Pending, Step::Resume, Phase::Local),
            (Phase::Broken, Step::Resume, Phase::Local),
            (Phase::Idle, Step::Stop, Phase::Idle),
            (Phase::Busy, Step::Stop, Phase::Busy),
            (Phase::Body, Step::Stop, Phase::Body),
            (Phase::Body, Step::Spoil, Phase::Body),
            (Phase::Local, Step::Pass, Phase::Local),
            (Phase::Busy, Step::Pass, Phase::Busy),
            (Phase::Body, Step::Pass, Phase::Body),
            (Phase::Pending, Step::Pass, Phase::Pending),
            (Phase::Broken, Step::Pass, Phase::Broken),
        ];
        for phase in PHASES {
            for step in STEPS {
                let edge = edges.iter().find(|(from, by, _)| (*from, *by) == (phase, step));
                assert_eq!(after(phase, step), edge.map(|(_, _, to)| *to), "{phase:?} {step:?}");
            }
        }
    }

    #[test]
    fn a_pair_that_is_to_stop_takes_no_request_and_is_userspaces_when_its_response_ends() {
        for step in [Step::Stop, Step::Pass] {
            let stopped = word(Phase::Busy).after(step).unwrap();
            assert!(stopped.is_stopped());
            let body = stopped.after(Step::Head).unwrap();
            assert!(body.is_stopped());
            for last in [stopped, body] {
                let local = last.after(Step::End).unwrap();
                assert_eq!((local.phase(), local.is_stopped()), (Phase::Local, false));
            }
        }
        let idle = word(Phase::Idle).after(Step::Stop).unwrap();
        assert_eq!(idle.after(Step::Request), None);
        assert_eq!(idle.after(Step::Take).unwrap().phase(), Phase::Local);
    }

    #[test]
    fn a_pair_whose_upstream_is_spoilt_goes_back_and_tells_so_until_it_has_another() {
        let body = word(Phase::Body).after(Step::Spoil).unwrap();
        assert!(body.is_stopped() && body.is_spoilt());
        let local = body.after(Step::End).unwrap();
        assert_eq!((local.phase(), local.is_spoilt()), (Phase::Local, true));
        assert!(local.after(Step::Pass).unwrap().is_spoilt(), "something came meanwhile");
        assert!(!local.after(Step::Ready).unwrap().is_spoilt());
        assert!(!local.seated().is_spoilt() && !local.freed().is_spoilt());
    }

    #[test]
    fn a_word_that_was_seen_before_something_came_is_not_the_word_behind_it() {
        let seen = word(Phase::Local);
        let passed = seen.after(Step::Pass).unwrap();
        assert_ne!(seen, passed);
        assert_eq!(passed.phase(), Phase::Local);
        // Nor is one that went all the way round.
        let round = seen.after(Step::Arm).unwrap().after(Step::Request).unwrap().after(Step::End).unwrap();
        assert_ne!(seen.after(Step::Arm).unwrap(), round);
    }

    #[test]
    fn each_start_turns_to_the_other_book_and_nothing_else_does() {
        let armed = word(Phase::Local).after(Step::Ready).unwrap();
        let busy = armed.after(Step::Start).unwrap();
        assert_eq!((armed.book(), busy.book()), (0, 1));
        let local = busy.after(Step::Stop).unwrap().after(Step::End).unwrap();
        assert_eq!((local.phase(), local.book()), (Phase::Local, 1));
        assert_eq!(local.after(Step::Ready).unwrap().after(Step::Start).unwrap().book(), 0);
        assert_eq!(armed.after(Step::Stop).unwrap().after(Step::Start), None);
    }

    #[test]
    fn a_flow_is_a_slot_and_a_side() {
        let (client, upstream) = (Flow::client(70_000), Flow::upstream(70_000));
        assert_eq!((client.slot(), client.is_upstream()), (70_000, false));
        assert_eq!((upstream.slot(), upstream.is_upstream()), (70_000, true));
    }
}
