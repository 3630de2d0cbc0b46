//! A bad cable between two hosts: a TUN device in each, and a thread that carries packets between them, or does not.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tokio_tun::Tun;

use super::weather::{Direction, Fate, Weather};
use crate::support::netns::{Namespace, ends};

/// Longest packet that a device hands over, in bytes.
const PACKET: usize = 64 << 10;

/// Packets that are taken from a device before others have their turn.
const TURN: usize = 32;

/// What it did, both ways together.
#[derive(Debug, Default)]
struct Counts {
    carried: AtomicU64,
    lost: AtomicU64,
    damaged: AtomicU64,
    doubled: AtomicU64,
    overtaken: AtomicU64,
    queued: AtomicU64,
}

/// A cable; it and its devices are gone when this is dropped.
#[derive(Debug)]
pub(super) struct Cable {
    counts: Arc<Counts>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Cable {
    /// One between these, of this weather both ways, whose devices take packets of so many bytes; gives the addresses
    /// of its ends, too, which have others of IPv6 ([`v6`](crate::support::netns::v6)).
    pub(super) fn between(
        hosts: [&Namespace; 2],
        weather: Weather,
        mtu: i32,
        seed: u64,
    ) -> (Self, [IpAddr; 2]) {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ends = ends();
        let mut tuns = Vec::new();
        for (host, (name, address)) in hosts.into_iter().zip(&ends) {
            tuns.push(host.enter(|| device(&runtime, name, mtu)));
            host.equip(name, *address);
        }
        let tuns = <[Tun; 2]>::try_from(tuns).unwrap_or_else(|_| unreachable!("there are two ends"));
        let (stop, stopped) = oneshot::channel();
        let counts = Arc::new(Counts::default());
        let ways = [seed, !seed].map(|seed| Direction::new(weather, seed));
        let carrier = Carrier { ways, late: BinaryHeap::new(), count: 0, counts: counts.clone() };
        let thread = std::thread::spawn(move || runtime.block_on(carrier.run(&tuns, stopped)));
        let cable = Self { counts, stop: Some(stop), thread: Some(thread) };
        (cable, ends.map(|(_, address)| address.into()))
    }

    /// Panics where it has done nothing of what that weather is made of: then a test of it was about nothing.
    pub(super) fn assert_was(&self, weather: Weather) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { carried, lost, damaged, doubled, overtaken, queued } = &*self.counts;
        let Weather { lost: loss, damaged: damage, doubled: doubling, overtaken: overtaking, rate, .. } =
            weather;
        let is =
            [(lost, loss), (damaged, damage), (doubled, doubling), (overtaken, overtaking), (queued, rate)];
        // Where something is lost, there are so many that chance spares all of them once in a million times.
        assert!(count(carried) > 300, "{:?}", self.counts);
        for (number, share) in is {
            assert!(share == 0 || count(number) > 0, "{:?} in {weather:?}", self.counts);
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Where it has panicked, that is told already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Makes a device where this thread is.
fn device(runtime: &Runtime, name: &str, mtu: i32) -> Tun {
    let _within = runtime.enter();
    let mut tuns = Tun::builder().name(name).mtu(mtu).build().expect("a TUN device");
    tuns.pop().expect("it is one")
}

/// A packet that is under way: when it arrives, which one it is, at which end, and its bytes.
type Late = Reverse<(Duration, u64, usize, Vec<u8>)>;

struct Carrier {
    ways: [Direction; 2],
    late: BinaryHeap<Late>,
    count: u64,
    counts: Arc<Counts>,
}

impl Carrier {
    async fn run(mut self, tuns: &[Tun; 2], mut stopped: oneshot::Receiver<()>) {
        let begun = Instant::now();
        let mut buffers = [vec![0; PACKET], vec![0; PACKET]];
        loop {
            let due = self.late.peek().map(|Reverse((due, ..))| begun + *due);
            let [one, other] = &mut buffers;
            let came = tokio::select! {
                _ = &mut stopped => return,
                count = tuns[0].recv(one) => Some((0, count)),
                count = tuns[1].recv(other) => Some((1, count)),
                () = sleep_until(due.unwrap_or(begun)), if due.is_some() => None,
            };
            if let Some((from, count)) = came {
                let mut count = count.expect("a packet");
                for _ in 0..TURN {
                    self.take(begun.elapsed(), from, &buffers[from][..count]);
                    let Ok(next) = tuns[from].try_recv(&mut buffers[from]) else { break };
                    count = next;
                }
            }
            self.deliver(begun.elapsed(), tuns);
        }
    }

    fn take(&mut self, now: Duration, from: usize, packet: &[u8]) {
        let Fate { first, copy, is_overtaken, damage, is_queued } = self.ways[from].fate(now, packet.len());
        let counts = &self.counts;
        let count = if first.is_some() { &counts.carried } else { &counts.lost };
        count.fetch_add(1, Ordering::Relaxed);
        counts.doubled.fetch_add(copy.is_some().into(), Ordering::Relaxed);
        counts.overtaken.fetch_add(is_overtaken.into(), Ordering::Relaxed);
        counts.queued.fetch_add(is_queued.into(), Ordering::Relaxed);
        let mut packet = packet.to_vec();
        if let Some(bit) = damage {
            counts.damaged.fetch_add(1, Ordering::Relaxed);
            let bit = usize::try_from(bit).unwrap_or_default() % (8 * packet.len());
            packet[bit / 8] ^= 1 << (bit % 8);
        }
        for due in [first, copy].into_iter().flatten() {
            self.count += 1;
            self.late.push(Reverse((due, self.count, from ^ 1, packet.clone())));
        }
    }

    /// Writes what has arrived.
    fn deliver(&mut self, now: Duration, tuns: &[Tun; 2]) {
        while self.late.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            let Some(Reverse((_, _, to, packet))) = self.late.pop() else { return };
            // A host that is about to go takes none any more.
            let _ = tuns[to].try_send(&packet);
        }
    }
}
