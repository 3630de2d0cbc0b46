//! Options become a [`Config`]: defaults are filled in, and what cannot be is refused by the flag's name.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::HeaderName;

use super::{
    Access, AccessLog, Config, ConfigError, ControlPlane, Etcd, Listen, Log, Seconds, Source, Splice,
    Telemetry, Timeouts, Upgrade,
};
use crate::cli::{AccessLogFormat, DefaultRobots, LogFormat, Options, ResolverType, SandboxMode};
use crate::proxy::connect::Allowed;
use crate::proxy::gate::{Limits, ResponseLimits};
use crate::proxy::headers::{Rules, via};

/// Fields that a response's head may have: as many as hyper reads without a detour.
const RESPONSE_FIELDS: usize = 100;

impl TryFrom<Options> for Config {
    type Error = ConfigError;

    fn try_from(options: Options) -> Result<Self, ConfigError> {
        let seconds = |value: Option<Seconds>, default: u64| value.unwrap_or(Seconds::from_secs(default)).0;
        let timeouts = Timeouts {
            head: positive("--head-timeout", seconds(options.head_timeout, 10))?,
            idle: positive("--idle-timeout", seconds(options.idle_timeout, 60))?,
            body: positive("--body-timeout", seconds(options.body_timeout, 30))?,
            stream: positive("--stream-timeout", seconds(options.stream_timeout, 3600))?,
            min_rate: options.min_rate.unwrap_or(500),
            connect: positive("--connect-timeout", seconds(options.connect_timeout, 3))?,
            response: positive("--response-timeout", seconds(options.response_timeout, 60))?,
            upstream_idle: seconds(options.upstream_idle_timeout, 60),
            tunnel_idle: positive("--tunnel-idle-timeout", seconds(options.tunnel_idle_timeout, 3600))?,
            drain: seconds(options.drain_timeout, 30),
            drain_delay: seconds(options.drain_delay, 0),
        };
        Ok(Self {
            splice: Splice::of(&options)?,
            telemetry: Telemetry::of(&options)?,
            connect: connect(&options)?,
            headers: rules(&options)?,
            listen: listen(&options)?,
            admin: admin(options.admin.as_deref())?,
            access: Access::of(&options)?,
            threads: threads(options.threads)?,
            upgrade: upgrade(&options)?,
            source: source(&options)?,
            control_plane: control_plane(&options)?,
            resolver: options.resolver_type.unwrap_or(ResolverType::IoEtcd),
            last_access_interval: seconds(options.last_access_interval, 10),
            sandbox: options.sandbox.unwrap_or(SandboxMode::Auto),
            user: options.user,
            files: options.admin_token_file.into_iter().collect(),
            template_dir: options.template_dir,
            legacy_codes: options.legacy_codes.unwrap_or(false),
            default_robots: options.default_robots.unwrap_or(DefaultRobots::Off),
            wake_hold: seconds(options.wake_hold, 0),
            wake_hold_max: options.wake_hold_max.unwrap_or(1000),
            force_ssl: options.force_fw_ssl.unwrap_or(false),
            url_header: options
                .url_header_param
                .filter(|name| !name.is_empty())
                .map(url_header)
                .transpose()?,
            trusted_proxies: options.trusted_proxies.unwrap_or_default(),
            timeouts,
            max_connections: at_least("--max-connections", options.max_connections.unwrap_or(10_000), 1)?,
            max_connections_per_client: at_least(
                "--max-connections-per-client",
                options.max_connections_per_client.unwrap_or(1000),
                1,
            )?,
            limits: Limits {
                head: at_least("--max-head", options.max_head.unwrap_or(32 << 10), 1024)?,
                fields: at_least("--max-headers", options.max_headers.unwrap_or(100), 10)?,
                target: at_least("--max-target", options.max_target.unwrap_or(8 << 10), 64)?,
                body: options.max_body.filter(|bytes| *bytes > 0).unwrap_or(u64::MAX),
            },
            response_limits: ResponseLimits {
                head: at_least("--max-response-head", options.max_response_head.unwrap_or(64 << 10), 1024)?,
                fields: RESPONSE_FIELDS,
            },
            upstream_idle_max: options.upstream_idle_max.unwrap_or(256),
            log: Log {
                filter: options.log.unwrap_or_else(|| "info".to_owned()),
                format: options.log_format.unwrap_or(LogFormat::Text),
                access: access_log(options.access_log.as_deref(), options.access_log_format),
                profile_at_start: options.cpu_profile.is_some(),
                cpu_profile: options.cpu_profile.unwrap_or_else(|| "/tmp/gogeta.prof".into()),
            },
        })
    }
}

