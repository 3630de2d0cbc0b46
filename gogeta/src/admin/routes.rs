//! A route table as JSON: every domain and every instance with its computed state, and why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::balance::pick_state;
use crate::routes::key::Key;
use crate::routes::model::{Domain, DomainConfig, Instance, InstanceConfig, Service, Target};
use crate::routes::table::RouteTable;
use crate::status::State;

/// A whole table.
#[derive(Debug, Serialize)]
pub struct View {
    pub(crate) revision: i64,
    pub(crate) domains: Vec<DomainView>,
    pub(crate) services: Vec<ServiceView>,
    pub(crate) problems: Vec<Problem>,
}

/// A domain: where it goes, how it is, and why.
#[derive(Debug, Serialize)]
pub(crate) struct DomainView {
    pub(crate) host: String,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) state: DomainState,
    pub(crate) why: String,
    pub(crate) config: DomainConfig,
}

/// How a domain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DomainState {
    /// Its service cannot be said to be anything else, or does not exist.
    Error,
    /// Half of it is missing.
    Pending,
    /// Its service is stopped.
    Stopped,
    /// Its service is asleep.
    Passivated,
    /// Its service is on its way up.
    Starting,
    /// Its service takes requests.
    Started,
    /// It leads to a fixed place.
    Uri,
}

impl DomainState {
    /// That of a domain in its table.
    pub fn of(table: &RouteTable, domain: &Domain) -> Self {
        match &domain.target {
            None => Self::Pending,
            Some(Target::Uri(_)) => Self::Uri,
            Some(Target::Service(name)) => {
                table.service(name.as_str()).map_or(Self::Error, |service| pick_state(service).into())
            }
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Pending => "pending",
            Self::Stopped => "stopped",
            Self::Passivated => "passivated",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Uri => "uri",
        }
    }
}

impl From<State> for DomainState {
    fn from(state: State) -> Self {
        match state {
            State::Error => Self::Error,
            State::Stopped => Self::Stopped,
            State::Passivated => Self::Passivated,
            State::Starting => Self::Starting,
            State::Started => Self::Started,
        }
    }
}

/// A service and its instances.
#[derive(Debug, Serialize)]
pub(crate) struct ServiceView {
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) instances: Vec<InstanceView>,
}

/// An instance: where it is, how it is, and why.
#[derive(Debug, Serialize)]
pub(crate) struct InstanceView {
    pub(crate) index: String,
    pub(crate) location: Option<String>,
    pub(crate) resting: bool,
    pub(crate) drained: bool,
    pub(crate) state: State,
    pub(crate) why: String,
    pub(crate) current: Option<String>,
    pub(crate) expected: Option<String>,
    pub(crate) alive: Option<String>,
    pub(crate) config: InstanceConfig,
}

/// A key with a wrong value.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    pub(crate) key: String,
    pub(crate) problem: String,
}

impl View {
    /// All that a table knows, in the order of its names.
    pub fn of(table: &RouteTable) -> Self {
        let mut domains: Vec<DomainView> = table.domains().map(|domain| domain_view(table, domain)).collect();
        domains.sort_by(|a, b| a.host.cmp(&b.host));
        let mut services: Vec<ServiceView> = table.services().map(|service| service_view(service)).collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        let problems =
            table.problems().map(|(key, problem)| Problem { key: name(key), problem: problem.to_owned() });
        Self { revision: table.revision(), domains, services, problems: problems.collect() }
    }
}

fn domain_view(table: &RouteTable, domain: &Domain) -> DomainView {
    DomainView {
        host: domain.host.to_string(),
        kind: text(&domain.kind),
        value: text(&domain.value),
        state: DomainState::of(table, domain),
        why: why_domain(table, domain),
        config: domain.config.clone(),
    }
}

/// Why a domain is in its state, in one sentence.
pub(super) fn why_domain(table: &RouteTable, domain: &Domain) -> String {
    match &domain.target {
        Some(Target::Uri(target)) => format!("it goes to {}", target.text),
        Some(Target::Service(name)) => match table.service(name.as_str()) {
            Some(service) => why_service(service),
            None => format!("the service {name} does not exist"),
        },
        None => domain.pending().map_or("", |(_, why)| why).to_owned(),
    }
}

/// Why a service is in its state, in one sentence.
pub(super) fn why_service(service: &Service) -> String {
    let started = service.ring.iter().collect::<std::collections::BTreeSet<_>>().len();
    match started {
        0 => format!("none of {} instances of {} takes requests", service.instances.len(), service.name),
        _ => format!("{started} of {} instances of {} take requests", service.instances.len(), service.name),
    }
}

fn service_view(service: &Service) -> ServiceView {
    ServiceView {
        name: service.name.to_string(),
        state: pick_state(service),
        instances: service.instances.iter().map(|instance| instance_view(instance)).collect(),
    }
}

fn instance_view(instance: &Instance) -> InstanceView {
    InstanceView {
        index: instance.index.to_string(),
        location: instance.upstream.as_ref().map(|upstream| upstream.location.to_string()),
        resting: rests(instance),
        drained: instance.drained,
        state: instance.state,
        why: instance.why(),
        current: text(&instance.status.current),
        expected: text(&instance.status.expected),
        alive: text(&instance.status.alive),
        config: instance.config.clone(),
    }
}

/// Whether requests leave it alone for a while, since it could not be connected to.
pub(super) fn rests(instance: &Instance) -> bool {
    instance.upstream.as_ref().is_some_and(|upstream| !upstream.rest.is_over())
}

/// What stands in the store, to be shown.
pub(super) fn text(text: &Option<Box<str>>) -> Option<String> {
    text.as_deref().map(str::to_owned)
}

fn name(key: &Key) -> String {
    crate::store::file::path_of(key)
}
