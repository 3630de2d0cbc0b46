//! The admin listener: health, metrics, the API of the operators' view, and its page.

pub mod api;
mod census;
mod guard;
mod live;
mod operator;
mod overview;
mod page;
pub mod ready;
pub mod routes;
mod sampler;
#[cfg(test)]
mod testing;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use tokio::sync::{mpsc, watch};

use self::api::fault::Fault;
use self::api::status::Readiness;
use self::api::{Endpoint, endpoint};
use self::live::Live;
use self::overview::Overview;
use self::sampler::Sampler;
use crate::app::Addresses;
use crate::control::Order;
use crate::metrics::scrape::{Format, Now, Scrape};
use crate::profile::Profiler;
use crate::proxy::worker::Shared;
use crate::task_dump::Dumps;
use crate::telemetry::LogControl;

/// So long a client may not take what was sent to it.
#[cfg(target_os = "linux")]
const UNREAD: Duration = Duration::from_secs(20);

/// What the admin listener is made of.
#[derive(Debug)]
pub struct Parts {
    /// What it shows.
    pub shared: Arc<Shared>,
    /// Where gogeta listens.
    pub addresses: Addresses,
    /// The way to the controller.
    pub orders: mpsc::Sender<Order>,
    /// What is logged.
    pub log: Arc<LogControl>,
    /// CPU profiles.
    pub profiler: Arc<Profiler>,
    /// What tasks wait for.
    pub dumps: Arc<Dumps>,
    /// Whether gogeta has ended, and those who listen have to go.
    pub over: watch::Receiver<bool>,
}

/// What the handlers see.
type Admin = Arc<Desk>;

/// All that is behind the API.
#[derive(Debug)]
struct Desk {
    shared: Arc<Shared>,
    scrape: Arc<Scrape>,
    addresses: Addresses,
    overview: Overview,
    sampler: Sampler,
    live: Live,
    orders: mpsc::Sender<Order>,
    log: Arc<LogControl>,
    profiler: Arc<Profiler>,
    dumps: Arc<Dumps>,
    over: watch::Receiver<bool>,
}

impl Desk {
    fn new(parts: Parts) -> Self {
        let Parts { shared, addresses, orders, log, profiler, dumps, over } = parts;
        Self {
            scrape: Arc::new(scrape(&shared)),
            shared,
            addresses,
            overview: Overview::new(),
            sampler: Sampler::default(),
            live: Live::new(),
            orders,
            log,
            profiler,
            dumps,
            over,
        }
    }
}

/// Serves the admin listener for as long as the runtime lives.
pub async fn serve(listener: std::net::TcpListener, parts: Parts) {
    warn_if_open(&parts);
    if let Err(error) = run(listener, parts).await {
        tracing::error!(%error, "the admin listener has failed");
    }
}

async fn run(listener: std::net::TcpListener, parts: Parts) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut over = parts.over.clone();
    let admin = Arc::new(Desk::new(parts));
    tokio::spawn(live::pulse(admin.clone()));
    let service = router(admin).into_make_service_with_connect_info::<SocketAddr>();
    let over = async move {
        if over.wait_for(|over| *over).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    // Another gogeta may go on with the listener.
    axum::serve(listener.tap_io(end_if_unread), service).with_graceful_shutdown(over).await
}

/// Whoever can reach the listener sees everything there.
fn warn_if_open(parts: &Parts) {
    let admin = parts.addresses.admin.filter(|address| !address.ip().to_canonical().is_loopback());
    let Some(admin) = admin else { return };
    let actions =
        if parts.shared.config.load().access.token.is_some() { "whoever has the token" } else { "nobody" };
    tracing::warn!(
        %admin, actions,
        "the admin listener is not on loopback alone: whoever can reach it sees every route and setting (--admin)"
    );
}

fn scrape(shared: &Arc<Shared>) -> Scrape {
    let engine = shared.splice.as_ref().map(|splice| splice.engine.clone());
    let of = shared.clone();
    Scrape::new(shared.metrics.clone(), engine, move || Now {
        open: of.guests.count(),
        most: of.config.load().max_connections,
        is_ready: Readiness::of(&of).ready,
        table: of.routes.load_full(),
    })
}

/// The Host is checked for the API and its page alone: by those a page of somebody else's could learn or do something.
/// Health and metrics say little, and are asked by whatever name a supervisor or Prometheus knows this gogeta by, such
/// as a container's.
fn router(admin: Admin) -> Router {
    let page = page::router().layer(from_fn_with_state(admin.clone(), guard::page));
    let api = router_of(api::endpoints(&admin)).layer(from_fn_with_state(admin.clone(), guard::api));
    let health = router_of(health());
    let not_allowed = async || Fault::new(StatusCode::METHOD_NOT_ALLOWED, "this is not done by that method");
    let nothing = async || Fault::not_found("there is nothing here; /api/openapi.json tells what there is");
    health
        .merge(page)
        .merge(api)
        .method_not_allowed_fallback(not_allowed)
        .fallback(nothing)
        .layer(map_response(guard::advise))
        .with_state(admin)
}

fn router_of(endpoints: Vec<Endpoint>) -> Router<Admin> {
    let route = |router: Router<Admin>, one: Endpoint| router.route(one.path, one.handler);
    endpoints.into_iter().fold(Router::new(), route)
}

/// A client that does not read what it asked for must not keep it here for ever.
fn end_if_unread(stream: &mut tokio::net::TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(&*stream).set_tcp_user_timeout(Some(UNREAD)) {
        tracing::debug!(%error, "a connection to the admin listener has no time-out");
    }
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

/// What supervisors and Prometheus ask.
fn health() -> Vec<Endpoint> {
    vec![
        endpoint!(GET "/healthz" ready::alive),
        endpoint!(GET "/readyz" ready::get),
        endpoint!(GET "/metrics" metrics),
    ]
}

/// Everything that is counted, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses((status = 200, body = String, content_type = "text/plain"))
)]
async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let format = Format::accepted(headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()));
    // Not on the thread that applies changes.
    match tokio::task::spawn_blocking(move || admin.scrape.text(format)).await {
        Ok(Ok(text)) => {
            let fields = [(header::CONTENT_TYPE, format.media_type()), (header::VARY, "Accept")];
            (fields, text).into_response()
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