fn at_least(flag: &str, value: usize, least: usize) -> Result<usize, ConfigError> {
    if value < least {
        Err(ConfigError(format!("{flag} must be {least} at least, not {value}")))
    } else {
        Ok(value)
    }
}

fn connect(options: &Options) -> Result<Vec<Allowed>, ConfigError> {
    let allowed = options.connect.iter().flatten().map(|text| text.parse());
    allowed.collect::<Result<_, _>>().map_err(|error| ConfigError(format!("--connect: {error}")))
}

fn rules(options: &Options) -> Result<Rules, ConfigError> {
    let name = options.via.clone().unwrap_or_else(|| "gogeta".to_owned());
    let wrong =
        || ConfigError(format!("--via must be a name of letters, digits, dots and dashes, not {name:?}"));
    Ok(Rules {
        underscores: options.underscore_headers.unwrap_or(false),
        forwarded: options.forwarded.unwrap_or(false),
        request_id: options.request_id.unwrap_or(false),
        via: via::Entry::new(&name).ok_or_else(wrong)?,
        via_response: options.via_response.unwrap_or(false),
    })
}

pub(super) fn positive(flag: &str, time: Duration) -> Result<Duration, ConfigError> {
    if time.is_zero() { Err(ConfigError(format!("{flag} must be more than 0"))) } else { Ok(time) }
}

fn listen(options: &Options) -> Result<Vec<Listen>, ConfigError> {
    match (&options.listen, options.port) {
        (Some(_), Some(_)) => {
            Err(ConfigError("--listen and --port are both given; --listen holds the port already".to_owned()))
        }
        (Some(places), None) if places.is_empty() => Err(ConfigError("--listen names no address".to_owned())),
        (Some(places), None) => Ok(places.clone()),
        (None, port) => Ok(vec![Listen::Address((Ipv4Addr::UNSPECIFIED, port.unwrap_or(7777)).into())]),
    }
}

fn admin(text: Option<&str>) -> Result<Option<SocketAddr>, ConfigError> {
    match text {
        None => Ok(Some((Ipv4Addr::LOCALHOST, 7778).into())),
        Some("off") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            ConfigError(format!("--admin must be an address such as 127.0.0.1:7778, or off; not {text:?}"))
        }),
    }
}

fn threads(count: Option<usize>) -> Result<usize, ConfigError> {
    match count {
        None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        Some(count @ 1..=1024) => Ok(count),
        Some(count) => Err(ConfigError(format!("--threads must be 1 to 1024, not {count}"))),
    }
}

/// Bytes that the path of a socket may have, less the one for its name before it is in its place (unix(7)).
const SOCKET_PATH: usize = 106;

fn upgrade(options: &Options) -> Result<Option<Upgrade>, ConfigError> {
    let timeout = options.upgrade_timeout.unwrap_or(Seconds::from_secs(60)).0;
    let timeout = positive("--upgrade-timeout", timeout)?;
    let Some(socket) = options.upgrade_socket.clone() else { return Ok(None) };
    let length = socket.as_os_str().len();
    if length == 0 || length > SOCKET_PATH {
        return Err(ConfigError(format!(
            "--upgrade-socket must be a path of 1 to {SOCKET_PATH} bytes, as for any socket; it has {length}"
        )));
    }
    Ok(Some(Upgrade { socket, timeout }))
}

