//! Tunnels: what a connection becomes after `101 Switching Protocols`, or the 200 that answers a CONNECT.
//!
//! A 101 counts only after the upstream has answered 101 and named the protocol that the client asked for; until then every
//! byte stays in the parser (as CVE-2024-23326 and CVE-2026-2833 teach).

use bytes::Bytes;
use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::AsyncWriteExt;

use super::body::Body;
use super::client::Client;
use super::downstream::Downstream;
use super::error::ProxyError;
use super::forward::Destination;
use super::reach::{instead, reach};
use super::record::Record;
use super::transport::Transport;
use super::worker::Worker;
use crate::routes::model::Upstream;

/// The upstream's half of a tunnel.
#[derive(Debug)]
pub struct Tunnel {
    /// Its connection.
    pub transport: Transport,
    /// What it sent right behind its 101.
    pub early: Bytes,
    /// The record of the request that opened the tunnel.
    pub record: Option<Record>,
}

/// Answers a CONNECT that may be (RFC 9110, 9.3.6): by a tunnel to the destination, or to another instance of its
/// service. It carries what the client says as it is, TLS for instance, so none is added to it.
///
/// # Errors
///
/// That nobody could be connected to.
pub async fn open(
    worker: &Worker,
    client: &Client,
    destination: Destination<'_>,
    record: &mut Record,
) -> Result<Response<Body>, ProxyError> {
    record.asks(destination.upstream);
    worker.retries.request();
    let bare = Upstream::new(destination.upstream.location.clone(), None);
    let first = if destination.upstream.tls.is_some() { &bare } else { destination.upstream };
    let (transport, upstream, retries) = match reach(worker, destination, first).await {
        Ok(transport) => (transport, first, 0),
        Err(error) => match instead(worker, destination, &error) {
            Some(other) => (reach(worker, destination, other).await?, other, 1),
            None => return Err(error),
        },
    };
    record.answered(upstream, 200, retries);
    *client.tunnel.borrow_mut() = Some(Tunnel { transport, early: Bytes::new(), record: None });
    Ok(Response::new(Body::empty()))
}

/// Whether a 101 names the protocol that was asked for.
pub fn agrees(asked: &HeaderValue, response: &HeaderMap) -> bool {
    let name = |value: &HeaderValue| value.to_str().map(|text| text.trim().to_ascii_lowercase()).ok();
    let mut offered = response.get_all(UPGRADE).iter();
    let first = offered.next().and_then(name);
    offered.next().is_none() && first.is_some() && first == name(asked)
}

/// Carries bytes both ways until both sides have ended; each half closes by itself. First of all go those that either
/// side has sent before it was a tunnel; `ahead` counts the client's.
///
/// # Errors
///
/// What broke either connection.
pub async fn relay(
    client: Downstream,
    early: [Bytes; 2],
    mut upstream: Transport,
    ahead: &mut u64,
) -> std::io::Result<()> {
    let (mut client, held) = client.into_tunnel();
    let [ours, theirs] = early;
    *ahead = (ours.len() + held.len()) as u64;
    client.write_all(&theirs).await?;
    upstream.write_all(&ours).await?;
    upstream.write_all(&held).await?;
    match client.into_conduit(upstream) {
        Ok(conduit) => conduit.await,
        Err(both) => {
            let (mut client, mut upstream) = *both;
            tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, 16 << 10, 16 << 10)
                .await
                .map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for() {
        let response = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(UPGRADE, HeaderValue::from_static(line));
            }
            headers
        };
        let asked = HeaderValue::from_static("websocket");
        assert!(agrees(&asked, &response(&["WebSocket"])));
        assert!(!agrees(&asked, &response(&[])));
        assert!(!agrees(&asked, &response(&["h2c"])));
        assert!(!agrees(&asked, &response(&["websocket, h2c"])));
        assert!(!agrees(&asked, &response(&["websocket", "websocket"])));
    }
}
