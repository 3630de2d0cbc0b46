//! A seat of the wire engine.
//!
//! A pair has a slot of its own for each upstream that its client comes to: the client's packets belong to one slot
//! after the other. The two sockets take no part in what is carried: they are watched for whatever comes to them, for
//! that is userspace's.
//!
//! A tunnel is carried to its end. Its sockets never hear of it, and are closed without anybody else hearing of that. What
//! comes late is still carried.
//!
//! Where a pair ends, its sockets are as many bytes behind as were carried past them: their [ways](super::super::ways)
//! say so.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use gogeta_common::guard::HOST_MAX;
use gogeta_common::pair::{Flow, Phase, Step, Word};
use gogeta_common::wire::BLOCK_MAX;
use gogeta_common::wire::pair::{Tuple, Way};
use gogeta_common::wire::tunnel::{is_broken, is_over, is_quiet};
use rustix::event::PollFlags;

use super::{Back, Half, Ledger, Terms, Unfit, extra, hung_up, is_all_read, stirred};
use crate::splice::counts::{Counts, Reason};
use crate::splice::engine::{Engine, Kind, Tenant};
use crate::splice::kernel::socket::{self, Agreed};
use crate::splice::kernel::{Armed, Behind, Number, Wired};

/// Times that a pair is armed before it is given up, where none of its packets come by.
const TRIES: u32 = 3;

/// A client's seat.
#[derive(Debug)]
pub struct Seat {
    engine: Arc<Engine>,
    client: Known,
    /// How far the client's socket is behind by pairs that are no more.
    behind: Behind,
    pair: Option<Pair>,
    /// Bytes that were carried in them, up and down.
    bytes: (u64, u64),
}

/// A pair of it.
#[derive(Debug)]
struct Pair {
    slot: u32,
    upstream: Known,
    /// Requests that had been carried when it was parked last.
    before: u64,
    /// Times that it was armed and nothing of it was seen.
    tries: u32,
}

/// What is known of a socket.
#[derive(Debug)]
struct Known {
    cookie: u64,
    tuple: Tuple,
    agreed: Agreed,
    /// What its `acked + unacked` is beyond what was written: a SYN may count.
    extra: u64,
}

impl Known {
    fn of(socket: BorrowedFd<'_>, ledger: Ledger) -> Result<Self, Unfit> {
        is_all_read(socket, ledger)?;
        let extra = extra(socket, ledger)?.ok_or(Unfit::Unquiet)?;
        let tuple = socket::tuple(socket)?.ok_or(Unfit::Differs("no device has its packets"))?;
        Ok(Self { cookie: socket::cookie(socket)?, tuple, agreed: socket::agreed(socket)?, extra })
    }
}

impl Seat {
    /// A seat for this client, of whom nothing was carried yet.
    pub(super) fn take(engine: &Arc<Engine>, client: BorrowedFd<'_>, ledger: Ledger) -> Result<Self, Unfit> {
        let client = Known::of(client, ledger)?;
        Ok(Self { engine: engine.clone(), client, behind: Behind::default(), pair: None, bytes: (0, 0) })
    }

    /// What its engine counts.
    pub(super) fn counts(&self) -> &Counts {
        &self.engine.counts
    }

    /// Wants the pair back, at the end of its request at the latest.
    pub(super) fn recall(&self) {
        if let Some(pair) = &self.pair {
            self.engine.recall(pair.slot);
        }
    }

    fn number(&self, number: Number) -> u64 {
        self.pair.as_ref().map_or(0, |pair| self.engine.program.pairs.read(pair.slot, number))
    }

    /// See [`super::Seat::park`].
    pub(super) fn park(
        &mut self,
        client: Half<'_>,
        upstream: Half<'_>,
        terms: &Terms<'_>,
        waker: &Waker,
    ) -> Result<(), Unfit> {
        if terms.host.len() > HOST_MAX || terms.block.len() > BLOCK_MAX - 2 {
            return Err(Unfit::Host);
        }
        self.hand_over(client, upstream, terms, Step::Ready, waker)
    }

