//! `/api/openapi.json`: the document that describes the API, made from the handlers themselves.

use std::sync::LazyLock;

use axum::response::Json;
use serde_json::Value;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi as _};

use super::{
    changes, config, domains, explanation, fault, history, instances, live, log, problems, profile, services,
    status, tables, tasks, unpark,
};
use crate::admin::ready;

/// gogeta's admin API.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "gogeta",
        description = "The operator's view of a running gogeta. Times are seconds since 1970, durations seconds; \
                       errors are problem details (RFC 9457).",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    paths(
        ready::alive,
        ready::get,
        crate::admin::metrics,
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
        config::get,
        log::get,
        log::put,
        instances::drain,
        instances::undrain,
        unpark::unpark,
        tasks::dump,
        profile::start,
        profile::stop,
        profile::flamegraph,
        explanation::get,
        get,
    ),
    modifiers(&Tokens),
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

/// The token that actions need.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut OpenApi) {
        let token =
            Http::builder().scheme(HttpAuthScheme::Bearer).description(Some("What --admin-token-file holds"));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
    }
}

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "document", responses((status = 200, body = Object)))]
pub(super) async fn get() -> Json<&'static Value> {
    Json(document())
}

/// This document.
pub(super) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> =
        LazyLock::new(|| serde_json::to_value(Document::openapi()).unwrap_or_default());
    &DOCUMENT
}
