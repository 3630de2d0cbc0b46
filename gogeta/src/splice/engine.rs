//! All pairs of one gogeta: their slots, who is woken for which, and the task that hears from the kernel.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use gogeta_common::pair::{Carried, Phase, Step, Wake};
use gogeta_common::wire::tunnel;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use serde::Serialize;

use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::counts::{Counts, Tally};
use super::kernel::socket::{self, now};
use super::kernel::{Arrivals, Events, Kinds, Messages, Number, Program, Told, Unavailable};
use super::late::Late;
use super::loss::Losses;
use super::ways::Lingering;
use crate::metrics::Totals;
use crate::watched::Watched;

/// Which engine carries a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Packets go from connection to connection.
    Wire,
    /// Bytes go from socket to socket.
    Sockmap,
}

impl Kind {
    /// Both, the better one first.
    pub const ALL: [Self; 2] = [Self::Wire, Self::Sockmap];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sockmap => "sockmap",
            Self::Wire => "wire",
        }
    }
}

/// Events of hang-ups that are taken at once.
const BATCH: usize = 64;

/// The engine.
#[derive(Debug)]
pub struct Engine {
    pub(super) program: Program,
    slots: Vec<Mutex<Slot>>,
    /// The one that was free the longest is the next.
    free: Mutex<VecDeque<u32>>,
    /// Ways of sockets that are closed.
    pub(super) lingering: Mutex<Lingering>,
    /// Slots of tunnels that are over.
    pub(super) late: Mutex<Late>,
    /// Which engines there are.
    pub kinds: Kinds,
    hangups: OwnedFd,
    closed: AtomicBool,
    heard: AtomicU64,
    /// What is counted.
    pub counts: Counts,
}

#[derive(Debug)]
struct Slot {
    /// Nobody's where it is 0.
    client: u64,
    /// Who carries it.
    kind: Kind,
    waker: Waker,
    tenant: Option<Arc<dyn Tenant>>,
    /// What is counted already, and known to its tenant.
    told: Tally,
    /// What it has lost of what it carries.
    losses: Losses,
}

/// Whoever wants to know what a parked pair carries.
pub trait Tenant: std::fmt::Debug + Send + Sync {
    /// So much was carried since the last time.
    fn carried(&self, more: &Tally);

    /// A request was carried, where requests are logged.
    fn request(&self, carried: &Carried);

    /// Whether the pair may stay parked, without a request for so long.
    fn goes_on(&self, quiet: Duration) -> bool;

    /// Whether a response that does not go on for so long may still come.
    fn is_patient(&self, waiting: Duration) -> bool;

    /// Whose pair it is.
    fn name(&self) -> Name;

    /// Whether a request would still be routed to where the pair leads.
    fn is_routed(&self) -> bool;

    /// Most that may be lost of what a pair carries, in percent.
    fn max_loss(&self) -> u32;
}

/// Whose a pair is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Name {
    /// The client.
    pub client: SocketAddr,
    /// The host that its requests ask for.
    pub host: String,
    /// The service that they go to.
    pub service: String,
    /// Where they go.
    pub upstream: String,
    /// Who carries them.
    pub engine: &'static str,
}

/// A parked pair, as it is at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Whose it is.
    #[serde(flatten)]
    pub name: Name,
    /// Whether a request is on its way.
    pub busy: bool,
    /// Requests carried for this client.
    pub requests: u64,
    /// Bytes carried to the client.
    pub to_client: u64,
    /// Bytes carried to upstreams.
    pub to_upstream: u64,
    /// How long nothing was carried, in milliseconds.
    pub quiet_ms: u64,
}

