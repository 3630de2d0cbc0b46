//! What a request asks for: its path, its query and its body, read strictly; a mistake is answered as a [`Fault`].

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::fault::Fault;

/// Bytes that a body may have.
const BODY: usize = 64 << 10;

/// A query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(Fault::new(StatusCode::BAD_REQUEST, error.body_text())),
        }
    }
}

/// The number of a change, as a client gives it.
///
/// # Errors
///
/// [`Fault`] where it is larger than the document says that numbers are.
pub(super) fn seq(number: u64) -> Result<u64, Fault> {
    let what = format!("after must be the number of a change, not {number}");
    i64::try_from(number).map(|_| number).map_err(|_| Fault::new(StatusCode::BAD_REQUEST, what))
}

/// The parts of a path that have names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(named)) => Ok(Self(named)),
            Err(error) => Err(Fault::new(StatusCode::BAD_REQUEST, error.body_text())),
        }
    }
}

/// A body of JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Said<T> {
    type Rejection = Fault;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Fault> {
        if !is_json(request.headers()) {
            let what = "the body must be JSON, and say so: Content-Type: application/json";
            return Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
        }
        let too_large = |_| {
            let what = format!("the body has more than {BODY} bytes, or broke off");
            Fault::new(StatusCode::PAYLOAD_TOO_LARGE, what)
        };
        let body = axum::body::to_bytes(request.into_body(), BODY).await.map_err(too_large)?;
        let wrong = |error| Fault::new(StatusCode::BAD_REQUEST, format!("the body is wrong: {error}"));
        // An object: serde would take a list of the fields' values, too.
        let object: Map<String, Value> = serde_json::from_slice(&body).map_err(wrong)?;
        serde_json::from_value(object.into()).map(Self).map_err(wrong)
    }
}

/// Whether a body is said to be JSON.
pub(in crate::admin) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
