//! The immutable snapshot that requests are resolved by.
//!
//! The maps share structure between one table and the next, so a change costs what it touches, also at
//! 100,000 domains, and a reader holds its table as long as it likes.

use std::sync::Arc;

use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdMap};

use super::host;
use super::key::Key;
use super::model::{Domain, Instance, Service, ServiceName, Target, UriTarget};
use super::splice::{self, SpliceMode};

/// A map that copies only what changes.
pub(super) type Map<K, V> = GenericHashMap<K, V, foldhash::fast::RandomState, DefaultSharedPtr>;

/// How a host becomes a target.
#[derive(Debug, Clone, Default)]
pub enum Resolver {
    /// By the domains in the store.
    #[default]
    Domains,
    /// The service is the first label of the host.
    Env,
    /// Everything to one place.
    Fixed(Arc<UriTarget>),
}

/// What a host resolves to.
#[derive(Debug)]
pub enum Route<'a> {
    /// Nobody has such a domain, or it is still pending.
    Unknown,
    /// The domain is there, its service is not.
    NoService {
        /// The domain.
        domain: &'a Domain,
        /// The service that it names.
        service: &'a ServiceName,
    },
    /// One of a service's instances.
    Service {
        /// The domain, where one led here.
        domain: Option<&'a Domain>,
        /// The service.
        service: &'a Arc<Service>,
    },
    /// A fixed place.
    Uri {
        /// The domain, where one led here.
        domain: Option<&'a Domain>,
        /// The place.
        target: &'a Arc<UriTarget>,
    },
}

impl<'a> Route<'a> {
    /// The domain, where one led here.
    pub fn domain(&self) -> Option<&'a Domain> {
        match self {
            Self::Unknown => None,
            Self::NoService { domain, .. } => Some(domain),
            Self::Service { domain, .. } | Self::Uri { domain, .. } => *domain,
        }
    }

    /// What the store says about the kernel carrying connections of this route to that instance of its service: the
    /// domain's word and the instance's together. None where neither says anything, and gogeta's own flag decides.
    pub fn splice(&self, instance: Option<&Instance>) -> Option<SpliceMode> {
        let domain = self.domain().and_then(|domain| domain.config.splice.as_ref());
        splice::both(domain, instance.and_then(|instance| instance.config.splice.as_ref()))
    }
}

/// A value that is wrong.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    /// What is wrong with it.
    pub(super) what: Arc<str>,
    /// The value.
    pub(super) value: Arc<str>,
}

/// All that is known at one revision. Cloning it is cheap.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    pub(super) resolver: Resolver,
    pub(super) revision: i64,
    pub(super) domains: Map<Arc<str>, Arc<Domain>>,
    pub(super) wildcards: Map<Box<str>, Arc<Domain>>,
    pub(super) services: Map<ServiceName, Arc<Service>>,
    pub(super) problems: OrdMap<Key, Problem>,
}

impl RouteTable {
    /// The store's revision that this table shows; 0 before anything was read.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// How a host becomes a target.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Where requests for `host` go. The host is normalised, as [`host::parse`] gives it.
    pub fn resolve(&self, host: &str) -> Route<'_> {
        match &self.resolver {
            Resolver::Domains => self.domain(host).map_or(Route::Unknown, |domain| self.follow(domain)),
            Resolver::Env => {
                let host = host::without_www(host).unwrap_or(host);
                let label = host.split('.').next().unwrap_or(host);
                self.services
                    .get(label)
                    .map_or(Route::Unknown, |service| Route::Service { domain: None, service })
            }
            Resolver::Fixed(target) => Route::Uri { domain: None, target },
        }
    }

    /// The domain that a host belongs to: the first that matches it and is not pending.
    fn domain(&self, host: &str) -> Option<&Domain> {
        self.matches(host).find(|domain| domain.target.is_some()).map(Arc::as_ref)
    }

    /// The domains that match a host, pending ones too, in the order of their say: the exact one, that of the host
    /// without `www.`, then wildcards, the longest first.
    pub fn matches(&self, host: &str) -> impl Iterator<Item = &Arc<Domain>> {
        let exact = std::iter::once(host).chain(host::without_www(host));
        let wildcards = if self.wildcards.is_empty() { "" } else { host };
        let dots = wildcards.bytes().enumerate().filter(|(at, byte)| *byte == b'.' && *at > 0);
        exact
            .filter_map(|host| self.domains.get(host))
            .chain(dots.filter_map(|(at, _)| self.wildcards.get(&host[at..])))
    }

    fn follow<'a>(&'a self, domain: &'a Domain) -> Route<'a> {
        match &domain.target {
            None => Route::Unknown,
            Some(Target::Uri(target)) => Route::Uri { domain: Some(domain), target },
            Some(Target::Service(name)) => match self.services.get(name) {
                Some(service) => Route::Service { domain: Some(domain), service },
                None => Route::NoService { domain, service: name },
            },
        }
    }

    /// All domains, pending ones too, in no order.
    pub fn domains(&self) -> impl Iterator<Item = &Arc<Domain>> {
        self.domains.values()
    }

    /// All services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// How many domains there are, pending ones too.
    pub fn domain_count(&self) -> usize {
        self.domains.len()
    }

    /// How many services there are.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// The domain of exactly that name, pending or not.
    pub fn domain_of(&self, host: &str) -> Option<&Arc<Domain>> {
        self.domains.get(host)
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// The keys whose values are wrong, and how, in the keys' order.
    pub fn problems(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.problems.iter().map(|(key, problem)| (key, &*problem.what))
    }

    /// How many keys have a wrong value.
    pub fn problem_count(&self) -> usize {
        self.problems.len()
    }
}
