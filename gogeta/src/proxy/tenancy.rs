//! What a parked pair was routed by: how long that holds, and who is told of what it carries.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gogeta_common::guard::grammar::FIELDS_MAX;
use gogeta_common::guard::{HEAD_MAX, Method};
use gogeta_common::pair::Carried;
use http::header::{HOST, HeaderValue, UPGRADE};
use http::{Request, Version};

use super::client::Client;
use super::forward::Inbound;
use super::headers;
use super::worker::{Shared, Worker};
use crate::access_log::{Buffer, Line};
use crate::balance;
use crate::config::Config;
use crate::routes::host::HostPort;
use crate::routes::model::{Domain, Instance, Service, Upstream};
use crate::routes::series::Series;
use crate::routes::splice::{self, SpliceMode};
use crate::routes::table::Route;
use crate::splice::counts::Tally;
use crate::splice::{Engine, Kind, Name, Tenant};
use crate::trace::TRACEPARENT;

/// The engine, and the part of the access log that is the kernel's.
#[derive(Debug)]
pub struct Splice {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Lines of requests that were carried.
    pub log: Option<Mutex<Buffer>>,
}

/// One pair's.
#[derive(Debug)]
pub struct Tenancy {
    /// The Host of its requests, in lower case.
    pub host: Box<[u8]>,
    /// The same without a port, as the table has it.
    name: Box<str>,
    /// The instance.
    pub instance: Arc<Instance>,
    /// Where that is.
    pub upstream: Arc<Upstream>,
    /// Where its service's requests are counted.
    series: Arc<Series>,
    /// Who carries it.
    pub kind: Kind,
    /// Lines that each of its requests gets, where that adds any.
    pub block: Box<[u8]>,
    client: SocketAddr,
    shared: Arc<Shared>,
    since: Instant,
}

/// Why userspace carries a route's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// It came by HTTP/1.0.
    Old,
    /// The instance is spoken to by TLS.
    Tls,
    /// Nothing follows on its connection.
    Last,
    /// It is asked for: by the flag, the domain or the instance.
    Off,
    /// There is no such engine.
    Missing(Kind),
    /// The instance's answers are ones that the kernel cannot carry.
    Strikes,
    /// Each request may have to be sent to https.
    Https,
    /// Each request gets something that the kernel does not add.
    Adds,
    /// The limits are stricter than the guard's.
    Limits,
    /// The target names the host, and no field does.
    Target,
    /// Its client wants to see its requests in a trace.
    Traced,
}

/// Who carries connections of that mode, where there `has` to be such an engine.
fn kind(has: impl Fn(Kind) -> bool, mode: SpliceMode) -> Result<Kind, Barrier> {
    let kind = match mode {
        SpliceMode::Off => return Err(Barrier::Off),
        SpliceMode::Sockmap => Kind::Sockmap,
        // It is the faster one wherever it can be (docs/benchmarks/data-plane.md); sockmap is slower than userspace
        // for most.
        SpliceMode::Auto | SpliceMode::Wire => Kind::Wire,
    };
    if has(kind) { Ok(kind) } else { Err(Barrier::Missing(kind)) }
}

/// Who carries what may be carried of connections that lead to that instance.
///
/// # Errors
///
/// Why nobody but userspace does.
pub fn carrier<B>(
    has: impl Fn(Kind) -> bool,
    config: &Config,
    request: &Request<B>,
    domain: Option<&Domain>,
    (instance, upstream): (&Instance, &Upstream),
) -> Result<Kind, Barrier> {
    if request.version() < Version::HTTP_11 {
        return Err(Barrier::Old);
    }
    if upstream.tls.is_some() {
        return Err(Barrier::Tls);
    }
    if headers::is_last(request.headers()) {
        return Err(Barrier::Last);
    }
    let said = splice::both(
        domain.and_then(|domain| domain.config.splice.as_ref()),
        instance.config.splice.as_ref(),
    );
    kind(has, config.splice.mode_for(said))
}

/// The Host of requests that the kernel may carry on such connections: those that the guard lets pass must come out as
/// userspace would send them, but for what the engine's documentation says of added fields. `now` is the workers'.
///
/// # Errors
///
/// Why it carries none.
pub fn carried<'a, B>(
    config: &Config,
    request: &'a Request<B>,
    domain: Option<&Domain>,
    upstream: &Upstream,
    now: u64,
) -> Result<&'a HeaderValue, Barrier> {
    if upstream.strikes.is_out(now) {
        return Err(Barrier::Strikes);
    }
    if config.force_ssl || domain.is_some_and(|domain| domain.config.force_ssl == Some(true)) {
        return Err(Barrier::Https);
    }
    // What each request would get, and the kernel does not add.
    if config.url_header.is_some() || config.headers.request_id || config.headers.via_response {
        return Err(Barrier::Adds);
    }
    // The kernel makes no spans.
    if config.telemetry.traces.is_some() && request.headers().contains_key(TRACEPARENT) {
        return Err(Barrier::Traced);
    }
    // What the guard lets pass, the gate must not refuse.
    let (limits, answers) = (&config.limits, &config.response_limits);
    if limits.head.min(limits.target).min(answers.head) < HEAD_MAX
        || limits.fields.min(answers.fields) < usize::from(FIELDS_MAX)
    {
        return Err(Barrier::Limits);
    }
    request.headers().get(HOST).filter(|_| request.uri().authority().is_none()).ok_or(Barrier::Target)
}

