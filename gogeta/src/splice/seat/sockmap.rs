//! A seat of the sockmap engine.
//!
//! A client's connection keeps it to its end: a socket that was once in the kernel's map of sockets stays there, for
//! taken out it would lose what it has not read yet.
//!
//! The rules that this keeps are the kernel's, not ours (`net/core/skmsg.c`):
//!
//! - Bytes that are on their way to a socket by the kernel are behind those that userspace writes later, unless it
//!   waits until they have got there ([`Seat::is_drained`]).
//! - A socket gets into the kernel's map only when all that it has received was read: of a piece that was read in
//!   part, the program would see the whole, and so would whoever reads on.
//! - A pair is armed only when every byte that either socket has received was read or carried. The word that was
//!   seen before that was looked at is the one that is swapped: what comes in between changes it.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use gogeta_common::guard::HOST_MAX;
use gogeta_common::pair::{Flow, Phase, Step};
use rustix::event::PollFlags;

use super::{Back, Ledger, Terms, Unfit, extra, hung_up, is_all_read, is_broken};
use crate::splice::counts::{Counts, Reason};
use crate::splice::engine::{Engine, Kind, Tenant};
use crate::splice::kernel::{Armed, Number, socket};

/// Bytes that may be under way to a client who does not read; a response beyond that is userspace's.
pub const WINDOW: u32 = 512 << 10;

/// A client's seat.
#[derive(Debug)]
pub struct Seat {
    engine: Arc<Engine>,
    slot: u32,
    client: u64,
    /// What the client's `acked + unacked` is beyond what was written: a SYN may count.
    extra: u64,
    upstream: Option<Upstream>,
    /// Requests that had been carried when it was parked last.
    before: u64,
}

/// The other socket of the pair.
#[derive(Debug, Clone, Copy)]
struct Upstream {
    cookie: u64,
    /// What had been carried to the client when it came.
    down: u64,
    /// What had been carried to upstreams.
    up: u64,
    /// As `extra` of the client; none where that could not be told.
    extra: Option<u64>,
}

impl Seat {
    /// A seat for this client, of whom nothing was carried yet.
    ///
    /// # Errors
    ///
    /// [`Unfit`], also where no seat is free.
    pub fn take(engine: &Arc<Engine>, client: BorrowedFd<'_>, ledger: Ledger) -> Result<Self, Unfit> {
        let cookie = socket::cookie(client)?;
        let extra = extra(client, ledger)?.ok_or(Unfit::Unquiet)?;
        is_all_read(client, ledger)?;
        let slot = engine.seat(cookie, Kind::Sockmap).ok_or(Unfit::Full)?;
        let seat = Self { engine: engine.clone(), slot, client: cookie, extra, upstream: None, before: 0 };
        seat.engine.program.enter(client, cookie, Flow::client(slot))?;
        Ok(seat)
    }

    /// What its engine counts.
    pub(super) fn counts(&self) -> &Counts {
        &self.engine.counts
    }

    /// Wants the pair back, at the end of its request at the latest.
    pub fn recall(&self) {
        self.engine.recall(self.slot);
    }

    fn number(&self, number: Number) -> u64 {
        self.engine.program.pairs.read(self.slot, number)
    }

