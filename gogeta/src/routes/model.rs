//! What a route table is made of. All of it is immutable once published; what requests note down about an
//! instance (its cursor, its activity) lives in small atomic cells that survive from table to table.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::key::DomainField;
use super::rest::Rest;
use super::series::Series;
use super::splice::SpliceSetting;
use super::strikes::Strikes;
use crate::status::{State, Status};

/// A service's name: one part of a key, any text without a slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ServiceName {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an instance listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Location {
    /// A name, an IPv4 or an IPv6 address (without brackets).
    pub host: Box<str>,
    /// A TCP port, never 0.
    pub port: u16,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Something that connections are opened to and pooled for.
///
/// Its identity is that of the `Arc`: as long as an instance's location stays, the same `Upstream` goes from
/// table to table, and with it the idle connections.
#[derive(Debug)]
pub struct Upstream {
    /// Unique in this process; the key of the pools.
    pub id: u64,
    /// Where to connect.
    pub location: Location,
    /// The name to ask for and to verify by TLS; plain TCP where there is none.
    pub tls: Option<Box<str>>,
    /// Whether it could not be connected to lately.
    pub rest: Rest,
    /// Whether its answers are ones that the kernel cannot carry.
    pub strikes: Strikes,
}

impl Upstream {
    /// A new upstream, with an id of its own.
    pub fn new(location: Location, tls: Option<Box<str>>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, location, tls, rest: Rest::default(), strikes: Strikes::default() })
    }
}

/// What a domain's `type` and `value` say together.
#[derive(Debug, Clone)]
pub enum Target {
    /// The instances of a service.
    Service(ServiceName),
    /// One fixed place.
    Uri(Arc<UriTarget>),
}

/// The target of a `uri` domain.
#[derive(Debug)]
pub struct UriTarget {
    /// The URI as it was written.
    pub text: Box<str>,
    /// `host[:port]`, which becomes the request's Host.
    pub authority: http::HeaderValue,
    /// Its path without a slash at the end; joined with the request's.
    pub path: Box<str>,
    /// Its query, without the question mark; goes before the request's.
    pub query: Option<Box<str>>,
    /// Where to connect.
    pub upstream: Arc<Upstream>,
}

impl UriTarget {
    /// The path and query to ask the target for: paths joined by one slash, queries by `&`.
    pub fn join(&self, path: &str, query: Option<&str>) -> String {
        let mut joined = String::with_capacity(self.path.len() + path.len() + 32);
        joined.push_str(&self.path);
        if !path.starts_with('/') {
            joined.push('/');
        }
        joined.push_str(path);
        let mut separator = '?';
        for part in [self.query.as_deref(), query].into_iter().flatten().filter(|part| !part.is_empty()) {
            joined.push(separator);
            joined.push_str(part);
            separator = '&';
        }
        joined
    }
}

/// Options of a domain: the JSON under `{domainDir}/{host}/config`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DomainConfig {
    /// Redirect to https unless the request came by it, as `--force-fw-ssl` does for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_ssl: Option<bool>,
    /// Who carries this domain's parked connections; see [`Route::splice`](super::table::Route::splice).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splice: Option<SpliceSetting>,
    /// What gogeta does not know; reported, not fatal.
    #[serde(flatten)]
    pub unknown: std::collections::BTreeMap<String, serde_json::Value>,
}

/// Options of an instance: the JSON under `…/config/gogeta`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InstanceConfig {
    /// What `/robots.txt` is answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub robots: Option<Box<str>>,
    /// Its share of the requests, 0 to 100; 1 where it is not set, and 0 takes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
    /// Who carries parked connections to this instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splice: Option<SpliceSetting>,
    /// What gogeta does not know; reported, not fatal.
    #[serde(flatten)]
    pub unknown: std::collections::BTreeMap<String, serde_json::Value>,
}

