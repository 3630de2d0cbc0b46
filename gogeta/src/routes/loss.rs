//! How much a change takes away.

use super::model::{Domain, Instance, Service};
use super::registry::Applied;
use super::table::RouteTable;

/// With fewer than so many to begin with, losing most of them is nothing unusual.
const FEW: usize = 10;

/// What was routed before a change, and is not after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    /// Domains that were routed.
    pub domains: usize,
    /// Those of them that are not any more.
    pub lost_domains: usize,
    /// Instances that took requests.
    pub instances: usize,
    /// Those of them that do not any more.
    pub lost_instances: usize,
}

impl Loss {
    /// What was lost between two tables. It looks at everything, and is meant for readings of everything.
    pub fn between(before: &RouteTable, after: &RouteTable, applied: &Applied) -> Self {
        let routed = |domain: &Domain| domain.target.is_some();
        let lost = applied.domains.iter().filter(|host| {
            before.domains.get(&**host).is_some_and(|domain| routed(domain))
                && !after.domains.get(&**host).is_some_and(|domain| routed(domain))
        });
        let lost_instances = applied.services.iter().map(|name| {
            let now = after.service(name.as_str()).map_or(0, |service| started(service).count());
            let then = before.service(name.as_str()).map_or(0, |service| started(service).count());
            then.saturating_sub(now)
        });
        Self {
            domains: before.domains().filter(|domain| routed(domain)).count(),
            lost_domains: lost.count(),
            instances: before.services().map(|service| started(service).count()).sum(),
            lost_instances: lost_instances.sum(),
        }
    }

    /// Whether it is more than so many of a hundred; never where that is zero.
    pub fn exceeds(&self, percent: u8) -> bool {
        let exceeds = |lost: usize, of: usize| of >= FEW && lost * 100 > of * usize::from(percent);
        percent > 0
            && (exceeds(self.lost_domains, self.domains) || exceeds(self.lost_instances, self.instances))
    }
}

fn started(service: &Service) -> impl Iterator<Item = &Instance> {
    use crate::status::State;
    let instances = service.instances.iter().map(AsRef::as_ref);
    instances.filter(|instance: &&Instance| instance.state == State::Started && instance.upstream.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_of_many() {
        let loss = |lost_domains, domains, lost_instances, instances| Loss {
            domains,
            lost_domains,
            instances,
            lost_instances,
        };
        for (loss, percent, too_much) in [
            (loss(5, 10, 0, 0), 50, false),
            (loss(6, 10, 0, 0), 50, true),
            (loss(9, 9, 0, 0), 50, false),
            (loss(0, 100, 6, 10), 50, true),
            (loss(100, 100, 100, 100), 0, false),
            (loss(100, 100, 0, 0), 100, false),
            (loss(100, 100, 0, 0), 99, true),
        ] {
            assert_eq!(loss.exceeds(percent), too_much, "{loss:?} {percent}");
        }
    }
}
