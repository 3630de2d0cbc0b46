//! `/api/status` and what it is made of: everything that is looked up, at most a few times a second however many ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::api::status::{About, Build, Readiness, Sandbox, Status, Store, StoreKind, Wrong};
use super::census::{Census, WORST};
use super::{Desk, blocking, ready};
use crate::clock::since_1970;
use crate::config::{Config, Source};
use crate::proxy::worker::Shared;
use crate::routes::table::RouteTable;
use crate::sandbox::Holds;
use crate::splice::Kind;

/// For so long a status is as good as a new one.
const FRESH: Duration = Duration::from_millis(200);
/// For so long a census is, where the routes are the same: an instance may have begun to rest.
const SAME: Duration = Duration::from_secs(1);
/// From this share of errors on, something is wrong with gogeta's service as a whole.
const MANY_ERRORS: f64 = 0.05;

/// The last status, for those who ask meanwhile.
#[derive(Debug)]
pub(super) struct Overview {
    begun: Instant,
    started_at: f64,
    /// Held while a new one is made: whoever comes meanwhile gets that one.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    status: Option<(Instant, Arc<Status>)>,
    census: Option<(Instant, Arc<RouteTable>, Census)>,
}

impl Overview {
    /// That of a process that begins now.
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), started_at: since_1970().as_secs_f64(), known: Mutex::default() }
    }

    /// How gogeta is.
    pub(super) async fn status(&self, desk: &Desk) -> Arc<Status> {
        let mut known = self.known.lock().await;
        if let Some((at, status)) = &known.status
            && at.elapsed() < FRESH
        {
            return status.clone();
        }
        let table = desk.shared.routes.load_full();
        let is_good =
            known.census.as_ref().is_some_and(|(at, of, _)| Arc::ptr_eq(of, &table) && at.elapsed() < SAME);
        if !is_good {
            let its = table.clone();
            // Everything is looked at: not on the thread that applies changes.
            let census = blocking(move || Census::of(&its)).await.unwrap_or_default();
            known.census = Some((Instant::now(), table, census));
        }
        let census = known.census.as_ref().map(|(.., census)| census.clone()).unwrap_or_default();
        let status = Arc::new(self.make(desk, census));
        known.status = Some((Instant::now(), status.clone()));
        status
    }

    fn make(&self, desk: &Desk, census: Census) -> Status {
        let shared = &desk.shared;
        let config = shared.config.load();
        let engine = shared.splice.as_ref().map(|splice| &splice.engine);
        let loaded = [Kind::Sockmap, Kind::Wire].map(|kind| engine.is_some_and(|engine| engine.has(kind)));
        let ready = Readiness::of(shared);
        let store = store(shared, &config);
        let traffic = desk.sampler.traffic(shared.guests.count());
        let mut worst = Vec::new();
        let mut wrong =
            |kind, name: &str, what: String| worst.push(Wrong { kind, name: name.to_owned(), what });
        if !ready.ready {
            wrong(About::Gogeta, "gogeta", format!("it is not ready: {}", ready.detail));
        }
        if !store.connected && store.kind != StoreKind::None {
            wrong(About::Store, "store", store.detail.clone());
        }
        if traffic.error_ratio >= MANY_ERRORS {
            let percent = traffic.error_ratio * 100.0;
            wrong(
                About::Gogeta,
                "errors",
                format!("{percent:.0} % of all requests end with a status from 500 on"),
            );
        }
        worst.extend(census.worst);
        worst.truncate(WORST);
        Status {
            name: "gogeta".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: build(),
            pid: std::process::id(),
            started_at: self.started_at,
            uptime_seconds: self.begun.elapsed().as_secs_f64(),
            listen: desk.addresses.proxy.iter().map(ToString::to_string).collect(),
            admin: desk.addresses.admin.map(|address| address.to_string()).unwrap_or_default(),
            ready,
            store,
            counts: census.counts,
            traffic,
            engines: desk.sampler.engines(loaded),
            limits: limits(&config),
            sandbox: sandbox(&desk.shared.holds),
            worst,
        }
    }
}

fn sandbox(holds: &Holds) -> Sandbox {
    let (seccomp, landlock) = (holds.seccomp, holds.landlock);
    Sandbox { seccomp, landlock, uid: holds.user, gid: holds.group, detail: holds.to_string() }
}

fn build() -> Build {
    let text = str::to_owned;
    Build {
        version: text(env!("CARGO_PKG_VERSION")),
        // Whoever builds a release says it.
        commit: option_env!("GOGETA_COMMIT").map(text),
        profile: text(if cfg!(debug_assertions) { "debug" } else { "release" }),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
    }
}

fn store(shared: &Shared, config: &Config) -> Store {
    let kind = match config.source {
        Source::Etcd(_) => StoreKind::Etcd,
        Source::File(_) => StoreKind::File,
        Source::Demo(_) => StoreKind::Demo,
        Source::Nothing => StoreKind::None,
    };
    let metrics = &shared.metrics;
    Store {
        kind,
        connected: metrics.store_connected.get() == 1,
        revision: shared.routes.load().revision(),
        config_age_seconds: metrics.age.seconds(),
        from_disk: metrics.age.is_from_disk(),
        detail: match kind {
            StoreKind::None => "everything goes to one place, and no routes are needed",
            _ => ready::detail(metrics),
        }
        .to_owned(),
    }
}

fn limits(config: &Config) -> BTreeMap<String, u64> {
    let wide = |count: usize| count as u64;
    let body = if config.limits.body == u64::MAX { 0 } else { config.limits.body };
    let limits = [
        ("max_connections", wide(config.max_connections)),
        ("max_connections_per_client", wide(config.max_connections_per_client)),
        ("max_head", wide(config.limits.head)),
        ("max_headers", wide(config.limits.fields)),
        ("max_target", wide(config.limits.target)),
        ("max_body", body),
        ("max_response_head", wide(config.response_limits.head)),
        ("wake_hold_max", wide(config.wake_hold_max)),
        ("upstream_idle_max", wide(config.upstream_idle_max)),
        ("splice_max_pairs", config.splice.max_pairs.into()),
    ];
    limits.into_iter().map(|(name, limit)| (name.to_owned(), limit)).collect()
}
