//! What a change of the routes came to, told from the tables before and after it.

use std::sync::Arc;

use super::{Journal, Kind, Level, Note};
use crate::routes::key::Key;
use crate::routes::model::{Domain, Instance, Service};
use crate::routes::registry::Applied;
use crate::routes::table::RouteTable;
use crate::status::State;

/// Of more domains or services that change at once, only the number is told.
const AT_ONCE: usize = 20;

impl Journal {
    /// Notes what a change came to; `name` gives the keys' names.
    pub fn tell(
        &self,
        before: &RouteTable,
        after: &RouteTable,
        applied: &Applied,
        name: impl Fn(&Key) -> String,
    ) {
        let (domains, services) = (applied.domains.len(), applied.services.len());
        if domains + services > AT_ONCE {
            let revision = after.revision();
            let text = format!("{domains} domains and {services} services changed, at revision {revision}");
            self.put(Note::info(Kind::Store, "routes", text));
        } else {
            for host in applied.domains.iter().take(self.may_tell(domains)) {
                self.put(domain(host, before.domain_of(host), after.domain_of(host)));
            }
            for service in applied.services.iter().take(self.may_tell(services)) {
                let (old, new) = (before.service(service.as_str()), after.service(service.as_str()));
                for note in service_notes(service.as_str(), old, new) {
                    self.put(note);
                }
            }
        }
        let problems = applied.problems.len();
        for (key, problem) in applied.problems.iter().take(self.may_tell(problems)) {
            let text = format!("its value is wrong: {problem}");
            self.put(Note::info(Kind::Problem, name(key), text).at(Level::Warning));
        }
    }
}

fn domain(host: &str, old: Option<&Arc<Domain>>, new: Option<&Arc<Domain>>) -> Note {
    let leads = |domain: &Domain| match (&domain.kind, &domain.value) {
        (Some(kind), Some(value)) => format!("it goes to the {kind} {value}"),
        _ => "it is pending".to_owned(),
    };
    let text = match (old, new) {
        (_, None) => "it is gone".to_owned(),
        (None, Some(new)) => format!("it is new: {}", leads(new)),
        (Some(old), Some(new)) if (&old.kind, &old.value) != (&new.kind, &new.value) => {
            format!("it changed: {}, and no longer: {}", leads(new), leads(old))
        }
        (Some(_), Some(_)) => "its options changed".to_owned(),
    };
    Note::info(Kind::Domain, host, text)
}

fn service_notes(name: &str, old: Option<&Arc<Service>>, new: Option<&Arc<Service>>) -> Vec<Note> {
    let mut notes = Vec::new();
    match (old, new) {
        (None, Some(_)) => notes.push(Note::info(Kind::Service, name, "it is new")),
        (Some(_), None) => notes.push(Note::info(Kind::Service, name, "it is gone")),
        _ => {}
    }
    fn instances(service: Option<&Arc<Service>>) -> &[Arc<Instance>] {
        service.map_or(&[], |service| &service.instances)
    }
    let find = |all: &[Arc<Instance>], index: &str| all.iter().find(|one| *one.index == *index).cloned();
    for instance in instances(new) {
        let known = find(instances(old), &instance.index);
        if known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, instance)) {
            notes.push(changed(known.as_deref(), instance));
        }
    }
    for instance in instances(old).iter().filter(|old| find(instances(new), &old.index).is_none()) {
        notes.push(Note::info(Kind::Instance, full_name(instance), "it is gone"));
    }
    notes
}

fn changed(old: Option<&Instance>, new: &Instance) -> Note {
    let place =
        |instance: &Instance| instance.upstream.as_ref().map(|upstream| upstream.location.to_string());
    let state = new.state.as_str();
    let text = match old {
        None => format!("it is new, in state {state}: {}", new.why()),
        Some(old) if old.drained != new.drained => {
            let drained = if new.drained { "it is drained" } else { "it is drained no longer" };
            format!("{drained}; it is {state}")
        }
        Some(old) if old.state != new.state => {
            format!("it is {state}, and was {}: {}", old.state.as_str(), new.why())
        }
        Some(old) if place(old) != place(new) => match place(new) {
            Some(place) => format!("it is at {place} now"),
            None => "it has no location any more".to_owned(),
        },
        Some(old) if old.status != new.status => format!("it is still {state}: {}", new.why()),
        Some(_) => "its options changed".to_owned(),
    };
    let level = if new.state == State::Error { Level::Error } else { Level::Info };
    Note::info(Kind::Instance, full_name(new), text).at(level)
}

