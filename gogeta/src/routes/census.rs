//! How many domains, services and instances there are in each state: kept up with each change, never counted anew.

use std::collections::HashMap;

use super::model::{Domain, Service, ServiceName, Target};
use super::registry::Applied;
use super::table::RouteTable;
use crate::balance;
use crate::status::State;

/// All states of services and instances.
pub const STATES: [State; 5] =
    [State::Error, State::Stopped, State::Passivated, State::Starting, State::Started];

/// What a domain's state is called: that of its service, or one of these two behind them.
pub const DOMAIN_STATES: [&str; 7] =
    ["error", "stopped", "passivated", "starting", "started", "uri", "pending"];
const URI: usize = 5;
const PENDING: usize = 6;

/// How many there are, each in the order of their states.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Domains, by [`DOMAIN_STATES`].
    pub domains: [usize; DOMAIN_STATES.len()],
    /// Services, by [`STATES`].
    pub services: [usize; STATES.len()],
    /// Instances, by [`STATES`].
    pub instances: [usize; STATES.len()],
}

/// The counts of one table after the other.
#[derive(Debug, Default)]
pub struct Census {
    table: RouteTable,
    counts: Counts,
    /// Domains that lead to each service, whether that is there or not.
    of_service: HashMap<ServiceName, usize>,
}

impl Census {
    /// Goes on to `table`, which differs from the last one in what was applied: the cost is that of the change.
    pub fn follow(&mut self, table: &RouteTable, applied: &Applied) -> Counts {
        let before = std::mem::replace(&mut self.table, table.clone());
        for name in &applied.services {
            let (old, new) = (before.services.get(name), table.services.get(name));
            let domains = self.of_service.get(name).copied().unwrap_or_default();
            // What is not there cannot answer.
            self.counts.domains[place(old)] -= domains;
            self.counts.domains[place(new)] += domains;
            if let Some(old) = old {
                self.counts.services[place(Some(old))] -= 1;
                old.instances.iter().for_each(|instance| self.counts.instances[instance.state as usize] -= 1);
            }
            if let Some(new) = new {
                self.counts.services[place(Some(new))] += 1;
                new.instances.iter().for_each(|instance| self.counts.instances[instance.state as usize] += 1);
            }
        }
        for host in &applied.domains {
            if let Some(old) = before.domains.get(&**host) {
                self.counts.domains[domain_place(table, old)] -= 1;
                if let Some(Target::Service(name)) = &old.target
                    && let Some(count) = self.of_service.get_mut(name)
                {
                    *count -= 1;
                    if *count == 0 {
                        self.of_service.remove(name);
                    }
                }
            }
            if let Some(new) = table.domains.get(&**host) {
                self.counts.domains[domain_place(table, new)] += 1;
                if let Some(Target::Service(name)) = &new.target {
                    *self.of_service.entry(name.clone()).or_default() += 1;
                }
            }
        }
        self.counts
    }
}

/// Where a service is counted, and the domains that lead to it.
fn place(service: Option<&std::sync::Arc<Service>>) -> usize {
    service.map_or(State::Error, |service| balance::pick_state(service)) as usize
}

fn domain_place(table: &RouteTable, domain: &Domain) -> usize {
    match &domain.target {
        None => PENDING,
        Some(Target::Uri(_)) => URI,
        Some(Target::Service(name)) => place(table.services.get(name)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::routes::key::{DomainField, InstanceField, Key};
    use crate::routes::registry::{Change, Op, Registry};
    use crate::routes::table::Resolver;

    /// The same, counted from the beginning.
    fn counted(table: &RouteTable) -> Counts {
        let mut counts = Counts::default();
        table.domains().for_each(|domain| counts.domains[domain_place(table, domain)] += 1);
        for service in table.services() {
            counts.services[place(Some(service))] += 1;
            service.instances.iter().for_each(|instance| counts.instances[instance.state as usize] += 1);
        }
        counts
    }

    /// One of a few keys, and one of a few values for it, or none.
    fn op() -> impl Strategy<Value = Op> {
        let domain = (0..4_u8, 0..2_u8, 0..5_usize).prop_map(|(host, field, value)| {
            let host: Arc<str> = format!("d{host}.test").into();
            let (field, values) = match field {
                0 => (DomainField::Type, ["service", "uri", "what", "service", ""]),
                _ => (DomainField::Value, ["s0", "s1", "http://a.test/", "s2", ""]),
            };
            (Key::Domain { host, field }, values[value])
        });
        let instance = (0..3_u8, 0..2_u8, 0..4_u8, 0..5_usize).prop_map(|(service, index, field, value)| {
            let (service, index) = (format!("s{service}").as_str().into(), index.to_string().into());
            let (field, values) = match field {
                0 => (
                    InstanceField::Location,
                    [r#"{"host":"a","port":1}"#, "no", "", "", r#"{"host":"b","port":2}"#],
                ),
                1 => (InstanceField::Current, ["started", "stopped", "passivated", "starting", ""]),
                2 => (InstanceField::Expected, ["started", "stopped", "passivated", "started", ""]),
                _ => (InstanceField::Alive, ["1", "1", "1", "", ""]),
            };
            (Key::Instance { service, index, field }, values[value])
        });
        prop_oneof![domain, instance].prop_map(|(key, value)| match value {
            "" => Op::Delete(key),
            value => Op::Put(key, value.into()),
        })
    }

    proptest! {
        #[test]
        fn whatever_changes_the_counts_are_those_of_the_table(
            changes in prop::collection::vec(prop::collection::vec(op(), 1..6), 1..30)
        ) {
            let mut registry = Registry::new(Resolver::Domains);
            let mut census = Census::default();
            for (revision, ops) in (1..).zip(changes) {
                let applied = registry.apply(Change::Delta { revision, ops });
                let table = registry.table();
                prop_assert_eq!(census.follow(&table, &applied), counted(&table));
            }
            // A reading of everything, of which nothing is left.
            let applied = registry.apply(Change::Snapshot { revision: 1000, entries: Vec::new() });
            prop_assert_eq!(census.follow(&registry.table(), &applied), Counts::default());
        }
    }

    #[test]
    fn states_are_counted_where_their_names_say() {
        for (at, state) in STATES.into_iter().enumerate() {
            assert_eq!((state as usize, state.as_str()), (at, DOMAIN_STATES[at]));
        }
        assert_eq!((DOMAIN_STATES[URI], DOMAIN_STATES[PENDING]), ("uri", "pending"));
    }
}
