//! The whole configuration by flag, as it is in force, for operators to see. Secrets are not part of it.

use std::fmt::Display;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::{Config, Etcd, Source};
use crate::cli::OtlpProtocol;

/// Flags whose values are nobody's to see; of them only whether they are given is shown.
#[cfg(test)]
const SECRETS: [&str; 3] = ["etcd-user", "etcd-password", "admin-token"];
/// What stands for a secret that is given.
const HIDDEN: &str = "(hidden)";

impl Config {
    /// The values in force by flag: times in seconds, 0 for no limit, null for what is not set.
    pub fn shown(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        let parts = [self.places(), self.routing(), self.answers(), self.bounds(), self.kernel_and_logs()];
        for part in parts.into_iter().chain([self.told()]) {
            let Value::Object(part) = part else { continue };
            shown.extend(part);
        }
        shown
    }

    fn places(&self) -> Value {
        json!({
            "listen": texts(&self.listen),
            "admin": self.admin.map_or_else(|| "off".to_owned(), |address| address.to_string()),
            "admin-host": self.access.hosts,
            "admin-token": self.access.token.as_ref().map(|_| HIDDEN),
            "threads": self.threads,
            "upgrade-socket": self.upgrade.as_ref().map(|upgrade| &upgrade.socket),
            "upgrade-timeout": self.upgrade.as_ref().map(|upgrade| seconds(upgrade.timeout)),
        })
    }

    fn routing(&self) -> Value {
        let plane = &self.control_plane;
        let mut shown = json!({
            "resolver-type": name(self.resolver),
            "last-access-interval": seconds(self.last_access_interval),
            "state-dir": plane.state_dir,
            "publish-dir": plane.publish_dir.as_deref().unwrap_or("off"),
            "mass-removal-guard": plane.mass_removal_guard,
            "resync-interval": seconds(plane.resync_interval),
            "routes": match &self.source {
                Source::File(file) | Source::Demo(file) => Some(file),
                Source::Etcd(_) | Source::Nothing => None,
            },
        });
        let etcd = match &self.source {
            Source::Etcd(etcd) => Some(etcd),
            _ => None,
        };
        let hidden = |etcd: &Etcd| etcd.user.as_ref().map(|_| HIDDEN);
        let paths = |etcd: &Etcd| etcd.identity.clone().unzip();
        shown["etcd-address"] = etcd
            .map(|etcd| etcd.endpoints.iter().map(|endpoint| without_user(endpoint)).collect::<Vec<_>>())
            .into();
        shown["etcd-user"] = etcd.and_then(hidden).into();
        shown["etcd-password"] = etcd.and_then(hidden).into();
        shown["etcd-ca"] = json!(etcd.and_then(|etcd| etcd.ca.as_ref()));
        shown["etcd-cert"] = json!(etcd.and_then(|etcd| paths(etcd).0));
        shown["etcd-key"] = json!(etcd.and_then(|etcd| paths(etcd).1));
        shown["domain-dir"] = etcd.map(|etcd| etcd.domain_dir.clone()).into();
        shown["service-dir"] = etcd.map(|etcd| etcd.service_dir.clone()).into();
        shown
    }

    fn answers(&self) -> Value {
        json!({
            "template-dir": self.template_dir,
            "legacy-codes": self.legacy_codes,
            "default-robots": name(self.default_robots),
            "wake-hold": seconds(self.wake_hold),
            "wake-hold-max": self.wake_hold_max,
            "force-fw-ssl": self.force_ssl,
            "url-header-param": self.url_header.as_ref().map(|name| name.as_str()),
            "trusted-proxies": texts(&self.trusted_proxies),
            "connect": texts(&self.connect),
            "forwarded": self.headers.forwarded,
            "request-id": self.headers.request_id,
            "via": self.headers.via.name,
            "via-response": self.headers.via_response,
            "underscore-headers": self.headers.underscores,
        })
    }

