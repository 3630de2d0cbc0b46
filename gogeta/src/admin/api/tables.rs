//! `/api/routes` and `/api/pairs`: everything that there is of one kind, whole.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::fault::Fault;
use crate::admin::routes::View;
use crate::admin::{Admin, blocking};

/// A whole table: what `gogeta route ls --json` and `gogeta service ls --json` show.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it is the document's; what is sent is `View`")]
pub(super) struct Routes {
    /// The store's revision.
    revision: i64,
    /// All domains.
    domains: Vec<Object>,
    /// All services.
    services: Vec<Object>,
    /// All keys with a wrong value.
    problems: Vec<Object>,
}

/// Some object.
#[derive(Debug, ToSchema)]
#[schema(value_type = Object)]
#[expect(dead_code, reason = "as above")]
pub(super) struct Object(Value);

/// The pairs of connections that the kernel has.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pairs {
    /// The engines that there are, the better one first.
    engines: Vec<&'static str>,
    /// All pairs.
    #[schema(value_type = Vec<Object>)]
    pairs: Vec<crate::splice::engine::Shown>,
}

/// Every domain and every instance, with its state and why.
#[utoipa::path(get, path = "/api/routes", tag = "routes", responses((status = 200, body = Routes)))]
pub(super) async fn routes(State(admin): State<Admin>) -> Result<Response, Fault> {
    let table = admin.shared.routes.load_full();
    // 100,000 domains take a while: not on the thread that applies changes.
    let body = blocking(move || serde_json::to_vec(&View::of(&table))).await?;
    let body = body.map_err(|error| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The pairs of connections that the kernel has, and whether it has any at all.
#[utoipa::path(get, path = "/api/pairs", tag = "routes", responses((status = 200, body = Pairs)))]
pub(super) async fn pairs(State(admin): State<Admin>) -> Result<Json<Pairs>, Fault> {
    let Some(engine) = admin.shared.splice.as_ref().map(|splice| splice.engine.clone()) else {
        return Ok(Json(Pairs { engines: Vec::new(), pairs: Vec::new() }));
    };
    // There may be 65,536 of them.
    blocking(move || Json(Pairs { engines: engine.names(), pairs: engine.show() })).await
}
