//! `/api/problems`: keys with a wrong value.

use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::Fault;
use crate::admin::{Admin, blocking};
use crate::store::file::path_of;

/// All keys with a wrong value; the last good one of each stays in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problems {
    /// In the keys' order.
    pub problems: Vec<WrongKey>,
}

/// A key with a wrong value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WrongKey {
    /// The key, as a path in a routes file.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

/// All keys with a wrong value.
#[utoipa::path(get, path = "/api/problems", tag = "routes", responses((status = 200, body = Problems)))]
pub(super) async fn get(State(admin): State<Admin>) -> Result<Json<Problems>, Fault> {
    let table = admin.shared.routes.load_full();
    let problems = blocking(move || {
        let problem = |(key, problem): (_, &str)| WrongKey { key: path_of(key), problem: problem.to_owned() };
        table.problems().map(problem).collect()
    });
    Ok(Json(Problems { problems: problems.await? }))
}
