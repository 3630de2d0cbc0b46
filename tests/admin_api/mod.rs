//! The operators' API: what it shows, who may ask, what can be done by it.

use serde_json::Value;

use crate::support::client::{Reply, get, request};
use crate::support::gogeta::{Builder, Gogeta};

mod actions;
mod drained;
mod fuzzed;
mod guarded;
mod live;
mod rates;
mod shown;

/// What operators show.
const TOKEN: &str = "a-token-of-the-tests";

/// A gogeta that lets operators act.
fn with_token(builder: Builder) -> Builder {
    builder.env("GOGETA_ADMIN_TOKEN", TOKEN)
}

/// What is shown there.
#[track_caller]
fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("no JSON, {error}: {}", reply.text()))
}

async fn shown(gogeta: &Gogeta, path: &str) -> Value {
    let reply = get(gogeta.admin, "localhost", path).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    json(&reply)
}

/// Does something, with fields of one's own.
async fn act_with(gogeta: &Gogeta, what: &str, fields: &str, body: &str) -> Reply {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let raw = format!(
        "{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    request(gogeta.admin, &raw).await
}

/// Does something, as somebody who has the token.
async fn act(gogeta: &Gogeta, what: &str, body: &str) -> Reply {
    act_with(gogeta, what, &format!("Authorization: Bearer {TOKEN}\r\n"), body).await
}

/// A problem of that status that says so (RFC 9457).
#[track_caller]
fn assert_problem(reply: &Reply, status: u16, says: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    let problem = json(reply);
    assert_eq!(problem["status"], status);
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{problem}");
}
