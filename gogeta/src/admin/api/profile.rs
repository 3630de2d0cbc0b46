//! `/api/profile`: CPU profiles, as by USR2.

use std::path::Path;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::Fault;
use crate::admin::operator::Operator;
use crate::admin::{Admin, blocking};
use crate::profile::ProfileError;

/// What becomes of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Profile {
    /// Whether one is being taken.
    pub running: bool,
    /// The files that were written, or will be: the profile for pprof, and its flame graph if it has any samples.
    pub files: Vec<String>,
}

/// A flame graph is a picture with a script of its own: it gets to see nothing but itself.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; sandbox allow-scripts";

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn fault(error: ProfileError) -> Fault {
    let status = match error {
        ProfileError::Running | ProfileError::Idle => StatusCode::CONFLICT,
        ProfileError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Fault::new(status, error.to_string())
}

/// Starts a CPU profile of the whole process.
#[utoipa::path(
    post,
    path = "/api/profile/start",
    tag = "actions",
    security(("token" = [])),
    responses(
        (status = 200, body = Profile),
        (status = 401, response = inline(Fault)),
        (status = 403, response = inline(Fault)),
        (status = 409, response = inline(Fault)),
    )
)]
pub(super) async fn start(State(admin): State<Admin>, operator: Operator) -> Result<Json<Profile>, Fault> {
    let profiler = admin.profiler.clone();
    blocking(move || profiler.start()).await?.map_err(fault)?;
    operator.did(&admin, "profile", "a CPU profile was started");
    let file = admin.profiler.file();
    Ok(Json(Profile { running: true, files: vec![text(file), text(&file.with_extension("svg"))] }))
}

/// Ends the profile, and writes it.
#[utoipa::path(
    post,
    path = "/api/profile/stop",
    tag = "actions",
    security(("token" = [])),
    responses(
        (status = 200, body = Profile),
        (status = 401, response = inline(Fault)),
        (status = 403, response = inline(Fault)),
        (status = 409, response = inline(Fault)),
    )
)]
pub(super) async fn stop(State(admin): State<Admin>, operator: Operator) -> Result<Json<Profile>, Fault> {
    let profiler = admin.profiler.clone();
    let files = blocking(move || profiler.stop()).await?.map_err(fault)?;
    operator.did(&admin, "profile", "the CPU profile was ended and written");
    Ok(Json(Profile { running: false, files: files.iter().map(|file| text(file)).collect() }))
}

/// The flame graph of the last profile that was ended.
#[utoipa::path(
    get,
    path = "/api/profile/flamegraph.svg",
    tag = "state",
    responses(
        (status = 200, body = String, content_type = "image/svg+xml"),
        (status = 404, response = inline(Fault)),
    )
)]
pub(super) async fn flamegraph(State(admin): State<Admin>) -> Result<Response, Fault> {
    let nothing = || Fault::not_found("no profile was taken since the start, or it has no samples");
    let picture = admin.profiler.flames().ok_or_else(nothing)?;
    let kind = [(header::CONTENT_TYPE, "image/svg+xml"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    Ok((kind, picture.to_vec()).into_response())
}
