//! Keys, sorted by what they belong to; and those that belong to nothing.

use std::collections::BTreeMap;

use super::{Entry, Findings};
use crate::commands::routes::bad_host;
use crate::routes::key::{BadKey, DomainField, InstanceField, Key, KeySpace};

/// A domain's keys, by its host as it is spelled.
#[derive(Default)]
pub(super) struct DomainKeys<'a> {
    pub(super) kind: Option<&'a Entry>,
    pub(super) value: Option<&'a Entry>,
    pub(super) config: Option<&'a Entry>,
}

impl<'a> DomainKeys<'a> {
    /// One of them, for what concerns all.
    pub(super) fn any(&self) -> Option<&'a Entry> {
        self.kind.or(self.value).or(self.config)
    }
}

/// An instance's keys, those that say something about routing.
pub(super) type InstanceKeys<'a> = BTreeMap<InstanceField, &'a Entry>;

/// All keys, by what they belong to.
#[derive(Default)]
pub(super) struct Tree<'a> {
    pub(super) domains: BTreeMap<&'a str, DomainKeys<'a>>,
    pub(super) services: BTreeMap<String, BTreeMap<String, InstanceKeys<'a>>>,
}

/// Sorts keys, and tells of those that gogeta will not read.
pub(super) fn sort<'a>(space: &KeySpace, entries: &'a [Entry], findings: &mut Findings) -> Tree<'a> {
    let mut tree = Tree::default();
    for entry in entries {
        let Ok(text) = std::str::from_utf8(&entry.key) else {
            findings.warning(entry, "key-encoding", "the key is not UTF-8, and nobody reads it");
            continue;
        };
        let key = match space.parse(text) {
            Ok(key) => key,
            Err(BadKey::Host(_)) => {
                let host = text.strip_prefix(space.domains()).and_then(|rest| rest.split('/').next());
                let problem = host.and_then(bad_host).unwrap_or_default();
                findings.error(entry, "host", problem);
                continue;
            }
            Err(error @ (BadKey::Field { .. } | BadKey::Elsewhere)) => {
                findings.warning(entry, "unknown-key", error.to_string());
                continue;
            }
        };
        if std::str::from_utf8(&entry.value).is_err() {
            findings.error(entry, "value-encoding", "the value is not UTF-8");
        }
        match key {
            Key::Domain { field, .. } => {
                let host = text.strip_prefix(space.domains()).and_then(|rest| rest.split('/').next());
                let domain = tree.domains.entry(host.unwrap_or_default()).or_default();
                match field {
                    DomainField::Type => domain.kind = Some(entry),
                    DomainField::Value => domain.value = Some(entry),
                    DomainField::Config => domain.config = Some(entry),
                }
            }
            // For people alone.
            Key::Instance { field: InstanceField::Domain, .. } => {}
            Key::Instance { service, index, field } => {
                let service = tree.services.entry(service.to_string()).or_default();
                service.entry(index.to_string()).or_default().insert(field, entry);
            }
        }
    }
    tree
}
