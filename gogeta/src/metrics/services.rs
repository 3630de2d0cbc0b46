//! What is counted of each service, as long as there are not too many of them.
//!
//! A service gets a place when it comes, or with its first request, and each worker has cells of its own for each
//! place: a request writes to no memory that another worker writes to. Those for whom no place is left share one. A
//! place is given up when its service is gone and the last of its requests is answered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gogeta_common::latency::{self, CLASSES};

use super::WorkerMetrics;
use crate::routes::model::{Service, ServiceName};
use crate::routes::series::{Seat, Series};

/// What services are counted under that have no place of their own.
pub const OTHER: &str = "other";
/// Its place.
const OTHERS: u32 = 0;

/// Requests of a service, or of all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Requests answered, by the first digit of their status, from 1 to 5.
    pub codes: [u64; 5],
    /// Those that an instance did not answer, or not whole.
    pub failed: u64,
    /// How long they took in all, in microseconds.
    pub micros: u64,
    /// How many fell into each class of [`latency::BOUNDS`].
    pub classes: [u64; CLASSES],
    /// Requests that userspace is at now.
    pub open: u64,
}

impl Totals {
    /// All requests answered.
    pub fn requests(&self) -> u64 {
        self.codes.iter().sum()
    }

    /// Those answered with a status from 500 on.
    pub fn errors(&self) -> u64 {
        self.codes[4]
    }

    /// What came since `before`. Nothing is less than zero, should the counters have begun anew.
    pub fn since(&self, before: &Self) -> Self {
        let mut since = *self;
        since.each(before, u64::saturating_sub);
        since.open = self.open;
        since
    }

    /// A quantile (from 0 to 1) of the durations, in seconds, as Prometheus computes it of a histogram; none where
    /// there are none.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let all: u64 = self.classes.iter().sum();
        let rank = quantile * all as f64;
        let mut below = 0;
        let mut from = 0.0;
        for (count, bound) in self.classes.iter().zip(latency::BOUNDS) {
            let to = bound as f64 / 1e9;
            if *count > 0 && (below + count) as f64 >= rank {
                return Some(from + (to - from) * ((rank - below as f64) / *count as f64).clamp(0.0, 1.0));
            }
            below += count;
            from = to;
        }
        // Above the last bound nobody knows.
        (all > 0).then_some(from)
    }

    /// Adds others to them.
    pub fn add(&mut self, other: &Self) {
        self.each(other, u64::wrapping_add);
    }

    fn each(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        let theirs = other.codes.iter().chain(&other.classes);
        for (cell, theirs) in self.codes.iter_mut().chain(&mut self.classes).zip(theirs) {
            *cell = with(*cell, *theirs);
        }
        self.failed = with(self.failed, other.failed);
        self.micros = with(self.micros, other.micros);
        self.open = with(self.open, other.open);
    }
}

/// One worker's counters of one service.
#[derive(Debug, Default)]
pub(super) struct Cells {
    begun: AtomicU64,
    codes: [AtomicU64; 5],
    failed: AtomicU64,
    micros: AtomicU64,
    classes: [AtomicU64; CLASSES],
}

impl Cells {
    /// A request began.
    pub(super) fn begin(&self) {
        super::add(&self.begun, 1);
    }

    /// A request that began was another one's.
    pub(super) fn take_back(&self) {
        super::add(&self.begun, u64::MAX);
    }

    /// A request was answered, in a time of that class.
    pub(super) fn end(&self, status: u16, failed: bool, (class, micros): (usize, u64)) {
        super::add(&self.codes[usize::from(status / 100).clamp(1, 5) - 1], 1);
        super::add(&self.classes[class], 1);
        super::add(&self.micros, micros);
        if failed {
            super::add(&self.failed, 1);
        }
    }

