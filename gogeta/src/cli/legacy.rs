//! The spelling of the original gogeta.

use std::ffi::OsString;

/// The original's flags, and what they are called now.
const LEGACY: [(&str, &str); 10] = [
    ("etcdAddress", "--etcd-address"),
    ("domainDir", "--domain-dir"),
    ("serviceDir", "--service-dir"),
    ("templateDir", "--template-dir"),
    ("port", "--port"),
    ("resolverType", "--resolver-type"),
    ("lastAccessInterval", "--last-access-interval"),
    ("forceFwSsl", "--force-fw-ssl"),
    ("UrlHeaderParam", "--url-header-param"),
    ("cpuProfile", "--cpu-profile"),
];

/// Flags of the logging library that the original was linked with: they say nothing here, and hurt nothing.
const LEGACY_IGNORED: [&str; 6] =
    ["logtostderr", "alsologtostderr", "stderrthreshold", "vmodule", "log_dir", "log_backtrace_at"];

/// Rewrites arguments in the original's spelling (Go's `flag` package: one or two dashes) into today's.
pub fn modernise(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.into_iter();
    let mut modern: Vec<OsString> = arguments.next().into_iter().collect();
    for argument in arguments {
        match argument.to_str().map(modernise_one) {
            Some(Modern::Is(text)) => modern.push(text.into()),
            Some(Modern::Gone) => {}
            Some(Modern::AsItWas) | None => modern.push(argument),
        }
    }
    modern
}

enum Modern {
    Is(String),
    Gone,
    AsItWas,
}

fn modernise_one(argument: &str) -> Modern {
    let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
        return Modern::AsItWas;
    };
    let (name, value) = match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    };
    if let Some((_, now)) = LEGACY.iter().find(|(legacy, _)| *legacy == name) {
        return Modern::Is(value.map_or_else(|| (*now).to_owned(), |value| format!("{now}={value}")));
    }
    match (name, value.and_then(|value| value.parse::<u8>().ok())) {
        ("v", Some(level)) => Modern::Is(format!("--log={}", if level > 0 { "debug" } else { "info" })),
        _ if LEGACY_IGNORED.contains(&name) => Modern::Gone,
        _ => Modern::AsItWas,
    }
}
