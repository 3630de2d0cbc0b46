//! Who does something, and that it was done: logged, and noted in the journal.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::Admin;
use super::api::fault::Fault;
use crate::journal::{Kind, Note};

/// Somebody who has shown the token; of him only the address is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator(SocketAddr);

impl FromRequestParts<Admin> for Operator {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &Admin) -> Result<Self, Fault> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let unknown = || Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "it is not known who asks");
        peer.map(|peer| Self(peer.0)).ok_or_else(unknown)
    }
}

impl Operator {
    /// Says what was done to what.
    pub(super) fn did(self, admin: &Admin, name: &str, what: &str) {
        tracing::info!(operator = %self.0, name, what, "an operator has done something");
        let text = format!("{what}, by {}", self.0.ip().to_canonical());
        admin.shared.journal.note(Note::info(Kind::Action, name, text));
    }
}
