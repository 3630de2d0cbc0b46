//! Why a request was not answered by its backend: whose fault it is, and what is served instead.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use http::StatusCode;

use super::gate::Refusal;
use crate::pages::Page;
use crate::routes::host::BadHost;
use crate::routes::model::Instance;
use crate::status::State;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request is wrong, or its client went away.
    Client,
    /// The instance is, or it is in no state to answer.
    Upstream,
    /// gogeta cannot, or what it was told is wrong.
    Us,
}

/// Why a request was not answered by its backend.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// No Host where one is needed.
    #[error("the request has no Host")]
    NoHost,
    /// More than one Host.
    #[error("the request has more than one Host")]
    ManyHosts,
    /// A Host that is none.
    #[error("{0}")]
    BadHost(#[from] BadHost),
    /// A method that gogeta does not pass on.
    #[error("the method {0} is not passed on")]
    Method(http::Method),
    /// A CONNECT to whom none is allowed.
    #[error("a CONNECT to that host and port is not allowed")]
    NotAllowed,
    /// A target in a form that gogeta does not take.
    #[error("the request's target has a form that a proxy like this one does not take")]
    Target,
    /// The client's body broke off or was malformed.
    #[error("the request's body is broken: {0}")]
    ClientBody(String),
    /// The gate does not let it pass.
    #[error("{}", .0.why)]
    Refused(Refusal),
    /// A header field asks for something that gogeta does not do.
    #[error("the expectation {0:?} cannot be met")]
    Expectation(String),
    /// It has come by here before, twice.
    #[error("the request runs in circles: it has come by this proxy twice already")]
    Circle,
    /// The client did not send its body in time.
    #[error("the request's body did not come in time")]
    ClientStalled,
    /// Nobody has such a domain.
    #[error("there is no such domain")]
    UnknownDomain,
    /// The domain's service is not there.
    #[error("the domain belongs to the service {0}, which does not exist")]
    NoService(Box<str>),
    /// No instance of the service takes requests.
    #[error("no instance of {service} is started")]
    NotStarted {
        /// The service's name.
        service: Box<str>,
        /// What the best instance is doing.
        state: State,
        /// That instance.
        instance: Option<Arc<Instance>>,
    },
    /// Routes were never read yet.
    #[error("no routes have been read yet")]
    NoRoutes,
    /// The instance could not be connected to.
    #[error("cannot connect to {upstream}: {error}")]
    Connect {
        /// The instance.
        upstream: String,
        /// The system's reason.
        error: io::Error,
    },
    /// Connecting took too long.
    #[error("cannot connect to {upstream} in time")]
    ConnectTimeout {
        /// The instance.
        upstream: String,
    },
    /// The instance broke the exchange off before it answered.
    #[error("{upstream} broke the exchange off: {why}")]
    Broken {
        /// The instance.
        upstream: String,
        /// hyper's reason.
        why: String,
    },
    /// The instance sent something that is no response.
    #[error("{upstream} sent a bad response: {why}")]
    BadResponse {
        /// The instance.
        upstream: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The instance did not answer in time.
    #[error("{upstream} did not answer in time")]
    ResponseTimeout {
        /// The instance.
        upstream: String,
    },
    /// A 101 that nobody asked for, or to another protocol.
    #[error("{upstream} switched to a protocol that nobody asked for")]
    Switched {
        /// The instance.
        upstream: String,
    },
}

impl ProxyError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::NoHost
            | Self::ManyHosts
            | Self::BadHost(_)
            | Self::Method(_)
            | Self::NotAllowed
            | Self::Target
            | Self::ClientBody(_)
            | Self::ClientStalled
            | Self::Refused(_)
            | Self::Expectation(_)
            | Self::Circle
            | Self::UnknownDomain => Fault::Client,
            Self::NoService(_) | Self::NoRoutes => Fault::Us,
            Self::NotStarted { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Broken { .. }
            | Self::BadResponse { .. }
            | Self::ResponseTimeout { .. }
            | Self::Switched { .. } => Fault::Upstream,
        }
    }

    /// The page that is served, and its status. `legacy` asks for the original's codes.
    pub fn page(&self, legacy: bool) -> (Page, StatusCode) {
        match self {
            Self::NoHost | Self::ManyHosts | Self::BadHost(_) | Self::Target | Self::ClientBody(_) => {
                (Page::BadRequest, StatusCode::BAD_REQUEST)
            }
            Self::Method(_) => (Page::BadRequest, StatusCode::METHOD_NOT_ALLOWED),
            Self::NotAllowed => (Page::BadRequest, StatusCode::FORBIDDEN),
            Self::Expectation(_) => (Page::BadRequest, StatusCode::EXPECTATION_FAILED),
            Self::Circle => (Page::BadRequest, StatusCode::LOOP_DETECTED),
            Self::Refused(refusal) => {
                (Page::BadRequest, StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST))
            }
            Self::ClientStalled => (Page::BadRequest, StatusCode::REQUEST_TIMEOUT),
            Self::UnknownDomain => (Page::NotFound, StatusCode::NOT_FOUND),
            Self::NoService(_) => (Page::Error, StatusCode::INTERNAL_SERVER_ERROR),
            Self::NoRoutes => (Page::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
            Self::NotStarted { state, .. } => match state {
                State::Starting => (Page::Starting, StatusCode::SERVICE_UNAVAILABLE),
                State::Passivated => (Page::Passivated, StatusCode::SERVICE_UNAVAILABLE),
                State::Stopped if legacy => (Page::Stopped, StatusCode::INTERNAL_SERVER_ERROR),
                State::Stopped => (Page::Stopped, StatusCode::SERVICE_UNAVAILABLE),
                State::Error | State::Started => (Page::Error, StatusCode::INTERNAL_SERVER_ERROR),
            },
            Self::Connect { .. } | Self::Broken { .. } | Self::BadResponse { .. } | Self::Switched { .. } => {
                (Page::BadGateway, StatusCode::BAD_GATEWAY)
            }
            Self::ConnectTimeout { .. } | Self::ResponseTimeout { .. } => {
                (Page::Timeout, StatusCode::GATEWAY_TIMEOUT)
            }
        }
    }

    /// What happened, for whoever made the request: nothing about addresses behind the proxy.
    pub fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::NotStarted { service, state, .. } => match state {
                State::Starting => format!("The service {service} is starting.").into(),
                State::Passivated => format!("The service {service} was asleep and is being woken.").into(),
                State::Stopped => format!("The service {service} is stopped.").into(),
                State::Error | State::Started => format!("The service {service} is in error.").into(),
            },
            Self::NoService(service) => format!("The service {service} does not exist.").into(),
            Self::UnknownDomain => "No site is configured for this name.".into(),
            Self::NoRoutes => "The proxy has not read its routes yet.".into(),
            Self::Connect { .. } => "The service could not be reached.".into(),
            Self::ConnectTimeout { .. } => "The service could not be reached in time.".into(),
            Self::BadResponse { .. } => "The service sent a response that is not one.".into(),
            Self::Broken { .. } => "The service broke off before it answered.".into(),
            Self::ResponseTimeout { .. } => "The service did not answer in time.".into(),
            Self::Switched { .. } => "The service switched to a protocol that was not asked for.".into(),
            Self::NoHost
            | Self::ManyHosts
            | Self::BadHost(_)
            | Self::Method(_)
            | Self::NotAllowed
            | Self::Target
            | Self::ClientBody(_)
            | Self::Refused(_)
            | Self::Expectation(_)
            | Self::Circle
            | Self::ClientStalled => {
                let text = self.to_string();
                let mut letters = text.chars();
                let first = letters.next().map(|letter| letter.to_ascii_uppercase());
                first.into_iter().chain(letters).chain(['.']).collect::<String>().into()
            }
        }
    }

    /// A short name, for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoHost | Self::ManyHosts | Self::BadHost(_) => "host",
            Self::Method(_) => "method",
            Self::NotAllowed => "not_allowed",
            Self::Target => "target",
            Self::ClientBody(_) => "client_body",
            Self::ClientStalled => "client_stalled",
            Self::Refused(refusal) => refusal.kind,
            Self::Expectation(_) => "expectation",
            Self::Circle => "circle",
            Self::UnknownDomain => "unknown_domain",
            Self::NoService(_) => "no_service",
            Self::NotStarted { .. } => "not_started",
            Self::NoRoutes => "no_routes",
            Self::Connect { .. } => "connect",
            Self::ConnectTimeout { .. } => "connect_timeout",
            Self::Broken { .. } => "broken",
            Self::BadResponse { .. } => "bad_response",
            Self::ResponseTimeout { .. } => "response_timeout",
            Self::Switched { .. } => "switched",
        }
    }

    /// Whether the connection ends with it, however much of the request was read: who makes a mistake, or an attack,
    /// is not asked for more. An unknown domain and a service that is down are neither.
    pub fn must_close(&self) -> bool {
        !matches!(self, Self::UnknownDomain | Self::NoService(_) | Self::NotStarted { .. } | Self::NoRoutes)
            && self.fault() == Fault::Client
    }
}