    /// Requests were answered elsewhere; any thread may say so.
    fn carried(&self, more: &Totals) {
        let pairs = self.codes.iter().zip(more.codes).chain(self.classes.iter().zip(more.classes));
        for (cell, count) in pairs.chain([(&self.micros, more.micros), (&self.begun, more.requests())]) {
            if count > 0 {
                cell.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    fn totals(&self) -> Totals {
        // The end before the beginning: a request that comes and goes meanwhile is rather open than less than none.
        let codes = self.codes.each_ref().map(|cell| cell.load(Ordering::Acquire));
        let begun = self.begun.load(Ordering::Relaxed);
        Totals {
            codes,
            failed: self.failed.load(Ordering::Relaxed),
            micros: self.micros.load(Ordering::Relaxed),
            classes: self.classes.each_ref().map(|cell| cell.load(Ordering::Relaxed)),
            open: begun.saturating_sub(codes.iter().sum()),
        }
    }
}

/// The places, and what the kernel carried for each.
#[derive(Debug)]
pub(super) struct Services {
    most: usize,
    taken: Mutex<Taken>,
    /// Goes on when a place is given up: whoever was denied one may ask again.
    round: AtomicU32,
    /// The cells of what no worker has served.
    kernel: Box<[Cells]>,
}

#[derive(Debug, Default)]
struct Taken {
    places: Vec<Option<Place>>,
    of: HashMap<ServiceName, u32>,
    /// Those that were given up, and what was left there.
    free: Vec<(u32, Totals)>,
}

#[derive(Debug)]
struct Place {
    name: ServiceName,
    series: Arc<Series>,
    /// What whoever had the place before left there.
    before: Totals,
}

impl Services {
    /// Places for so many services; none at all where services are not counted.
    pub(super) fn new(most: Option<usize>) -> Self {
        let places = most.map_or(0, |most| most + 1);
        Self {
            most: most.unwrap_or_default(),
            taken: Mutex::default(),
            round: AtomicU32::new(0),
            kernel: cells(places),
        }
    }

    /// Cells for all of its places.
    pub(super) fn cells(&self) -> Box<[Cells]> {
        cells(self.kernel.len())
    }

    /// A service's place. Only who has none yet asks for the lock.
    pub(super) fn place(&self, service: &Service) -> u32 {
        match service.series.seat() {
            Seat::Place(place) => place,
            Seat::Denied(round) if round == self.round.load(Ordering::Relaxed) => OTHERS,
            Seat::Denied(_) | Seat::Unasked => self.seat(service),
        }
    }

    fn seat(&self, service: &Service) -> u32 {
        let mut taken = self.lock();
        let round = self.round.load(Ordering::Relaxed);
        // "other" is what the others are called.
        let seat = match taken.of.get(&service.name).copied() {
            Some(place) => {
                // It was deleted, and is back.
                if let Some(Some(seated)) = taken.places.get_mut(place as usize - 1) {
                    seated.series = service.series.clone();
                }
                Seat::Place(place)
            }
            None if service.name.as_str() == OTHER => Seat::Denied(round),
            None => taken.take(service, self.most).map_or(Seat::Denied(round), Seat::Place),
        };
        service.series.set(seat);
        match seat {
            Seat::Place(place) => place,
            _ => OTHERS,
        }
    }

    /// Gives a place to a service before its first request, where there is room for all of so many.
    pub(super) fn admit(&self, service: &Service, services: usize) {
        if services <= self.most && service.series.seat() == Seat::Unasked {
            self.seat(service);
        }
    }

    /// The kernel has answered requests of that service.
    pub(super) fn carried(&self, series: &Series, more: &Totals) {
        let place = if let Seat::Place(place) = series.seat() { place } else { OTHERS };
        if let Some(cells) = self.kernel.get(place as usize) {
            cells.carried(more);
        }
    }

    /// What was counted of each service, those without a place of their own last and together; `workers` have a part
    /// of it each.
    pub(super) fn all(&self, workers: &[Arc<WorkerMetrics>]) -> Vec<(ServiceName, Totals)> {
        if self.kernel.is_empty() {
            return Vec::new();
        }
        let mut taken = self.lock();
        self.give_up(&mut taken, workers);
        let seated = taken.places.iter().zip(1..).filter_map(|(place, at)| Some((place.as_ref()?, at)));
        let mut all: Vec<_> = seated
            .map(|(place, at)| (place.name.clone(), self.totals(at, workers).since(&place.before)))
            .collect();
        let others = self.totals(OTHERS as usize, workers);
        if others != Totals::default() {
            all.push((OTHER.into(), others));
        }
        all
    }

    /// What was counted of one service; none where it has no place of its own.
    pub(super) fn one(&self, name: &str, workers: &[Arc<WorkerMetrics>]) -> Option<Totals> {
        let taken = self.lock();
        let at = *taken.of.get(name)? as usize;
        let before = taken.places.get(at - 1)?.as_ref()?.before;
        Some(self.totals(at, workers).since(&before))
    }

    fn totals(&self, at: usize, workers: &[Arc<WorkerMetrics>]) -> Totals {
        let mut totals = self.kernel[at].totals();
        workers.iter().filter_map(|worker| worker.of(at)).for_each(|cells| totals.add(&cells.totals()));
        totals
    }

    /// Takes the places back of services that are in no table any more and have no request open.
    fn give_up(&self, taken: &mut Taken, workers: &[Arc<WorkerMetrics>]) {
        for at in 1..=taken.places.len() {
            let Some(Some(place)) = taken.places.get(at - 1) else { continue };
            if Arc::strong_count(&place.series) > 1 {
                continue;
            }
            let totals = self.totals(at, workers);
            if totals.open > 0 {
                continue;
            }
            if let Some(place) = taken.places[at - 1].take() {
                taken.of.remove(&place.name);
            }
            // Nobody writes there until it is somebody else's.
            taken.free.push((at as u32, totals));
            self.round.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// A place for a service, if one of so many is free.
    fn take(&mut self, service: &Service, most: usize) -> Option<u32> {
        let seated = |before| Place { name: service.name.clone(), series: service.series.clone(), before };
        let at = if let Some((at, before)) = self.free.pop() {
            self.places[at as usize - 1] = Some(seated(before));
            at
        } else if self.places.len() < most {
            self.places.push(Some(seated(Totals::default())));
            self.places.len() as u32
        } else {
            return None;
        };
        self.of.insert(service.name.clone(), at);
        Some(at)
    }
}

fn cells(count: usize) -> Box<[Cells]> {
    (0..count).map(|_| Cells::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        let (instances, ring) = Default::default();
        Service { name: name.into(), instances, ring, cursor: Arc::default(), series: Arc::default() }
    }

    fn counted(services: &Services, workers: &[Arc<WorkerMetrics>]) -> Vec<(String, u64)> {
        let all = services.all(workers).into_iter();
        all.map(|(name, totals)| (name.to_string(), totals.requests())).collect()
    }

    /// A request that is answered at once.
    fn ask(services: &Arc<Services>, worker: &WorkerMetrics, service: &Service) -> u32 {
        let place = services.place(service);
        if let Some(cells) = worker.of(place as usize) {
            cells.begin();
            cells.end(200, false, (0, 10));
        }
        place
    }

    #[test]
    fn who_comes_when_all_places_are_taken_is_one_of_the_others() {
        let services = Arc::new(Services::new(Some(2)));
        let workers = [0, 1].map(|_| Arc::new(WorkerMetrics::new(services.clone())));
        let many: Vec<Service> = (0..1000).map(|at| service(&format!("s{at}"))).collect();
        for service in &many {
            workers.iter().for_each(|worker| _ = ask(&services, worker, service));
        }
        assert_eq!(
            counted(&services, &workers),
            [("s0".to_owned(), 2), ("s1".to_owned(), 2), ("other".to_owned(), 1996)]
        );
        // A service of that very name is one of them.
        ask(&services, &workers[0], &service("other"));
        assert_eq!(counted(&services, &workers)[2].1, 1997);
        assert_eq!(services.one("s1", &workers).map(|totals| totals.requests()), Some(2));
        assert_eq!(services.one("s2", &workers), None);
    }

    #[test]
    fn a_place_is_anothers_when_its_service_is_gone_and_its_requests_are_answered() {
        let services = Arc::new(Services::new(Some(1)));
        let workers = [Arc::new(WorkerMetrics::new(services.clone()))];
        let (old, new) = (service("old"), service("new"));
        let place = ask(&services, &workers[0], &old);
        let cells = workers[0].of(place as usize).expect("a place");
        cells.begin();
        assert_eq!(ask(&services, &workers[0], &new), 0);
        drop(old);
        assert_eq!(counted(&services, &workers), [("old".to_owned(), 1), ("other".to_owned(), 1)]);
        assert_eq!(ask(&services, &workers[0], &new), 0, "a request is open still");
        cells.end(200, false, (0, 10));
        assert_eq!(counted(&services, &workers), [("other".to_owned(), 2)]);
        assert_eq!(ask(&services, &workers[0], &new), place);
        assert_eq!(counted(&services, &workers), [("new".to_owned(), 1), ("other".to_owned(), 2)]);
    }

    #[test]
    fn a_service_that_was_deleted_and_is_back_is_counted_on() {
        let services = Arc::new(Services::new(Some(1)));
        let workers = [Arc::new(WorkerMetrics::new(services.clone()))];
        let first = service("s");
        ask(&services, &workers[0], &first);
        let again = service("s");
        drop(first);
        ask(&services, &workers[0], &again);
        assert_eq!(counted(&services, &workers), [("s".to_owned(), 2)]);
    }

    #[test]
    fn services_that_all_have_room_are_there_before_they_are_asked_for() {
        let services = Arc::new(Services::new(Some(2)));
        let three = ["a", "b", "c"].map(service);
        services.admit(&three[0], 2);
        services.admit(&three[1], 3);
        assert_eq!(counted(&services, &[]), [("a".to_owned(), 0)]);
        let none = Services::new(None);
        none.admit(&three[2], 1);
        assert_eq!(counted(&none, &[]), []);
    }

    #[test]
    fn requests_that_the_kernel_carried_are_its_services() {
        let services = Arc::new(Services::new(Some(1)));
        let (one, two) = (service("one"), service("two"));
        services.place(&one);
        services.place(&two);
        let more = Totals { codes: [0, 3, 0, 0, 1], micros: 7, ..Totals::default() };
        services.carried(&one.series, &more);
        services.carried(&two.series, &more);
        let all = services.all(&[]);
        assert_eq!(all[0].1, more);
        assert_eq!(all[1], (OTHER.into(), more));
    }

    #[test]
    fn quantiles_are_between_their_bounds() {
        let mut totals = Totals::default();
        assert_eq!(totals.quantile(0.5), None);
        // Between 5 and 10 ms, and between 10 and 25.
        (totals.classes[5], totals.classes[6]) = (90, 10);
        let is = |quantile, seconds: f64| {
            let found = totals.quantile(quantile).expect("there are some");
            assert!((found - seconds).abs() < 1e-9, "{quantile}: {found}");
        };
        is(0.9, 0.010);
        is(0.45, 0.0075);
        is(0.95, 0.0175);
        let slow = Totals { classes: std::array::from_fn(|at| u64::from(at == CLASSES - 1)), ..totals };
        assert_eq!(slow.quantile(0.99), Some(30.0), "above the last bound nobody knows");
    }
}
