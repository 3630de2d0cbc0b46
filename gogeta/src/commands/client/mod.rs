//! A running gogeta's admin listener, asked: one connection, kept while it can be.

pub(super) mod answers;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::Failure;
use crate::cli::{AdminFlags, Cli, Options};
use crate::commands::context;

/// An answer may take so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// And have so many bytes.
const LARGEST: usize = 64 << 20;
/// Where gogeta listens that nobody told where to.
const DEFAULT: &str = "127.0.0.1:7778";

/// The way to a running gogeta.
pub(super) struct Client {
    /// `host:port`, to connect to and as the Host.
    authority: String,
    /// What the path of the API stands behind, where something is in between; without a slash at its end.
    base: String,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

/// What a problem says of itself (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
}

impl Client {
    /// To the gogeta that these flags, the environment or the file name.
    ///
    /// # Errors
    ///
    /// What is wrong with the flag.
    pub(super) fn of(cli: &Cli, flags: &AdminFlags) -> Result<Self, Failure> {
        if let Some(url) = &flags.admin {
            return Self::at(url);
        }
        let options = context::options(cli, &crate::cli::EtcdFlags::default(), flags.config.as_deref())?;
        Self::of_options(&options)
    }

    /// To where a gogeta with these options listens.
    fn of_options(options: &Options) -> Result<Self, Failure> {
        match options.admin.as_deref() {
            Some("off") => Err(Failure::Usage(
                "this gogeta has no admin listener (its --admin is off); --admin URL names another"
                    .to_owned(),
            )),
            place => Self::at(place.unwrap_or(DEFAULT)),
        }
    }

    /// To the gogeta there: a URL, or an address with a port.
    fn at(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::Usage(format!("--admin must be a URL such as http://{DEFAULT}, not {text:?}: {why}"))
        };
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(wrong("the admin listener speaks plain http")),
            None => text,
        };
        let (place, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = match place.parse::<SocketAddr>() {
            // Where it listens on all addresses, it does so on this machine's own.
            Ok(address) if address.ip().is_unspecified() => {
                let ip: IpAddr =
                    if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
                SocketAddr::new(ip, address.port()).to_string()
            }
            _ => {
                let parsed = crate::routes::host::parse(place).map_err(|error| wrong(&error.to_string()))?;
                format!("{}:{}", parsed.host, parsed.port.unwrap_or(7778))
            }
        };
        let base = base.trim_end_matches('/').to_owned();
        if !base.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte)) {
            return Err(wrong("its path has a character that is not allowed in one"));
        }
        Ok(Self { authority, base, connection: None })
    }

    /// Where it is asked.
    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.authority, self.base)
    }

    /// What it says there; `path` begins with a slash.
    ///
    /// # Errors
    ///
    /// [`Failure::Away`] where it cannot be asked, [`Failure::No`] where it refuses.
    pub(super) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        match tokio::time::timeout(PATIENCE, self.ask(path)).await {
            Ok(Ok(body)) => serde_json::from_slice(&body).map_err(|error| {
                Failure::Away(format!("{}{path} (--admin) is not what gogeta says: {error}", self.url()))
            }),
            Ok(Err(failure)) => {
                self.connection = None;
                Err(failure)
            }
            Err(_) => {
                self.connection = None;
                Err(Failure::Away(format!("{} (--admin) does not answer in {PATIENCE:?}", self.url())))
            }
        }
    }

    async fn ask(&mut self, path: &str) -> Result<Bytes, Failure> {
        let mut answered = None;
        // One that was idle may be closed already: then another is made, once.
        if let Some(mut kept) = self.connection.take().filter(|kept| !kept.is_closed())
            && kept.ready().await.is_ok()
            && let Ok(reply) = kept.send_request(self.request(path)?).await
        {
            answered = Some((reply, kept));
        }
        let (reply, connection) = match answered {
            Some(answered) => answered,
            None => {
                let mut fresh = self.connect().await?;
                (fresh.send_request(self.request(path)?).await.map_err(|error| self.broken(&error))?, fresh)
            }
        };
        let status = reply.status();
        let body = Limited::new(reply.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| self.broken(&*error))?.to_bytes();
        if !status.is_success() {
            return Err(self.refused(path, status, &body));
        }
        self.connection = Some(connection);
        Ok(body)
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, Failure> {
        let request = Request::get(format!("{}{path}", self.base)).header(HOST, &self.authority);
        let request = request.header(USER_AGENT, "gogeta").header(ACCEPT, "application/json");
        request
            .body(Empty::new())
            .map_err(|error| Failure::Usage(format!("{path} cannot be asked for: {error}")))
    }

    fn broken(&self, error: &dyn std::error::Error) -> Failure {
        Failure::Away(format!("{} (--admin) broke off: {error}", self.url()))
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, Failure> {
        let nobody = |error: std::io::Error| {
            Failure::Away(format!(
                "nothing answers at {} (--admin): {error}; is gogeta running, and is its admin listener there?",
                self.url()
            ))
        };
        let stream = TcpStream::connect(&self.authority).await.map_err(nobody)?;
        let (sender, driver) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::Away(format!("cannot talk to {} (--admin): {error}", self.url())))?;
        tokio::spawn(driver);
        Ok(sender)
    }

    fn refused(&self, path: &str, status: StatusCode, body: &[u8]) -> Failure {
        let detail = serde_json::from_slice(body).ok().and_then(|problem: Problem| problem.detail);
        let url = self.url();
        match (status, detail) {
            (_, Some(detail)) => {
                Failure::Away(format!("{url}{path} (--admin) says {}: {detail}", status.as_u16()))
            }
            (StatusCode::NOT_FOUND, None) => Failure::Away(format!(
                "{url} (--admin) knows no {path}: it is no gogeta, or one of another version than this command"
            )),
            (_, None) => Failure::Away(format!("{url}{path} (--admin) says {status}")),
        }
    }
}

/// A text as a part of a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_asked() {
        for (text, url) in [
            ("http://127.0.0.1:7778", "http://127.0.0.1:7778"),
            ("127.0.0.1:1", "http://127.0.0.1:1"),
            ("0.0.0.0:7778", "http://127.0.0.1:7778"),
            ("[::]:7778", "http://[::1]:7778"),
            ("http://[::1]/", "http://[::1]:7778"),
            ("localhost", "http://localhost:7778"),
            ("http://a.test:80/gogeta/", "http://a.test:80/gogeta"),
        ] {
            assert_eq!(Client::at(text).ok().map(|client| client.url()).as_deref(), Some(url), "{text}");
        }
        for text in ["", "https://a.test", "unix:///x", "a.test:x", "http://u@a.test", "http://a.test/x?y"] {
            let Err(Failure::Usage(why)) = Client::at(text) else { panic!("{text} is taken") };
            assert!(why.contains("--admin"), "{why}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encoded("/a b?c=d&\u{fc}"), "/a%20b%3Fc%3Dd%26%C3%BC");
    }
}
