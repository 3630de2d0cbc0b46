//! The engines' programs in the kernel, with their maps.
//!
//! Nothing is pinned: programs and maps go when their last descriptor is closed, be it by a crash. So do attachments
//! to devices, from Linux 6.6 on (`TCX`); before, a device keeps its filters, which the next gogeta
//! removes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{Array, HashMap, Map, MapData, MapError, RingBuf, SockHash};
use aya::programs::{ProgramError, SchedClassifier, SkSkb, SocketFilter, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfError, EbpfLoader};
use gogeta_common::pair::{Carried, Flow, Wake};
use gogeta_common::wire::pair::{Tuple, Way};
use gogeta_common::{DOOR_PROGRAM, PROBE_PROGRAM, shared, sockmap, wire};

use super::arrivals::Arrivals;
use super::attachments::Attachments;
use super::memory::Pairs;
use super::messages::{self, Messages};

/// The object that `cargo xtask build-ebpf` makes.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../gogeta-ebpf/gogeta-ebpf.o");

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The kernel does not let this process load programs, or does not know what they need.
    #[error("the kernel does not take the program: {}", deepest(&**.0))]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The object is not what this binary was made for.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
    /// Sharing memory with the kernel.
    #[error("cannot map the pairs into memory: {0}")]
    Memory(#[source] io::Error),
    /// There is no device whose packets it sees.
    #[error("cannot attach to network devices: {0}")]
    Devices(#[source] io::Error),
    /// The program does not do here what it should.
    #[error("the program failed its trial: {0}")]
    Trial(String),
}

/// An error's first cause, which is the part that says something, behind the error itself.
fn deepest(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        // The verifier's log of a refused program is for developers.
        tracing::debug!("{cause}");
        cause = next;
    }
    let text = cause.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

macro_rules! refused {
    ($($error:ty),*) => {
        $(impl From<$error> for Unavailable {
            fn from(error: $error) -> Self {
                Self::Refused(Box::new(error))
            }
        })*
    };
}
refused!(EbpfError, ProgramError, MapError, aya_log::Error);

/// Which engines are wanted, or there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    /// Bytes go from socket to socket.
    pub sockmap: bool,
    /// Packets go from connection to connection.
    pub wire: bool,
}

/// Ways of sockets beside the parked ones: of all others that might be parked, and of those that are closed and that the
/// kernel may still have. There is memory only for as many as there are.
const OTHERS: u32 = if cfg!(test) { 30 } else { 262_144 };

/// Only where there is one already (`linux/bpf.h`).
const BPF_EXIST: u64 = 2;

/// What becomes of a way.
#[derive(Debug)]
pub enum Change {
    /// Nothing else.
    Leave,
    /// Nothing.
    Forget,
    /// This.
    Lead(Way),
}

/// What aya takes for a map's key.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Key(Tuple);

/// And for its value.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Value(Way);

// SAFETY: integers, with no padding: their sizes are asserted beside them.
unsafe impl aya::Pod for Key {}
// SAFETY: as above.
unsafe impl aya::Pod for Value {}

/// The programs, attached to their map of sockets, and to devices.
pub struct Program {
    sockets: Mutex<SockHash<MapData, u64>>,
    flows: Mutex<HashMap<MapData, u64, u32>>,
    ways: Mutex<HashMap<MapData, Key, Value>>,
    lost: Array<MapData, u64>,
    /// What userspace and kernel share of each pair.
    pub pairs: Pairs,
    /// Holds the programs, and what they are attached to but devices.
    ebpf: Ebpf,
    attachments: Option<Mutex<Attachments>>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Program").field("pairs", &self.pairs).finish_non_exhaustive()
    }
}