    /// See [`super::Seat::open`].
    pub(super) fn open(
        &mut self,
        client: Half<'_>,
        upstream: Half<'_>,
        tenant: Arc<dyn Tenant>,
        waker: &Waker,
    ) -> Result<(), Unfit> {
        let terms = Terms { host: &[], block: &[], requests: 0, tenant };
        self.hand_over(client, upstream, &terms, Step::Unlatch, waker)
    }

    fn hand_over(
        &mut self,
        client: Half<'_>,
        upstream: Half<'_>,
        terms: &Terms<'_>,
        step: Step,
        waker: &Waker,
    ) -> Result<(), Unfit> {
        if self.engine.is_closed() {
            return Err(Unfit::Closed);
        }
        is_all_read(client.0, client.1)?;
        is_all_read(upstream.0, upstream.1)?;
        self.join(upstream)?;
        let Some(pair) = &mut self.pair else { return Err(Unfit::Unquiet) };
        let (pairs, slot) = (&self.engine.program.pairs, pair.slot);
        if step == Step::Unlatch && self.client.agreed.sizes[1] > pair.upstream.agreed.sizes[0] {
            return Err(Unfit::Differs("the client's segments are too long for the upstream's"));
        }
        if !pairs.is_seen(slot) {
            pair.tries += 1;
            if pair.tries > TRIES {
                return Err(Unfit::Unseen);
            }
        }
        pair.before = pairs.read(slot, Number::Requests);
        let armed = Armed {
            upstream: pair.upstream.cookie,
            limit: 0,
            limit_up: 0,
            allowance: pair.before + terms.requests.min(gogeta_common::wire::REQUESTS_MAX),
            margin: 0,
            now: socket::now(),
            host: terms.host,
        };
        pairs.end_clocks(slot, socket::milliseconds());
        pairs.set(slot, &armed);
        let ends = [(&self.client, client.1), (&pair.upstream, upstream.1)];
        pairs.wire(
            slot,
            terms.block,
            ends.map(|(known, ledger)| (ledger.read, known.extra + ledger.written)),
        );
        self.engine.set_waker(slot, waker);
        let sockets = [client.0, upstream.0];
        self.engine.listen(slot, Kind::Wire, sockets, terms.tenant.clone())?;
        let seen = pairs.load(slot);
        let armed = seen.after(step).filter(|armed| pairs.swap(slot, seen, *armed));
        if armed.is_none() {
            self.engine.ignore(slot, sockets);
            return Err(Unfit::Unquiet);
        }
        self.counts().parked(Kind::Wire);
        Ok(())
    }

    /// Makes this socket the other one of the pair, if it is not yet.
    fn join(&mut self, (upstream, ledger): Half<'_>) -> Result<(), Unfit> {
        let cookie = socket::cookie(upstream)?;
        let is_mine = |pair: &Pair| {
            // Another client may have been parked with it in between, if nothing was carried for this one.
            let way = || self.engine.program.way(&pair.upstream.tuple);
            pair.upstream.cookie == cookie && way().is_some_and(|way| way.flow == Flow::upstream(pair.slot).0)
        };
        if self.pair.as_ref().is_some_and(is_mine) {
            return Ok(());
        }
        let upstream = Known::of(upstream, ledger)?;
        self.part();
        let fits = self.client.agreed.fits(&upstream.agreed).map_err(Unfit::Differs);
        fits.and_then(|()| is_of_one_family(&self.client.tuple, &upstream.tuple))?;
        let [mine, theirs] = [&self.client, &upstream];
        let program = &self.engine.program;
        let seen = |known: &Known| program.way(&known.tuple).map(|way| way.devices).ok_or(Unfit::Full);
        let devices = [seen(mine)?, seen(theirs)?];
        let slot = self.engine.seat(mine.cookie, Kind::Wire).ok_or(Unfit::Full)?;
        let wired = [(mine, devices[0]), (theirs, devices[1])].map(|(known, devices)| Wired {
            tuple: known.tuple,
            agreed: known.agreed,
            devices,
        });
        program.pairs.lay(slot, &wired, self.behind);
        let ways = [(mine, Flow::client(slot)), (theirs, Flow::upstream(slot))];
        for ((known, flow), devices) in ways.into_iter().zip(devices) {
            let way = Way { flow: flow.0, devices, ..Way::default() };
            if let Err(error) = program.lead(&known.tuple, way) {
                self.engine.leave(&mine.tuple, Flow::client(slot), self.behind);
                self.engine.leave(&theirs.tuple, Flow::upstream(slot), Behind::default());
                self.engine.vacate(slot);
                return Err(error.into());
            }
        }
        self.pair = Some(Pair { slot, upstream, before: 0, tries: 0 });
        Ok(())
    }

