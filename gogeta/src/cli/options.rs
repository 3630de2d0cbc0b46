//! The flags for serving: each has an environment variable and a key in the config file.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::{Listen, Seconds};
use crate::routes::splice::SpliceMode;

/// How a host becomes a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum ResolverType {
    /// By the domains in etcd or the routes file.
    #[value(name = "IoEtcd")]
    IoEtcd,
    /// The service is the first label of the host.
    #[value(name = "Env")]
    Env,
    /// Everything to http://localhost:8080/.
    #[value(name = "Dummy")]
    Dummy,
}

/// How a line of a log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How a line of the access log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessLogFormat {
    /// The combined format, with host, upstream and seconds behind it.
    Text,
    /// The combined format of Apache and nginx, exactly.
    Combined,
    /// One JSON object a line.
    Json,
}

/// How a collector of traces is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum OtlpProtocol {
    /// gRPC.
    #[value(name = "grpc")]
    #[serde(rename = "grpc")]
    Grpc,
    /// HTTP with protobuf.
    #[value(name = "http/protobuf")]
    #[serde(rename = "http/protobuf")]
    Http,
}

/// Whether gogeta confines itself once it is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// As far as the kernel can.
    Auto,
    /// Or it does not start.
    On,
    /// Not at all.
    Off,
}

/// What `--default-robots` can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefaultRobots {
    /// Requests for /robots.txt go to the backend.
    Off,
    /// They are answered with "Disallow: /", as the original did.
    Disallow,
}

