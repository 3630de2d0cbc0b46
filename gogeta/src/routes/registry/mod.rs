//! The state that changes are applied to: half-filled entities, mistakes and all.
//!
//! A [`Change`] is applied whole or, where it changes nothing, not at all; what comes out is one new
//! [`RouteTable`]. Entities that a change does not touch keep their identity, and with it their round-robin
//! cursors, pools and activity. A bad value leaves the last good one in force and is listed as a problem.

mod drain;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::key::{DomainField, InstanceField, Key};
use super::model::{
    Activity, Domain, DomainConfig, Instance, InstanceConfig, Service, ServiceName, Target, Upstream,
};
use super::parse::{self, TargetError};
use super::splice::SpliceSetting;
use super::table::{Problem, Resolver, RouteTable};
use crate::balance;
use crate::status::Status;

/// One key set or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The key has this value now.
    Put(Key, Vec<u8>),
    /// The key is gone.
    Delete(Key),
}

impl Op {
    /// The key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// Drafts that a snapshot may have at once.
const AT_ONCE: usize = if cfg!(test) { 2 } else { 1024 };

/// What a store reports, to be applied as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Everything there is at a revision. Only what differs from the current state is applied.
    Snapshot {
        /// The store's revision.
        revision: i64,
        /// All keys and their values.
        entries: Vec<(Key, Vec<u8>)>,
    },
    /// What happened at a revision.
    Delta {
        /// The store's revision.
        revision: i64,
        /// In their order.
        ops: Vec<Op>,
    },
}

/// What a change came to.
#[derive(Debug, Default)]
pub struct Applied {
    /// The hosts of the domains that changed.
    pub domains: Vec<Arc<str>>,
    /// The services that changed.
    pub services: Vec<ServiceName>,
    /// Keys whose value is wrong, and was not, or not in this way, before.
    pub problems: Vec<(Key, Arc<str>)>,
}

impl Applied {
    /// Whether any route is different now.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.services.is_empty()
    }
}

/// The owner of the current table.
#[derive(Debug, Default)]
pub struct Registry {
    table: RouteTable,
}

impl Registry {
    /// An empty registry whose tables resolve hosts in this way.
    pub fn new(resolver: Resolver) -> Self {
        Self { table: RouteTable { resolver, ..RouteTable::default() } }
    }

    /// The current table.
    pub fn table(&self) -> RouteTable {
        self.table.clone()
    }

    /// Goes back to a table that was current before.
    pub fn restore(&mut self, table: RouteTable) {
        self.table = table;
    }

    /// Nothing that concerns routes happened up to this revision.
    pub fn advance(&mut self, revision: i64) {
        self.table.revision = revision;
    }

    /// Applies what differs between the current state and all that the store has; but for keys that changed since
    /// that was read.
    pub fn compare(&mut self, entries: Vec<(Key, Vec<u8>)>, except: &HashSet<Key>) -> Applied {
        let mut gone = self.gone(&entries);
        gone.retain(|op| !except.contains(op.key()));
        let puts = entries.into_iter().filter(|(key, _)| !except.contains(key));
        self.edit(gone.into_iter().chain(puts.map(|(key, value)| Op::Put(key, value))), AT_ONCE)
    }

    /// Applies a change as one.
    pub fn apply(&mut self, change: Change) -> Applied {
        let (revision, applied) = match change {
            Change::Delta { revision, ops } => (revision, self.edit(ops.into_iter(), usize::MAX)),
            Change::Snapshot { revision, entries } => {
                // A put that changes nothing costs nothing later.
                let gone = self.gone(&entries).into_iter();
                let puts = entries.into_iter().map(|(key, value)| Op::Put(key, value));
                (revision, self.edit(gone.chain(puts), AT_ONCE))
            }
        };
        self.table.revision = revision;
        applied
    }

    /// Applies ops, with drafts of so many entities at once at most: whoever reads everything need not hold
    /// everything twice. An entity is done when another one's op comes.
    fn edit(&mut self, ops: impl Iterator<Item = Op>, at_once: usize) -> Applied {
        let mut edit = Edit {
            table: &mut self.table,
            domains: HashMap::new(),
            services: HashMap::new(),
            applied: Applied::default(),
        };
        let mut last: Option<Key> = None;
        for op in ops {
            let many = edit.domains.len() + edit.services.len() >= at_once;
            if many && last.as_ref().is_some_and(|last| !last.is_beside(op.key())) {
                edit.commit();
            }
            last = Some(op.key().clone());
            match op {
                Op::Put(key, value) => edit.set(key, Some(value)),
                Op::Delete(key) => edit.set(key, None),
            }
        }
        edit.commit();
        let mut applied = edit.applied;
        if at_once < usize::MAX {
            applied.domains.sort_unstable();
            applied.domains.dedup();
            applied.services.sort_unstable();
            applied.services.dedup();
        }
        applied
    }