/// A domain, routed or still pending.
#[derive(Debug)]
pub struct Domain {
    /// The host, or `*.` and a name.
    pub host: Arc<str>,
    /// The `type` as it stands in the store.
    pub kind: Option<Box<str>>,
    /// The `value` as it stands in the store.
    pub value: Option<Box<str>>,
    /// Where it goes; none while it is pending.
    pub target: Option<Target>,
    /// Its options.
    pub config: DomainConfig,
}

impl Domain {
    /// Why it is pending: the key that is missing or wrong, and a sentence. None where it is routed.
    pub fn pending(&self) -> Option<(DomainField, &'static str)> {
        match (&self.target, &self.kind, &self.value) {
            (Some(_), ..) => None,
            (None, None, _) => Some((DomainField::Type, "its type is not set")),
            (None, _, None) => Some((DomainField::Value, "its value is not set")),
            (None, ..) => {
                Some((DomainField::Value, "its type and value were never right together; see problems"))
            }
        }
    }
}

/// An instance of a service.
#[derive(Debug)]
pub struct Instance {
    /// The service that it belongs to.
    pub service: ServiceName,
    /// Its index; any text.
    pub index: Arc<str>,
    /// Where it listens; none if its location is missing or was never right.
    pub upstream: Option<Arc<Upstream>>,
    /// Its status keys, as they stand in the store.
    pub status: Status,
    /// What they amount to.
    pub state: State,
    /// Its options.
    pub config: InstanceConfig,
    /// Whether an operator wants it to get no new requests from this gogeta. The store knows nothing of it.
    pub drained: bool,
    /// What requests note down.
    pub activity: Arc<Activity>,
}

impl Instance {
    /// Why the instance is in its state, for an operator.
    pub fn why(&self) -> String {
        if self.drained {
            return format!("{}; but it is drained here, so it gets no new requests", self.status.why());
        }
        if self.state == State::Started && self.upstream.is_none() {
            return format!("{}; but it has no location, so it gets no requests", self.status.why());
        }
        self.status.why()
    }

    /// The instance's share of the requests.
    pub fn weight(&self) -> u8 {
        self.config.weight.unwrap_or(1).min(100)
    }
}

/// What requests note down about an instance, shared by all tables that it is in.
#[derive(Debug, Default)]
pub struct Activity {
    last_access: AtomicU64,
    last_wake: AtomicU64,
}

impl Activity {
    /// Whether a `lastAccess` is due at `now`: true for one caller in each `interval` (both in seconds).
    pub fn access_is_due(&self, now: u64, interval: u64) -> bool {
        claim(&self.last_access, now, interval)
    }

    /// Whether a wake-up may be asked for at `now`: true for one caller in each `interval` (both in seconds).
    pub fn wake_is_due(&self, now: u64, interval: u64) -> bool {
        claim(&self.last_wake, now, interval)
    }
}

fn claim(cell: &AtomicU64, now: u64, interval: u64) -> bool {
    let last = cell.load(Ordering::Relaxed);
    let due = last == 0 || now >= last.saturating_add(interval);
    due && cell.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// A service and its instances.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// All of its instances, by index: numbers in their order, then texts.
    pub instances: Vec<Arc<Instance>>,
    /// The order in which requests go to the started ones: positions in `instances`, once for each share.
    pub ring: Box<[u16]>,
    /// Where in the ring the next request goes; the same cell in all tables.
    pub cursor: Arc<AtomicUsize>,
    /// Where its requests are counted; likewise.
    pub series: Arc<Series>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_in_each_interval() {
        let activity = Activity::default();
        assert!(activity.access_is_due(1000, 10));
        assert!(!activity.access_is_due(1009, 10));
        assert!(activity.access_is_due(1010, 10));
        assert!(activity.wake_is_due(1010, 5), "the two do not share a clock");
    }

    #[test]
    fn locations_as_text() {
        let text = |host: &str| Location { host: host.into(), port: 80 }.to_string();
        assert_eq!(text("a.test"), "a.test:80");
        assert_eq!(text("::1"), "[::1]:80");
    }
}
