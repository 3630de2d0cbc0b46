//! `/api/domains`: where hosts go.

#![expect(unused_qualifications, reason = "utoipa's macro names parameters by a path")]

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, Named};
use super::fault::Fault;
use super::listing::{self, Part};
use super::services::Service;
use crate::admin::routes::{DomainState, text, why_domain};
use crate::admin::sampler::Lately;
use crate::admin::{Admin, blocking};
use crate::routes::model::{self, ServiceName, Target};
use crate::routes::table::RouteTable;

/// A domain: where it goes, how it is, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Domain {
    /// The host, or `*.` and a name.
    pub host: String,
    /// `service` or `uri`, as it stands in the store.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The service or the URI, as it stands in the store.
    pub value: Option<String>,
    /// How it is.
    pub state: DomainState,
    /// Why, in one sentence.
    pub why: String,
    /// Its options.
    #[schema(value_type = Object)]
    pub config: Value,
    /// Requests in a second, where its service is counted by itself and no other domain leads there.
    pub requests_per_second: Option<f64>,
}

/// A part of all domains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DomainList {
    /// The store's revision that they are of.
    pub revision: i64,
    /// How many there are in all.
    pub total: usize,
    /// Of those, how many are asked for.
    pub matched: usize,
    /// How many of the latter go before the first that is shown.
    pub offset: usize,
    /// In the hosts' order.
    pub items: Vec<Domain>,
}

/// A domain with its service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DomainWithService {
    /// The domain.
    #[serde(flatten)]
    pub domain: Domain,
    /// The service that it goes to, where it goes to one that is there.
    pub service: Option<Service>,
}

/// Which domains.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// A part of the host or of the value.
    q: String,
    /// Only those in this state.
    #[param(inline)]
    state: Option<DomainState>,
    /// How many to leave out.
    offset: usize,
    /// How many to show, at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self { q: String::new(), state: None, offset: 0, limit: listing::USUAL }
    }
}

impl Query {
    fn wants(&self, table: &RouteTable, domain: &model::Domain) -> bool {
        let value = domain.value.as_deref().unwrap_or_default();
        (listing::has(&domain.host, &self.q) || listing::has(value, &self.q))
            && self.state.is_none_or(|state| DomainState::of(table, domain) == state)
    }

    fn list(&self, table: &RouteTable, part: Part, lately: &Lately) -> DomainList {
        let found: Vec<&Arc<model::Domain>> =
            table.domains().filter(|domain| self.wants(table, domain)).collect();
        let matched = found.len();
        let items = part.of(found, |a, b| a.host.cmp(&b.host));
        let alone = Alone::among(table, &items, lately);
        DomainList {
            revision: table.revision(),
            total: table.domain_count(),
            matched,
            offset: self.offset,
            items: items.into_iter().map(|domain| Domain::of(table, domain, &alone)).collect(),
        }
    }
}

/// Those services of some domains that nobody else leads to: their requests are the domain's.
struct Alone<'a> {
    domains: HashMap<&'a ServiceName, usize>,
    lately: &'a Lately,
}

impl<'a> Alone<'a> {
    /// Looks at all domains of a table, where that is of use.
    fn among(table: &'a RouteTable, some: &[&'a Arc<model::Domain>], lately: &'a Lately) -> Self {
        let mut domains = HashMap::new();
        if !lately.is_empty() {
            domains.extend(some.iter().filter_map(|domain| Some((leads_to(domain)?, 0))));
            for name in table.domains().filter_map(|domain| leads_to(domain)) {
                if let Some(count) = domains.get_mut(name) {
                    *count += 1;
                }
            }
        }
        Self { domains, lately }
    }

    fn rate(&self, domain: &model::Domain) -> Option<f64> {
        let name = leads_to(domain).filter(|name| self.domains.get(name) == Some(&1))?;
        self.lately.requests(name)
    }
}

fn leads_to(domain: &model::Domain) -> Option<&ServiceName> {
    match &domain.target {
        Some(Target::Service(name)) => Some(name),
        _ => None,
    }
}

