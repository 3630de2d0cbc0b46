//! The API: each path with what it answers in a file of its own, all of them in one list, and the document that
//! describes them.

mod asked;
pub mod changes;
mod config;
pub mod domains;
pub mod explanation;
pub mod fault;
pub mod history;
mod instances;
mod listing;
mod live;
pub mod log;
mod openapi;
pub mod problems;
pub mod profile;
pub mod services;
pub mod status;
mod tables;
mod tasks;
pub mod unpark;

use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;

use super::{Admin, guard};

pub(super) use asked::is_json;

/// One thing that the API does.
pub(super) struct Endpoint {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) handler: MethodRouter<Admin>,
}

macro_rules! endpoint {
    ($method:ident $path:literal $handler:path) => {
        $crate::admin::api::Endpoint {
            method: axum::http::Method::$method,
            path: $path,
            handler: axum::routing::on(axum::routing::MethodFilter::$method, $handler),
        }
    };
}
pub(super) use endpoint;

/// All that the API does. Whatever does something is for who has the token.
pub(super) fn endpoints(admin: &Admin) -> Vec<Endpoint> {
    let mut endpoints = all();
    for endpoint in endpoints.iter_mut().filter(|endpoint| endpoint.method != Method::GET) {
        let handler = std::mem::take(&mut endpoint.handler);
        endpoint.handler = handler.layer(from_fn_with_state(admin.clone(), guard::action));
    }
    endpoints
}

/// What is in this list is in the document, and the other way round.
fn all() -> Vec<Endpoint> {
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
        endpoint!(GET "/api/config" config::get),
        endpoint!(GET "/api/log" log::get),
        endpoint!(PUT "/api/log" log::put),
        endpoint!(POST "/api/services/{name}/instances/{index}/drain" instances::drain),
        endpoint!(POST "/api/services/{name}/instances/{index}/undrain" instances::undrain),
        endpoint!(POST "/api/unpark" unpark::unpark),
        endpoint!(POST "/api/tasks" tasks::dump),
        endpoint!(POST "/api/profile/start" profile::start),
        endpoint!(POST "/api/profile/stop" profile::stop),
        endpoint!(GET "/api/profile/flamegraph.svg" profile::flamegraph),
        endpoint!(GET "/api/explain" explanation::get),
        endpoint!(GET "/api/openapi.json" openapi::get),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::admin::health;

    #[test]
    fn what_is_served_is_in_the_document_and_the_other_way_round() {
        let served = all().into_iter().chain(health());
        let served: BTreeSet<String> =
            served.map(|endpoint| format!("{} {}", endpoint.method, endpoint.path)).collect();
        let document = openapi::document();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                described.insert(format!("{} {path}", method.to_uppercase()));
                let is_action = method != "get";
                assert_eq!(
                    operation["security"].is_array(),
                    is_action,
                    "{method} {path}: does it need the token?"
                );
                assert_eq!(operation["tags"] == "actions" || operation["tags"][0] == "actions", is_action);
                assert!(operation["summary"].is_string(), "{method} {path} says nothing of itself");
            }
        }
        assert_eq!(served, described);
    }
}