    /// From now on the other socket has nothing to do with this one.
    fn part(&mut self) {
        let Some(Pair { slot, upstream, .. }) = self.pair.take() else { return };
        let pairs = &self.engine.program.pairs;
        self.engine.finish(slot);
        if pairs.load(slot).phase() == Phase::Over {
            self.bytes.0 += pairs.read(slot, Number::Up);
            self.bytes.1 += pairs.read(slot, Number::Down);
            self.engine.linger(slot);
            return;
        }
        let (client, theirs) = pairs.behind(slot);
        self.bytes.0 += pairs.read(slot, Number::Up);
        self.bytes.1 += pairs.read(slot, Number::Down);
        self.behind = client;
        // Before the slot is somebody else's.
        self.engine.leave(&self.client.tuple, Flow::client(slot), client);
        self.engine.leave(&upstream.tuple, Flow::upstream(slot), theirs);
        self.engine.vacate(slot);
    }

    /// See [`super::Seat::has_slot`].
    pub(super) fn has_slot(&self) -> bool {
        self.pair.is_some()
    }

    /// See [`super::Seat::is_untouched`].
    pub(super) fn is_untouched(&self) -> bool {
        self.number(Number::Requests) == 0
    }

    /// See [`super::Seat::release`].
    pub(super) fn release(&self) -> bool {
        let Some(Pair { slot, .. }) = self.pair else { return true };
        self.engine.finish(slot);
        !matches!(self.engine.program.pairs.load(slot).phase(), Phase::Broken | Phase::Over)
    }