    /// A delete for each key of the current state that is not in a snapshot.
    fn gone(&self, entries: &[(Key, Vec<u8>)]) -> Vec<Op> {
        let mut gone = Vec::new();
        if self.table.domains.is_empty() && self.table.services.is_empty() && self.table.problems.is_empty() {
            return gone;
        }
        let seen: HashSet<&Key> = entries.iter().map(|(key, _)| key).collect();
        self.each_present(|key| {
            if !seen.contains(&key) {
                gone.push(Op::Delete(key));
            }
        });
        gone
    }

    /// Hands over all keys that the current state is made of.
    fn each_present(&self, mut take: impl FnMut(Key)) {
        self.table.problems.keys().cloned().for_each(&mut take);
        for domain in self.table.domains.values() {
            let fields = [
                (domain.kind.is_some(), DomainField::Type),
                (domain.value.is_some(), DomainField::Value),
                (domain.config != DomainConfig::default(), DomainField::Config),
            ];
            let present = fields.into_iter().filter(|(present, _)| *present);
            present.map(|(_, field)| Key::Domain { host: domain.host.clone(), field }).for_each(&mut take);
        }
        for instance in self.table.services.values().flat_map(|service| &service.instances) {
            let fields = [
                (instance.upstream.is_some(), InstanceField::Location),
                (instance.status.current.is_some(), InstanceField::Current),
                (instance.status.expected.is_some(), InstanceField::Expected),
                (instance.status.alive.is_some(), InstanceField::Alive),
                (instance.config != InstanceConfig::default(), InstanceField::Config),
            ];
            let present = fields.into_iter().filter(|(present, _)| *present);
            let key = |field| Key::Instance {
                service: instance.service.clone(),
                index: instance.index.clone(),
                field,
            };
            present.map(|(_, field)| key(field)).for_each(&mut take);
        }
    }
}

/// A change on its way into the table: drafts of the entities that it touches.
struct Edit<'a> {
    table: &'a mut RouteTable,
    domains: HashMap<Arc<str>, DomainDraft>,
    services: HashMap<ServiceName, BTreeMap<Index, InstanceDraft>>,
    applied: Applied,
}

#[derive(Clone, Default, PartialEq)]
struct DomainDraft {
    kind: Option<Box<str>>,
    value: Option<Box<str>>,
    config: DomainConfig,
}

#[derive(Clone, Default)]
struct InstanceDraft {
    upstream: Option<Arc<Upstream>>,
    status: Status,
    config: InstanceConfig,
    drained: bool,
    activity: Arc<Activity>,
}

/// An instance's index, in the order of numbers where it is one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Index(u64, Arc<str>);

impl From<Arc<str>> for Index {
    fn from(text: Arc<str>) -> Self {
        // Texts sort behind all numbers.
        Self(text.parse().unwrap_or(u64::MAX), text)
    }
}

