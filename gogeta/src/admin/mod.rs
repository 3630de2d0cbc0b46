//! The admin listener: health, metrics, and what is routed where.

pub mod routes;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use serde_json::json;

use crate::metrics::{Live, Metrics};
use crate::proxy::worker::Shared;
use crate::splice::metrics::Collected;

/// What the handlers see.
#[derive(Debug, Clone)]
struct Admin {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
}

/// Serves the admin listener for as long as the runtime lives.
///
/// # Errors
///
/// Where the listener cannot be used.
pub async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (open, resting) = (shared.clone(), shared.clone());
    let live = Live {
        open: Box::new(move || open.guests.count()),
        resting: Box::new(move || routes::resting(&resting.routes.load())),
    };
    let mut registry = shared.metrics.registry(live);
    if let Some(splice) = &shared.splice {
        registry.register_collector(Box::new(Collected(splice.engine.clone())));
    }
    let registry = Arc::new(registry);
    axum::serve(listener, router(Admin { shared, registry })).await
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/routes", get(api_routes))
        .route("/api/pairs", get(api_pairs))
        .with_state(admin)
}

async fn index() -> &'static str {
    "gogeta\n\n/healthz     the process is alive\n/readyz      it has routes and is not on its way out\n\
     /metrics     for Prometheus\n/api/routes  every domain and instance, its state and why\n\
     /api/pairs   the connections that the kernel carries\n"
}

/// Ready: routes have been read at least once, and no shutdown has begun.
async fn ready(State(admin): State<Admin>) -> Response {
    let shared = &admin.shared;
    let loaded = shared.loaded.load(Ordering::Relaxed);
    let draining = shared.draining.load(Ordering::Relaxed);
    let status = if loaded && !draining { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": status == StatusCode::OK,
        "routes_loaded": loaded,
        "draining": draining,
        "store_connected": shared.metrics.store_connected.get() == 1,
        "config_age_seconds": shared.metrics.age.seconds(),
        "detail": detail(&shared.metrics),
        "revision": shared.routes.load().revision(),
    });
    (status, Json(body)).into_response()
}

/// What an operator should know who sees it ready.
fn detail(metrics: &Metrics) -> &'static str {
    match (metrics.age.seconds(), metrics.age.is_from_disk()) {
        (None, _) => "no routes have been read yet",
        (Some(_), true) => "serving the routes that were last known, from disk (--state-dir)",
        (Some(_), false) if metrics.store_connected.get() == 0 => {
            "serving the routes that were last known; etcd is away"
        }
        (Some(_), false) => "the routes are current",
    }
}

/// The pairs of connections that the kernel has, and whether it has any at all.
async fn api_pairs(State(admin): State<Admin>) -> Json<serde_json::Value> {
    let engine = admin.shared.splice.as_ref().map(|splice| &splice.engine);
    Json(json!({
        "engines": engine.map(|engine| engine.names()).unwrap_or_default(),
        "pairs": engine.map(|engine| engine.show()).unwrap_or_default(),
    }))
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn api_routes(State(admin): State<Admin>) -> Response {
    let table = admin.shared.routes.load_full();
    // 100,000 domains take a while: not on the thread that applies changes.
    match tokio::task::spawn_blocking(move || serde_json::to_vec(&routes::View::of(&table))).await {
        Ok(Ok(body)) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
