//! The way to etcd: endpoints, TLS, who to be there, and how long anything may take.

use std::error::Error as _;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};

use super::Reason;
use crate::config::{ConfigError, Etcd};

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
        .with_connect_timeout(Duration::from_secs(2))
        // A peer that is silent is gone: found in so long, also by an idle watch. (etcd takes it amiss to be asked
        // more often.)
        .with_keep_alive(Duration::from_secs(5), Duration::from_secs(3))
        .with_keep_alive_while_idle(true)
        .with_require_leader(true)
        // Tokens expire, after five minutes as a rule: then the call is made again with a new one.
        .with_auto_token_refresh(true);
    if let Some((user, password)) = &etcd.user {
        options = options.with_user(user, password);
    }
    if let Some(tls) = tls(etcd)? {
        options = options.with_tls(tls);
    }
    first(Client::connect([address], Some(options))).await
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