    /// See [`super::Seat::is_quiet`]. What it has sent, and nobody has acknowledged, the kernel goes by.
    pub(super) fn is_quiet(&self, client: Half<'_>, upstream: Half<'_>) -> io::Result<bool> {
        if self.engine.is_closed() || !(hung_up(client.0) | hung_up(upstream.0)).is_empty() {
            return Ok(false);
        }
        let has_read = |(socket, ledger): Half<'_>| match is_all_read(socket, ledger) {
            Ok(()) => Ok(true),
            Err(Unfit::System(error)) => Err(error),
            Err(_) => Ok(false),
        };
        Ok(has_read(client)? && has_read(upstream)?)
    }

    /// See [`super::Seat::is_upstream_clean`].
    pub(super) fn is_upstream_clean(&self, socket: BorrowedFd<'_>, ledger: Ledger) -> bool {
        let is_spoilt =
            self.pair.as_ref().is_some_and(|pair| self.engine.program.pairs.load(pair.slot).is_spoilt());
        !is_spoilt && is_all_read(socket, ledger).is_ok() && hung_up(socket).is_empty()
    }

    /// See [`super::Seat::bytes`].
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.bytes.0 + self.number(Number::Up), self.bytes.1 + self.number(Number::Down))
    }

    /// See [`super::Seat::carried`].
    pub(super) fn carried(&self) -> u64 {
        let before = self.pair.as_ref().map_or(0, |pair| pair.before);
        self.number(Number::Requests) - before
    }

    /// See [`super::Seat::quiet`].
    pub(super) fn quiet(&self) -> Duration {
        Duration::from_nanos(socket::now().saturating_sub(self.number(Number::Last)))
    }

    /// See [`super::Seat::set_waker`].
    pub(super) fn set_waker(&self, waker: &Waker) {
        if let Some(pair) = &self.pair {
            self.engine.set_waker(pair.slot, waker);
        }
    }

    /// See [`super::Seat::look`].
    pub(super) fn look(&self, client: BorrowedFd<'_>, upstream: BorrowedFd<'_>) -> Option<(Back, Reason)> {
        let Some(Pair { slot, .. }) = self.pair else { return Some((Back::Quiet, Reason::Closed)) };
        let pairs = &self.engine.program.pairs;
        // It comes back at the end of a request, or before one.
        let or_lossy = |reason| if self.engine.is_lossy(slot) { Reason::Lossy } else { reason };
        loop {
            let word = pairs.load(slot);
            let stirred = stirred(client) | stirred(upstream);
            let closed = stirred - PollFlags::IN;
            let back = match word.phase() {
                Phase::Local if !closed.is_empty() => (Back::Quiet, Reason::Closed),
                Phase::Local => (Back::Quiet, or_lossy(Reason::Refused)),
                Phase::Pending => {
                    let head = pairs.head(slot);
                    self.engine.step(slot, Step::Resume);
                    (Back::Answer(head), Reason::Answer)
                }
                Phase::Broken | Phase::Free | Phase::Over => (Back::Cut, Reason::Cut),
                Phase::Busy | Phase::Body => return None,
                Phase::Open => {
                    // Whatever is new to them turns the word.
                    let streams = pairs.streams(slot);
                    let (step, outcome) = if is_broken(&streams) {
                        (Step::Close, (Back::Reset, Reason::Closed))
                    } else if is_over(&streams) {
                        (Step::Close, (Back::Over, Reason::Closed))
                    } else if word.is_stopped() && is_quiet(&streams) {
                        (Step::Take, (Back::Quiet, or_lossy(Reason::Recalled)))
                    } else {
                        return None;
                    };
                    let next = word.after(step).filter(|next| pairs.swap(slot, word, *next));
                    match next.map(Word::phase) {
                        Some(Phase::Local) => outcome,
                        // Late packets need the clocks as they are.
                        Some(_) => return Some(outcome),
                        None => continue,
                    }
                }
                Phase::Idle | Phase::Armed | Phase::Ajar => {
                    if stirred.is_empty() && !word.is_stopped() {
                        return None;
                    }
                    let Some(taken) = word.after(Step::Take).filter(|taken| pairs.swap(slot, word, *taken))
                    else {
                        continue;
                    };
                    debug_assert_eq!(taken.phase(), Phase::Local);
                    let reason = match (closed.is_empty(), stirred.is_empty()) {
                        (false, _) => Reason::Closed,
                        (true, false) => Reason::Refused,
                        (true, true) => or_lossy(Reason::Recalled),
                    };
                    (Back::Quiet, reason)
                }
            };
            pairs.end_clocks(slot, socket::milliseconds());
            return Some(back);
        }
    }

    /// See [`super::Seat::unpark`].
    pub(super) fn unpark(&self, sockets: [BorrowedFd<'_>; 2], reason: Reason) {
        if let Some(pair) = &self.pair {
            self.engine.ignore(pair.slot, sockets);
            self.engine.counts.unparked(Kind::Wire, reason);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.part();
    }
}

fn is_of_one_family(one: &Tuple, other: &Tuple) -> Result<(), Unfit> {
    if one.is_v4() == other.is_v4() { Ok(()) } else { Err(Unfit::Differs("IPv4 and IPv6")) }
}
