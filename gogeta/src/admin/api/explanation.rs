//! `/api/explain`: how a request would be routed now, step by step, by this gogeta.

#![expect(unused_qualifications, reason = "utoipa's macro names parameters by a path")]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::response::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked::Asked;
use super::fault::Fault;
use crate::admin::Admin;
use crate::config::{Config, Source};
use crate::explain::{Circumstances, Question, explain};
pub use crate::explain::{Explanation, Outcome, Step, Verdict};
use crate::proxy::vitals;
use crate::proxy::worker::Shared;
use crate::routes::key::KeySpace;
use crate::splice::{Kind, Kinds};
use crate::store::Names;

/// The request that is asked about.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Query {
    /// Its Host, with or without a port.
    host: String,
    /// Its path and query.
    #[serde(default)]
    #[param(default = "/")]
    path: Option<String>,
    /// Its method.
    #[serde(default)]
    #[param(default = "GET")]
    method: Option<String>,
    /// The address that it comes from; of IPv6 short forms, too.
    #[serde(default)]
    #[param(
        value_type = Option<String>,
        pattern = "^(((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])|[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7})$",
        default = "127.0.0.1"
    )]
    client: Option<IpAddr>,
    /// Further fields of its head, each a line of `Name: value`; a name alone is a field without a value.
    #[serde(default)]
    headers: String,
}

impl From<Query> for Question {
    fn from(query: Query) -> Self {
        let usual = Self::default();
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_owned(), value.trim().to_owned())
        };
        Self {
            host: query.host,
            path: query.path.unwrap_or(usual.path),
            method: query.method.unwrap_or(usual.method),
            client: query.client.unwrap_or(usual.client),
            headers: query.headers.lines().filter(|line| !line.is_empty()).map(field).collect(),
        }
    }
}

/// How a request would be routed now, step by step. It takes nobody's turn and wakes nobody.
#[utoipa::path(
    get,
    path = "/api/explain",
    tag = "routes",
    params(Query),
    responses((status = 200, body = Explanation), (status = 400, response = inline(Fault)))
)]
pub(super) async fn get(State(admin): State<Admin>, Asked(query): Asked<Query>) -> Json<Explanation> {
    Json(answer(&admin.shared, &query.into()))
}

fn answer(shared: &Shared, question: &Question) -> Explanation {
    let (table, config, pages) =
        (shared.routes.load_full(), shared.config.load_full(), shared.pages.load_full());
    let engine = shared.splice.as_ref().map(|splice| &splice.engine);
    let has = |kind| engine.is_some_and(|engine| engine.has(kind));
    let around = Circumstances {
        table: &table,
        config: &config,
        pages: &pages,
        names: &names(&config),
        loaded: shared.loaded.load(Ordering::Relaxed),
        engines: Some(Kinds { wire: has(Kind::Wire), sockmap: has(Kind::Sockmap) }),
        now: vitals::now(),
    };
    explain(question, around)
}

/// How keys are named where this gogeta has its routes from.
fn names(config: &Config) -> Names {
    match &config.source {
        Source::Etcd(etcd) => Names::Keys(KeySpace::new(&etcd.domain_dir, &etcd.service_dir)),
        Source::File(file) | Source::Demo(file) => Names::Lines { file: file.clone(), lines: Arc::default() },
        Source::Nothing => Names::Keys(KeySpace::new("/domains", "/services")),
    }
}