fn source(options: &Options) -> Result<Source, ConfigError> {
    if options.resolver_type == Some(ResolverType::Dummy) {
        return Ok(Source::Nothing);
    }
    if let Some(file) = &options.routes {
        if options.etcd_address.is_some() {
            return Err(ConfigError(
                "--routes and --etcd-address are both given; routes come from one of them".to_owned(),
            ));
        }
        return Ok(Source::File(file.clone()));
    }
    etcd(options).map(Source::Etcd)
}

/// Where etcd is, whatever else the options say.
pub(super) fn etcd(options: &Options) -> Result<Etcd, ConfigError> {
    let endpoints = options.etcd_address.clone().unwrap_or_else(|| vec!["http://127.0.0.1:2379".to_owned()]);
    let endpoints: Vec<String> = endpoints.iter().map(|text| endpoint(text)).collect::<Result<_, _>>()?;
    let user = match (&options.etcd_user, &options.etcd_password) {
        (Some(user), Some(password)) => Some((user.clone(), password.clone())),
        (None, None) => None,
        (Some(_), None) => {
            return Err(ConfigError("--etcd-user is given without --etcd-password".to_owned()));
        }
        (None, Some(_)) => {
            return Err(ConfigError("--etcd-password is given without --etcd-user".to_owned()));
        }
    };
    let identity = match (&options.etcd_cert, &options.etcd_key) {
        (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
        (None, None) => None,
        _ => return Err(ConfigError("--etcd-cert and --etcd-key go together".to_owned())),
    };
    Ok(Etcd {
        endpoints,
        user,
        ca: options.etcd_ca.clone(),
        identity,
        domain_dir: directory("--domain-dir", options.domain_dir.as_deref().unwrap_or("/domains"))?,
        service_dir: directory("--service-dir", options.service_dir.as_deref().unwrap_or("/services"))?,
    })
}

fn control_plane(options: &Options) -> Result<ControlPlane, ConfigError> {
    Ok(ControlPlane {
        state_dir: options.state_dir.clone(),
        publish_dir: match options.publish_dir.as_deref() {
            Some("off") => None,
            text => Some(directory("--publish-dir", text.unwrap_or("/gogeta"))?),
        },
        mass_removal_guard: match options.mass_removal_guard.unwrap_or(50) {
            percent @ 0..=100 => percent,
            percent => {
                return Err(ConfigError(format!(
                    "--mass-removal-guard must be a percentage from 0 to 100, not {percent}"
                )));
            }
        },
        resync_interval: options.resync_interval.unwrap_or(Seconds::from_secs(600)).0,
    })
}

fn endpoint(text: &str) -> Result<String, ConfigError> {
    let text = text.trim().trim_end_matches('/');
    let wrong =
        || ConfigError(format!("--etcd-address must be URLs such as http://127.0.0.1:2379, not {text:?}"));
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: http::Uri = with_scheme.parse().map_err(|_| wrong())?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(with_scheme),
        _ => Err(wrong()),
    }
}

fn directory(flag: &str, text: &str) -> Result<String, ConfigError> {
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return Err(ConfigError(format!("{flag} must name a directory below the root, such as /domains")));
    }
    Ok(text.to_owned())
}

fn url_header(name: String) -> Result<HeaderName, ConfigError> {
    name.parse().map_err(|_| ConfigError(format!("--url-header-param must be a header's name, not {name:?}")))
}

