//! `/api/history`: the last five minutes, second by second.

#![expect(unused_qualifications, reason = "utoipa's macro names parameters by a path")]

use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::Asked;
use super::fault::Fault;
use crate::admin::Admin;

/// From where on: who has the rest asks for what is new, once a second.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// Only points later than this, in seconds since 1970.
    after: f64,
}

/// The last five minutes, the oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// Between two points.
    pub interval_seconds: u32,
    /// The points; fewer at first.
    pub points: Vec<Point>,
}

/// One second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// Its end, in seconds since 1970.
    pub at: f64,
    /// Requests answered in a second, by whichever engine.
    pub requests_per_second: f64,
    /// Answers from 500 on, in a second.
    pub errors_per_second: f64,
    /// Half of userspace's answers took no longer, in seconds; none where nothing came.
    pub p50_seconds: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99_seconds: Option<f64>,
    /// Bytes in a second.
    pub bytes: Bytes,
}

/// Bytes by the engine that carried them, in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = BytesByEngine)]
pub struct Bytes {
    /// gogeta's threads.
    pub userspace: f64,
    /// The kernel, from socket to socket.
    pub sockmap: f64,
    /// The kernel, packet by packet.
    pub wire: f64,
}

/// The last five minutes, second by second.
#[utoipa::path(
    get,
    path = "/api/history",
    tag = "state",
    params(After),
    responses((status = 200, body = History), (status = 400, response = inline(Fault)))
)]
pub(super) async fn get(State(admin): State<Admin>, Asked(asked): Asked<After>) -> Json<History> {
    let mut history = admin.sampler.history();
    history.points.retain(|point| point.at > asked.after);
    Json(history)
}