impl Program {
    /// Loads it, for so many pairs; `logs` says whether each request is to be told of, `kinds` which engines there are
    /// to be.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], with the kernel's reason.
    pub fn load(pairs: u32, logs: bool, kinds: Kinds) -> Result<(Self, Events), Unavailable> {
        let mut loader = EbpfLoader::new();
        let (logs, done) = (u32::from(logs), done());
        loader
            .override_global(wire::DONE, &done, true)
            .override_global(shared::LOGS, &logs, true)
            .map_max_entries(sockmap::SOCKETS, 2 * pairs)
            .map_max_entries(sockmap::FLOWS, 2 * pairs)
            .map_max_entries(wire::WAYS, 2 * pairs + OTHERS)
            .map_max_entries(shared::PAIRS, pairs);
        let speaks = messages::prepare(&mut loader);
        let mut ebpf = loader.load(OBJECT)?;
        let messages = if speaks { Some(Messages::of(&mut ebpf)?) } else { None };
        let mut take = |name: &'static str| ebpf.take_map(name).ok_or(Unavailable::Missing(name));
        let sockets: SockHash<MapData, u64> = SockHash::try_from(take(sockmap::SOCKETS)?)?;
        let flows: HashMap<MapData, u64, u32> = HashMap::try_from(take(sockmap::FLOWS)?)?;
        let ways = HashMap::try_from(take(wire::WAYS)?)?;
        let lost = Array::try_from(take(shared::LOST)?)?;
        let Map::Array(memory) = take(shared::PAIRS)? else {
            return Err(Unavailable::Missing(shared::PAIRS));
        };
        let events = RingBuf::try_from(take(shared::EVENTS)?)?;
        let pairs = Pairs::map(memory.fd().as_fd(), pairs).map_err(Unavailable::Memory)?;
        // First, for the kernel's reason: it says of a long program that it is too long before it says who may load it.
        let probe: &mut SkSkb =
            ebpf.program_mut(PROBE_PROGRAM).ok_or(Unavailable::Missing(PROBE_PROGRAM))?.try_into()?;
        probe.load()?;
        probe.unload()?;
        if kinds.sockmap {
            let program: &mut SkSkb = ebpf
                .program_mut(sockmap::PROGRAM)
                .ok_or(Unavailable::Missing(sockmap::PROGRAM))?
                .try_into()?;
            program.load()?;
            program.attach(sockets.fd())?;
        }
        let (mut attachments, mut arrivals) = (None, None);
        if kinds.wire {
            // First, so that none is missed.
            arrivals = Some(Arrivals::new().map_err(Unavailable::Devices)?);
            attachments = Some(Mutex::new(Attachments::new(&mut ebpf)?));
        }
        let door: &mut SocketFilter =
            ebpf.program_mut(DOOR_PROGRAM).ok_or(Unavailable::Missing(DOOR_PROGRAM))?.try_into()?;
        door.load()?;
        let (sockets, flows, ways) = (Mutex::new(sockets), Mutex::new(flows), Mutex::new(ways));
        let this = Self { sockets, flows, ways, lost, pairs, ebpf, attachments };
        Ok((this, Events { ring: events, messages, arrivals }))
    }

    /// How many requests no line of the log tells of, for the kernel's buffer was full.
    pub fn lost(&self) -> u64 {
        // The one entry is always there.
        self.lost.get(&0, 0).unwrap_or_default()
    }

    /// Sees to devices that have come or gone.
    pub fn review_devices(&self) {
        if let Some(attachments) = &self.attachments {
            lock(attachments).review();
        }
    }

