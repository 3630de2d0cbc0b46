//! The API: each path with what it answers in a file of its own, all of them in one list, and the document that
//! describes them.

mod asked;
pub mod changes;
pub mod domains;
pub mod explanation;
pub mod fault;
pub mod history;
mod listing;
mod live;
mod openapi;
pub mod problems;
pub mod services;
pub mod status;
mod tables;

use axum::Router;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::Admin;

/// One thing that the API does.
pub(super) struct Endpoint {
    method: Method,
    path: &'static str,
    handler: MethodRouter<Admin>,
}

macro_rules! endpoint {
    ($method:ident $path:literal $handler:path) => {
        Endpoint { method: Method::$method, path: $path, handler: on(MethodFilter::$method, $handler) }
    };
}

/// All that the API does. What is in this list is in the document, and the other way round.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        endpoint!(GET "/api/status" status::get),
        endpoint!(GET "/api/history" history::get),
        endpoint!(GET "/api/domains" domains::list),
        endpoint!(GET "/api/domains/{host}" domains::get),
        endpoint!(GET "/api/services" services::list),
        endpoint!(GET "/api/services/{name}" services::get),
        endpoint!(GET "/api/problems" problems::get),
        endpoint!(GET "/api/routes" tables::routes),
        endpoint!(GET "/api/pairs" tables::pairs),
        endpoint!(GET "/api/changes" changes::get),
        endpoint!(GET "/api/live" live::get),
        endpoint!(GET "/api/openapi.json" openapi::get),
    ]
}

/// The API's routes.
pub(super) fn router() -> Router<Admin> {
    endpoints()
        .into_iter()
        .fold(Router::new(), |router, endpoint| router.route(endpoint.path, endpoint.handler))
}
