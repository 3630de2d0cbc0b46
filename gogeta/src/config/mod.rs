//! What gogeta runs with: flags, environment, file and defaults, resolved and validated.
//!
//! Nothing behind this knows of clap or serde: [`Config`] is plain data.

mod access;
mod listen;
mod resolve;
mod seconds;
mod shown;
mod splice;
mod telemetry;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use crate::cli::{AccessLogFormat, DefaultRobots, LogFormat, Options, ResolverType, SandboxMode};
use crate::proxy::connect::Allowed;
use crate::proxy::gate::{Limits, ResponseLimits};
use crate::proxy::headers::Rules;
use crate::sandbox;

pub use access::{Access, Token};
pub use listen::Listen;
pub use seconds::Seconds;
pub use splice::Splice;

/// Everything that gogeta runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the proxy listens.
    pub listen: Vec<Listen>,
    /// Where the admin listener is, if anywhere.
    pub admin: Option<SocketAddr>,
    /// Who may see and do what there.
    pub access: Access,
    /// How many threads serve requests.
    pub threads: usize,
    /// How gogetas take over from each other, if they do.
    pub upgrade: Option<Upgrade>,
    /// Where routes come from.
    pub source: Source,
    /// How they are followed, where they come from etcd.
    pub control_plane: ControlPlane,
    /// How a host becomes a target.
    pub resolver: ResolverType,
    /// At most one `lastAccess` in this time for each instance; none where it is zero.
    pub last_access_interval: Duration,
    /// Templates that replace the embedded ones.
    pub template_dir: Option<PathBuf>,
    /// 500 instead of 503 for a stopped service.
    pub legacy_codes: bool,
    /// Answer `/robots.txt` for services that have no text of their own.
    pub default_robots: DefaultRobots,
    /// Hold a request for a starting instance so long.
    pub wake_hold: Duration,
    /// How many requests may be held at once.
    pub wake_hold_max: usize,
    /// Redirect to https unless `X-Forwarded-Proto` says so.
    pub force_ssl: bool,
    /// The header that gets the original URL's root.
    pub url_header: Option<HeaderName>,
    /// Whom CONNECT may ask for; nobody where it is empty.
    pub connect: Vec<Allowed>,
    /// What becomes of header fields.
    pub headers: Rules,
    /// Whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// All time-outs.
    pub timeouts: Timeouts,
    /// How much a request may have.
    pub limits: Limits,
    /// How much a response may have.
    pub response_limits: ResponseLimits,
    /// Clients' connections in all.
    pub max_connections: usize,
    /// And from each address.
    pub max_connections_per_client: usize,
    /// Idle connections kept for each instance and thread.
    pub upstream_idle_max: usize,
    /// Whether and how far the kernel carries parked connections.
    pub splice: Splice,
    /// Whether gogeta confines itself.
    pub sandbox: SandboxMode,
    /// Whose process it becomes, if not that of whoever starts it.
    pub user: Option<String>,
    /// Files that this was read from, and will be read from again.
    pub files: Vec<PathBuf>,
    /// The logs.
    pub log: Log,
    /// What others are told of requests.
    pub telemetry: Telemetry,
}

/// How a new gogeta takes over from the running one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// Where they meet.
    pub socket: PathBuf,
    /// The new one has so long to start.
    pub timeout: Duration,
}

/// Where routes come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// etcd.
    Etcd(Etcd),
    /// A file.
    File(PathBuf),
    /// A file, with the demo's supervisor beside it.
    Demo(PathBuf),
    /// Nowhere: the resolver needs none.
    Nothing,
}

/// How to reach etcd, and which of its keys are ours.
#[derive(Debug, Clone)]
pub struct Etcd {
    /// Its endpoints, as URLs.
    pub endpoints: Vec<String>,
    /// Who to be there.
    pub user: Option<(String, String)>,
    /// The authority that signed its certificate.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The directory of the domains.
    pub domain_dir: String,
    /// The directory of the services.
    pub service_dir: String,
}