impl Engine {
    /// Loads these engines for so many pairs; `logs` says whether each request is told of.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] says why this kernel, or this process, has none.
    pub fn load(pairs: u32, logs: bool, kinds: Kinds) -> Result<(Arc<Self>, Events), Unavailable> {
        let (program, events) = Program::load(pairs, logs, kinds)?;
        let hangups =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| Unavailable::Memory(error.into()))?;
        let nobody = || {
            let waker = Waker::noop().clone();
            Mutex::new(Slot {
                client: 0,
                kind: Kind::Sockmap,
                waker,
                tenant: None,
                told: Tally::NONE,
                losses: Losses::default(),
            })
        };
        let engine = Self {
            program,
            slots: (0..pairs).map(|_| nobody()).collect(),
            free: Mutex::new((0..pairs).collect()),
            lingering: Mutex::default(),
            late: Mutex::default(),
            kinds,
            hangups,
            closed: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            counts: Counts::default(),
        };
        Ok((Arc::new(engine), events))
    }

    /// Begins anew, with nothing parked: what was before was a trial.
    pub(super) fn forget(&self) {
        self.counts.forget();
        lock(&self.free).make_contiguous().sort_unstable();
    }

    /// How many pairs are parked.
    pub fn parked(&self) -> u64 {
        Kind::ALL.into_iter().map(|kind| self.counts.parked_now(kind)).sum()
    }

    /// How many may be.
    pub fn pairs_max(&self) -> u32 {
        self.program.pairs.count()
    }

    /// Whether no pair is parked, or about to be.
    fn is_idle(&self) -> bool {
        self.heard.load(Ordering::Relaxed) == 0
    }

    /// All parked pairs.
    pub fn show(&self) -> Vec<Shown> {
        let pairs = &self.program.pairs;
        let now = now();
        let show = |slot: u32| {
            let name = self.slot(slot).tenant.clone()?.name();
            Some(Shown {
                name,
                busy: matches!(pairs.load(slot).phase(), Phase::Busy | Phase::Body),
                requests: pairs.read(slot, Number::Requests),
                to_client: pairs.read(slot, Number::Down),
                to_upstream: pairs.read(slot, Number::Up),
                quiet_ms: now.saturating_sub(pairs.read(slot, Number::Last)) / 1_000_000,
            })
        };
        (0..pairs.count()).filter_map(show).collect()
    }

    /// Bytes up, bytes down, and requests carried in all.
    pub fn carried(&self) -> [u64; 3] {
        self.look_up();
        let tallies = Kind::ALL.map(|kind| self.counts.tally(kind));
        let sum = |number: fn(&Tally) -> u64| tallies.iter().map(number).sum();
        [sum(|tally| tally.up), sum(|tally| tally.down), sum(|tally| tally.requests)]
    }

    /// Counts what the kernel has carried up to now. It is done once a second anyway.
    pub fn look_up(&self) {
        for slot in 0..self.program.pairs.count() {
            if self.program.pairs.load(slot).phase() != Phase::Free {
                self.tell(slot);
            }
        }
    }

    /// What one engine's requests came to since the start, as of the last time that it was looked up.
    pub fn totals(&self, kind: Kind) -> Totals {
        self.counts.tally(kind).totals()
    }

    /// Bytes that it has carried from clients, and to them, likewise.
    pub fn bytes(&self, kind: Kind) -> (u64, u64) {
        let tally = self.counts.tally(kind);
        (tally.up, tally.down)
    }

    /// Parks nothing any more, and wants all pairs back.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.recall_all();
    }

    /// Wants all pairs back.
    pub fn recall_all(&self) {
        for slot in 0..self.program.pairs.count() {
            self.recall(slot);
        }
    }

    /// Wants a pair back, at the end of its request at the latest; whether it was the kernel's.
    pub fn recall(&self, slot: u32) -> bool {
        let is_carried = self.step(slot, Step::Stop).is_some();
        if is_carried {
            self.wake(slot);
        }
        is_carried
    }

    /// Wants all those pairs back that are chosen by their name; how many those are.
    pub fn recall_those(&self, mut is_wanted: impl FnMut(&Name) -> bool) -> usize {
        let mut count = 0;
        for slot in 0..self.program.pairs.count() {
            let tenant = self.slot(slot).tenant.clone();
            if tenant.is_some_and(|tenant| is_wanted(&tenant.name())) {
                count += usize::from(self.recall(slot));
            }
        }
        count
    }

    /// Keeps new connections out of that listener's queue from now on: as the system does it for whoever has
    /// `CAP_NET_ADMIN`, for the engine was loaded when that was ours.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn let_nobody_in(&self, listener: BorrowedFd<'_>) -> io::Result<()> {
        self.program.let_nobody_in(listener)
    }

    /// What is readable when a socket has hung up.
    pub(super) fn hangups(&self) -> BorrowedFd<'_> {
        self.hangups.as_fd()
    }

    /// Whether nothing is parked any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes that step, if it is there to take.
    pub(super) fn step(&self, slot: u32, step: Step) -> Option<Phase> {
        loop {
            let word = self.program.pairs.load(slot);
            let next = word.after(step)?;
            if self.program.pairs.swap(slot, word, next) {
                return Some(next.phase());
            }
        }
    }

    /// Nothing is carried of this pair any more, but for what comes late where its tunnel is over. Whoever lets go of it
    /// in the midst of something breaks that off.
    pub(super) fn finish(&self, slot: u32) {
        let pairs = &self.program.pairs;
        loop {
            let word = pairs.load(slot);
            let step = match word.phase() {
                Phase::Idle | Phase::Armed | Phase::Ajar => Step::Take,
                Phase::Busy => Step::Answer,
                Phase::Body => Step::Break,
                Phase::Open => {
                    let streams = pairs.streams(slot);
                    match (tunnel::is_over(&streams), tunnel::is_quiet(&streams)) {
                        (true, _) => Step::Close,
                        (false, true) => Step::Take,
                        (false, false) => Step::Break,
                    }
                }
                // What comes late needs the clocks as they are.
                Phase::Over => return,
                _ => break,
            };
            if let Some(next) = word.after(step) {
                pairs.swap(slot, word, next);
            }
        }
        pairs.end_clocks(slot, socket::milliseconds());
    }

    /// Whether no slot is free.
    pub fn is_full(&self) -> bool {
        lock(&self.free).is_empty() && lock(&self.late).is_empty()
    }

    /// A slot for a client, if one is free.
    pub(super) fn seat(&self, client: u64, kind: Kind) -> Option<u32> {
        let free = lock(&self.free).pop_front();
        let slot = free.or_else(|| self.end_oldest())?;
        self.program.pairs.seat(slot, client);
        let mut place = self.slot(slot);
        (place.client, place.kind) = (client, kind);
        (place.told, place.losses) = (Tally::NONE, Losses::default());
        Some(slot)
    }

    /// A slot that no socket leads to any more.
    pub(super) fn vacate(&self, slot: u32) {
        self.settle(slot);
        self.free(slot);
    }

    /// Nobody has the slot any more: what it has carried is counted.
    pub(super) fn settle(&self, slot: u32) {
        self.tell(slot);
        let mut place = self.slot(slot);
        place.client = 0;
        place.waker = Waker::noop().clone();
        place.tenant = None;
    }

    /// The slot may be somebody else's.
    pub(super) fn free(&self, slot: u32) {
        self.program.pairs.free(slot);
        lock(&self.free).push_back(slot);
    }

    /// Whether there is that engine.
    pub fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Sockmap => self.kinds.sockmap,
            Kind::Wire => self.kinds.wire,
        }
    }

    /// The engines that there are, the better one first.
    pub fn there(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| self.has(*kind))
    }

    /// What they are called.
    pub fn names(&self) -> Vec<&'static str> {
        self.there().map(Kind::name).collect()
    }

    /// A pair is about to be parked: its hang-ups are heard from now on.
    pub(super) fn listen(
        &self,
        slot: u32,
        kind: Kind,
        sockets: [BorrowedFd<'_>; 2],
        tenant: Arc<dyn Tenant>,
    ) -> io::Result<()> {
        {
            let mut place = self.slot(slot);
            place.tenant = Some(tenant);
            place.losses.begin(self.lost(slot));
        }
        self.heard.fetch_add(1, Ordering::Relaxed);
        let flags = match kind {
            // Nothing but that: an interest in data would wake us for each message that the kernel carries.
            Kind::Sockmap => epoll::EventFlags::RDHUP | epoll::EventFlags::ET,
            // What the kernel carries does not come to the sockets.
            Kind::Wire => epoll::EventFlags::RDHUP | epoll::EventFlags::IN | epoll::EventFlags::ET,
        };
        for socket in sockets {
            epoll::add(&self.hangups, socket, epoll::EventData::new_u64(slot.into()), flags)?;
        }
        Ok(())
    }

    /// It is not parked any more.
    pub(super) fn ignore(&self, slot: u32, sockets: [BorrowedFd<'_>; 2]) {
        for socket in sockets {
            // It is not there where listening failed.
            let _ = epoll::delete(&self.hangups, socket);
        }
        self.heard.fetch_sub(1, Ordering::Relaxed);
        self.tell(slot);
        let mut place = self.slot(slot);
        place.tenant = None;
        place.waker = Waker::noop().clone();
    }

    /// Whom to wake for that pair.
    pub(super) fn set_waker(&self, slot: u32, waker: &Waker) {
        let mut place = self.slot(slot);
        if !place.waker.will_wake(waker) {
            place.waker.clone_from(waker);
        }
    }

    fn slot(&self, slot: u32) -> MutexGuard<'_, Slot> {
        lock(&self.slots[slot as usize])
    }

    fn wake(&self, slot: u32) {
        let waker = self.slot(slot).waker.clone();
        waker.wake();
    }

    /// Acts on what the kernel told.
    pub(super) fn hear(&self, told: &Told) {
        match told {
            Told::Wake(Wake { client, slot, .. }) => {
                if let Some(place) = self.slots.get(*slot as usize)
                    && lock(place).client == *client
                {
                    self.wake(*slot);
                }
            }
            Told::Carried(carried) => {
                let Some(place) = self.slots.get(carried.wake.slot as usize) else { return };
                let tenant = {
                    let place = lock(place);
                    place.tenant.clone().filter(|_| place.client == carried.wake.client)
                };
                if let Some(tenant) = tenant {
                    tenant.request(carried);
                }
            }
        }
    }

    /// Wakes those whose sockets hung up.
    pub(super) fn hear_hangups(&self) -> io::Result<()> {
        let mut events = Vec::with_capacity(BATCH);
        let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            events.clear();
            epoll::wait(&self.hangups, spare_capacity(&mut events), Some(&at_once))?;
            for event in &events {
                if let Ok(slot) = u32::try_from(event.data.u64()) {
                    self.wake(slot);
                }
            }
            if events.len() < BATCH {
                return Ok(());
            }
        }
    }

    /// Counts what was carried of a pair since the last time, and tells its tenant.
    fn tell(&self, slot: u32) {
        let (tenant, more) = {
            let mut place = self.slot(slot);
            // Whoever has left it, and was counted.
            if place.client == 0 {
                return;
            }
            let pairs = &self.program.pairs;
            let now = Tally {
                up: pairs.read(slot, Number::Up),
                down: pairs.read(slot, Number::Down),
                requests: pairs.read(slot, Number::Requests),
                answered: pairs.answered(slot),
            };
            let more = now.since(&place.told);
            if more == Tally::NONE {
                return;
            }
            place.told = now;
            self.counts.carried(place.kind, &more);
            (place.tenant.clone(), more)
        };
        if let Some(tenant) = tenant.filter(|_| more.requests > 0 || more.totals().requests() > 0) {
            tenant.carried(&more);
        }
    }

    /// Looks at all parked pairs: their tenants learn what was carried, and say whether they go on.
    fn sweep(&self) {
        self.forget_ways();
        self.forget_late();
        if self.is_idle() {
            return;
        }
        let now = now();
        for slot in 0..self.program.pairs.count() {
            let phase = self.program.pairs.load(slot).phase();
            if phase == Phase::Free {
                continue;
            }
            self.tell(slot);
            // Who is not parked has no tenant here.
            let Some(tenant) = self.slot(slot).tenant.clone() else { continue };
            if self.loses_too_much(slot, tenant.max_loss()) {
                self.recall(slot);
            }
            let quiet = now.saturating_sub(self.program.pairs.read(slot, Number::Last));
            let quiet = Duration::from_nanos(quiet);
            match phase {
                // The event that told of it may have found no room.
                Phase::Open if tunnel::is_over(&self.program.pairs.streams(slot)) => self.wake(slot),
                Phase::Idle | Phase::Open | Phase::Armed | Phase::Ajar if tenant.goes_on(quiet) => {}
                Phase::Busy | Phase::Body if tenant.is_patient(quiet) => {}
                Phase::Idle | Phase::Open | Phase::Armed | Phase::Ajar => drop(self.recall(slot)),
                Phase::Busy => {
                    self.step(slot, Step::Answer);
                    self.wake(slot);
                }
                Phase::Body => {
                    self.step(slot, Step::Break);
                    self.wake(slot);
                }
                // As above.
                _ => self.wake(slot),
            }
        }
    }

    /// What of a pair's data has gone on, and what of it had gone before.
    fn lost(&self, slot: u32) -> [u64; 2] {
        [Number::Sent, Number::Again].map(|number| self.program.pairs.read(slot, number))
    }

    /// Looks how much that pair has lost lately; whether it is more than so many percent.
    fn loses_too_much(&self, slot: u32, most: u32) -> bool {
        let lost = self.lost(slot);
        self.slot(slot).losses.look(lost, most)
    }

    /// Whether a pair is wanted back for what it loses.
    pub(super) fn is_lossy(&self, slot: u32) -> bool {
        self.slot(slot).losses.are_too_many()
    }

    /// Wants back all pairs that lead to where requests do not go any more.
    fn review(&self) {
        if self.is_idle() {
            return;
        }
        for slot in 0..self.program.pairs.count() {
            let phase = self.program.pairs.load(slot).phase();
            if phase.is_carried() && phase != Phase::Open {
                let tenant = self.slot(slot).tenant.clone();
                if tenant.is_some_and(|tenant| !tenant.is_routed()) {
                    self.recall(slot);
                }
            }
        }
    }

    /// Hears from the kernel, and of each change of the routes, for ever.
    ///
    /// # Errors
    ///
    /// Where the runtime cannot watch the kernel's descriptors.
    pub async fn run(
        self: Arc<Self>,
        mut events: Events,
        mut changed: watch::Receiver<u64>,
    ) -> io::Result<()> {
        let mut messages = events.messages.take().map(Watched::new).transpose()?;
        let arrivals = events.arrivals.take().map(Watched::new).transpose()?;
        let mut events = Watched::new(events)?;
        let hangups = Watched::new(Hangups(self.clone()))?;
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                ready = events.readable_mut() => {
                    let mut ready = ready?;
                    // Cleared first: what comes while the rest is read wakes us anew.
                    ready.clear_ready();
                    while let Some(told) = ready.get_inner_mut().0.take() {
                        self.hear(&told);
                    }
                }
                ready = hangups.readable() => {
                    ready?.clear_ready();
                    self.hear_hangups()?;
                }
                said = said(&mut messages) => said?,
                told = told(arrivals.as_ref()) => {
                    told?;
                    self.program.review_devices();
                }
                Ok(()) = changed.changed() => self.review(),
                _ = second.tick() => self.sweep(),
            }
        }
    }
}

/// Waits until the program has said something, and logs it: for ever, where it says nothing.
async fn said(messages: &mut Option<AsyncFd<Watched<Messages>>>) -> io::Result<()> {
    let Some(messages) = messages else { return std::future::pending().await };
    let mut ready = messages.readable_mut().await?;
    ready.clear_ready();
    ready.get_inner_mut().0.tell();
    Ok(())
}

/// Waits until a device has come or gone: for ever, where that does not matter.
async fn told(arrivals: Option<&AsyncFd<Watched<Arrivals>>>) -> io::Result<()> {
    let Some(arrivals) = arrivals else { return std::future::pending().await };
    let mut ready = arrivals.readable().await?;
    ready.clear_ready();
    ready.get_inner().0.take();
    Ok(())
}

/// The epoll instance of hang-ups, for the runtime's own.
struct Hangups(Arc<Engine>);

impl AsFd for Hangups {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.hangups()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
