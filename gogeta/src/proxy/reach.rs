//! Reaching an upstream: connecting to it, letting it rest where that fails, and whom to try instead.

use std::sync::Arc;

use rustix::io::Errno;

use super::error::ProxyError;
use super::forward::Destination;
use super::transport::{self, Transport};
use super::worker::Worker;
use crate::balance;
use crate::journal::{Kind, Level, Note};
use crate::routes::model::{Service, Upstream};

/// Connects to an upstream of the destination, and notes how that went where there may be another.
///
/// # Errors
///
/// Those of [`transport::connect`].
pub async fn reach(
    worker: &Worker,
    destination: Destination<'_>,
    upstream: &Arc<Upstream>,
) -> Result<Transport, ProxyError> {
    let engine = worker.shared.splice.as_ref().map(|splice| &splice.engine);
    let outcome = transport::connect(upstream, &worker.shared.tls, engine, worker.timeouts().connect).await;
    if let Some(service) = destination.service {
        match &outcome {
            Ok(_) => reached(worker, service, upstream),
            Err(error) => not_reached(worker, service, upstream, error),
        }
    }
    outcome
}

/// Another instance to try after the destination could not be connected to, if the budget has a retry for it.
pub fn instead<'a>(
    worker: &Worker,
    destination: Destination<'a>,
    error: &ProxyError,
) -> Option<&'a Arc<Upstream>> {
    let (_, other) = balance::pick_other(destination.service?, destination.upstream, worker.ward.now())?;
    if !worker.may_retry() {
        return None;
    }
    tracing::debug!(%error, instead = %other.location, "trying another instance");
    worker.metrics.upstream_error(error.name());
    Some(other)
}

fn reached(worker: &Worker, service: &Service, upstream: &Upstream) {
    if upstream.rest.end() {
        let (instance, location) = (index(service, upstream), &upstream.location);
        let name = format!("{}/{instance}", service.name);
        worker.shared.journal.note(Note::info(Kind::Error, name, format!("it is back at {location}")));
        tracing::info!(service = %service.name, instance, %location, "the instance is back");
    }
}

fn not_reached(worker: &Worker, service: &Service, upstream: &Arc<Upstream>, error: &ProxyError) {
    if is_ours(error) || !upstream.rest.begin(worker.ward.now()) {
        return;
    }
    let name = format!("{}/{}", service.name, index(service, upstream));
    let text = format!("it cannot be connected to, and rests: {error}");
    worker.shared.journal.note(Note::info(Kind::Error, name, text).at(Level::Error));
    worker.shared.metrics.resting.begin(service, upstream);
    tracing::warn!(
        service = %service.name,
        instance = index(service, upstream),
        location = %upstream.location,
        %error,
        "the instance cannot be connected to and rests; requests go to others while there are any"
    );
}

fn index<'a>(service: &'a Service, upstream: &Upstream) -> &'a str {
    let is_there = |there: &Arc<Upstream>| there.id == upstream.id;
    let found = service.instances.iter().find(|instance| instance.upstream.as_ref().is_some_and(is_there));
    found.map_or("", |instance| &instance.index)
}

/// Whether connecting failed for want of something here: it would fail for any instance.
fn is_ours(error: &ProxyError) -> bool {
    let ProxyError::Connect { error, .. } = error else { return false };
    let wanting = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    Errno::from_io_error(error).is_some_and(|error| wanting.contains(&error))
}
