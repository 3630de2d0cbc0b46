//! etcd's keys as the proxy sees them: a route table, computed by the proxy's own registry.

use crate::admin::routes::{DomainView, ServiceView, View};
use crate::routes::host;
use crate::routes::key::KeySpace;
use crate::routes::registry::{Change, Registry};
use crate::routes::table::RouteTable;
use crate::store::etcd::tree::Snapshot;

use super::Failure;

/// The table that a gogeta would have that knows these keys and none besides.
pub(super) fn table(space: &KeySpace, snapshot: &Snapshot) -> RouteTable {
    let known = |key: &[u8]| space.parse(std::str::from_utf8(key).ok()?).ok();
    let entries = snapshot.pairs.iter().filter_map(|pair| Some((known(&pair.key)?, pair.value.clone())));
    let mut registry = Registry::default();
    registry.apply(Change::Snapshot { revision: snapshot.revision, entries: entries.collect() });
    registry.table()
}

/// All domains and services, with their states.
pub(super) fn view(space: &KeySpace, snapshot: &Snapshot) -> View {
    View::of(&table(space, snapshot))
}

/// The domain of that host.
pub(super) fn domain(view: View, host: &str) -> Option<DomainView> {
    view.domains.into_iter().find(|domain| domain.host == host)
}

/// The service of that name.
pub(super) fn service(view: View, name: &str) -> Option<ServiceView> {
    view.services.into_iter().find(|service| service.name == name)
}

/// A host or wildcard as it stands in keys.
pub(super) fn host(text: &str) -> Result<String, Failure> {
    match host::parse_pattern(text) {
        Ok(host) => Ok(host.into_owned()),
        Err(_) => Err(Failure::Usage(bad_host(text).unwrap_or_default())),
    }
}

/// What is wrong with a host, if it is none.
pub(super) fn bad_host(text: &str) -> Option<String> {
    let error = host::parse_pattern(text).err()?;
    if text.contains('*') {
        return Some(format!(
            "{text:?} is no host: a wildcard is the whole first label, as in *.example.com"
        ));
    }
    if host::parse(text).is_ok_and(|parsed| parsed.port.is_some()) {
        return Some(format!("{text:?} has a port; a host's key has none, and is for all ports"));
    }
    Some(format!("{text:?} is no host: {error}"))
}

/// A service's name or an index as it stands in keys: one part of them.
pub(super) fn part<'a>(what: &str, text: &'a str) -> Result<&'a str, Failure> {
    if text.is_empty() || text.contains('/') {
        return Err(Failure::Usage(format!(
            "{text:?} is no {what}: it is one part of a key, without a slash"
        )));
    }
    Ok(text)
}
