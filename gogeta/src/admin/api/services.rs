//! `/api/services`: who answers.

#![expect(unused_qualifications, reason = "utoipa's macro names parameters by a path")]

use std::sync::Arc;

use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, Named};
use super::fault::Fault;
use super::listing::{self, Part};
use crate::admin::routes::{rests, text, why_service};
use crate::admin::sampler::Lately;
use crate::admin::{Admin, blocking};
use crate::balance::pick_state;
use crate::routes::model;
use crate::routes::table::RouteTable;
use crate::status;

/// A service and its instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// How it is to a visitor.
    pub state: status::State,
    /// Why, in one sentence.
    pub why: String,
    /// All of them, by index.
    pub instances: Vec<Instance>,
    /// Requests in a second, where they are counted by service.
    pub requests_per_second: Option<f64>,
    /// The share of answers from 500 on, likewise.
    pub error_ratio: Option<f64>,
    /// 99 of 100 answers took no longer, likewise.
    pub p99_seconds: Option<f64>,
}

/// An instance: where it is, how it is, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// Its index; any text.
    pub index: String,
    /// Where it listens, as `host:port`.
    pub location: Option<String>,
    /// How it is.
    pub state: status::State,
    /// Why, in one sentence.
    pub why: String,
    /// What it is doing, as it stands in the store.
    pub current: Option<String>,
    /// What it is meant to be doing.
    pub expected: Option<String>,
    /// Any text while its heart beats.
    pub alive: Option<String>,
    /// Whether it could not be connected to lately, and is left alone for a while.
    pub resting: bool,
    /// Whether an operator has drained it here.
    pub drained: bool,
    /// Requests that are on their way to it, where they are counted.
    pub open_requests: Option<u64>,
    /// Its options.
    #[schema(value_type = Object)]
    pub config: Value,
}

/// A part of all services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceList {
    /// The store's revision that they are of.
    pub revision: i64,
    /// How many there are in all.
    pub total: usize,
    /// Of those, how many are asked for.
    pub matched: usize,
    /// How many of the latter go before the first that is shown.
    pub offset: usize,
    /// In the names' order.
    pub items: Vec<Service>,
}

/// Which services.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// A part of the name, or of an instance's location.
    q: String,
    /// Only those in this state.
    #[param(inline)]
    state: Option<status::State>,
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
    fn wants(&self, service: &model::Service) -> bool {
        let is_there = |instance: &Arc<model::Instance>| {
            let upstream = instance.upstream.as_ref();
            upstream.is_some_and(|upstream| listing::has(&upstream.location.to_string(), &self.q))
        };
        (listing::has(service.name.as_str(), &self.q) || service.instances.iter().any(is_there))
            && self.state.is_none_or(|state| pick_state(service) == state)
    }

    fn list(&self, table: &RouteTable, part: Part, lately: &Lately) -> ServiceList {
        let found: Vec<&Arc<model::Service>> =
            table.services().filter(|service| self.wants(service)).collect();
        let matched = found.len();
        let items = part.of(found, |a, b| a.name.cmp(&b.name));
        ServiceList {
            revision: table.revision(),
            total: table.service_count(),
            matched,
            offset: self.offset,
            items: items.into_iter().map(|service| Service::of(service, lately)).collect(),
        }
    }
}

impl Service {
    /// As it is in its table, and as it was asked lately.
    pub(super) fn of(service: &model::Service, lately: &Lately) -> Self {
        let counted = lately.of(&service.name);
        Self {
            name: service.name.to_string(),
            state: pick_state(service),
            why: why_service(service),
            instances: service.instances.iter().map(|instance| Instance::of(instance)).collect(),
            requests_per_second: counted.map(|(requests, ..)| requests),
            error_ratio: counted.map(|(_, errors, _)| errors),
            p99_seconds: counted.and_then(|(.., p99)| p99),
        }
    }
}

impl Instance {
    /// As it is in its table.
    pub(super) fn of(instance: &model::Instance) -> Self {
        Self {
            index: instance.index.to_string(),
            location: instance.upstream.as_ref().map(|upstream| upstream.location.to_string()),
            state: instance.state,
            why: instance.why(),
            current: text(&instance.status.current),
            expected: text(&instance.status.expected),
            alive: text(&instance.status.alive),
            resting: rests(instance),
            drained: instance.drained,
            open_requests: None,
            config: serde_json::to_value(&instance.config).unwrap_or_default(),
        }
    }
}

/// Services, in order; of many, a part.
#[utoipa::path(
    get,
    path = "/api/services",
    tag = "routes",
    params(Query),
    responses((status = 200, body = ServiceList), (status = 400, response = inline(Fault)))
)]
pub(super) async fn list(
    State(admin): State<Admin>,
    Asked(query): Asked<Query>,
) -> Result<Json<ServiceList>, Fault> {
    let part = Part::new(query.offset, query.limit)?;
    let table = admin.shared.routes.load_full();
    let lately = admin.sampler.services();
    blocking(move || query.list(&table, part, &lately)).await.map(Json)
}

/// One service.
#[utoipa::path(
    get,
    path = "/api/services/{name}",
    tag = "routes",
    params(("name" = String, Path, description = "The service's name")),
    responses((status = 200, body = Service), (status = 404, response = inline(Fault)))
)]
pub(super) async fn get(
    State(admin): State<Admin>,
    Named(name): Named<String>,
) -> Result<Json<Service>, Fault> {
    let table = admin.shared.routes.load();
    let service =
        table.service(&name).ok_or_else(|| Fault::not_found(format!("there is no service {name:?}")))?;
    Ok(Json(Service::of(service, &admin.sampler.services())))
}
