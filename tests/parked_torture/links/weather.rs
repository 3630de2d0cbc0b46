//! What a bad cable does to the packets of one direction: a seed and a packet's number tell its fate, and nothing else
//! does but, where a rate is limited, what came before.

use std::time::Duration;

use crate::support::random::Random;

/// Bytes that wait at most where the rate is limited; what comes besides is lost, as at a router.
const QUEUE: u64 = 64 << 10;

/// How much later a packet comes at most that others overtake.
const OVERTAKEN: Duration = Duration::from_millis(12);

/// How bad it is.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Weather {
    /// Of a thousand packets so many are lost.
    pub(super) lost: u64,
    /// So many come with a bit that is not as it was sent.
    pub(super) damaged: u64,
    /// So many come twice.
    pub(super) doubled: u64,
    /// So many are overtaken by those behind them.
    pub(super) overtaken: u64,
    /// How long a packet is under way at least.
    pub(super) delay: Duration,
    /// How much longer that takes at most.
    pub(super) jitter: Duration,
    /// Bytes in a second; 0 for as many as may be.
    pub(super) rate: u64,
}

/// When a packet and its copy arrive, as long after the beginning as that is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) first: Option<Duration>,
    pub(super) copy: Option<Duration>,
    pub(super) is_overtaken: bool,
    /// Which bit of it is changed, counted round and round.
    pub(super) damage: Option<u64>,
    /// Whether it waits for others that go before.
    pub(super) is_queued: bool,
}

/// One direction of a cable.
#[derive(Debug, Clone)]
pub(super) struct Direction {
    weather: Weather,
    random: Random,
    /// When it has sent what waits.
    free: Duration,
    /// When the last packet arrives that stays in its place.
    last: Duration,
}

impl Direction {
    pub(super) fn new(weather: Weather, seed: u64) -> Self {
        Self { weather, random: Random(seed), free: Duration::ZERO, last: Duration::ZERO }
    }

    /// What becomes of the next packet, of so many bytes, that comes so long after the beginning.
    pub(super) fn fate(&mut self, now: Duration, bytes: usize) -> Fate {
        let Weather { lost, damaged, doubled, overtaken, delay, jitter, rate } = self.weather;
        // Each packet takes as many numbers, whatever becomes of it.
        let [is_lost, is_damaged, bit, is_doubled, is_overtaken, waits, late] =
            [(); 7].map(|()| self.random.next());
        let happens = |number: u64, share: u64| number % 1000 < share;
        let part = |number: u64, of: Duration| of.mul_f64((number % 1024) as f64 / 1024.0);
        if happens(is_lost, lost) {
            return Fate::default();
        }
        let (mut leaves, mut is_queued) = (now, false);
        if rate > 0 {
            let time = |bytes: u64| Duration::from_secs_f64(bytes as f64 / rate as f64);
            leaves = self.free.max(now);
            is_queued = leaves > now;
            if leaves - now > time(QUEUE) {
                return Fate::default();
            }
            leaves += time(bytes as u64);
            self.free = leaves;
        }
        let arrives = leaves + delay + part(waits, jitter);
        let is_overtaken = happens(is_overtaken, overtaken);
        let first = if is_overtaken {
            arrives + Duration::from_millis(1) + part(late, OVERTAKEN)
        } else {
            self.last = self.last.max(arrives);
            self.last
        };
        let copy = happens(is_doubled, doubled).then(|| first + part(late, OVERTAKEN));
        let damage = happens(is_damaged, damaged).then_some(bit);
        Fate { first: Some(first), copy, is_overtaken, damage, is_queued }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Weather = Weather {
        lost: 30,
        damaged: 40,
        doubled: 10,
        overtaken: 20,
        delay: Duration::from_millis(50),
        jitter: Duration::from_millis(10),
        rate: 0,
    };

    fn fates(weather: Weather, seed: u64, every: Duration) -> Vec<(Duration, Fate)> {
        let mut direction = Direction::new(weather, seed);
        (0..10_000_u32).map(|number| (every * number, direction.fate(every * number, 1000))).collect()
    }

    #[test]
    fn a_seed_tells_the_fate_of_each_packet() {
        let every = Duration::from_millis(1);
        assert_eq!(fates(BAD, 7, every), fates(BAD, 7, every));
        assert_ne!(fates(BAD, 7, every), fates(BAD, 8, every));
    }

    #[test]
    fn so_many_are_lost_damaged_doubled_and_overtaken_as_it_says_and_the_others_stay_in_order() {
        let fates = fates(BAD, 1, Duration::from_millis(1));
        let count = |is: fn(&Fate) -> bool| fates.iter().filter(|(_, fate)| is(fate)).count();
        assert!((250..350).contains(&count(|fate| fate.first.is_none())));
        assert!((330..450).contains(&count(|fate| fate.damage.is_some())));
        assert!((70..130).contains(&count(|fate| fate.copy.is_some())));
        assert!((150..250).contains(&count(|fate| fate.is_overtaken)));
        let mut last = Duration::ZERO;
        for (sent, fate) in fates {
            let Some(first) = fate.first else { continue };
            let most = BAD.delay + BAD.jitter + OVERTAKEN + Duration::from_millis(1);
            assert!(first >= sent + BAD.delay && first <= sent + most);
            if !fate.is_overtaken {
                assert!(first >= last);
                last = first;
            }
        }
    }

    #[test]
    fn where_the_rate_is_limited_packets_wait_and_those_that_find_no_room_are_lost() {
        let slow = Weather { rate: 1_000_000, ..Weather::default() };
        // Twice as many as it carries.
        let fates = fates(slow, 1, Duration::from_micros(500));
        let arrived: Vec<_> = fates.iter().filter_map(|(_, fate)| fate.first).collect();
        let took = arrived[arrived.len() - 1].as_secs_f64();
        assert!(
            (arrived.len() as f64 * 1000.0 / took / 1e6 - 1.0).abs() < 0.01,
            "{} in {took} s",
            arrived.len()
        );
        assert!(arrived.len() < 6000);
        let longest = fates.iter().filter_map(|(sent, fate)| Some(fate.first? - *sent)).max();
        assert!(longest.is_some_and(|longest| (65..70).contains(&longest.as_millis())), "{longest:?}");
    }
}
