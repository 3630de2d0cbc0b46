//! Which instance gets the next request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::routes::model::{Instance, Service, Upstream};
use crate::status::State;

/// What a service offers to a request.
#[derive(Debug)]
pub enum Pick<'a> {
    /// An instance that takes requests, and where it listens.
    Instance(&'a Arc<Instance>, &'a Arc<Upstream>),
    /// None does: the state to show a page for, and the instance that it belongs to.
    Page(State, Option<&'a Arc<Instance>>),
}

/// The next started instance, round robin; or the best that can be said where none is started. `now` is in
/// milliseconds: an instance that rests is left out, unless all do.
pub fn pick(service: &Service, now: u64) -> Pick<'_> {
    let turn = if service.ring.is_empty() { 0 } else { service.cursor.fetch_add(1, Ordering::Relaxed) };
    offer(service, from(service, turn, None, |upstream| upstream.rest.lets_through(now)))
}

/// What [`pick`] would give; takes nobody's turn, and ends nobody's rest.
pub fn peek(service: &Service, now: u64) -> Pick<'_> {
    let turn = service.cursor.load(Ordering::Relaxed);
    offer(service, from(service, turn, None, |upstream| upstream.rest.left(now).is_none()))
}

fn offer<'a>(service: &'a Service, found: Option<(&'a Arc<Instance>, &'a Arc<Upstream>)>) -> Pick<'a> {
    match found {
        Some((instance, upstream)) => Pick::Instance(instance, upstream),
        None => {
            let (state, instance) = best(service);
            Pick::Page(state, instance)
        }
    }
}

/// The next started instance other than `failed`, for a retry. It takes nobody's turn: if it did, every first try
/// of two instances would go to the failed one.
pub fn pick_other<'a>(
    service: &'a Service,
    failed: &Upstream,
    now: u64,
) -> Option<(&'a Arc<Instance>, &'a Arc<Upstream>)> {
    let turn = service.cursor.load(Ordering::Relaxed);
    from(service, turn, Some(failed), |upstream| upstream.rest.lets_through(now))
}

/// Whether requests of this service go there, among others.
pub fn goes_to(service: &Service, upstream: &Upstream) -> bool {
    let instances = service.ring.iter().map(|turn| &service.instances[usize::from(*turn)]);
    instances.filter_map(|instance| instance.upstream.as_ref()).any(|theirs| theirs.id == upstream.id)
}

/// The first instance from a turn on that is not the one to avoid. The turns of those that rest, and so do not let
/// through, fall to whoever is next; where nobody else is left, it is better to ask than not to.
fn from<'a>(
    service: &'a Service,
    turn: usize,
    avoid: Option<&Upstream>,
    lets_through: impl Fn(&Upstream) -> bool,
) -> Option<(&'a Arc<Instance>, &'a Arc<Upstream>)> {
    let candidates = || {
        let turns = (0..service.ring.len()).map(|offset| turn.wrapping_add(offset) % service.ring.len());
        let instances = turns.map(|turn| &service.instances[usize::from(service.ring[turn])]);
        instances
            .filter_map(|instance| Some((instance, instance.upstream.as_ref()?)))
            .filter(|(_, upstream)| avoid.is_none_or(|avoid| avoid.id != upstream.id))
    };
    candidates().find(|(_, upstream)| lets_through(upstream)).or_else(|| candidates().next())
}

/// The state that a service is in, as a visitor would see it; takes nobody's turn.
pub fn pick_state(service: &Service) -> State {
    if service.ring.is_empty() { best(service).0 } else { State::Started }
}

/// The best that can be said of a service none of whose instances takes requests.
fn best(service: &Service) -> (State, Option<&Arc<Instance>>) {
    // A started instance without a location, or with no weight, cannot be said to be up; one that is drained is kept
    // from requests on purpose, as a stopped one is.
    let shown = |instance: &Instance| match instance.state {
        State::Started if instance.drained => State::Stopped,
        State::Started => State::Error,
        state => state,
    };
    match service.instances.iter().max_by_key(|instance| shown(instance)) {
        Some(instance) => (shown(instance), Some(instance)),
        None => (State::Error, None),
    }
}

/// The order in which requests go round: each started instance as often as its weight says, spread evenly
/// (the smooth weighted round robin that nginx uses).
pub fn ring(instances: &[Arc<Instance>]) -> Box<[u16]> {
    let mut candidates: Vec<Candidate> = instances
        .iter()
        .enumerate()
        .filter(|(_, instance)| {
            instance.state == State::Started && instance.upstream.is_some() && !instance.drained
        })
        .filter_map(|(at, instance)| {
            let weight = i64::from(instance.weight());
            (weight > 0).then_some(Candidate { at: u16::try_from(at).ok()?, weight, current: 0 })
        })
        .collect();
    let shared = candidates.iter().fold(0, |divisor, candidate| gcd(divisor, candidate.weight)).max(1);
    for candidate in &mut candidates {
        candidate.weight /= shared;
    }
    let total: i64 = candidates.iter().map(|candidate| candidate.weight).sum();
    if total == i64::try_from(candidates.len()).unwrap_or(i64::MAX) {
        return candidates.iter().map(|candidate| candidate.at).collect();
    }
    (0..total)
        .filter_map(|_| {
            for candidate in &mut candidates {
                candidate.current += candidate.weight;
            }
            // The first of the greatest, so that the order is that of the indexes.
            let chosen = candidates.iter_mut().rev().max_by_key(|candidate| candidate.current)?;
            chosen.current -= total;
            Some(chosen.at)
        })
        .collect()
}

struct Candidate {
    at: u16,
    weight: i64,
    current: i64,
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::model::{InstanceConfig, Location};
    use crate::status::Status;

