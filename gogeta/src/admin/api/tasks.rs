//! `/api/tasks`: what every task waits for.

use axum::extract::State;

use super::fault::Fault;
use crate::admin::Admin;
use crate::admin::operator::Operator;

/// What every task of every thread waits for, with its call stack: what USR1 logs.
#[utoipa::path(
    post,
    path = "/api/tasks",
    tag = "actions",
    security(("token" = [])),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 401, response = inline(Fault)),
        (status = 403, response = inline(Fault)),
    )
)]
pub(super) async fn dump(State(admin): State<Admin>, operator: Operator) -> String {
    operator.did(&admin, "tasks", "the state of every task was asked for");
    admin.dumps.take().await
}
