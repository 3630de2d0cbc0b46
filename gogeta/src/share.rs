//! What all threads share, made once, with the other ends of its queues.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::access_log::{self, Writer};
use crate::app::{StartError, system};
use crate::config::Config;
use crate::feedback::{self, Inbox};
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::pages::Pages;
use crate::proxy::guests::Guests;
use crate::proxy::tenancy::Splice;
use crate::proxy::transport;
use crate::proxy::worker::Shared;
use crate::routes::table::RouteTable;
use crate::sandbox::Holds;
use crate::splice::Engine;
use crate::trace::{Outbox, Tracer};

/// What all share, and the other ends of its queues.
pub(crate) struct Share {
    /// What they share.
    pub(crate) shared: Arc<Shared>,
    /// What requests have to say to the store.
    pub(crate) inbox: Inbox,
    /// Who writes the access log.
    pub(crate) writer: Option<Writer>,
    /// What is traced.
    pub(crate) outbox: Option<Outbox>,
}

/// Makes it.
///
/// # Errors
///
/// The access log cannot be opened, or TLS not be set up.
pub(crate) fn share(
    config: Config,
    pages: Pages,
    engine: Option<Arc<Engine>>,
    holds: Holds,
) -> Result<Share, StartError> {
    let metrics = Arc::new(Metrics::new(config.threads, config.telemetry.services));
    let (feedback, inbox) = feedback::channel(config.last_access_interval, metrics.clone());
    let (access_log, writer) = match &config.log.access {
        Some(access) => {
            let (log, writer) = access_log::open(access).map_err(system("cannot open the access log"))?;
            (Some(log), Some(writer))
        }
        None => (None, None),
    };
    let log = access_log.as_ref().map(|log| Mutex::new(log.buffer()));
    let traces = config.telemetry.traces.as_ref();
    let (tracer, outbox) = traces.map(|traces| Tracer::new(traces.ratio, metrics.spans.clone())).unzip();
    let shared = Shared {
        splice: engine.map(|engine| Splice { engine, log }),
        routes: ArcSwap::from_pointee(RouteTable::default()),
        changed: watch::Sender::new(0),
        loaded: AtomicBool::new(false),
        draining: AtomicBool::new(false),
        pages: ArcSwap::from_pointee(pages),
        feedback,
        metrics,
        journal: Journal::default(),
        access_log,
        tracer: tracer.map(Arc::new),
        tls: transport::tls_config()
            .map_err(|error| StartError::System(format!("cannot set TLS up: {error}")))?,
        guests: Guests::new(config.threads, config.max_connections, config.max_connections_per_client),
        held: AtomicUsize::new(0),
        holds,
        config: ArcSwap::from_pointee(config),
    };
    Ok(Share { shared: Arc::new(shared), inbox, writer, outbox })
}