impl Domain {
    /// As it is in its table, and as it was asked lately.
    fn of(table: &RouteTable, domain: &model::Domain, alone: &Alone<'_>) -> Self {
        Self {
            host: domain.host.to_string(),
            kind: text(&domain.kind),
            value: text(&domain.value),
            state: DomainState::of(table, domain),
            why: why_domain(table, domain),
            config: serde_json::to_value(&domain.config).unwrap_or_default(),
            requests_per_second: alone.rate(domain),
        }
    }
}

/// Domains, in order; of many, a part.
#[utoipa::path(
    get,
    path = "/api/domains",
    tag = "routes",
    params(Query),
    responses((status = 200, body = DomainList), (status = 400, response = inline(Fault)))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    Asked(query): Asked<Query>,
) -> Result<Json<DomainList>, Fault> {
    let part = Part::new(query.offset, query.limit)?;
    let table = admin.shared.routes.load_full();
    let lately = admin.sampler.services();
    blocking(move || query.list(&table, part, &lately)).await.map(Json)
}

/// One domain, with its service.
#[utoipa::path(
    get,
    path = "/api/domains/{host}",
    tag = "routes",
    params(("host" = String, Path, description = "The host, or `*.` and a name")),
    responses((status = 200, body = DomainWithService), (status = 404, response = inline(Fault)))
)]
pub(super) async fn get(
    State(admin): State<Admin>,
    Named(host): Named<String>,
) -> Result<Json<DomainWithService>, Fault> {
    let table = admin.shared.routes.load_full();
    let lately = admin.sampler.services();
    let found = blocking(move || {
        let domain = table.domain_of(&host.to_ascii_lowercase());
        let domain = domain.ok_or_else(|| Fault::not_found(format!("there is no domain {host:?}")))?;
        let service = leads_to(domain).and_then(|name| table.service(name.as_str()));
        Ok(DomainWithService {
            domain: Domain::of(&table, domain, &Alone::among(&table, &[domain], &lately)),
            service: service.map(|service| Service::of(service, &lately)),
        })
    });
    found.await?.map(Json)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;
    use crate::admin::api::services;
    use crate::admin::testing::{desk, many};

    /// How often a future is asked whether it is done before the only thread for what takes a while is free; it must
    /// not be done by then.
    const ASKED: usize = 5;

    /// Waits for what takes a while, and sees that it does not do it on the thread that it is asked on: the control
    /// thread has changes to apply.
    async fn elsewhere<T>(work: impl Future<Output = T>) -> T {
        let (free, busy) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || busy.recv());
        let mut work = pin!(work);
        for _ in 0..ASKED {
            let is_done = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_ready())).await;
            assert!(!is_done, "it was done on the thread that applies changes");
            tokio::task::yield_now().await;
        }
        drop(free);
        work.await
    }

    #[test]
    fn a_hundred_thousand_domains_are_looked_through_on_another_thread() {
        const COUNT: usize = 100_000;
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().max_blocking_threads(1).build().expect("a runtime");
        let admin = desk(many(COUNT));
        runtime.block_on(async {
            let query = Query { q: "many".to_owned(), offset: 40_000, limit: 50, ..Query::default() };
            let Json(page) = elsewhere(list(State(admin.clone()), Asked(query))).await.expect("a page");
            assert_eq!((page.total, page.matched, page.items.len()), (COUNT, COUNT, 50));
            assert_eq!(
                (&*page.items[0].host, &*page.items[49].host),
                ("040000.many.test", "040049.many.test")
            );
            let query = services::Query::default();
            let Json(page) =
                elsewhere(services::list(State(admin.clone()), Asked(query))).await.expect("a page");
            assert_eq!((page.total, page.items.len()), (COUNT, 100));
            let status = elsewhere(admin.overview.status(&admin)).await;
            assert_eq!((status.counts.domains, status.counts.instances), (COUNT, COUNT));
            // Who asks again at once gets what is known, without another look at everything.
            let mut again = pin!(admin.overview.status(&admin));
            let is_known = poll_fn(|cx| Poll::Ready(again.as_mut().poll(cx).is_ready())).await;
            assert!(is_known);
        });
    }
}
