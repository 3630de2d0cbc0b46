//! `/readyz`: whether gogeta takes requests, and why not.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Admin;
use super::api::status::Readiness;
use crate::metrics::Metrics;
use crate::proxy::worker::Shared;

/// Whether gogeta is ready, and each thing that this depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// Whether it is.
    #[serde(flatten)]
    pub readiness: Readiness,
    /// Seconds since the routes were last known to be current; none before there are any.
    pub config_age_seconds: Option<u64>,
    /// The store's revision that is served.
    pub revision: i64,
    /// Why it is not ready; empty where it is.
    pub reasons: Vec<String>,
    /// Everything that was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// Its name: `routes`, `shutdown`, `store`.
    pub check: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Whether gogeta is not ready without it. It serves without etcd, by the routes that it knows.
    pub required: bool,
    /// One sentence.
    pub text: String,
}

impl Readiness {
    /// How it is now. Ready: routes have been read at least once, and no shutdown has begun.
    pub(super) fn of(shared: &Shared) -> Self {
        let routes_loaded = shared.loaded.load(Ordering::Relaxed);
        let draining = shared.draining.load(Ordering::Relaxed);
        let detail = if draining { DRAINING } else { detail(&shared.metrics) };
        Self {
            ready: routes_loaded && !draining,
            routes_loaded,
            draining,
            store_connected: shared.metrics.store_connected.get() == 1,
            detail: detail.to_owned(),
        }
    }
}

const DRAINING: &str = "gogeta is stopping: what is in flight is finished, and nobody new should come";

impl Explained {
    fn of(shared: &Shared) -> Self {
        let readiness = Readiness::of(shared);
        let check = |check: &str, ok, required, [good, bad]: [&str; 2]| {
            let text = if ok { good } else { bad };
            Check { check: check.to_owned(), ok, required, text: text.to_owned() }
        };
        let store = ["it can be reached", "it cannot be reached; the routes that were last known are served"];
        let checks = vec![
            check(
                "routes",
                readiness.routes_loaded,
                true,
                [
                    "they have been read",
                    "none have been read yet: the store has not answered since the start",
                ],
            ),
            check("shutdown", !readiness.draining, true, ["none has begun", DRAINING]),
            check("store", readiness.store_connected, false, store),
        ];
        let missing = checks.iter().filter(|check| check.required && !check.ok);
        Self {
            config_age_seconds: shared.metrics.age.seconds(),
            revision: shared.routes.load().revision(),
            reasons: missing.map(|check| format!("{}: {}", check.check, check.text)).collect(),
            checks,
            readiness,
        }
    }
}

/// The process is alive.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses((status = 200, body = String, content_type = "text/plain"))
)]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether gogeta takes requests: 200, or 503 with the reasons.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses((status = 200, body = Explained), (status = 503, body = Explained))
)]
pub(super) async fn get(State(admin): State<Admin>) -> Response {
    let explained = Explained::of(&admin.shared);
    let status = if explained.readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(explained)).into_response()
}

/// What an operator should know of the routes, in one sentence.
pub(super) fn detail(metrics: &Metrics) -> &'static str {
    match (metrics.age.seconds(), metrics.age.is_from_disk()) {
        (None, _) => "no routes have been read yet",
        (Some(_), true) => "serving the routes that were last known, from disk (--state-dir)",
        (Some(_), false) if metrics.store_connected.get() == 0 => {
            "serving the routes that were last known; etcd is away"
        }
        (Some(_), false) => "the routes are current",
    }
}