    fn instance(index: &str, state: State, located: bool, weight: u8) -> Arc<Instance> {
        let location = Location { host: "127.0.0.1".into(), port: 1 };
        Arc::new(Instance {
            service: "s".into(),
            index: index.into(),
            upstream: located.then(|| Upstream::new(location, None)),
            status: Status::default(),
            state,
            config: InstanceConfig { weight: Some(weight), ..InstanceConfig::default() },
            drained: false,
            activity: Arc::default(),
        })
    }

    fn service(instances: Vec<Arc<Instance>>) -> Service {
        let ring = ring(&instances);
        Service { name: "s".into(), instances, ring, cursor: Arc::default(), series: Arc::default() }
    }

    fn turns(service: &Service, count: usize) -> String {
        let index = |_| match pick(service, 1) {
            Pick::Instance(instance, _) => instance.index.to_string(),
            Pick::Page(state, _) => format!("({})", state.as_str()),
        };
        (0..count).map(index).collect()
    }

    #[test]
    fn another_instance_is_found_while_others_take_turns() {
        let service =
            service(vec![instance("1", State::Started, true, 1), instance("2", State::Started, true, 1)]);
        let failed = service.instances[0].upstream.clone().expect("a location");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..100_000 {
                        pick(&service, 1);
                        assert!(pick_other(&service, &failed, 1).is_some());
                    }
                });
            }
        });
    }

    #[test]
    fn started_instances_take_turns() {
        let service = service(vec![
            instance("1", State::Started, true, 1),
            instance("2", State::Stopped, true, 1),
            instance("3", State::Started, true, 1),
            instance("4", State::Started, false, 1),
        ]);
        assert_eq!(turns(&service, 5), "13131");
    }

    #[test]
    fn weights_are_spread_evenly() {
        let with = |a, b, c| {
            service(vec![
                instance("a", State::Started, true, a),
                instance("b", State::Started, true, b),
                instance("c", State::Started, true, c),
            ])
        };
        assert_eq!(turns(&with(5, 1, 1), 7), "aabacaa");
        assert_eq!(turns(&with(10, 10, 10), 6), "abcabc");
        assert_eq!(turns(&with(0, 2, 1), 6), "bcbbcb");
        assert_eq!(turns(&with(0, 0, 0), 1), "(error)");
    }

    #[test]
    fn the_page_is_that_of_the_best_instance() {
        let rows = [
            (vec![State::Starting, State::Passivated, State::Stopped, State::Error], State::Starting),
            (vec![State::Error, State::Stopped, State::Passivated], State::Passivated),
            (vec![State::Error, State::Stopped], State::Stopped),
            (vec![State::Error], State::Error),
            (vec![], State::Error),
        ];
        for (states, shown) in rows {
            let instances = states.iter().map(|state| instance("1", *state, true, 1)).collect();
            let service = service(instances);
            assert!(matches!(pick(&service, 1), Pick::Page(state, _) if state == shown), "{states:?}");
        }
        // Started, but nowhere: no better than an error, and worse than one that can be woken.
        let nowhere = service(vec![
            instance("1", State::Started, false, 1),
            instance("2", State::Passivated, false, 1),
        ]);
        assert!(
            matches!(pick(&nowhere, 1), Pick::Page(State::Passivated, Some(found)) if &*found.index == "2")
        );
    }

    #[test]
    fn a_retry_goes_elsewhere() {
        let two =
            service(vec![instance("1", State::Started, true, 1), instance("2", State::Started, true, 1)]);
        let Pick::Instance(_, first) = pick(&two, 1) else { panic!("one is started") };
        let (other, _) = pick_other(&two, first, 1).expect("there are two");
        assert_eq!(&*other.index, "2");
        assert_eq!(turns(&two, 3), "212", "and takes nobody's turn");
        let one = service(vec![instance("1", State::Started, true, 1)]);
        let Pick::Instance(_, only) = pick(&one, 1) else { panic!("one is started") };
        assert!(pick_other(&one, only, 1).is_none());
    }

    #[test]
    fn who_rests_is_left_out_while_another_can_take_it() {
        let started = |index| instance(index, State::Started, true, 1);
        let three = service(vec![started("1"), started("2"), started("3")]);
        let upstream = |at: usize| three.instances[at].upstream.clone().expect("a location");
        let at = |now, count| -> String {
            let index = |_| match pick(&three, now) {
                Pick::Instance(instance, _) => instance.index.to_string(),
                Pick::Page(..) => "-".to_owned(),
            };
            (0..count).map(index).collect()
        };
        let peeked = |now| matches!(peek(&three, now), Pick::Instance(next, _) if &*next.index == "1");
        assert!(peeked(1) && peeked(1), "a look takes nobody's turn");
        assert_eq!(at(1, 3), "123");
        assert!(upstream(0).rest.begin(1));
        assert_eq!(at(1000, 6), "223223", "its turns fall to the next");
        assert!(!peeked(1000) && peeked(1001) && peeked(1001), "a look ends nobody's rest");
        assert_eq!(pick_other(&three, &upstream(1), 1000).map(|(other, _)| &*other.index), Some("3"));
        assert_eq!(at(1001, 6), "123223", "one request tries it when its rest has passed");
        upstream(0).rest.end();
        assert_eq!(at(1001, 3), "123", "it is back");
        // Where all rest, all are asked in turn.
        for at in 0..3 {
            assert!(upstream(at).rest.begin(2000));
        }
        assert_eq!(at(2000, 6), "123123");
        assert_eq!(pick_other(&three, &upstream(0), 2000).map(|(other, _)| &*other.index), Some("2"));
    }
}