fn access_log(text: Option<&str>, format: Option<AccessLogFormat>) -> Option<AccessLog> {
    let format = format.unwrap_or(AccessLogFormat::Text);
    match text {
        None | Some("off") => None,
        Some("-") => Some(AccessLog { file: None, format }),
        Some(path) => Some(AccessLog { file: Some(path.into()), format }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_file;
    use super::*;

    fn config(options: Options) -> Result<Config, String> {
        Config::try_from(options).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults() {
        let config = config(Options::default()).expect("the defaults are right");
        assert_eq!(config.listen, ["0.0.0.0:7777".parse().expect("an address")]);
        assert_eq!(config.admin, "127.0.0.1:7778".parse().ok());
        assert!(matches!(config.source, Source::Etcd(etcd) if etcd.endpoints == ["http://127.0.0.1:2379"]));
    }

    #[test]
    fn a_flag_goes_before_the_file() {
        let flags = Options { port: Some(1), ..Options::default() };
        let file: Options =
            toml::from_str("port = 2\nthreads = 3\nidle-timeout = 5\nwake-hold = \"1m\"").expect("good TOML");
        let merged = flags.or(&file).expect("they merge");
        assert_eq!((merged.port, merged.threads), (Some(1), Some(3)));
        assert_eq!(merged.idle_timeout, Some(Seconds::from_secs(5)));
        assert_eq!(merged.wake_hold, Some(Seconds::from_secs(60)));
    }

    #[test]
    fn a_mistake_in_the_file_names_its_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("gogeta.toml");
        for (text, line) in
            [("port = 1\nprot = 2\n", "line 2"), ("\n\nport = \"x\"\n", "line 3"), ("port =\n", "line 1")]
        {
            std::fs::write(&path, text).expect("the file is written");
            let error = read_file(&path).expect_err(text).to_string();
            assert!(error.contains(line) && error.contains("gogeta.toml"), "{error}");
        }
    }

    #[test]
    fn mistakes_name_the_flag() {
        let rows: [(Options, &str); 18] = [
            (Options { trace_ratio: Some(1.1), ..Options::default() }, "--trace-ratio"),
            (Options { trace_ratio: Some(f64::NAN), ..Options::default() }, "--trace-ratio"),
            (
                Options { otlp_endpoint: Some("collector:4317".into()), ..Options::default() },
                "--otlp-endpoint",
            ),
            (
                Options { otlp_endpoint: Some("https://c:4318".into()), ..Options::default() },
                "--otlp-endpoint",
            ),
            (Options { metrics_max_services: Some(1 << 20), ..Options::default() }, "--metrics-max-services"),
            (
                Options { upgrade_socket: Some("x".repeat(107).into()), ..Options::default() },
                "--upgrade-socket",
            ),
            (
                Options { upgrade_timeout: Some(Seconds::from_secs(0)), ..Options::default() },
                "--upgrade-timeout",
            ),
            (Options { publish_dir: Some("/".into()), ..Options::default() }, "--publish-dir"),
            (Options { mass_removal_guard: Some(101), ..Options::default() }, "--mass-removal-guard"),
            (Options { admin: Some("nowhere".into()), ..Options::default() }, "--admin"),
            (Options { connect: Some(vec!["a.test".into()]), ..Options::default() }, "--connect"),
            (Options { threads: Some(0), ..Options::default() }, "--threads"),
            (Options { etcd_address: Some(vec!["ftp://x".into()]), ..Options::default() }, "--etcd-address"),
            (Options { etcd_user: Some("x".into()), ..Options::default() }, "--etcd-password"),
            (Options { domain_dir: Some("/".into()), ..Options::default() }, "--domain-dir"),
            (Options { url_header_param: Some("a b".into()), ..Options::default() }, "--url-header-param"),
            (Options { head_timeout: Some(Seconds::from_secs(0)), ..Options::default() }, "--head-timeout"),
            (Options { port: Some(1), listen: Some(vec![]), ..Options::default() }, "--listen"),
        ];
        for (options, flag) in rows {
            let error = config(options).expect_err(flag);
            assert!(error.contains(flag), "{error}");
        }
    }
}
