//! The way to etcd: endpoints, TLS, who to be there, and how long anything may take.

use std::error::Error as _;
use std::time::Duration;

use etcd_client::{Certificate, Channel, Client, ConnectOptions, Identity, TlsOptions};
use hyper_util::client::legacy::connect::HttpConnector;
use tonic::transport::Endpoint;

use super::Reason;
use crate::config::{ConfigError, Etcd};

/// How long the way to a member may take: long enough for a second try of a first packet that was lost, which comes
/// after a second, and not much longer, for routes must be right two seconds after etcd is back.
const WAY: Duration = Duration::from_millis(1500);
/// A quiet connection is probed by the kernel so often,
const PROBE: Duration = Duration::from_secs(1);
/// and given up when nothing at all was heard for so long: by then the kernels at both ends wait seconds from one try
/// to the next, and a fresh connection is sooner there.
const DEAF: Duration = Duration::from_millis(2500);
/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);
/// How long the first one to a member may take: one that hangs must not keep us from the others.
const FIRST: Duration = Duration::from_secs(3);
/// What is said of a member that does not answer the first one.
pub(super) const SILENCE: &str = "no answer within 3 s";

/// Checks what can be checked without etcd: that the certificate files are there.
///
/// # Errors
///
/// Names the file.
pub fn check(etcd: &Etcd) -> Result<(), ConfigError> {
    readable(etcd).map_err(ConfigError)
}

/// Connects to one of the endpoints.
///
/// # Errors
///
/// Why not, in words.
pub async fn connect(etcd: &Etcd, address: &str) -> Result<Client, Reason> {
    let mut options = ConnectOptions::new()
        .with_require_leader(true)
        // Tokens expire, after five minutes as a rule: then the call is made again with a new one.
        .with_auto_token_refresh(true);
    if let Some((user, password)) = &etcd.user {
        options = options.with_user(user, password);
    }
    // It connects with the first call.
    let channel = endpoint(etcd, address)?.connect_with_connector_lazy(wire());
    first(Client::from_channel(Channel::Tonic(channel), Some(options))).await
}

fn endpoint(etcd: &Etcd, address: &str) -> Result<Endpoint, Reason> {
    let bad = |error| reason(&etcd_client::Error::TransportError(error));
    let mut endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(bad)?
        // A peer that is there and says nothing is gone, too: found in so long, also by an idle watch. (etcd takes it
        // amiss to be asked more often.)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(3))
        .keep_alive_while_idle(true);
    if let Some(tls) = tls(etcd)? {
        if !address.starts_with("https:") {
            return Err("certificates are for https only".to_owned());
        }
        endpoint = endpoint.tls_config(tls).map_err(bad)?;
    }
    Ok(endpoint)
}

/// Connections that notice when the network is cut.
fn wire() -> HttpConnector {
    let mut wire = HttpConnector::new();
    // TLS comes on top of it.
    wire.enforce_http(false);
    wire.set_nodelay(true);
    wire.set_connect_timeout(Some(WAY));
    wire.set_keepalive(Some(PROBE));
    wire.set_keepalive_interval(Some(PROBE));
    // For what is on its way, and for probes (tcp(7)).
    wire.set_tcp_user_timeout(Some(DEAF));
    wire
}

/// Whether the certificate files can be read, as far as can be seen without etcd.
pub(super) fn readable(etcd: &Etcd) -> Result<(), Reason> {
    tls(etcd).map(drop)
}

fn tls(etcd: &Etcd) -> Result<Option<TlsOptions>, Reason> {
    let read = |flag: &str, path: &std::path::Path| {
        std::fs::read(path).map_err(|error| format!("cannot read {} ({flag}): {error}", path.display()))
    };
    if etcd.ca.is_none()
        && etcd.identity.is_none()
        && !etcd.endpoints.iter().any(|url| url.starts_with("https:"))
    {
        return Ok(None);
    }
    let mut tls = TlsOptions::new();
    tls = match &etcd.ca {
        Some(path) => tls.ca_certificate(Certificate::from_pem(read("--etcd-ca", path)?)),
        None => tls.with_enabled_roots(),
    };
    if let Some((cert, key)) = &etcd.identity {
        tls = tls.identity(Identity::from_pem(read("--etcd-cert", cert)?, read("--etcd-key", key)?));
    }
    Ok(Some(tls))
}

/// A call that does not take for ever.
pub(super) async fn in_time<T>(
    call: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, Reason> {
    limited(CALL, call).await
}

/// A first call to a member, which shows whether it is there for us at all.
pub(super) async fn first<T>(call: impl Future<Output = Result<T, etcd_client::Error>>) -> Result<T, Reason> {
    limited(FIRST, call).await
}

async fn limited<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, Reason> {
    match tokio::time::timeout(limit, call).await {
        Ok(outcome) => outcome.map_err(|error| reason(&error)),
        Err(_) if limit == FIRST => Err(SILENCE.to_owned()),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

/// An error and what caused it, each once.
pub(super) fn reason(error: &etcd_client::Error) -> Reason {
    let mut text = match error {
        etcd_client::Error::GRpcStatus(status) => format!("{}: {}", status.code(), status.message()),
        error => error.to_string(),
    };
    let mut source = match error {
        etcd_client::Error::GRpcStatus(status) => status.source(),
        error => error.source(),
    };
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
