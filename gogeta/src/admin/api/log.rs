//! `/api/log`: what is logged.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asked::Said;
use super::fault::Fault;
use crate::admin::Admin;
use crate::admin::operator::Operator;

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LogFilter)]
pub struct Filter {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or tracing's filter syntax.
    pub filter: String,
}

/// What is logged now.
#[utoipa::path(get, path = "/api/log", tag = "state", responses((status = 200, body = Filter)))]
pub(super) async fn get(State(admin): State<Admin>) -> Json<Filter> {
    Json(Filter { filter: admin.log.filter() })
}

/// Logs something else from now on, until gogeta ends or reads its configuration anew.
#[utoipa::path(
    put,
    path = "/api/log",
    tag = "actions",
    security(("token" = [])),
    request_body = Filter,
    responses(
        (status = 200, body = Filter),
        (status = 400, response = inline(Fault)),
        (status = 401, response = inline(Fault)),
        (status = 403, response = inline(Fault)),
        (status = 413, response = inline(Fault)),
        (status = 415, response = inline(Fault)),
    )
)]
pub(super) async fn put(
    State(admin): State<Admin>,
    operator: Operator,
    Said(wanted): Said<Filter>,
) -> Result<Json<Filter>, Fault> {
    let wrong = |error: crate::config::ConfigError| Fault::new(StatusCode::BAD_REQUEST, error.to_string());
    admin.log.change(&wanted.filter).map_err(wrong)?;
    operator.did(&admin, "log", &format!("the log is set to {:?}", wanted.filter));
    Ok(Json(Filter { filter: admin.log.filter() }))
}
