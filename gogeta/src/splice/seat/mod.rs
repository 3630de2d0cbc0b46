//! A client's connection among the pairs: parked with an upstream's, looked at, taken back.

mod sockmap;
mod wire;

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::counts::{Counts, Reason};
use super::engine::{Engine, Kind, Tenant};
use super::kernel::socket;

pub use sockmap::WINDOW;

/// What userspace has read from a socket, and written to it, since it was connected.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

/// Why a pair is not parked. It stays userspace's, and nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// No slot is free.
    #[error("as many pairs as may be are parked")]
    Full,
    /// gogeta is on its way out.
    #[error("nothing is parked any more")]
    Closed,
    /// Bytes came, or a close, or bytes are still on their way.
    #[error("something came in between")]
    Unquiet,
    /// The host is longer than the kernel's side compares.
    #[error("the host is too long")]
    Host,
    /// The two connections were agreed upon in ways that packets of the one cannot have on the other. They never
    /// will be fit.
    #[error("the two connections differ: {0}")]
    Differs(&'static str),
    /// Their packets do not come by where the engine looks. They never will be fit.
    #[error("packets of the two connections do not come by any device that the engine is at")]
    Unseen,
    /// A system call.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Unfit {
    /// Its reason, among [`UNFIT`](super::counts::UNFIT).
    pub(super) fn place(&self) -> usize {
        match self {
            Self::Full => 0,
            Self::Closed => 1,
            Self::Unquiet => 2,
            Self::Host => 3,
            Self::Differs(_) => 4,
            Self::Unseen => 5,
            Self::System(_) => 6,
        }
    }

    /// Whether it is no use to try again with these two connections.
    pub fn is_for_good(&self) -> bool {
        matches!(self, Self::Differs(_) | Self::Unseen | Self::Host)
    }
}

/// What a pair is when it is userspace's again.
#[derive(Debug, PartialEq, Eq)]
pub enum Back {
    /// Nothing is on its way.
    Quiet,
    /// The request of this head is at the upstream, and its answer is to be read there.
    Answer(Vec<u8>),
    /// A response broke off: the client has a part of it.
    Cut,
    /// A tunnel has come to its end while it was carried, and both sides know: to nobody gogeta's sockets may say
    /// anything.
    Over,
    /// The same by a reset.
    Reset,
}

/// What a pair is parked with.
#[derive(Debug)]
pub struct Terms<'a> {
    /// The host, in lower case, as it stands in each request.
    pub host: &'a [u8],
    /// Lines that are added to each request, by an engine that can.
    pub block: &'a [u8],
    /// How many requests may be carried until userspace picks an instance anew.
    pub requests: u64,
    /// Who is told of them.
    pub tenant: Arc<dyn Tenant>,
}

/// One of a client's sockets, with what was read from it and written to it.
pub type Half<'a> = (BorrowedFd<'a>, Ledger);

/// A client's seat, with the engine that it has.
#[derive(Debug)]
pub enum Seat {
    /// Bytes go from socket to socket.
    Sockmap(sockmap::Seat),
    /// Packets go from connection to connection.
    Wire(Box<wire::Seat>),
}

macro_rules! either {
    ($self:expr, $seat:ident => $what:expr) => {
        match $self {
            Seat::Sockmap($seat) => $what,
            Seat::Wire($seat) => $what,
        }
    };
}

impl Seat {
    /// A seat for this client, of whom nothing was carried yet.
    ///
    /// # Errors
    ///
    /// [`Unfit`], also where no seat is free.
    pub fn take(
        engine: &Arc<Engine>,
        kind: Kind,
        client: BorrowedFd<'_>,
        ledger: Ledger,
    ) -> Result<Self, Unfit> {
        let outcome = match kind {
            Kind::Sockmap => sockmap::Seat::take(engine, client, ledger).map(Self::Sockmap),
            Kind::Wire => wire::Seat::take(engine, client, ledger).map(|seat| Self::Wire(Box::new(seat))),
        };
        outcome.inspect_err(|unfit| engine.counts.unfit(unfit))
    }

    /// Whether it has a slot already, or parking takes one.
    pub fn has_slot(&self) -> bool {
        match self {
            Self::Sockmap(_) => true,
            Self::Wire(seat) => seat.has_slot(),
        }
    }

    /// Whether the upstream's connection is as if it had never been parked: another client's request may follow on it.
    pub fn is_untouched(&self) -> bool {
        match self {
            // The kernel takes what comes by it for this client's.
            Self::Sockmap(_) => false,
            Self::Wire(seat) => seat.is_untouched(),
        }
    }

    fn counts(&self) -> &Counts {
        either!(self, seat => seat.counts())
    }

