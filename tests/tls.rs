//! A domain that stands for an https URI: the right server is talked to, and no other.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::support::backend::{Backend, ok, uri};
use crate::support::client::{Client, get};
use crate::support::gogeta::Gogeta;

/// An authority of our own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("the authority's certificate");
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// What a server of that name proves itself with.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("a configuration");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// A gogeta that trusts this authority alone.
    async fn before(&self, target: &str) -> Gogeta {
        let builder =
            Gogeta::routes(&uri("u.test", target)).env("SSL_CERT_FILE", self.folder.path().join("ca.pem"));
        builder.env("SSL_CERT_DIR", "").start().await
    }
}

/// What a TLS server saw of each connection: SNI, ALPN, and the heads of its requests.
type Seen = Arc<Mutex<Vec<(String, String, Vec<String>)>>>;

/// A server that answers everything with "secure".
struct Server {
    address: SocketAddr,
    seen: Seen,
    serving: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    async fn start(acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Seen::default();
        let serving = tokio::spawn({
            let seen = seen.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        tokio::spawn(answer(stream, seen.clone()));
                    }
                }
            }
        });
        Self { address, seen, serving }
    }
}

async fn answer(mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>, seen: Seen) {
    let (_, session) = stream.get_ref();
    let sni = session.server_name().unwrap_or("").to_owned();
    let alpn = String::from_utf8_lossy(session.alpn_protocol().unwrap_or_default()).into_owned();
    let number = {
        let mut seen = seen.lock().expect("what was seen");
        seen.push((sni, alpn, Vec::new()));
        seen.len() - 1
    };
    let mut buffer = Vec::new();
    while stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {
        if buffer.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8(std::mem::take(&mut buffer)).expect("an ASCII head");
            seen.lock().expect("what was seen")[number].2.push(head);
            if stream.write_all(ok("secure").as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn the_target_is_asked_by_its_name() {
    let authority = Authority::new();
    let server = Server::start(authority.acceptor("localhost")).await;
    let port = server.address.port();
    let gogeta = authority.before(&format!("https://localhost:{port}/base?k=v")).await;
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..2 {
        let reply = client.get("u.test", "/x?a=b").await;
        assert_eq!((reply.status, &*reply.text()), (200, "secure"), "{}", gogeta.log());
    }
    let seen = server.seen.lock().expect("what was seen");
    let [(sni, alpn, heads)] = &seen[..] else { panic!("not one connection: {seen:?}") };
    assert_eq!((&**sni, &**alpn, heads.len()), ("localhost", "http/1.1", 2));
    for head in heads {
        assert!(head.starts_with("GET /base/x?k=v&a=b HTTP/1.1\r\n"), "{head}");
        assert!(head.to_ascii_lowercase().contains(&format!("\r\nhost: localhost:{port}\r\n")), "{head}");
        assert!(head.to_ascii_lowercase().contains("\r\nx-forwarded-host: u.test\r\n"), "{head}");
    }
}

#[tokio::test]
async fn an_address_is_verified_as_one() {
    let authority = Authority::new();
    let server = Server::start(authority.acceptor("127.0.0.1")).await;
    let gogeta = authority.before(&format!("https://{}/", server.address)).await;
    assert_eq!(get(gogeta.proxy, "u.test", "/").await.text(), "secure", "{}", gogeta.log());
    assert_eq!(server.seen.lock().expect("what was seen")[0].0, "", "an address is no SNI (RFC 6066, 3)");
}

#[tokio::test]
async fn a_server_that_cannot_prove_who_it_is_gets_no_request() {
    let (trusted, stranger) = (Authority::new(), Authority::new());
    for (what, acceptor, why) in [
        ("a stranger's certificate", stranger.acceptor("localhost"), "invalid peer certificate"),
        ("another name", trusted.acceptor("other.test"), "not valid for name"),
    ] {
        let server = Server::start(acceptor).await;
        let gogeta = trusted.before(&format!("https://localhost:{}/", server.address.port())).await;
        let reply = get(gogeta.proxy, "u.test", "/").await;
        assert_eq!((reply.status, reply.header("x-gogeta-page")), (502, Some("badgateway")), "{what}");
        gogeta.log_has(why).await;
        assert!(!reply.text().contains(why), "{what}: the page tells what is behind it");
        let seen = server.seen.lock().expect("what was seen");
        assert!(seen.iter().all(|(_, _, heads)| heads.is_empty()), "{what}: {seen:?}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_a_502() {
    let plain = Backend::scripted(|mut peer| async move {
        let _ = peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        peer.ended().await;
    })
    .await;
    let authority = Authority::new();
    let gogeta = authority.before(&format!("https://localhost:{}/", plain.port)).await;
    assert_eq!(get(gogeta.proxy, "u.test", "/").await.status, 502);
}
