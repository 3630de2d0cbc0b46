//! The admin listener: health, metrics, the API of the operators' view, and its page.

pub mod api;
mod census;
mod live;
mod overview;
pub mod ready;
pub mod routes;
mod sampler;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use self::api::fault::Fault;
use self::live::Live;
use self::overview::Overview;
use self::sampler::Sampler;
use crate::app::Addresses;
use crate::metrics::Live as Looked;
use crate::proxy::worker::Shared;
use crate::splice::metrics::Collected;

/// What the admin listener is made of.
#[derive(Debug)]
pub struct Parts {
    /// What it shows.
    pub shared: Arc<Shared>,
    /// Where gogeta listens.
    pub addresses: Addresses,
    /// Whether gogeta has ended, and those who listen have to go.
    pub over: watch::Receiver<bool>,
}

/// What the handlers see.
type Admin = Arc<Desk>;

/// All that is behind the API.
#[derive(Debug)]
struct Desk {
    shared: Arc<Shared>,
    registry: Registry,
    addresses: Addresses,
    overview: Overview,
    sampler: Sampler,
    live: Live,
    over: watch::Receiver<bool>,
}

/// Serves the admin listener for as long as the runtime lives.
///
/// # Errors
///
/// Where the listener cannot be used.
pub async fn serve(listener: std::net::TcpListener, parts: Parts) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let Parts { shared, addresses, over } = parts;
    let desk = Desk {
        registry: registry(&shared),
        shared,
        addresses,
        overview: Overview::new(),
        sampler: Sampler::default(),
        live: Live::new(),
        over,
    };
    let admin = Arc::new(desk);
    tokio::spawn(live::pulse(admin.clone()));
    axum::serve(listener, router(admin)).await
}

fn registry(shared: &Arc<Shared>) -> Registry {
    let (open, resting) = (shared.clone(), shared.clone());
    let looked = Looked {
        open: Box::new(move || open.guests.count()),
        resting: Box::new(move || routes::resting(&resting.routes.load())),
    };
    let mut registry = shared.metrics.registry(looked);
    if let Some(splice) = &shared.splice {
        registry.register_collector(Box::new(Collected(splice.engine.clone())));
    }
    registry
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready::get))
        .route("/metrics", get(metrics))
        .merge(api::router())
        .with_state(admin)
}

/// Does what takes a while somewhere else than on the thread that applies changes.
///
/// # Errors
///
/// Where it panics.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    let failed =
        |error: tokio::task::JoinError| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

async fn index() -> &'static str {
    "gogeta\n\n/healthz           the process is alive\n/readyz            it has routes and is not on its way out\n\
     /metrics           for Prometheus\n/api/status        how it is\n/api/routes        every domain and instance, its \
     state and why\n/api/pairs         the connections that the kernel carries\n/api/openapi.json  all that can be asked\n"
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
