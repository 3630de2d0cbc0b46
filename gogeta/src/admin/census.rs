//! How many there are of what in a table, and what is wrong there: one look at everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::api::status::{About, Counts, Wrong};
use super::routes::{DomainState, rests, why_service};
use crate::balance::pick_state;
use crate::routes::model::{Instance, Service, Target};
use crate::routes::table::RouteTable;
use crate::status::State;
use crate::store::file::path_of;

/// Of what is wrong, so much is told.
pub(super) const WORST: usize = 10;

/// What a look at a table comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// How many there are of what.
    pub(super) counts: Counts,
    /// What is wrong, the worst first.
    pub(super) worst: Vec<Wrong>,
}

/// The names of some of those that are wrong in one way: the first by name, so that two looks show the same.
#[derive(Default)]
struct Few(BTreeMap<String, String>);

impl Few {
    fn add(&mut self, name: impl AsRef<str>, what: impl FnOnce() -> String) {
        let name = name.as_ref();
        if self.0.len() == WORST {
            match self.0.last_key_value() {
                Some((last, _)) if &**last > name => self.0.pop_last(),
                _ => return,
            };
        }
        self.0.insert(name.to_owned(), what());
    }

    fn into_wrong(self, kind: About) -> impl Iterator<Item = Wrong> {
        self.0.into_iter().map(move |(name, what)| Wrong { kind, name, what })
    }
}

impl Census {
    /// Looks at everything: of 100,000 domains that takes a while.
    pub(super) fn of(table: &RouteTable) -> Self {
        let mut counts = Counts {
            domains: table.domain_count(),
            services: table.service_count(),
            problems: table.problem_count(),
            ..Counts::default()
        };
        let mut lost = Few::default();
        let mut domains: BTreeMap<DomainState, usize> = BTreeMap::new();
        for domain in table.domains() {
            let state = DomainState::of(table, domain);
            *domains.entry(state).or_default() += 1;
            if let (DomainState::Error, Some(Target::Service(name))) = (state, &domain.target)
                && table.service(name.as_str()).is_none()
            {
                lost.add(&domain.host, || format!("it goes to the service {name}, which does not exist"));
            }
        }
        let (mut down, mut failing) = (Few::default(), Few::default());
        let mut services: BTreeMap<State, usize> = BTreeMap::new();
        let mut instances: BTreeMap<State, usize> = BTreeMap::new();
        for service in table.services() {
            let state = pick_state(service);
            *services.entry(state).or_default() += 1;
            if state == State::Error {
                down.add(service.name.as_str(), || why_service(service));
            }
            for instance in &service.instances {
                *instances.entry(instance.state).or_default() += 1;
                counts.instances += 1;
                counts.resting += usize::from(rests(instance));
                counts.drained += usize::from(instance.drained);
                fails(service, instance, &mut failing);
            }
        }
        fn by_name<S>(by_state: BTreeMap<S, usize>, name: fn(S) -> &'static str) -> BTreeMap<String, usize> {
            by_state.into_iter().map(|(state, count)| (name(state).to_owned(), count)).collect()
        }
        counts.domains_by_state = by_name(domains, DomainState::as_str);
        counts.services_by_state = by_name(services, State::as_str);
        counts.instances_by_state = by_name(instances, State::as_str);
        let problem =
            |(key, what): (_, &str)| Wrong { kind: About::Key, name: path_of(key), what: what.to_owned() };
        let worst = down.into_wrong(About::Service).chain(lost.into_wrong(About::Domain));
        let worst = worst.chain(failing.into_wrong(About::Instance));
        let worst = worst.chain(table.problems().take(WORST).map(problem)).take(WORST);
        Self { worst: worst.collect(), counts }
    }
}

fn fails(service: &Service, instance: &Arc<Instance>, failing: &mut Few) {
    let name = || format!("{}/{}", service.name, instance.index);
    if rests(instance) {
        let place = instance.upstream.as_ref().map(|upstream| upstream.location.to_string());
        failing.add(name(), || format!("it cannot be connected to at {}", place.unwrap_or_default()));
    } else if instance.state == State::Error {
        failing.add(name(), || instance.why());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::key::{DomainField, InstanceField, Key};
    use crate::routes::registry::{Change, Registry};

    fn table(domains: &[(&str, &str)], instances: &[(&str, &str, &str)]) -> RouteTable {
        let mut entries = Vec::new();
        for (host, service) in domains {
            let key = |field| Key::Domain { host: (*host).into(), field };
            entries.push((key(DomainField::Type), b"service".to_vec()));
            entries.push((key(DomainField::Value), service.as_bytes().to_vec()));
        }
        for (service, index, current) in instances {
            let key = |field| Key::Instance { service: (*service).into(), index: (*index).into(), field };
            entries.push((key(InstanceField::Location), br#"{"host":"127.0.0.1","port":1}"#.to_vec()));
            if !current.is_empty() {
                entries.push((key(InstanceField::Current), current.as_bytes().to_vec()));
                entries.push((key(InstanceField::Expected), b"started".to_vec()));
                entries.push((key(InstanceField::Alive), b"1".to_vec()));
            }
        }
        let mut registry = Registry::default();
        registry.apply(Change::Snapshot { revision: 1, entries });
        registry.table()
    }

    #[test]
    fn everything_is_counted_by_its_state() {
        let table = table(
            &[("a.test", "web"), ("b.test", "web"), ("c.test", "slow"), ("d.test", "nobody")],
            &[
                ("web", "1", ""),
                ("web", "2", "starting"),
                ("slow", "1", "starting"),
                ("bad", "1", "nonsense"),
            ],
        );
        let Census { counts, worst } = Census::of(&table);
        assert_eq!((counts.domains, counts.services, counts.instances), (4, 3, 4));
        let by = |pairs: &[(&str, usize)]| {
            pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        assert_eq!(counts.domains_by_state, by(&[("error", 1), ("started", 2), ("starting", 1)]));
        assert_eq!(counts.services_by_state, by(&[("error", 1), ("started", 1), ("starting", 1)]));
        assert_eq!(counts.instances_by_state, by(&[("error", 1), ("started", 1), ("starting", 2)]));
        let names: Vec<(About, &str)> = worst.iter().map(|wrong| (wrong.kind, &*wrong.name)).collect();
        let wanted = [
            (About::Service, "bad"),
            (About::Domain, "d.test"),
            (About::Instance, "bad/1"),
            (About::Key, "services.bad.1.status.current"),
        ];
        assert_eq!(names, wanted);
    }

    #[test]
    fn an_instance_that_rests_is_told() {
        let table = table(&[], &[("web", "1", "")]);
        let instance = &table.service("web").expect("it is there").instances[0];
        assert!(instance.upstream.as_ref().expect("a location").rest.begin(1));
        let Census { counts, worst } = Census::of(&table);
        assert_eq!((counts.resting, &*worst[0].name), (1, "web/1"));
        assert!(worst[0].what.contains("127.0.0.1:1"), "{worst:?}");
    }

    #[test]
    fn of_many_the_first_by_name_are_told() {
        let hosts: Vec<String> = (0..500).map(|number| format!("{number:03}.test")).collect();
        let domains: Vec<(&str, &str)> = hosts.iter().map(|host| (&**host, "nobody")).collect();
        let names: Vec<String> =
            Census::of(&table(&domains, &[])).worst.into_iter().map(|wrong| wrong.name).collect();
        assert_eq!(names, hosts[..WORST]);
    }
}
