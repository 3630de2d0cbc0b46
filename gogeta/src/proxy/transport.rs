//! The way to an upstream: TCP, or TLS over it.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::ProxyError;
use super::socket::Socket;
use crate::routes::model::Upstream;
use crate::splice::Engine;

/// A connected upstream.
///
/// A server may answer before it has read the whole request, and hang up: writing fails then, while the answer
/// waits to be read. So once writing has failed, what is written is dropped, and reading tells how it ends.
#[derive(Debug)]
pub struct Transport {
    stream: Stream,
    lost: Option<io::ErrorKind>,
}

#[derive(Debug)]
enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects to an upstream, within `limit`.
///
/// # Errors
///
/// [`ProxyError::Connect`] or [`ProxyError::ConnectTimeout`]; not one byte of a request has been sent then.
pub async fn connect(
    upstream: &Upstream,
    tls: &Arc<rustls::ClientConfig>,
    engine: Option<&Arc<Engine>>,
    limit: Duration,
) -> Result<Transport, ProxyError> {
    let name = || upstream.location.to_string();
    match tokio::time::timeout(limit, open(upstream, tls, engine)).await {
        Ok(Ok(transport)) => Ok(transport),
        Ok(Err(error)) => Err(ProxyError::Connect { upstream: name(), error }),
        Err(_) => Err(ProxyError::ConnectTimeout { upstream: name() }),
    }
}

async fn open(
    upstream: &Upstream,
    tls: &Arc<rustls::ClientConfig>,
    engine: Option<&Arc<Engine>>,
) -> io::Result<Transport> {
    let location = &upstream.location;
    let stream = match location.host.parse::<IpAddr>() {
        Ok(address) => TcpStream::connect((address, location.port)).await?,
        Err(_) => TcpStream::connect((&*location.host, location.port)).await?,
    };
    stream.set_nodelay(true)?;
    let Some(name) = &upstream.tls else {
        return Ok(Transport::plain(Socket::new(stream, engine)));
    };
    let name = ServerName::try_from(name.to_string()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(tls.clone()).connect(name, stream).await?;
    Ok(Transport { stream: Stream::Tls(Box::new(stream)), lost: None })
}

/// What TLS to upstreams goes by: the system's roots, HTTP/1.1.
///
/// # Errors
///
/// Where the compiled-in protocol versions are not usable, which a test would have shown.
pub fn tls_config() -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read some of the system's certificates");
    }
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::info!(
            "the system has no root certificates; https targets cannot be verified and will not be connected to"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.stream {
            Stream::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Stream::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $call
            }
        }
    };
}

impl Transport {
    /// A connection without TLS.
    pub fn plain(socket: Socket) -> Self {
        Self { stream: Stream::Plain(socket), lost: None }
    }

    /// The same, to look at.
    pub fn socket(&self) -> Option<&Socket> {
        match &self.stream {
            Stream::Plain(socket) if self.lost.is_none() => Some(socket),
            _ => None,
        }
    }

    /// Its socket, where it is without TLS and can be written to.
    pub fn into_socket(self) -> Option<Socket> {
        match self.stream {
            Stream::Plain(socket) if self.lost.is_none() => Some(socket),
            _ => None,
        }
    }

    /// What writing `all` bytes came to, for whoever wrote them.
    fn wrote(&mut self, outcome: Poll<io::Result<usize>>, all: usize) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Err(error)) if is_gone(error.kind()) => {
                self.lost = Some(error.kind());
                Poll::Ready(Ok(all))
            }
            other => other,
        }
    }
}

/// Whether an error of writing says that the other side takes no more.
fn is_gone(error: io::ErrorKind) -> bool {
    matches!(error, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = either!(self, stream => stream.poll_read(cx, buffer));
        match (&outcome, self.lost) {
            // The error was told to the writer, and this looks like a good end; it is none.
            (Poll::Ready(Ok(())), Some(lost)) if buffer.filled().len() == before => {
                Poll::Ready(Err(lost.into()))
            }
            _ => outcome,
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.lost.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = either!(self, stream => stream.poll_write(cx, bytes));
        self.wrote(outcome, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).sum();
        if self.lost.is_some() {
            return Poll::Ready(Ok(all));
        }
        let outcome = either!(self, stream => stream.poll_write_vectored(cx, slices));
        self.wrote(outcome, all)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match either!(self, stream => stream.poll_flush(cx)) {
            Poll::Ready(Err(error)) if is_gone(error.kind()) => {
                self.lost = Some(error.kind());
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}
