//! What is sent on, and whether the kernel may carry what follows.

use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request};

use super::{Outcome, Question, Verdict, Way, route};
use crate::config::Config;
use crate::proxy::headers::forwarded::{self, Peer};
use crate::proxy::headers::{self, Original, Survey};
use crate::proxy::tenancy::{self, Barrier};
use crate::routes::host::HostPort;
use crate::routes::key::{DomainField, InstanceField, Key};
use crate::routes::model::{Domain, Instance, Upstream};
use crate::routes::splice::{SpliceMode, SpliceSetting};
use crate::splice::{Kind, Kinds};

impl Way<'_> {
    /// What becomes of the request's fields; `authority` is the Host of a fixed place.
    pub(super) fn headers(
        &mut self,
        question: &Question,
        request: &Request<()>,
        host: &HostPort<'_>,
        authority: Option<&HeaderValue>,
    ) {
        let config = self.around.config;
        let before = request.headers();
        let mut after = before.clone();
        let asked = match request.uri().authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => before.get(HOST).cloned(),
        };
        if let Some(host) = authority.or(asked.as_ref()) {
            after.insert(HOST, host.clone());
        }
        let root = config.url_header.as_ref();
        let root = root.and_then(|name| Some((name, forwarded::url_root(before, asked.as_ref()?)?)));
        let survey = Survey::of(before);
        let original = Original { version: request.version(), host: asked.clone(), port: host.port, survey };
        headers::to_upstream(&mut after, &peer(question.client, config), original, &config.headers);
        if let Some((name, root)) = root {
            after.insert(name, root);
        }
        let added: Vec<String> =
            fields(&after).filter(|(name, value)| !has(before, name, value)).map(show).collect();
        self.info("headers", format!("set: {}", added.join(", ")));
        if config.headers.request_id {
            self.info("headers", "and X-Request-Id is kept, or made (--request-id)");
        }
        let gone: Vec<&str> =
            before.keys().filter(|name| !after.contains_key(*name)).map(|name| name.as_str()).collect();
        if !gone.is_empty() {
            self.info("headers", format!("taken away: {}", gone.join(", ")));
        }
    }

    /// Whether the kernel may carry what comes on the connection behind the request.
    pub(super) fn parking(
        &mut self,
        request: &Request<()>,
        domain: Option<&Domain>,
        (instance, upstream): (&Instance, &Upstream),
    ) {
        let Way { around, .. } = self;
        // Where no running gogeta is asked, its engines are taken to be there.
        let engines = around.engines.unwrap_or(Kinds { wire: true, sockmap: true });
        let has = |kind| match kind {
            Kind::Wire => engines.wire,
            Kind::Sockmap => engines.sockmap,
        };
        let config = around.config;
        let carrier = tenancy::carrier(has, config, request, domain, (instance, upstream));
        let carried = carrier
            .and_then(|kind| tenancy::carried(config, request, domain, upstream, around.now).map(|_| kind));
        let setting = |domain: Option<&SpliceSetting>| domain.and_then(SpliceSetting::mode);
        let off = Some(SpliceMode::Off);
        let key = match (carried, domain) {
            (Err(Barrier::Https), Some(domain)) if !config.force_ssl => {
                Some(route::key(domain, DomainField::Config))
            }
            (Err(Barrier::Off), Some(domain)) if setting(domain.config.splice.as_ref()) == off => {
                Some(route::key(domain, DomainField::Config))
            }
            (Err(Barrier::Off), _) if setting(instance.config.splice.as_ref()) == off => {
                Some(Key::Instance {
                    service: instance.service.clone(),
                    index: instance.index.clone(),
                    field: InstanceField::Config,
                })
            }
            _ => None,
        };
        let unknown = if around.engines.is_none() { ", if the running gogeta has that engine" } else { "" };
        let text = match carried {
            Ok(kind) => {
                let traced = match config.telemetry.traces.is_some() {
                    true => "; nothing of that is traced, for which it takes a traceparent (--otlp-endpoint)",
                    false => "",
                };
                format!(
                    "its connection may be parked: {} carries GET and HEAD that follow{unknown}{traced}",
                    kind.name()
                )
            }
            Err(barrier) => format!("its connection is not parked: {}", why(barrier)),
        };
        match key {
            Some(key) => self.by(&key, Outcome::Info, "kernel", text),
            None => self.info("kernel", text),
        }
    }

    /// A tunnel to that upstream.
    pub(super) fn tunnel(&mut self, upstream: &Upstream) -> Verdict {
        let to = upstream.location.to_string();
        let text = format!("a tunnel to {to} is opened, and gogeta answers 200 if that can be connected to");
        Verdict { forwarded: true, goes_to: Some(to), text, ..Verdict::default() }
    }

    /// The request is sent on.
    pub(super) fn sent(&mut self, url: String) -> Verdict {
        let timeouts = &self.around.config.timeouts;
        let (connect, response) =
            (humantime::format_duration(timeouts.connect), humantime::format_duration(timeouts.response));
        self.info(
            "deadlines",
            format!(
                "connecting may take {connect} (--connect-timeout), an answer {response} (--response-timeout)"
            ),
        );
        let text = format!("it is sent on to {url}, whose answer is the client's");
        Verdict { forwarded: true, goes_to: Some(url), text, ..Verdict::default() }
    }
}

fn peer(client: IpAddr, config: &Config) -> Peer {
    Peer::new(client, &config.trusted_proxies)
}

fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&http::HeaderName, &HeaderValue)> {
    headers.iter()
}

fn has(headers: &HeaderMap, name: &http::HeaderName, value: &HeaderValue) -> bool {
    headers.get_all(name).iter().any(|other| other == value)
}

fn show((name, value): (&http::HeaderName, &HeaderValue)) -> String {
    format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
}

/// Why userspace carries a connection, in a few words.
fn why(barrier: Barrier) -> &'static str {
    match barrier {
        Barrier::Old => "it came by HTTP/1.0",
        Barrier::Tls => "the instance is spoken to by TLS",
        Barrier::Last => "its Connection says close",
        Barrier::Off => "splice is off, by the flag (--splice), the domain's config or the instance's",
        Barrier::Missing(Kind::Wire) => "this gogeta has no wire engine; its log says at start why",
        Barrier::Missing(Kind::Sockmap) => "this gogeta has no sockmap engine; its log says at start why",
        Barrier::Strikes => {
            "the instance's last answers were none that the kernel can carry; tried again in 10 s"
        }
        Barrier::Https => "each request has to be looked at for https",
        Barrier::Adds => {
            "each message gets a field that the kernel does not add (--request-id, --url-header-param, --via-response)"
        }
        Barrier::Limits => {
            "the limits of heads are stricter than the kernel's guard (--max-head, --max-target, --max-headers, --max-response-head)"
        }
        Barrier::Target => "its target names the host",
        Barrier::Traced => "it has a traceparent, and the kernel makes no spans (--otlp-endpoint)",
    }
}
