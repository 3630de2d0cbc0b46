//! What an import has to do: pure, from what the file has and what etcd has.

use std::collections::BTreeMap;

use crate::commands::document::Entry;
use crate::routes::key::{InstanceField, Key, KeySpace};
use crate::store::etcd::tree::{Pair, Seen, Step};

/// What becomes of an entity, a domain or an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// It was not there.
    Added,
    /// It was another.
    Changed,
    /// It is not in the file.
    Removed,
}

/// One transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// What its keys begin with.
    pub(super) entity: String,
    pub(super) what: What,
    /// The keys as they were read: nobody else's change is written over.
    pub(super) seen: Vec<Seen>,
    pub(super) steps: Vec<Step>,
}

/// All that is to be done, and all that is not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    /// Entities that are as they should be.
    pub(super) same: usize,
    /// Keys that differ, and belong to whoever keeps their lease.
    pub(super) leased: usize,
}

/// A key of an entity, in the file and in etcd.
#[derive(Default)]
struct Both<'a> {
    wanted: Option<&'a Entry>,
    there: Option<&'a Pair>,
}

/// Compares a file with etcd.
pub(super) fn plan(space: &KeySpace, wanted: &[Entry], there: &[Pair], prune: bool) -> Plan {
    let mut entities: BTreeMap<&[u8], BTreeMap<&[u8], Both<'_>>> = BTreeMap::new();
    for entry in wanted {
        let keys = entities.entry(entity(space, &entry.key)).or_default();
        keys.entry(&entry.key).or_default().wanted = Some(entry);
    }
    for pair in there {
        let keys = entities.entry(entity(space, &pair.key)).or_default();
        keys.entry(&pair.key).or_default().there = Some(pair);
    }
    let mut plan = Plan::default();
    for (name, keys) in entities {
        let is_wanted = keys.values().any(|both| both.wanted.is_some());
        let mut change = Change {
            entity: String::from_utf8_lossy(name).into_owned(),
            what: match (is_wanted, keys.values().any(|both| both.there.is_some())) {
                (false, _) => What::Removed,
                (true, true) => What::Changed,
                (true, false) => What::Added,
            },
            seen: Vec::new(),
            steps: Vec::new(),
        };
        for (key, Both { wanted, there }) in keys {
            let leased = there.is_some_and(|pair| pair.lease != 0);
            let step = match (wanted, there) {
                (Some(wanted), there) if there.is_none_or(|pair| pair.value != wanted.value) => {
                    Step::put(key, wanted.value.as_slice())
                }
                (None, Some(_)) if prune && is_pruned(space, key, is_wanted) => Step::Delete(key.to_vec()),
                _ => continue,
            };
            if leased {
                plan.leased += 1;
                continue;
            }
            change.seen.push((key.to_vec(), there.map_or(0, |pair| pair.revision)));
            change.steps.push(step);
        }
        match change.steps.is_empty() {
            true => plan.same += usize::from(is_wanted),
            false => plan.changes.push(change),
        }
    }
    plan
}

/// Others' keys beside ours are not ours to remove; and when an instance was last used is no file's business.
fn is_pruned(space: &KeySpace, key: &[u8], its_entity_stays: bool) -> bool {
    match std::str::from_utf8(key).map(|text| space.parse(text)) {
        Ok(Ok(Key::Instance { field: InstanceField::LastAccess, .. })) => !its_entity_stays,
        Ok(Ok(_)) => true,
        _ => false,
    }
}

/// What the keys of a domain or an instance begin with: one part behind the directory of the domains, two behind
/// that of the services.
fn entity<'a>(space: &KeySpace, key: &'a [u8]) -> &'a [u8] {
    for (directory, parts) in [(space.domains(), 1), (space.services(), 2)] {
        if let Some(rest) = key.strip_prefix(directory.as_bytes()) {
            let mut ends = rest.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
            return &key[..directory.len() + ends.nth(parts - 1).unwrap_or(rest.len())];
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> KeySpace {
        KeySpace::new("/domains", "/services")
    }

    fn entry(key: &str, value: &str) -> Entry {
        Entry { key: key.into(), value: value.into(), line: None }
    }

    fn pair(key: &str, value: &str, revision: i64) -> Pair {
        Pair { key: key.into(), value: value.into(), revision, lease: 0 }
    }

    #[test]
    fn only_what_differs_and_each_entity_as_one() {
        let wanted = [
            entry("/domains/a/type", "service"),
            entry("/domains/a/value", "new"),
            entry("/domains/b/type", "uri"),
            entry("/services/web/1/location", "{}"),
        ];
        let there = [
            pair("/domains/a/type", "service", 3),
            pair("/domains/a/value", "old", 4),
            pair("/domains/c/type", "uri", 5),
            pair("/services/web/1/location", "{}", 6),
        ];
        let plan = plan(&space(), &wanted, &there, false);
        assert_eq!(plan.same, 1);
        assert_eq!(
            plan.changes,
            [
                Change {
                    entity: "/domains/a".into(),
                    what: What::Changed,
                    seen: vec![(b"/domains/a/value".to_vec(), 4)],
                    steps: vec![Step::put("/domains/a/value", "new")],
                },
                Change {
                    entity: "/domains/b".into(),
                    what: What::Added,
                    seen: vec![(b"/domains/b/type".to_vec(), 0)],
                    steps: vec![Step::put("/domains/b/type", "uri")],
                },
            ]
        );
    }

    #[test]
    fn what_is_pruned_and_what_is_not() {
        let leased = Pair { lease: 7, ..pair("/services/web/2/location", "{}", 1) };
        let there = [
            pair("/domains/c/type", "uri", 5),
            pair("/domains/c/note", "others'", 5),
            leased,
            pair("/services/web/1/location", "{}", 6),
            pair("/services/web/1/lastAccess", "x", 6),
            pair("/services/web/3/lastAccess", "x", 6),
        ];
        let wanted = [entry("/services/web/1/location", "{}")];
        let plan = plan(&space(), &wanted, &there, true);
        let steps: Vec<&Step> = plan.changes.iter().flat_map(|change| &change.steps).collect();
        assert_eq!(
            steps,
            [
                &Step::Delete(b"/domains/c/type".to_vec()),
                &Step::Delete(b"/services/web/3/lastAccess".to_vec())
            ]
        );
        assert_eq!((plan.leased, plan.same), (1, 1));
    }
}