    /// Gives the pair to the kernel. Nobody else may read or write either socket from now on, until
    /// [`look`](Self::look) gives it back.
    ///
    /// # Errors
    ///
    /// [`Unfit`]; the pair is userspace's then, as before.
    pub fn park(
        &mut self,
        client: (BorrowedFd<'_>, Ledger),
        upstream: (BorrowedFd<'_>, Ledger),
        terms: &Terms<'_>,
        waker: &Waker,
    ) -> Result<(), Unfit> {
        if terms.host.len() > HOST_MAX {
            return Err(Unfit::Host);
        }
        self.hand_over(client, upstream, terms, Step::Arm, waker)
    }

    /// The same for a tunnel: whatever comes on either socket goes to the other one.
    ///
    /// # Errors
    ///
    /// [`Unfit`]; the pair is userspace's then, as before.
    pub fn open(
        &mut self,
        client: (BorrowedFd<'_>, Ledger),
        upstream: (BorrowedFd<'_>, Ledger),
        tenant: Arc<dyn Tenant>,
        waker: &Waker,
    ) -> Result<(), Unfit> {
        let terms = Terms { host: &[], block: &[], requests: 0, tenant };
        self.hand_over(client, upstream, &terms, Step::Open, waker)
    }

    fn hand_over(
        &mut self,
        client: (BorrowedFd<'_>, Ledger),
        upstream: (BorrowedFd<'_>, Ledger),
        terms: &Terms<'_>,
        step: Step,
        waker: &Waker,
    ) -> Result<(), Unfit> {
        if self.engine.is_closed() {
            return Err(Unfit::Closed);
        }
        if !self.is_drained(client.0, client.1)? {
            return Err(Unfit::Unquiet);
        }
        self.join(upstream)?;
        self.before = self.number(Number::Requests);
        if step == Step::Open && !self.is_upstream_drained(upstream.0, upstream.1)? {
            return Err(Unfit::Unquiet);
        }
        let (pairs, slot) = (&self.engine.program.pairs, self.slot);
        let armed = Armed {
            upstream: self.upstream.map_or(0, |upstream| upstream.cookie),
            limit: self.limit(client)?,
            limit_up: self.limit_up(upstream)?,
            allowance: self.number(Number::Requests) + terms.requests,
            margin: WINDOW / 2,
            now: socket::now(),
            host: terms.host,
        };
        pairs.set(slot, &armed);
        self.engine.set_waker(slot, waker);
        let sockets = [client.0, upstream.0];
        let outcome =
            self.engine.listen(slot, Kind::Sockmap, sockets, terms.tenant.clone()).map_err(Unfit::from);
        let outcome = outcome.and_then(|()| {
            let seen = pairs.load(slot);
            // From here to the swap nothing may have come.
            if !self.is_read(client, upstream)? {
                return Err(Unfit::Unquiet);
            }
            let armed = seen.after(step).filter(|armed| pairs.swap(slot, seen, *armed));
            armed.map(|_| ()).ok_or(Unfit::Unquiet)
        });
        match outcome {
            Ok(()) => {
                self.engine.counts.parked(Kind::Sockmap);
                Ok(())
            }
            Err(unfit) => {
                self.engine.ignore(slot, sockets);
                Err(unfit)
            }
        }
    }

    /// How much may be carried to the client in all, by what it has acknowledged of it.
    fn limit(&self, client: (BorrowedFd<'_>, Ledger)) -> io::Result<u64> {
        let acked = socket::progress(client.0)?.acked;
        let down = acked.saturating_sub(self.extra + client.1.written);
        Ok(down + u64::from(WINDOW))
    }

    /// The same of the upstream.
    fn limit_up(&self, (socket, ledger): (BorrowedFd<'_>, Ledger)) -> io::Result<u64> {
        let acked = socket::progress(socket)?.acked;
        let before = self.upstream.map_or(0, |upstream| upstream.up);
        let extra = self.upstream.and_then(|upstream| upstream.extra).unwrap_or_default();
        let up = before + acked.saturating_sub(extra + ledger.written);
        Ok(up + u64::from(WINDOW))
    }

    /// Makes this socket the other one of the pair, if it is not yet.
    fn join(&mut self, (upstream, ledger): (BorrowedFd<'_>, Ledger)) -> Result<(), Unfit> {
        let cookie = socket::cookie(upstream)?;
        if self.upstream.is_some_and(|upstream| upstream.cookie == cookie) {
            return Ok(());
        }
        self.part();
        is_all_read(upstream, ledger)?;
        let extra = extra(upstream, ledger)?;
        self.engine.program.enter(upstream, cookie, Flow::upstream(self.slot))?;
        let (down, up) = (self.number(Number::Down), self.number(Number::Up));
        self.upstream = Some(Upstream { cookie, down, up, extra });
        Ok(())
    }

    /// From now on the other socket has nothing to do with this one.
    fn part(&mut self) {
        if let Some(upstream) = self.upstream.take() {
            self.engine.program.forget(upstream.cookie);
        }
    }

    /// Whether each byte that either socket has received was read, or carried.
    fn is_read(
        &self,
        client: (BorrowedFd<'_>, Ledger),
        upstream: (BorrowedFd<'_>, Ledger),
    ) -> io::Result<bool> {
        let asked = socket::progress(client.0)?.received;
        Ok(asked == client.1.read + self.number(Number::Up)
            && socket::progress(upstream.0)?.received == self.taken(upstream.1))
    }

    /// Bytes of the upstream that were read or carried.
    fn taken(&self, ledger: Ledger) -> u64 {
        let before = self.upstream.map_or(0, |upstream| upstream.down);
        ledger.read + self.number(Number::Down) - before
    }

    /// Whether the upstream's socket has nothing to be read, and is open: fit for another request.
    pub fn is_upstream_clean(&self, socket: BorrowedFd<'_>, ledger: Ledger) -> bool {
        socket::progress(socket).is_ok_and(|progress| progress.received == self.taken(ledger))
            && hung_up(socket).is_empty()
    }

    /// Whether all that the kernel carried to the client has got into its socket, so that userspace may write.
    ///
    /// # Errors
    ///
    /// The kernel's, and where the socket is closed before: the rest will never get there.
    pub fn is_drained(&self, client: BorrowedFd<'_>, ledger: Ledger) -> io::Result<bool> {
        // Looked at first: what got there before a close counts.
        let gone = hung_up(client).intersects(PollFlags::HUP | PollFlags::ERR);
        if socket::has_got(client, self.extra + ledger.written + self.number(Number::Down))? {
            return Ok(true);
        }
        if gone { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(false) }
    }

    /// The same of what it carried to the upstream; false where that cannot be told.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn is_upstream_drained(&self, socket: BorrowedFd<'_>, ledger: Ledger) -> io::Result<bool> {
        let Some(Upstream { up, extra: Some(extra), .. }) = self.upstream else { return Ok(false) };
        let carried = extra + ledger.written + self.number(Number::Up) - up;
        Ok(socket::has_got(socket, carried)? || is_broken(socket))
    }

    /// Whether nothing is under way, so that a tunnel may be opened: neither side has ended, all that either socket
    /// has received was read or carried, and all that was carried is in the sockets.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn is_quiet(
        &self,
        client: (BorrowedFd<'_>, Ledger),
        upstream: (BorrowedFd<'_>, Ledger),
    ) -> io::Result<bool> {
        // A socket that was put back into the runtime says nothing for a moment, not even that it is broken.
        if self.engine.is_closed() || !(hung_up(client.0) | hung_up(upstream.0)).is_empty() {
            return Ok(false);
        }
        let is_joined =
            self.upstream.is_some_and(|known| socket::cookie(upstream.0).is_ok_and(|it| it == known.cookie));
        // One that was not in a pair yet is looked at when it comes into one.
        let is_upstream_quiet = !is_joined || self.is_upstream_drained(upstream.0, upstream.1)?;
        let is_read = if is_joined { self.is_read(client, upstream)? } else { true };
        Ok(is_read && is_upstream_quiet && self.is_drained(client.0, client.1)?)
    }

    /// Bytes that were carried to the upstream, and to the client, since the seat was taken.
    pub fn bytes(&self) -> (u64, u64) {
        (self.number(Number::Up), self.number(Number::Down))
    }

    /// Requests that were carried since it was parked.
    pub fn carried(&self) -> u64 {
        self.number(Number::Requests) - self.before
    }

    /// How long nothing has been carried.
    pub fn quiet(&self) -> Duration {
        Duration::from_nanos(socket::now().saturating_sub(self.number(Number::Last)))
    }

    /// Who is woken when there is something to look at.
    pub fn set_waker(&self, waker: &Waker) {
        self.engine.set_waker(self.slot, waker);
    }

    /// Looks whether the pair is userspace's, or has to be; none while the kernel has it.
    pub fn look(
        &self,
        (client, ledger): (BorrowedFd<'_>, Ledger),
        upstream: (BorrowedFd<'_>, Ledger),
        waker: &Waker,
    ) -> Option<(Back, Reason)> {
        if let Ok(limit) = self.limit((client, ledger)) {
            self.engine.program.pairs.raise(self.slot, limit);
        }
        if let Ok(limit) = self.limit_up(upstream) {
            self.engine.program.pairs.raise_up(self.slot, limit);
        }
        loop {
            let word = self.engine.program.pairs.load(self.slot);
            let (mine, theirs) = (hung_up(client), hung_up(upstream.0));
            match word.phase() {
                Phase::Local if !(mine | theirs).is_empty() => return Some((Back::Quiet, Reason::Closed)),
                Phase::Local => return Some((Back::Quiet, Reason::Refused)),
                Phase::Pending => {
                    let head = self.engine.program.pairs.head(self.slot);
                    self.engine.step(self.slot, Step::Resume);
                    return Some((Back::Answer(head), Reason::Answer));
                }
                Phase::Broken | Phase::Free | Phase::Over => {
                    self.engine.step(self.slot, Step::Resume);
                    return Some((Back::Cut, Reason::Cut));
                }
                Phase::Idle | Phase::Open | Phase::Armed | Phase::Ajar => {
                    let closed = !(mine | theirs).is_empty();
                    if !closed && !word.is_stopped() {
                        return None;
                    }
                    if self.engine.step(self.slot, Step::Take).is_some() {
                        let reason = if closed { Reason::Closed } else { Reason::Recalled };
                        return Some((Back::Quiet, reason));
                    }
                }
                Phase::Busy | Phase::Body => {
                    if mine.intersects(PollFlags::HUP | PollFlags::ERR) {
                        return Some((Back::Cut, Reason::Closed));
                    }
                    if !mine.is_empty() {
                        // It sends nothing more, and may still read.
                        self.engine.step(self.slot, Step::Stop);
                    }
                    if theirs.is_empty() {
                        return None;
                    }
                    // The end is known a moment before the last bytes are judged.
                    self.engine.step(self.slot, Step::Stop);
                    let received =
                        socket::progress(upstream.0).map_or(u64::MAX, |progress| progress.received);
                    let is_over = theirs.intersects(PollFlags::HUP | PollFlags::ERR)
                        || received <= self.taken(upstream.1) + 1;
                    if !is_over {
                        waker.wake_by_ref();
                        return None;
                    }
                    match self.engine.program.pairs.load(self.slot).phase() {
                        Phase::Busy => {
                            self.engine.step(self.slot, Step::Answer);
                        }
                        Phase::Body => {
                            self.engine.step(self.slot, Step::Break);
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// The pair is userspace's from now on, for that reason.
    pub fn unpark(&self, sockets: [BorrowedFd<'_>; 2], reason: Reason) {
        self.engine.ignore(self.slot, sockets);
        self.engine.counts.unparked(Kind::Sockmap, reason);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.part();
        self.engine.program.forget(self.client);
        self.engine.vacate(self.slot);
    }
}