    /// Keeps new connections out of that listener's queue from now on.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn let_nobody_in(&self, listener: BorrowedFd<'_>) -> io::Result<()> {
        let door = self.ebpf.program(DOOR_PROGRAM).map(<&SocketFilter>::try_from);
        let Some(Ok(door)) = door else { return Err(io::ErrorKind::NotFound.into()) };
        door.attach(listener).map_err(io::Error::other)
    }

    /// Sends a frame through a program of the wire engine's as if it had come by a device: what the program says of it,
    /// and what it has become (`net/bpf/test_run.c`).
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn pass(&self, name: &str, frame: &[u8]) -> io::Result<(u32, Vec<u8>)> {
        let program = self.ebpf.program(name).map(<&SchedClassifier>::try_from);
        let Some(Ok(program)) = program else { return Err(io::ErrorKind::NotFound.into()) };
        // There is room for whatever is added.
        let mut bytes = vec![0; frame.len() + wire::BLOCK_MAX];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut bytes), ..TestRunOptions::new() };
        let outcome = program.test_run(options).map_err(io::Error::other)?;
        bytes.truncate(outcome.data_size_out as usize);
        Ok((outcome.return_value, bytes))
    }

    /// From now on the program sees what comes on this socket, of which the cookie is given.
    ///
    /// # Errors
    ///
    /// The kernel's: most of all where the socket is not established any more.
    pub fn enter(&self, socket: BorrowedFd<'_>, cookie: u64, flow: Flow) -> io::Result<()> {
        lock(&self.flows).insert(cookie, flow.0, 0).map_err(plain)?;
        let entered = lock(&self.sockets).insert(cookie, socket.as_raw_fd(), 0).map_err(plain);
        if entered.is_err() {
            self.forget(cookie);
        }
        entered
    }

    /// From now on the wire engine takes packets between these addresses that way.
    ///
    /// # Errors
    ///
    /// The kernel's: most of all where there are too many.
    pub fn lead(&self, tuple: &Tuple, way: Way) -> io::Result<()> {
        lock(&self.ways).insert(Key(*tuple), Value(way), 0).map_err(plain)
    }

    /// The way of packets between these addresses, where they have one.
    pub fn way(&self, tuple: &Tuple) -> Option<Way> {
        lock(&self.ways).get(&Key(*tuple), 0).ok().map(|value| value.0)
    }

    /// Puts something else in the place of a way that is there, or nothing, or leaves it as it is: nobody of this
    /// process changes it in between.
    pub fn change_way(&self, tuple: &Tuple, change: impl FnOnce(Way) -> Change) {
        let mut ways = lock(&self.ways);
        let Ok(Value(way)) = ways.get(&Key(*tuple), 0) else { return };
        // Where it is not there any more, a connection has begun between the same addresses.
        let _ = match change(way) {
            Change::Leave => Ok(()),
            Change::Forget => ways.remove(&Key(*tuple)),
            Change::Lead(way) => ways.insert(Key(*tuple), Value(way), BPF_EXIST),
        };
    }

    /// From now on packets between these addresses are nothing to the wire engine.
    pub fn forget_way(&self, tuple: &Tuple) {
        // Where it is not there, it is forgotten.
        let _ = lock(&self.ways).remove(&Key(*tuple));
    }

    /// From now on everything that comes on that socket is its own. The socket itself leaves the map when it is
    /// closed: taken out before, it would lose what was passed to it and is not read yet.
    pub fn forget(&self, cookie: u64) {
        // Where it is not there, it is forgotten.
        let _ = lock(&self.flows).remove(&cookie);
    }
}

/// See [`wire::DONE`]: the number of this network namespace, as far as it goes, and one bit besides.
fn done() -> u32 {
    let network = std::fs::metadata("/proc/self/ns/net").map_or(0, |network| network.ino());
    0x8000 | (network & 0x7fff) as u32
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn plain(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        other => io::Error::other(other.to_string()),
    }
}

/// What the program tells.
pub struct Events {
    ring: RingBuf<MapData>,
    /// What it says besides, where `--log` wants to know.
    pub messages: Option<Messages>,
    /// Tells of devices, where that matters.
    pub arrivals: Option<Arrivals>,
}

/// One thing that it told.
#[derive(Debug)]
pub enum Told {
    /// Look at this pair.
    Wake(Wake),
    /// A request was carried.
    Carried(Box<Carried>),
}

impl Events {
    /// The next event, if there is one.
    pub fn take(&mut self) -> Option<Told> {
        loop {
            let item = self.ring.next()?;
            let bytes: &[u8] = &item;
            if let Some(told) = read(bytes) {
                return Some(told);
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Events")
    }
}

/// Both kinds begin alike; the longer one ends with as much of the request's head as there was.
fn read(bytes: &[u8]) -> Option<Told> {
    let wake = memory_of::<Wake>(bytes)?;
    if wake.kind != Carried::KIND {
        return Some(Told::Wake(wake));
    }
    let mut whole = vec![0; size_of::<Carried>()];
    let count = bytes.len().min(whole.len());
    whole[..count].copy_from_slice(&bytes[..count]);
    memory_of::<Carried>(&whole).map(|carried| Told::Carried(Box::new(carried)))
}

/// What these bytes are, as the kernel wrote them.
fn memory_of<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: there are enough bytes, any bytes are a `T` (see `Plain`), and they need not be aligned.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// What consists of integers and nothing between them.
///
/// # Safety
///
/// Each sequence of as many bytes must be a value.
unsafe trait Plain: Copy {}

// SAFETY: integers, with no padding: their sizes are asserted beside them.
unsafe impl Plain for Wake {}
// SAFETY: as above.
unsafe impl Plain for Carried {}
