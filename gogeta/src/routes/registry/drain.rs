//! What an operator says of an instance beside what the store says: that it gets no new requests.

use std::collections::HashMap;

use super::{Applied, Edit, Index, Registry, drafts_of_service};
use crate::routes::model::ServiceName;

impl Registry {
    /// Drains an instance, or drains it no longer; none where there is no such instance. It stays as it is whatever
    /// the store says of that instance, until the instance is gone: one that comes back later is another one.
    pub fn drain(&mut self, service: &ServiceName, index: &str, drained: bool) -> Option<Applied> {
        let mut drafts = drafts_of_service(&self.table, service);
        let (_, draft) = drafts.iter_mut().find(|(Index(_, name), _)| **name == *index)?;
        draft.drained = drained;
        let mut edit = Edit {
            table: &mut self.table,
            domains: HashMap::new(),
            services: HashMap::from([(service.clone(), drafts)]),
            applied: Applied::default(),
        };
        edit.commit();
        Some(edit.applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::{Pick, goes_to, pick, pick_state};
    use crate::routes::key::{InstanceField, Key};
    use crate::routes::registry::{Change, Op};
    use crate::routes::table::RouteTable;
    use crate::status::State;

    fn key(index: &str, field: InstanceField) -> Key {
        Key::Instance { service: "web".into(), index: index.into(), field }
    }

    fn put(index: &str, field: InstanceField, value: &str) -> Op {
        Op::Put(key(index, field), value.into())
    }

    fn location(index: &str) -> Op {
        put(index, InstanceField::Location, &format!(r#"{{"host":"127.0.0.1","port":808{index}}}"#))
    }

    fn apply(registry: &mut Registry, ops: Vec<Op>) {
        registry.apply(Change::Delta { revision: 1, ops });
    }

    fn two() -> Registry {
        let mut registry = Registry::default();
        apply(&mut registry, vec![location("1"), location("2")]);
        registry
    }

    fn turns(table: &RouteTable) -> String {
        let service = table.service("web").expect("it is there");
        let index = |_| match pick(service, 1) {
            Pick::Instance(instance, _) => instance.index.to_string(),
            Pick::Page(state, _) => format!("({})", state.as_str()),
        };
        (0..4).map(index).collect()
    }

    #[test]
    fn requests_pass_a_drained_instance_by() {
        let mut registry = two();
        let before = registry.table();
        let applied = registry.drain(&"web".into(), "1", true).expect("it is there");
        assert_eq!(applied.services, ["web".into()]);
        let table = registry.table();
        let service = table.service("web").expect("it is there");
        assert_eq!(turns(&table), "2222");
        assert!(service.instances[0].drained && service.instances[0].why().contains("drained"));
        let first = service.instances[0].upstream.as_ref().expect("a location");
        assert!(!goes_to(service, first), "pairs that are parked to it are wanted back");
        let theirs = before.service("web").expect("it was there");
        assert!(goes_to(theirs, first), "it is the same upstream");
        assert!(registry.drain(&"web".into(), "1", true).expect("it is there").is_empty(), "once is enough");
        registry.drain(&"web".into(), "1", false).expect("it is there");
        assert_eq!(turns(&registry.table()).matches('1').count(), 2);
    }

    #[test]
    fn where_all_are_drained_the_service_is_stopped() {
        let mut registry = two();
        for index in ["1", "2"] {
            registry.drain(&"web".into(), index, true).expect("it is there");
        }
        assert_eq!(turns(&registry.table()), "(stopped)".repeat(4));
        assert_eq!(pick_state(registry.table().service("web").expect("it is there")), State::Stopped);
    }

    #[test]
    fn what_the_store_says_of_it_does_not_end_it() {
        let mut registry = two();
        registry.drain(&"web".into(), "1", true).expect("it is there");
        apply(&mut registry, vec![put("1", InstanceField::Current, "started")]);
        apply(&mut registry, vec![put("1", InstanceField::Expected, "started")]);
        apply(&mut registry, vec![put("1", InstanceField::Alive, "1")]);
        apply(&mut registry, vec![put("1", InstanceField::Config, r#"{"weight":5}"#)]);
        apply(&mut registry, vec![put("1", InstanceField::Location, r#"{"host":"::1","port":1}"#)]);
        assert_eq!(turns(&registry.table()), "2222");
        let entries = vec![
            (key("1", InstanceField::Location), br#"{"host":"::1","port":1}"#.to_vec()),
            (key("2", InstanceField::Location), br#"{"host":"127.0.0.1","port":8082}"#.to_vec()),
        ];
        registry.apply(Change::Snapshot { revision: 9, entries });
        assert_eq!(turns(&registry.table()), "2222", "nor does reading everything anew");
    }

    #[test]
    fn who_comes_back_is_another_one() {
        let mut registry = two();
        registry.drain(&"web".into(), "1", true).expect("it is there");
        apply(&mut registry, vec![Op::Delete(key("1", InstanceField::Location))]);
        apply(&mut registry, vec![location("1")]);
        assert_eq!(turns(&registry.table()).matches('1').count(), 2);
    }

    #[test]
    fn nobody_is_not_drained() {
        let mut registry = two();
        assert!(registry.drain(&"web".into(), "3", true).is_none());
        assert!(registry.drain(&"nobody".into(), "1", true).is_none());
        assert!(registry.table().service("nobody").is_none());
    }
}