fn full_name(instance: &Instance) -> String {
    format!("{}/{}", instance.service, instance.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::key::{DomainField, InstanceField};
    use crate::routes::registry::{Change, Op, Registry};

    fn domain_key(host: &str, field: DomainField) -> Key {
        Key::Domain { host: host.into(), field }
    }

    fn instance_key(index: &str, field: InstanceField) -> Key {
        Key::Instance { service: "web".into(), index: index.into(), field }
    }

    fn told(registry: &mut Registry, ops: Vec<(Key, Option<&str>)>) -> Vec<String> {
        let op = |(key, value): (Key, Option<&str>)| match value {
            Some(value) => Op::Put(key, value.into()),
            None => Op::Delete(key),
        };
        let before = registry.table();
        let change = Change::Delta { revision: 7, ops: ops.into_iter().map(op).collect() };
        let applied = registry.apply(change);
        let journal = Journal::default();
        journal.tell(&before, &registry.table(), &applied, |_| "the key".to_owned());
        let line = |change: super::super::Change| format!("{}: {}", change.name, change.text);
        journal.after(0).into_iter().map(line).collect()
    }

    #[test]
    fn what_domains_and_instances_do_is_told_one_by_one() {
        let mut registry = Registry::default();
        let kind = || domain_key("a.test", DomainField::Type);
        let value = || domain_key("a.test", DomainField::Value);
        assert_eq!(
            told(&mut registry, vec![(kind(), Some("service"))]),
            ["a.test: it is new: it is pending"]
        );
        assert_eq!(
            told(&mut registry, vec![(value(), Some("web"))]),
            ["a.test: it changed: it goes to the service web, and no longer: it is pending"]
        );
        let location = |port: u16| format!(r#"{{"host":"127.0.0.1","port":{port}}}"#);
        assert_eq!(
            told(&mut registry, vec![(instance_key("1", InstanceField::Location), Some(&location(1)))]),
            [
                "web: it is new",
                "web/1: it is new, in state started: it has no status, so it counts as started"
            ]
        );
        assert_eq!(
            told(&mut registry, vec![(instance_key("1", InstanceField::Location), Some(&location(2)))]),
            ["web/1: it is at 127.0.0.1:2 now"]
        );
        let status = |current: &'static str| {
            vec![
                (instance_key("1", InstanceField::Current), Some(current)),
                (instance_key("1", InstanceField::Expected), Some("started")),
            ]
        };
        assert_eq!(
            told(&mut registry, status("starting")),
            ["web/1: it is starting, and was started: current is starting, expected is started"]
        );
        let gone = [InstanceField::Location, InstanceField::Current, InstanceField::Expected];
        assert_eq!(
            told(&mut registry, gone.map(|field| (instance_key("1", field), None)).to_vec()),
            ["web: it is gone", "web/1: it is gone"]
        );
        assert_eq!(told(&mut registry, vec![(kind(), None), (value(), None)]), ["a.test: it is gone"]);
        assert_eq!(
            told(&mut registry, vec![(domain_key("b.test", DomainField::Config), Some("{"))]).len(),
            1,
            "a wrong value is told"
        );
    }

    #[test]
    fn of_many_at_once_the_number_is_told() {
        let mut registry = Registry::default();
        let ops = (0..1000)
            .map(|number| (domain_key(&format!("{number}.test"), DomainField::Type), Some("service")))
            .collect();
        assert_eq!(told(&mut registry, ops), ["routes: 1000 domains and 0 services changed, at revision 7"]);
    }
}
