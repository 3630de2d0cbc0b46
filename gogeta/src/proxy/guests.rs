//! Who is connected: how many in all, on each worker, and from each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts connections, and bounds them.
#[derive(Debug)]
pub struct Guests {
    places: Arc<Semaphore>,
    each: usize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    loads: Box<[AtomicUsize]>,
}

/// A place for one connection, taken before it is accepted.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// A connection, for as long as it counts.
#[derive(Debug)]
pub struct Guest {
    guests: Arc<Guests>,
    worker: usize,
    address: Option<IpAddr>,
    _place: Place,
}

impl Guests {
    /// Room for so many connections in all, and so many from each address, on so many workers.
    pub fn new(workers: usize, all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
            each,
            addresses: Mutex::default(),
            loads: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
        })
    }

    /// Waits for a place; none when there will be no more.
    pub async fn place(&self) -> Option<Place> {
        self.places.clone().acquire_owned().await.ok().map(|permit| Place { _permit: permit })
    }

    /// A place at once, if there is one.
    pub fn place_now(&self) -> Option<Place> {
        self.places.clone().try_acquire_owned().ok().map(|permit| Place { _permit: permit })
    }

    /// Counts a connection to a worker; none if there are enough from its address. Of whom `address` says nothing
    /// (a trusted proxy, which speaks for many) there may be any number.
    pub fn admit(self: &Arc<Self>, place: Place, worker: usize, address: Option<IpAddr>) -> Option<Guest> {
        if let Some(address) = address {
            let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            let count = addresses.entry(address).or_default();
            if *count >= self.each {
                return None;
            }
            *count += 1;
        }
        self.loads[worker].fetch_add(1, Ordering::AcqRel);
        Some(Guest { guests: self.clone(), worker, address, _place: place })
    }

    /// Connections of a worker.
    pub fn of_worker(&self, worker: usize) -> usize {
        self.loads[worker].load(Ordering::Acquire)
    }

    /// Connections of all workers.
    pub fn count(&self) -> usize {
        self.loads.iter().map(|load| load.load(Ordering::Relaxed)).sum()
    }

    /// The worker with the fewest connections, if it has clearly fewer than this one. Handing over costs a
    /// wake-up, so a small difference on a busy worker stays.
    pub fn idler_than(&self, worker: usize) -> Option<usize> {
        let mine = self.loads[worker].load(Ordering::Relaxed);
        let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed));
        let (index, least) = loads.enumerate().min_by_key(|(_, load)| *load)?;
        (mine > least && mine - least > mine / 16).then_some(index)
    }
}

impl Guest {
    /// Moves to another worker.
    pub fn moved_to(mut self, worker: usize) -> Self {
        self.guests.loads[worker].fetch_add(1, Ordering::AcqRel);
        self.guests.loads[self.worker].fetch_sub(1, Ordering::AcqRel);
        self.worker = worker;
        self
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.loads[self.worker].fetch_sub(1, Ordering::AcqRel);
        let Some(address) = self.address else { return };
        let mut addresses = self.guests.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn both_bounds_hold_and_places_come_back() {
        let guests = Guests::new(1, 3, 2);
        let come = |last| guests.place_now().and_then(|place| guests.admit(place, 0, address(last)));
        let (first, second) = (come(1), come(1));
        assert!(first.is_some() && second.is_some());
        assert!(come(1).is_none(), "two from one address");
        let third = come(2);
        assert!(third.is_some(), "the place of who was turned away is free");
        assert!(guests.place_now().is_none(), "three in all");
        drop(first);
        assert!(come(1).is_some());
        drop((second, third));
        assert_eq!(guests.count(), 0);
        assert!(guests.addresses.lock().expect("nobody panicked").is_empty());
    }

    #[test]
    fn whoever_speaks_for_many_may_come_often() {
        let guests = Guests::new(1, 10, 1);
        let all: Vec<_> = (0..5).filter_map(|_| guests.admit(guests.place_now()?, 0, None)).collect();
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn connections_are_spread() {
        let guests = Guests::new(2, 100, 100);
        let mut all = Vec::new();
        for _ in 0..10 {
            let guest = guests
                .place_now()
                .and_then(|place| guests.admit(place, 0, address(1)))
                .expect("there is room");
            all.push(match guests.idler_than(0) {
                Some(other) => guest.moved_to(other),
                None => guest,
            });
        }
        assert!(guests.of_worker(0).abs_diff(guests.of_worker(1)) <= 1);
    }
}