impl Edit<'_> {
    /// Sets a key in the draft of its entity, or removes it.
    fn set(&mut self, key: Key, value: Option<Vec<u8>>) {
        // What is not UTF-8 is no valid value of any key either, and is shown as far as it can be.
        let value = value.as_deref().map(String::from_utf8_lossy);
        let outcome = match &key {
            // Judged together, in `commit_domain`.
            Key::Domain { host, field: field @ (DomainField::Type | DomainField::Value) } => {
                return self.set_target(host.clone(), *field, value.as_deref());
            }
            Key::Domain { host, field: DomainField::Config } => {
                self.set_domain_config(host.clone(), value.as_deref())
            }
            Key::Instance { service, index, field } => {
                self.set_instance(service.clone(), index.clone(), *field, value.as_deref())
            }
        };
        self.note(key, outcome.err().map(|problem| (problem, value.as_deref().unwrap_or(""))));
    }

    fn set_target(&mut self, host: Arc<str>, field: DomainField, value: Option<&str>) {
        let draft = self.domain_draft(host);
        match field {
            DomainField::Type => draft.kind = value.map(Into::into),
            _ => draft.value = value.map(Into::into),
        }
    }

    fn set_domain_config(&mut self, host: Arc<str>, value: Option<&str>) -> Result<(), String> {
        let draft = self.domain_draft(host);
        draft.config = value.map(parse::domain_config).transpose()?.unwrap_or_default();
        check_config(&draft.config.unknown, draft.config.splice.as_ref())
    }

    fn domain_draft(&mut self, host: Arc<str>) -> &mut DomainDraft {
        let table = &*self.table;
        self.domains.entry(host).or_insert_with_key(|host| draft_of_domain(table, host))
    }

    fn set_instance(
        &mut self,
        service: ServiceName,
        index: Arc<str>,
        field: InstanceField,
        value: Option<&str>,
    ) -> Result<(), String> {
        // Neither says anything about routing, and gogeta itself writes the second one: it must not bring
        // back an instance that was just deleted.
        if matches!(field, InstanceField::Domain | InstanceField::LastAccess) {
            return Ok(());
        }
        let table = &*self.table;
        let drafts = self.services.entry(service).or_insert_with_key(|name| drafts_of_service(table, name));
        let draft = drafts.entry(index.into()).or_default();
        let text = value.map(Into::into);
        match field {
            InstanceField::Location => set_location(draft, value)?,
            InstanceField::Current => {
                draft.status.current = text;
                parse::status_text(value, &["stopped", "starting", "started", "stopping", "passivated"])?;
            }
            InstanceField::Expected => {
                draft.status.expected = text;
                parse::status_text(value, &["stopped", "started", "passivated"])?;
            }
            InstanceField::Alive => draft.status.alive = text,
            InstanceField::Config => {
                draft.config = value.map(parse::instance_config).transpose()?.unwrap_or_default();
                check_config(&draft.config.unknown, draft.config.splice.as_ref())?;
            }
            InstanceField::Domain | InstanceField::LastAccess => {}
        }
        Ok(())
    }

    /// Notes a key's problem and its value, or that it has none.
    fn note(&mut self, key: Key, problem: Option<(String, &str)>) {
        let known = self.table.problems.get(&key);
        match problem {
            None => {
                if known.is_some() {
                    self.table.problems.remove(&key);
                }
            }
            Some((what, value)) => {
                if known.is_some_and(|known| *known.what == *what && *known.value == *value) {
                    return;
                }
                let what: Arc<str> = what.into();
                // The same mistake once more is no news.
                if known.is_none_or(|known| known.what != what) {
                    self.applied.problems.push((key.clone(), what.clone()));
                }
                self.table.problems.insert(key, Problem { what, value: value.into() });
            }
        }
    }

    /// Puts the drafts that differ into the table.
    fn commit(&mut self) {
        for (host, draft) in std::mem::take(&mut self.domains) {
            self.commit_domain(host, draft);
        }
        for (name, drafts) in std::mem::take(&mut self.services) {
            self.commit_service(name, drafts);
        }
    }

    fn commit_domain(&mut self, host: Arc<str>, draft: DomainDraft) {
        let old = self.table.domains.get(&*host).cloned();
        let target = self.target(&host, &draft, old.as_deref());
        if draft == draft_of_domain(self.table, &host) {
            return;
        }
        self.applied.domains.push(host.clone());
        let suffix = host.strip_prefix('*').map(Box::from);
        if draft == DomainDraft::default() {
            self.table.domains.remove(&*host);
            if let Some(suffix) = suffix {
                self.table.wildcards.remove::<str>(&suffix);
            }
            return;
        }
        let domain = Arc::new(Domain {
            host: host.clone(),
            kind: draft.kind,
            value: draft.value,
            target,
            config: draft.config,
        });
        if let Some(suffix) = suffix {
            self.table.wildcards.insert(suffix, domain.clone());
        }
        self.table.domains.insert(host, domain);
    }

    /// What a domain's type and value say together: the old target where they say nothing right.
    fn target(&mut self, host: &Arc<str>, draft: &DomainDraft, old: Option<&Domain>) -> Option<Target> {
        let key = |field| Key::Domain { host: host.clone(), field };
        let (Some(kind), Some(value)) = (&draft.kind, &draft.value) else {
            self.note(key(DomainField::Type), None);
            self.note(key(DomainField::Value), None);
            return None;
        };
        let last_good = || old.and_then(|old| old.target.clone());
        let (target, bad_kind, bad_value) = match parse::target(kind, value) {
            Ok(target) => (Some(keep_identity(target, old)), None, None),
            Err(TargetError::Kind(problem)) => (last_good(), Some(problem), None),
            Err(TargetError::Value(problem)) => (last_good(), None, Some(problem)),
        };
        self.note(key(DomainField::Type), bad_kind.map(|problem| (problem, &**kind)));
        self.note(key(DomainField::Value), bad_value.map(|problem| (problem, &**value)));
        target
    }

    fn commit_service(&mut self, name: ServiceName, mut drafts: BTreeMap<Index, InstanceDraft>) {
        let old = self.table.services.get(&name).cloned();
        drafts.retain(|index, draft| {
            let location = Key::Instance {
                service: name.clone(),
                index: index.1.clone(),
                field: InstanceField::Location,
            };
            // An instance whose only location is a bad one is there, and says so.
            !draft.is_empty() || self.table.problems.contains_key(&location)
        });
        let known = old.as_ref().map(|old| old.instances.as_slice()).unwrap_or_default();
        let known: HashMap<&str, &Arc<Instance>> =
            known.iter().map(|instance| (&*instance.index, instance)).collect();
        let instances: Vec<Arc<Instance>> = drafts
            .into_iter()
            .map(|(Index(_, index), draft)| match known.get(&*index) {
                Some(instance) if draft.is_of(instance) => Arc::clone(instance),
                old => {
                    let fresh = draft.into_instance(name.clone(), index);
                    // What could not be connected to in its former life may well be in this one.
                    if let Some(upstream) =
                        fresh.upstream.as_ref().filter(|_| old.is_some_and(|old| old.state != fresh.state))
                    {
                        upstream.rest.end();
                    }
                    Arc::new(fresh)
                }
            })
            .collect();
        let unchanged = |old: &Arc<Service>| {
            old.instances.len() == instances.len()
                && old.instances.iter().zip(&instances).all(|(old, new)| Arc::ptr_eq(old, new))
        };
        if old.as_ref().map_or(instances.is_empty(), unchanged) {
            return;
        }
        self.applied.services.push(name.clone());
        if instances.is_empty() {
            self.table.services.remove(&name);
            return;
        }
        let (cursor, series) = old.map(|old| (old.cursor.clone(), old.series.clone())).unwrap_or_default();
        let ring = balance::ring(&instances);
        let service = Service { name: name.clone(), instances, ring, cursor, series };
        self.table.services.insert(name, Arc::new(service));
    }
}

