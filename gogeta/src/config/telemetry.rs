//! What others are told of requests: counters of each service, and traces.

use super::{ConfigError, Telemetry, Traces};
use crate::cli::{Options, OtlpProtocol};

/// The most services that can be counted one by one: each takes some 200 bytes on each thread.
const SERVICES_MAX: usize = 100_000;

/// Where OpenTelemetry's own variables name a collector, the more exact one first
/// (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

impl Telemetry {
    /// What the options say.
    ///
    /// # Errors
    ///
    /// Names the flag.
    pub(super) fn of(options: &Options) -> Result<Self, ConfigError> {
        Ok(Self { services: services(options)?, traces: traces(options)? })
    }
}

fn services(options: &Options) -> Result<Option<usize>, ConfigError> {
    match options.metrics_max_services.unwrap_or(200) {
        most @ 0..=SERVICES_MAX => Ok(options.metrics_per_service.unwrap_or(true).then_some(most)),
        most => {
            Err(ConfigError(format!("--metrics-max-services must be at most {SERVICES_MAX}, not {most}")))
        }
    }
}

fn variable(names: [&str; 2]) -> Option<String> {
    names.into_iter().find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
}

fn traces(options: &Options) -> Result<Option<Traces>, ConfigError> {
    let ratio = options.trace_ratio.unwrap_or(0.01);
    if !(0.0..=1.0).contains(&ratio) {
        return Err(ConfigError(format!("--trace-ratio must be from 0 to 1, not {ratio}")));
    }
    let endpoint = match &options.otlp_endpoint {
        Some(text) if text == "off" => return Ok(None),
        Some(text) => Some(text.clone()),
        None => variable(ENDPOINTS),
    };
    let Some(endpoint) = endpoint else { return Ok(None) };
    let wrong = |what: &str| ConfigError(format!("--otlp-endpoint {what}, not {endpoint:?}"));
    let uri: http::Uri =
        endpoint.parse().map_err(|_| wrong("must be a URL such as http://127.0.0.1:4317"))?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("must be a URL such as http://127.0.0.1:4317")),
    };
    let said = match (options.otlp_protocol, variable(PROTOCOLS).as_deref()) {
        (Some(protocol), _) => Some(protocol),
        (None, Some("grpc")) => Some(OtlpProtocol::Grpc),
        (None, Some("http/protobuf")) => Some(OtlpProtocol::Http),
        (None, Some(other)) => {
            return Err(ConfigError(format!(
                "{} must be grpc or http/protobuf, not {other:?}; --otlp-protocol goes before it",
                PROTOCOLS[1]
            )));
        }
        (None, None) => None,
    };
    // By their ports collectors are known.
    let by_port = if uri.port_u16() == Some(4318) { OtlpProtocol::Http } else { OtlpProtocol::Grpc };
    let is_grpc = said.unwrap_or(by_port) == OtlpProtocol::Grpc;
    if is_tls && !is_grpc {
        return Err(wrong("must be http where it is spoken to by HTTP (--otlp-protocol grpc knows TLS)"));
    }
    let base = endpoint.trim_end_matches('/');
    let endpoint = match is_grpc {
        true => base.to_owned(),
        // As the specification says of a base address.
        false if uri.path() == "/" => format!("{base}/v1/traces"),
        false => base.to_owned(),
    };
    Ok(Some(Traces { endpoint, is_grpc, ratio }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_collector_is() {
        let traces = |endpoint: &str, protocol| {
            let endpoint = Some(endpoint.to_owned());
            let options = Options { otlp_endpoint: endpoint, otlp_protocol: protocol, ..Options::default() };
            traces(&options).expect("it is right").map(|traces| (traces.endpoint, traces.is_grpc))
        };
        let found = |text: &str, is_grpc| Some((text.to_owned(), is_grpc));
        assert_eq!(traces("off", None), None);
        assert_eq!(traces("http://c:4317", None), found("http://c:4317", true));
        assert_eq!(traces("https://c/", None), found("https://c", true));
        assert_eq!(traces("http://c:4318/", None), found("http://c:4318/v1/traces", false));
        assert_eq!(traces("http://c:4318/x/v1/traces", None), found("http://c:4318/x/v1/traces", false));
        assert_eq!(
            traces("http://c:4317", Some(OtlpProtocol::Http)),
            found("http://c:4317/v1/traces", false)
        );
    }
}
