//! Which instances rest, since they could not be connected to: those that began to, as long as they do.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::routes::model::{Service, ServiceName, Upstream};
use crate::routes::table::RouteTable;

/// Whoever began to rest. It is few, so that nobody has to look at all instances.
#[derive(Debug, Default)]
pub struct Resting(Mutex<Vec<(ServiceName, Weak<Upstream>)>>);

impl Resting {
    /// An instance of that service begins to rest.
    pub fn begin(&self, service: &Service, upstream: &Arc<Upstream>) {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Who was back meanwhile is there already.
        let is_known = |(_, known): &(ServiceName, Weak<Upstream>)| known.as_ptr() == Arc::as_ptr(upstream);
        if !resting.iter().any(is_known) {
            resting.push((service.name.clone(), Arc::downgrade(upstream)));
        }
    }

    /// How many instances of a table rest.
    pub fn count(&self, table: &RouteTable) -> usize {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|(_, upstream)| upstream.upgrade().is_some_and(|upstream| !upstream.rest.is_over()));
        let is_there = |(name, upstream): &&(ServiceName, Weak<Upstream>)| {
            table.service(name.as_str()).is_some_and(|service| {
                let mut theirs = service.instances.iter().filter_map(|instance| instance.upstream.as_ref());
                theirs.any(|theirs| Arc::as_ptr(theirs) == upstream.as_ptr())
            })
        };
        resting.iter().filter(is_there).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::key::{InstanceField, Key};
    use crate::routes::registry::{Change, Op, Registry};
    use crate::routes::table::Resolver;

    #[test]
    fn who_rests_is_counted_until_it_is_back_or_gone() {
        let mut registry = Registry::new(Resolver::Domains);
        let key = |index: &str| Key::Instance {
            service: "s".into(),
            index: index.into(),
            field: InstanceField::Location,
        };
        let put = |index| Op::Put(key(index), br#"{"host":"127.0.0.1","port":1}"#.to_vec());
        registry.apply(Change::Delta { revision: 1, ops: vec![put("1"), put("2")] });
        let table = registry.table();
        let service = table.service("s").expect("a service");
        let resting = Resting::default();
        assert_eq!(resting.count(&table), 0);
        for instance in &service.instances {
            let upstream = instance.upstream.as_ref().expect("a location");
            for now in [1, 2] {
                upstream.rest.begin(now);
                resting.begin(service, upstream);
            }
        }
        assert_eq!(resting.count(&table), 2);
        service.instances[0].upstream.as_ref().expect("a location").rest.end();
        assert_eq!(resting.count(&table), 1);
        registry.apply(Change::Delta { revision: 2, ops: vec![Op::Delete(key("2"))] });
        assert_eq!(resting.count(&registry.table()), 0, "though somebody may still have it");
    }
}
