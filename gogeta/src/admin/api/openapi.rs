//! `/api/openapi.json`: the document that describes the API, made from the handlers themselves.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;

use super::{changes, domains, explanation, fault, history, live, problems, services, status, tables};
use crate::admin::ready;

/// gogeta's admin API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "gogeta",
        description = "The operator's view of a running gogeta. Times are seconds since 1970, durations seconds; \
                       errors are problem details (RFC 9457).",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    paths(
        ready::get,
        status::get,
        history::get,
        domains::list,
        domains::get,
        services::list,
        services::get,
        problems::get,
        tables::routes,
        tables::pairs,
        changes::get,
        live::get,
        get,
    ),
    components(schemas(explanation::Explanation), responses(fault::Fault)),
    tags(
        (name = "health", description = "For whoever supervises gogeta"),
        (name = "state", description = "How gogeta is, and what happened"),
        (name = "routes", description = "What is routed where"),
        (name = "actions", description = "What an operator can do; with the token only"),
        (name = "document", description = "This document"),
    )
)]
struct Document;

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "document", responses((status = 200, body = Object)))]
pub(super) async fn get() -> Response {
    let document = Document::openapi().to_json().unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}
