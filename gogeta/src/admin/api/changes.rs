//! `/api/changes`: what happened lately.

#![expect(unused_qualifications, reason = "utoipa's macro names parameters by a path")]

use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, seq};
use super::fault::Fault;
use crate::admin::Admin;
pub use crate::journal::{Change, Kind, Level};

/// What happened lately, the newest last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// As far as it is remembered.
    pub items: Vec<Change>,
}

/// From where on.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// Only what has a greater number.
    after: u64,
}

/// What happened lately, the newest last; what is remembered is bounded.
#[utoipa::path(
    get,
    path = "/api/changes",
    tag = "state",
    params(After),
    responses((status = 200, body = Changes), (status = 400, response = inline(Fault)))
)]
pub(super) async fn get(
    State(admin): State<Admin>,
    Asked(asked): Asked<After>,
) -> Result<Json<Changes>, Fault> {
    Ok(Json(Changes { items: admin.shared.journal.after(seq(asked.after)?) }))
}
