//! `/api/config`: what gogeta runs with.

use axum::extract::State;
use axum::response::Json;
use serde_json::{Map, Value};

use crate::admin::Admin;

/// What gogeta runs with, by flag: times in seconds, 0 for no limit, null for what is not set. Secrets are hidden.
#[utoipa::path(get, path = "/api/config", tag = "state", responses((status = 200, body = Object)))]
pub(super) async fn get(State(admin): State<Admin>) -> Json<Map<String, Value>> {
    Json(admin.shared.config.load().shown())
}