    fn bounds(&self) -> Value {
        let (limits, times) = (&self.limits, &self.timeouts);
        json!({
            "max-connections": self.max_connections,
            "max-connections-per-client": self.max_connections_per_client,
            "max-head": limits.head,
            "max-headers": limits.fields,
            "max-target": limits.target,
            "max-body": if limits.body == u64::MAX { 0 } else { limits.body },
            "max-response-head": self.response_limits.head,
            "min-rate": times.min_rate,
            "head-timeout": seconds(times.head),
            "idle-timeout": seconds(times.idle),
            "body-timeout": seconds(times.body),
            "stream-timeout": seconds(times.stream),
            "connect-timeout": seconds(times.connect),
            "response-timeout": seconds(times.response),
            "upstream-idle-timeout": seconds(times.upstream_idle),
            "upstream-idle-max": self.upstream_idle_max,
            "tunnel-idle-timeout": seconds(times.tunnel_idle),
            "drain-timeout": seconds(times.drain),
            "drain-delay": seconds(times.drain_delay),
        })
    }

    fn told(&self) -> Value {
        let (services, traces) = (self.telemetry.services, self.telemetry.traces.as_ref());
        let protocol = |is_grpc| if is_grpc { OtlpProtocol::Grpc } else { OtlpProtocol::Http };
        json!({
            "metrics-per-service": services.is_some(),
            "metrics-max-services": services,
            "otlp-endpoint": traces.map_or_else(|| "off".to_owned(), |traces| without_user(&traces.endpoint)),
            "otlp-protocol": traces.map(|traces| name(protocol(traces.is_grpc))),
            "trace-ratio": traces.map(|traces| traces.ratio),
        })
    }

    fn kernel_and_logs(&self) -> Value {
        let (splice, log) = (&self.splice, &self.log);
        let access = log.access.as_ref();
        json!({
            "splice": name(splice.mode),
            "splice-max-requests": splice.max_requests.map_or(0, |most| most.get()),
            "splice-max-age": seconds(splice.max_age),
            "splice-max-loss": splice.max_loss,
            "splice-max-pairs": splice.max_pairs,
            "sandbox": name(self.sandbox),
            "user": self.user,
            "log": log.filter,
            "log-format": name(log.format),
            "access-log": access.map_or_else(|| "off".to_owned(), |access| {
                access.file.as_ref().map_or_else(|| "-".to_owned(), |file| file.display().to_string())
            }),
            "access-log-format": access.map(|access| name(access.format)),
            "cpu-profile": log.cpu_profile,
        })
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn texts(list: &[impl Display]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// A choice as it is written on the command line.
fn name(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// A URL without what may stand in front of its host.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::{Cli, Options};

    /// Where something else says the same: the address of which it is the port, and the token that it holds.
    const ELSEWHERE: [&str; 5] = ["port", "admin-token-file", "config", "help", "version"];

    #[test]
    fn every_flag_is_shown() {
        let shown = Config::try_from(Options::default()).expect("the defaults are right").shown();
        let command = Cli::command();
        let flags: Vec<&str> = command.get_arguments().filter_map(|argument| argument.get_long()).collect();
        for flag in flags.iter().filter(|flag| !ELSEWHERE.contains(flag)) {
            assert!(shown.contains_key(*flag), "--{flag} is not shown");
        }
        for flag in shown.keys() {
            assert!(flags.contains(&&**flag), "--{flag} is no flag");
        }
    }

    #[test]
    fn secrets_are_not() {
        let options = Options {
            etcd_address: Some(vec!["http://me:secret-1@a.test:2379".to_owned()]),
            etcd_user: Some("secret-2".to_owned()),
            etcd_password: Some("secret-3".to_owned()),
            admin_token: Some("secret-4-0123456789".to_owned()),
            ..Options::default()
        };
        let shown = Config::try_from(options).expect("good options").shown();
        let text = Value::Object(shown.clone()).to_string();
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(shown["etcd-address"][0], "http://a.test:2379");
        for flag in SECRETS {
            assert_eq!(shown[flag], HIDDEN, "--{flag}");
        }
    }

    #[test]
    fn what_is_in_force_is_shown_as_it_is_written() {
        let options: Options = toml::from_str(
            "connect = [\"a.test:443\", \"*.b.test:*\", \"*:1\"]\nidle-timeout = \"500ms\"\nresolver-type = \"Env\"\nadmin = \"off\"",
        )
        .expect("good TOML");
        let shown = Config::try_from(options).expect("good options").shown();
        assert_eq!(shown["connect"], json!(["a.test:443", "*.b.test:*", "*:1"]));
        assert_eq!((&shown["idle-timeout"], &shown["resolver-type"]), (&json!(0.5), &json!("Env")));
        assert_eq!(
            (&shown["admin"], &shown["max-body"], &shown["splice"]),
            (&json!("off"), &json!(0), &json!("auto"))
        );
    }
}