    /// The engine that it has.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Sockmap(_) => Kind::Sockmap,
            Self::Wire(_) => Kind::Wire,
        }
    }

    /// Wants the pair back, at the end of its request at the latest.
    pub fn recall(&self) {
        either!(self, seat => seat.recall());
    }

    /// Gives the pair to the kernel. Nobody else may read or write either socket from now on, until
    /// [`look`](Self::look) gives it back.
    ///
    /// # Errors
    ///
    /// [`Unfit`]; the pair is userspace's then, as before.
    pub fn park(
        &mut self,
        client: Half<'_>,
        upstream: Half<'_>,
        terms: &Terms<'_>,
        waker: &Waker,
    ) -> Result<(), Unfit> {
        let outcome = either!(self, seat => seat.park(client, upstream, terms, waker));
        outcome.inspect_err(|unfit| self.counts().unfit(unfit))
    }

    /// The same for a tunnel: whatever comes on either socket goes to the other one.
    ///
    /// # Errors
    ///
    /// [`Unfit`]; the pair is userspace's then, as before.
    pub fn open(
        &mut self,
        client: Half<'_>,
        upstream: Half<'_>,
        tenant: Arc<dyn Tenant>,
        waker: &Waker,
    ) -> Result<(), Unfit> {
        let outcome = match self {
            Self::Sockmap(seat) => seat.open(client, upstream, tenant, waker),
            Self::Wire(seat) => seat.open(client, upstream, tenant, waker),
        };
        outcome.inspect_err(|unfit| self.counts().unfit(unfit))
    }

    /// Whether the upstream's socket has nothing to be read, and is open: fit for another request.
    pub fn is_upstream_clean(&self, socket: BorrowedFd<'_>, ledger: Ledger) -> bool {
        either!(self, seat => seat.is_upstream_clean(socket, ledger))
    }

    /// Whether all that the kernel carried to the client has got into its socket, so that userspace may write.
    ///
    /// # Errors
    ///
    /// The kernel's, and where the socket is closed before: the rest will never get there.
    pub fn is_drained(&self, client: BorrowedFd<'_>, ledger: Ledger) -> io::Result<bool> {
        match self {
            Self::Sockmap(seat) => seat.is_drained(client, ledger),
            // What was carried is not its socket's.
            Self::Wire(_) => Ok(true),
        }
    }

    /// The same of what it carried to the upstream; false where that cannot be told.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn is_upstream_drained(&self, socket: BorrowedFd<'_>, ledger: Ledger) -> io::Result<bool> {
        match self {
            Self::Sockmap(seat) => seat.is_upstream_drained(socket, ledger),
            Self::Wire(_) => Ok(true),
        }
    }

    /// Whether nothing is under way, so that a tunnel may be opened: neither side has ended, all that either socket
    /// has received was read or carried, and all that was carried is in the sockets.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn is_quiet(&self, client: Half<'_>, upstream: Half<'_>) -> io::Result<bool> {
        match self {
            Self::Sockmap(seat) => seat.is_quiet(client, upstream),
            Self::Wire(seat) => seat.is_quiet(client, upstream),
        }
    }

    /// Bytes that were carried to the upstream, and to the client, since the seat was taken.
    pub fn bytes(&self) -> (u64, u64) {
        either!(self, seat => seat.bytes())
    }

    /// Requests that were carried since it was parked.
    pub fn carried(&self) -> u64 {
        either!(self, seat => seat.carried())
    }

    /// How long nothing has been carried.
    pub fn quiet(&self) -> Duration {
        either!(self, seat => seat.quiet())
    }

    /// Who is woken when there is something to look at.
    pub fn set_waker(&self, waker: &Waker) {
        either!(self, seat => seat.set_waker(waker));
    }

    /// Looks whether the pair is userspace's, or has to be; none while the kernel has it.
    pub fn look(&self, client: Half<'_>, upstream: Half<'_>, waker: &Waker) -> Option<(Back, Reason)> {
        match self {
            Self::Sockmap(seat) => seat.look(client, upstream, waker),
            Self::Wire(seat) => seat.look(client.0, upstream.0),
        }
    }

    /// Lets go of a tunnel for good, wherever it is. False: its sockets cannot say to the other ends that they are
    /// closed, and have to be reset.
    pub fn release(&self) -> bool {
        match self {
            Self::Sockmap(_) => true,
            Self::Wire(seat) => seat.release(),
        }
    }

    /// The pair is userspace's from now on, for that reason.
    pub fn unpark(&self, sockets: [BorrowedFd<'_>; 2], reason: Reason) {
        either!(self, seat => seat.unpark(sockets, reason));
    }
}

/// What a socket's `acked + unacked` is beyond what was written, of one that the kernel has carried nothing to yet:
/// a SYN may count, nothing else.
fn extra(socket: BorrowedFd<'_>, ledger: Ledger) -> io::Result<Option<u64>> {
    let got = socket::got(socket, None)?;
    Ok(got.checked_sub(ledger.written).filter(|extra| *extra <= 1))
}

/// Whether all that a socket has received was read, of one that the kernel has carried nothing of yet.
fn is_all_read(socket: BorrowedFd<'_>, ledger: Ledger) -> Result<(), Unfit> {
    if socket::received(socket)? == ledger.read { Ok(()) } else { Err(Unfit::Unquiet) }
}

/// Whether nothing can be sent by a socket any more.
fn is_broken(socket: BorrowedFd<'_>) -> bool {
    hung_up(socket).intersects(PollFlags::HUP | PollFlags::ERR)
}

/// How far a socket is closed: by its other side, or in all.
fn hung_up(socket: BorrowedFd<'_>) -> PollFlags {
    look_for(socket, PollFlags::RDHUP)
}

/// The same, and whether there is something to be read.
fn stirred(socket: BorrowedFd<'_>) -> PollFlags {
    look_for(socket, PollFlags::RDHUP | PollFlags::IN)
}

fn look_for(socket: BorrowedFd<'_>, flags: PollFlags) -> PollFlags {
    let mut descriptors = [PollFd::from_borrowed_fd(socket.as_fd(), flags)];
    let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut descriptors, Some(&at_once)) {
        Ok(_) => descriptors[0].revents(),
        Err(_) => PollFlags::ERR,
    }
}