impl Tenancy {
    /// What that client's requests to that instance are routed by.
    fn new(
        shared: &Arc<Shared>,
        client: &Client,
        (kind, block): (Kind, Vec<u8>),
        (field, name): (&[u8], &str),
        (service, instance, upstream): (&Service, &Arc<Instance>, &Arc<Upstream>),
    ) -> Arc<Self> {
        Arc::new(Self {
            host: field.to_ascii_lowercase().into(),
            name: name.into(),
            instance: instance.clone(),
            upstream: upstream.clone(),
            series: service.series.clone(),
            kind,
            block: block.into(),
            client: client.address,
            shared: shared.clone(),
            since: Instant::now(),
        })
    }

    /// How many requests may be carried under it.
    pub fn requests(&self) -> u64 {
        let most = self.shared.config.load().splice.max_requests;
        most.map_or(u64::from(u32::MAX), |most| u64::from(most.get()))
    }

    fn is_young(&self) -> bool {
        self.since.elapsed() < self.shared.config.load().splice.max_age
    }
}

/// Notes what a request is routed by, if the kernel may carry others like it. A tunnel that it opens is only bytes.
pub fn settle(
    worker: &Worker,
    client: &Client,
    (host, request): (&HostPort<'_>, &Inbound),
    (domain, service): (Option<&Domain>, &Service),
    (instance, upstream): (&Arc<Instance>, &Arc<Upstream>),
) {
    let Some(Splice { engine, .. }) = &worker.shared.splice else { return };
    let config = worker.config();
    let has = |kind| engine.has(kind);
    let Ok(kind) = carrier(has, &config, request, domain, (instance, upstream)) else { return };
    let name = &*host.host;
    if request.method() == http::Method::CONNECT || request.headers().contains_key(UPGRADE) {
        let (host, upstream) = (name.to_owned(), upstream.location.to_string());
        let service = instance.service.to_string();
        let name = Name { client: client.address, host, service, upstream, engine: kind.name() };
        client.tunnel_name.replace(Some((kind, name)));
    }
    let Ok(field) = carried(&config, request, domain, upstream, worker.ward.now()) else { return };
    let block = match kind {
        Kind::Wire => headers::added(&client.peer, host.port, field, &config.headers),
        Kind::Sockmap => Vec::new(),
    };
    let asked = (field.as_bytes(), name);
    let place = (service, instance, upstream);
    let tenancy = Tenancy::new(&worker.shared, client, (kind, block), asked, place);
    client.tenancy.replace(Some(tenancy));
}

impl Tenant for Tenancy {
    fn carried(&self, more: &Tally) {
        self.shared.metrics.carried(&self.series, &more.totals());
        self.shared.feedback.accessed(&self.instance);
    }

    fn request(&self, carried: &Carried) {
        let Some(Splice { log: Some(log), .. }) = &self.shared.splice else { return };
        let length = (carried.head_len as usize).min(carried.head.len());
        let head = String::from_utf8_lossy(&carried.head[..length]);
        let mut lines = head.split("\r\n");
        let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        let field = |name: &str| {
            let mut fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
            fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
        };
        let is_head = carried.method == Method::Head as u32;
        let took = Duration::from_nanos(carried.took);
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.write(&Line {
            client: self.client.ip().to_canonical(),
            host: field("host"),
            method: if is_head { "HEAD" } else { "GET" },
            target,
            version: "HTTP/1.1",
            status: u16::try_from(carried.status).unwrap_or_default(),
            sent: if is_head { 0 } else { carried.length },
            received: 0,
            took,
            upstream_took: None,
            retries: 0,
            id: "",
            upstream: &self.upstream.location.to_string(),
            referer: field("referer"),
            agent: field("user-agent"),
            cut: false,
            engine: self.kind.name(),
        });
        log.flush();
    }

    fn goes_on(&self, quiet: Duration) -> bool {
        self.is_young() && quiet < self.shared.config.load().timeouts.idle
    }

    fn is_patient(&self, waiting: Duration) -> bool {
        waiting < self.shared.config.load().timeouts.response
    }

    fn max_loss(&self) -> u32 {
        self.shared.config.load().splice.max_loss
    }

    fn name(&self) -> Name {
        Name {
            client: self.client,
            host: String::from_utf8_lossy(&self.host).into_owned(),
            service: self.instance.service.to_string(),
            upstream: self.upstream.location.to_string(),
            engine: self.kind.name(),
        }
    }

    fn is_routed(&self) -> bool {
        let routes = self.shared.routes.load();
        let route = routes.resolve(&self.name);
        let Route::Service { service, .. } = &route else { return false };
        let is_there = balance::goes_to(service, &self.upstream);
        let mode = self.shared.config.load().splice.mode_for(route.splice(Some(&self.instance)));
        let Some(Splice { engine, .. }) = &self.shared.splice else { return false };
        is_there && kind(|kind| engine.has(kind), mode) == Ok(self.kind)
    }
}