/// Everything that can be set by flag, environment or file; what is not set is `None`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// Where to listen, comma-separated or several times: addresses, inherited sockets (fd:3), or systemd for all
    /// that a socket unit passes [default: 0.0.0.0:7777]
    #[arg(long, value_name = "ADDR", env = "GOGETA_LISTEN", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<Vec<Listen>>,
    /// The port to listen on, where --listen is not given [default: 7777]
    #[arg(long, env = "GOGETA_PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Where health, metrics and the API listen; "off" for nowhere [default: 127.0.0.1:7778]
    #[arg(long, value_name = "ADDR", env = "GOGETA_ADMIN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// Names by which the API and its page may be asked, comma-separated, beside addresses and localhost
    #[arg(long, value_name = "NAME", env = "GOGETA_ADMIN_HOST", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_host: Option<Vec<String>>,
    /// What operators show to do something by the API (Authorization: Bearer); better given by the environment or a
    /// file than by the flag [default: none, nobody can]
    #[arg(long, value_name = "TEXT", env = "GOGETA_ADMIN_TOKEN", hide_env_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token: Option<String>,
    /// A file with that token; read anew on HUP
    #[arg(long, value_name = "FILE", env = "GOGETA_ADMIN_TOKEN_FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token_file: Option<PathBuf>,
    /// Threads that serve requests [default: one for each core]
    #[arg(long, value_name = "N", env = "GOGETA_THREADS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,

    /// Take the listening sockets over from the gogeta that runs and has the same FILE, which then finishes what it has
    /// in hand and ends; and hand them over to the next one [default: none]
    #[arg(long, value_name = "FILE", env = "GOGETA_UPGRADE_SOCKET", help_heading = "Upgrades")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade_socket: Option<PathBuf>,
    /// The new one has so long to start, or the running one goes on [default: 60s]
    #[arg(long, value_name = "TIME", env = "GOGETA_UPGRADE_TIMEOUT", help_heading = "Upgrades")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade_timeout: Option<Seconds>,

    /// etcd's endpoints, comma-separated [default: http://127.0.0.1:2379]
    #[arg(
        long,
        value_name = "URL",
        env = "GOGETA_ETCD_ADDRESS",
        value_delimiter = ',',
        help_heading = "Routes"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_address: Option<Vec<String>>,
    /// The user to be for etcd
    #[arg(long, value_name = "NAME", env = "GOGETA_ETCD_USER", help_heading = "Routes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_user: Option<String>,
    /// That user's password; better given by the environment than by the flag
    #[arg(
        long,
        value_name = "TEXT",
        env = "GOGETA_ETCD_PASSWORD",
        hide_env_values = true,
        help_heading = "Routes"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_password: Option<String>,
    /// The authority that signed etcd's certificate (PEM) [default: the system's]
    #[arg(long, value_name = "FILE", env = "GOGETA_ETCD_CA", help_heading = "Routes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_ca: Option<PathBuf>,
    /// gogeta's own certificate for etcd (PEM)
    #[arg(long, value_name = "FILE", env = "GOGETA_ETCD_CERT", help_heading = "Routes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_cert: Option<PathBuf>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", env = "GOGETA_ETCD_KEY", help_heading = "Routes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd_key: Option<PathBuf>,
    /// The directory of the domains in etcd [default: /domains]
    #[arg(long, value_name = "DIR", env = "GOGETA_DOMAIN_DIR", help_heading = "Routes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain_dir: Option<String>,
    /// The directory of the services in etcd [default: /services]
    #[arg(long, value_name = "DIR", env = "GOGETA_SERVICE_DIR", help_heading = "Routes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_dir: Option<String>,
    /// Routes from this TOML file instead of etcd; watched for changes
    #[arg(long, value_name = "FILE", env = "GOGETA_ROUTES", help_heading = "Routes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<PathBuf>,
    /// How a host becomes a target, in any letter case [default: IoEtcd]
    #[arg(
        long,
        value_name = "TYPE",
        env = "GOGETA_RESOLVER_TYPE",
        ignore_case = true,
        help_heading = "Routes"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolver_type: Option<ResolverType>,
    /// At most one lastAccess in this time for each instance; 0 writes none [default: 10s]
    #[arg(long, value_name = "TIME", env = "GOGETA_LAST_ACCESS_INTERVAL", help_heading = "Routes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_access_interval: Option<Seconds>,

    /// Keep the last known routes in this directory, and start from them while etcd is away [default: none]
    #[arg(long, value_name = "DIR", env = "GOGETA_STATE_DIR", help_heading = "Control plane")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,
    /// Say below this directory in etcd which revision is served; "off" says it nowhere [default: /gogeta]
    #[arg(long, value_name = "DIR", env = "GOGETA_PUBLISH_DIR", help_heading = "Control plane")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_dir: Option<String>,
    /// Look twice before a reading of etcd takes away more of the routes than this; 0 never does [default: 50]
    #[arg(long, value_name = "PERCENT", env = "GOGETA_MASS_REMOVAL_GUARD", help_heading = "Control plane")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mass_removal_guard: Option<u8>,
    /// Compare the routes with all that is in etcd so often; 0 never does [default: 10m]
    #[arg(long, value_name = "TIME", env = "GOGETA_RESYNC_INTERVAL", help_heading = "Control plane")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resync_interval: Option<Seconds>,

    /// Templates that replace the embedded ones; watched for changes
    #[arg(long, value_name = "DIR", env = "GOGETA_TEMPLATE_DIR", help_heading = "Pages")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_dir: Option<PathBuf>,
    /// The original's status codes: 500 for a stopped service
    #[arg(long, value_name = "BOOL", env = "GOGETA_LEGACY_CODES", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Pages")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legacy_codes: Option<bool>,
    /// What /robots.txt is for services that have no text of their own [default: off]
    #[arg(long, value_name = "WHAT", env = "GOGETA_DEFAULT_ROBOTS", help_heading = "Pages")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_robots: Option<DefaultRobots>,
    /// Hold a request for a starting instance so long before the page is served [default: 0s, off]
    #[arg(long, value_name = "TIME", env = "GOGETA_WAKE_HOLD", help_heading = "Pages")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake_hold: Option<Seconds>,
    /// How many requests may be held at once; others get the page [default: 1000]
    #[arg(long, value_name = "N", env = "GOGETA_WAKE_HOLD_MAX", help_heading = "Pages")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake_hold_max: Option<usize>,

    /// Redirect to https unless the request says X-Forwarded-Proto: https
    #[arg(long, value_name = "BOOL", env = "GOGETA_FORCE_FW_SSL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Requests")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_fw_ssl: Option<bool>,
    /// Add a header of this name that holds the original URL's root
    #[arg(long, value_name = "NAME", env = "GOGETA_URL_HEADER_PARAM", help_heading = "Requests")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_header_param: Option<String>,
    /// Networks whose X-Forwarded-* are believed and appended to, comma-separated [default: none]
    #[arg(
        long,
        value_name = "CIDR",
        env = "GOGETA_TRUSTED_PROXIES",
        value_delimiter = ',',
        help_heading = "Requests"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_proxies: Option<Vec<IpNet>>,

    /// Answer CONNECT by a tunnel to the instance or target that HOST is routed to, for these (HOST may be *.NAME
    /// or *, PORT may be *), comma-separated or several times [default: none, CONNECT is a 405]
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "GOGETA_CONNECT",
        value_delimiter = ',',
        help_heading = "Requests"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Vec<String>>,
    /// Tell backends who asked by RFC 7239's Forwarded, too
    #[arg(long, value_name = "BOOL", env = "GOGETA_FORWARDED", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Requests")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<bool>,
    /// Keep X-Request-Id, or make one
    #[arg(long, value_name = "BOOL", env = "GOGETA_REQUEST_ID", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Requests")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<bool>,
    /// What this proxy is called in Via; a request that came by it twice is refused (508) [default: gogeta]
    #[arg(long, value_name = "NAME", env = "GOGETA_VIA", help_heading = "Requests")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Name this proxy in the Via of responses, too
    #[arg(long, value_name = "BOOL", env = "GOGETA_VIA_RESPONSE", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Requests")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via_response: Option<bool>,
    /// Pass header fields on whose names have an underscore, which some backends take for a dash
    #[arg(long, value_name = "BOOL", env = "GOGETA_UNDERSCORE_HEADERS", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Requests")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underscore_headers: Option<bool>,

    /// Clients' connections in all; beyond, new ones wait to be accepted [default: 10000]
    #[arg(long, value_name = "N", env = "GOGETA_MAX_CONNECTIONS", help_heading = "Limits")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<usize>,
    /// Connections from each address but those of trusted proxies; beyond, a 429 [default: 1000]
    #[arg(long, value_name = "N", env = "GOGETA_MAX_CONNECTIONS_PER_CLIENT", help_heading = "Limits")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_client: Option<usize>,
    /// Bytes that a request's head may have [default: 32768]
    #[arg(long, value_name = "BYTES", env = "GOGETA_MAX_HEAD", help_heading = "Limits")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_head: Option<usize>,
    /// Fields that a request's head may have [default: 100]
    #[arg(long, value_name = "N", env = "GOGETA_MAX_HEADERS", help_heading = "Limits")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_headers: Option<usize>,
    /// Bytes that a request's target may have [default: 8192]
    #[arg(long, value_name = "BYTES", env = "GOGETA_MAX_TARGET", help_heading = "Limits")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_target: Option<usize>,
    /// Bytes that a request's body may have [default: 0, unlimited]
    #[arg(long, value_name = "BYTES", env = "GOGETA_MAX_BODY", help_heading = "Limits")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u64>,

    /// Bytes that a response's head may have; beyond, a 502 [default: 65536]
    #[arg(long, value_name = "BYTES", env = "GOGETA_MAX_RESPONSE_HEAD", help_heading = "Limits")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_response_head: Option<usize>,
    /// Bytes a second that a client must send or read while it is waited for; 0 asks for none [default: 500]
    #[arg(long, value_name = "BYTES", env = "GOGETA_MIN_RATE", help_heading = "Limits")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_rate: Option<u64>,

    /// A request's head must be there so long after its first byte [default: 10s]
    #[arg(long, value_name = "TIME", env = "GOGETA_HEAD_TIMEOUT", help_heading = "Time-outs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_timeout: Option<Seconds>,
    /// A client's connection without a request is closed after [default: 60s]
    #[arg(long, value_name = "TIME", env = "GOGETA_IDLE_TIMEOUT", help_heading = "Time-outs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Seconds>,
    /// Whoever stops in the middle of a body, or does not read the answer, is cut off after [default: 30s]
    #[arg(long, value_name = "TIME", env = "GOGETA_BODY_TIMEOUT", help_heading = "Time-outs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_timeout: Option<Seconds>,
    /// An answer of no known length may be quiet for so long between its parts [default: 1h]
    #[arg(long, value_name = "TIME", env = "GOGETA_STREAM_TIMEOUT", help_heading = "Time-outs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_timeout: Option<Seconds>,
    /// Connecting to an instance may take [default: 3s]
    #[arg(long, value_name = "TIME", env = "GOGETA_CONNECT_TIMEOUT", help_heading = "Time-outs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Seconds>,
    /// The first byte of an answer may take, from the end of the request [default: 60s]
    #[arg(long, value_name = "TIME", env = "GOGETA_RESPONSE_TIMEOUT", help_heading = "Time-outs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_timeout: Option<Seconds>,
    /// An idle connection to an instance is kept for [default: 60s]
    #[arg(long, value_name = "TIME", env = "GOGETA_UPSTREAM_IDLE_TIMEOUT", help_heading = "Time-outs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_idle_timeout: Option<Seconds>,
    /// So many idle connections are kept for each instance and thread [default: 256]
    #[arg(long, value_name = "N", env = "GOGETA_UPSTREAM_IDLE_MAX", help_heading = "Time-outs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_idle_max: Option<usize>,
    /// A tunnel (WebSocket) without traffic is closed after [default: 1h]
    #[arg(long, value_name = "TIME", env = "GOGETA_TUNNEL_IDLE_TIMEOUT", help_heading = "Time-outs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_idle_timeout: Option<Seconds>,
    /// On TERM, what is in flight gets so long to finish [default: 30s]
    #[arg(long, value_name = "TIME", env = "GOGETA_DRAIN_TIMEOUT", help_heading = "Time-outs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<Seconds>,
    /// On TERM, go on accepting for so long while /readyz already says no [default: 0s]
    #[arg(long, value_name = "TIME", env = "GOGETA_DRAIN_DELAY", help_heading = "Time-outs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_delay: Option<Seconds>,

    /// Who carries parked connections, where domains and instances do not say; "off" keeps all in userspace, and needs
    /// no privilege [default: auto]
    #[arg(long, value_name = "MODE", env = "GOGETA_SPLICE", help_heading = "Kernel path")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splice: Option<SpliceMode>,
    /// A parked connection keeps its instance for so many requests; 0 is for any number [default: 10000]
    #[arg(long, value_name = "N", env = "GOGETA_SPLICE_MAX_REQUESTS", help_heading = "Kernel path")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splice_max_requests: Option<u32>,
    /// And for so long [default: 5m]
    #[arg(long, value_name = "TIME", env = "GOGETA_SPLICE_MAX_AGE", help_heading = "Kernel path")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splice_max_age: Option<Seconds>,
    /// So many connections may be parked, 65536 at most; each takes about 4.5 KB of the kernel's memory [default: 4096]
    #[arg(long, value_name = "N", env = "GOGETA_SPLICE_MAX_PAIRS", help_heading = "Kernel path")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splice_max_pairs: Option<u32>,
    /// A parked connection on which more than so many percent of the data are sent again is userspace's for a minute,
    /// which repairs each link by itself; 100 leaves all parked [default: 4]
    #[arg(long, value_name = "PERCENT", env = "GOGETA_SPLICE_MAX_LOSS", help_heading = "Kernel path")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splice_max_loss: Option<u32>,

    /// Count requests, errors, durations and instances of each service
    #[arg(long, value_name = "BOOL", env = "GOGETA_METRICS_PER_SERVICE", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Telemetry")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_per_service: Option<bool>,
    /// So many services are counted one by one, and those beyond together, as "other" [default: 200]
    #[arg(long, value_name = "N", env = "GOGETA_METRICS_MAX_SERVICES", help_heading = "Telemetry")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_max_services: Option<usize>,
    /// Send traces of requests to this OpenTelemetry collector, such as http://127.0.0.1:4317; "off" to none
    /// [default: OTEL_EXPORTER_OTLP_ENDPOINT, or off]
    #[arg(long, value_name = "URL", env = "GOGETA_OTLP_ENDPOINT", help_heading = "Telemetry")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
    /// How that is spoken to [default: OTEL_EXPORTER_OTLP_PROTOCOL, or grpc, but http/protobuf at port 4318]
    #[arg(long, value_name = "PROTOCOL", env = "GOGETA_OTLP_PROTOCOL", help_heading = "Telemetry")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_protocol: Option<OtlpProtocol>,
    /// Trace such a share of the requests that belong to no trace yet, from 0 to 1 [default: 0.01]
    #[arg(long, value_name = "RATIO", env = "GOGETA_TRACE_RATIO", help_heading = "Telemetry")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_ratio: Option<f64>,

    /// Confine gogeta, once it is up, to the system calls and files that it needs; "on" does not start where the kernel
    /// cannot [default: auto]
    #[arg(long, value_name = "MODE", env = "GOGETA_SANDBOX", help_heading = "Security")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxMode>,
    /// Started as root, become this user (NAME or UID, and :GROUP or :GID) before anything is served
    #[arg(long, value_name = "USER", env = "GOGETA_USER", help_heading = "Security")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,

    /// What to log: error, warn, info, debug, trace, or tracing's filter syntax [default: info]
    #[arg(long, value_name = "FILTER", env = "GOGETA_LOG", help_heading = "Logs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// How a line of the log looks [default: text]
    #[arg(long, value_name = "FORMAT", env = "GOGETA_LOG_FORMAT", help_heading = "Logs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
    /// Log each request to this file; "-" is standard output, "off" is nowhere [default: off]
    #[arg(long, value_name = "FILE", env = "GOGETA_ACCESS_LOG", help_heading = "Logs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<String>,
    /// How a line of the access log looks [default: text]
    #[arg(long, value_name = "FORMAT", env = "GOGETA_ACCESS_LOG_FORMAT", help_heading = "Logs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log_format: Option<AccessLogFormat>,
    /// Where USR2 writes its CPU profile (pprof), with a flame graph beside it; profiles from the start if given
    #[arg(long, value_name = "FILE", env = "GOGETA_CPU_PROFILE", help_heading = "Logs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_profile: Option<PathBuf>,
}
