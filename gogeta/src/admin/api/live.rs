//! `/api/live`: everything as it happens, as server-sent events.

#![expect(unused_qualifications, reason = "utoipa's macro names parameters by a path")]

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::channel::Channel;
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked::{Asked, seq};
use super::fault::Fault;
use crate::admin::Admin;
use crate::admin::live::Listener;

/// Where a listener was when it lost its connection (HTML, 9.2.4).
const LAST: &str = "last-event-id";
/// Events that wait for the socket.
const WAITING: usize = 8;

/// From where on.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// First the changes behind this number, as far as they are remembered; `Last-Event-ID` goes before it.
    after: Option<u64>,
}

/// `event: status` once a second, `event: change` with its number as `id:`, and `event: revision` when the routes
/// changed.
#[utoipa::path(
    get,
    path = "/api/live",
    tag = "state",
    params(After, ("last-event-id" = Option<u64>, Header, description = "The last change that was seen")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = 400, response = inline(Fault)),
        (status = 503, response = inline(Fault)),
    )
)]
pub(super) async fn get(
    State(admin): State<Admin>,
    headers: HeaderMap,
    Asked(asked): Asked<After>,
) -> Result<Response, Fault> {
    let after = asked.after.map(seq).transpose()?;
    let place = admin.live.place().ok_or_else(|| {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "there are too many listeners already; try again later")
    })?;
    // One that is no number is nobody's mistake that could be mended: the listener begins anew.
    let last = headers.get(LAST).and_then(|last| last.to_str().ok()?.parse().ok());
    let (sender, body) = Channel::<Bytes>::new(WAITING);
    let listener = Listener::new(&admin, place);
    tokio::spawn(listener.attend(admin, last.or(after), sender));
    let kind = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((kind, Body::new(body)).into_response())
}