impl Etcd {
    /// Where etcd is by these options, for commands: a routes file is for the proxy alone.
    ///
    /// # Errors
    ///
    /// Names the flag.
    pub fn of(options: &Options) -> Result<Self, ConfigError> {
        resolve::etcd(options)
    }
}

/// How routes in etcd are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// Where the last known routes are kept, if anywhere.
    pub state_dir: Option<PathBuf>,
    /// The directory in etcd that says which revision is served, if any.
    pub publish_dir: Option<String>,
    /// Who loses more than this percentage of its routes by a reading looks twice; 0 never does.
    pub mass_removal_guard: u8,
    /// How often everything is read for comparison; never where it is zero.
    pub resync_interval: Duration,
}

/// All time-outs.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// A request's head, from its first byte.
    pub head: Duration,
    /// A client's connection without a request.
    pub idle: Duration,
    /// A client's body or reading, or an instance's body of a known length, without progress.
    pub body: Duration,
    /// A response of no known length without a byte.
    pub stream: Duration,
    /// Bytes a second that a client must send or read while it is waited for; 0 asks for none.
    pub min_rate: u64,
    /// Connecting to an instance.
    pub connect: Duration,
    /// The first byte of an answer.
    pub response: Duration,
    /// An idle connection to an instance.
    pub upstream_idle: Duration,
    /// A tunnel without traffic.
    pub tunnel_idle: Duration,
    /// What is in flight when gogeta stops.
    pub drain: Duration,
    /// Between not ready and not accepting.
    pub drain_delay: Duration,
}

/// The logs.
#[derive(Debug, Clone)]
pub struct Log {
    /// What to log, in tracing's filter syntax.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
    /// Where requests are logged.
    pub access: Option<AccessLog>,
    /// Where CPU profiles go.
    pub cpu_profile: PathBuf,
    /// Whether to profile from the start.
    pub profile_at_start: bool,
}

/// What others are told of requests.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// How many services are counted one by one; none where they are not counted.
    pub services: Option<usize>,
    /// Where traces go, if anywhere.
    pub traces: Option<Traces>,
}

/// Where traces go, and of what.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// The collector's URL.
    pub endpoint: String,
    /// Whether it is spoken to by gRPC; by HTTP with protobuf otherwise.
    pub is_grpc: bool,
    /// The share of the requests that belong to no trace yet that begin one, from 0 to 1.
    pub ratio: f64,
}

/// Where and how requests are logged.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// A file; standard output where there is none.
    pub file: Option<PathBuf>,
    /// How a line looks.
    pub format: AccessLogFormat,
}

/// Why gogeta cannot run with what it was given. Names the flag, or the file and line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// Options from a TOML file.
///
/// # Errors
///
/// The file's name, with the line where the text is at fault.
pub fn read_file(path: &Path) -> Result<Options, ConfigError> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let why = sandbox::explained(&error);
        ConfigError(format!("cannot read the config file {name} (--config): {why}"))
    })?;
    toml::from_str(&text).map_err(|error| ConfigError(format!("the config file {name} is wrong: {error}")))
}

impl Options {
    /// These options, and where they say nothing, those of `file`.
    ///
    /// # Errors
    ///
    /// None that a user can cause; options are plain data.
    pub fn or(&self, file: &Self) -> Result<Self, ConfigError> {
        // By way of a map, so that a new option needs no line here.
        let map = |options: &Self| match serde_json::to_value(options) {
            Ok(serde_json::Value::Object(map)) => Ok(map),
            Ok(_) => Err(ConfigError("options are not a map".to_owned())),
            Err(error) => Err(ConfigError(error.to_string())),
        };
        let mut merged = map(file)?;
        merged.extend(map(self)?);
        serde_json::from_value(merged.into()).map_err(|error| ConfigError(error.to_string()))
    }
}