impl InstanceDraft {
    fn is_empty(&self) -> bool {
        self.upstream.is_none() && self.status.is_absent() && self.config == InstanceConfig::default()
    }

    fn is_of(&self, instance: &Instance) -> bool {
        let same_upstream = match (&self.upstream, &instance.upstream) {
            (Some(mine), Some(its)) => Arc::ptr_eq(mine, its),
            (None, None) => true,
            _ => false,
        };
        same_upstream
            && (&self.status, &self.config, self.drained)
                == (&instance.status, &instance.config, instance.drained)
    }

    fn into_instance(self, service: ServiceName, index: Arc<str>) -> Instance {
        let Self { upstream, status, config, drained, activity } = self;
        let state = status.state();
        Instance { service, index, upstream, status, state, config, drained, activity }
    }
}

fn draft_of_domain(table: &RouteTable, host: &str) -> DomainDraft {
    let draft = |domain: &Arc<Domain>| DomainDraft {
        kind: domain.kind.clone(),
        value: domain.value.clone(),
        config: domain.config.clone(),
    };
    table.domains.get(host).map(draft).unwrap_or_default()
}

/// A target that says what the old one said is the old one, pool and all.
fn keep_identity(target: Target, old: Option<&Domain>) -> Target {
    match (&target, old.and_then(|old| old.target.as_ref())) {
        (Target::Uri(new), Some(Target::Uri(old))) if new.text == old.text => Target::Uri(old.clone()),
        _ => target,
    }
}

fn drafts_of_service(table: &RouteTable, name: &ServiceName) -> BTreeMap<Index, InstanceDraft> {
    let draft = |instance: &Arc<Instance>| InstanceDraft {
        upstream: instance.upstream.clone(),
        status: instance.status.clone(),
        config: instance.config.clone(),
        drained: instance.drained,
        activity: instance.activity.clone(),
    };
    let instances = table.services.get(name).map(|service| service.instances.as_slice()).unwrap_or_default();
    instances.iter().map(|instance| (instance.index.clone().into(), draft(instance))).collect()
}

fn set_location(draft: &mut InstanceDraft, value: Option<&str>) -> Result<(), String> {
    let Some(value) = value else {
        draft.upstream = None;
        return Ok(());
    };
    let location = parse::location(value)?;
    if draft.upstream.as_ref().is_none_or(|upstream| upstream.location != location) {
        draft.upstream = Some(Upstream::new(location, None));
    }
    Ok(())
}

/// What is wrong with a config that is in force all the same.
fn check_config(
    unknown: &BTreeMap<String, serde_json::Value>,
    splice: Option<&SpliceSetting>,
) -> Result<(), String> {
    let names: Vec<&str> = unknown.keys().map(String::as_str).collect();
    let unknown = (!names.is_empty()).then(|| format!("gogeta knows no field {}", names.join(", ")));
    let splice = splice.and_then(|setting| setting.check().err());
    let wrong: Vec<String> = unknown.into_iter().chain(splice).collect();
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("{}; the others are in force", wrong.join("; "))),
    }
}

#[cfg(test)]
mod tests;
