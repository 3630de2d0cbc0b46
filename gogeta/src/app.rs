//! The composition root: everything is made, bound and wired here, runs, and is taken down in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use crate::bound::Bound;
use crate::cli::ResolverType;
use crate::config::{Config, ConfigError, Source};
use crate::control::Controller;
use crate::handover::{self, HandoverError, Predecessor, Successor, Taken};
use crate::journal::{Kind, Level, Note};
use crate::pages::{Pages, PagesError};
use crate::privilege::settle::settle;
use crate::profile::Profiler;
use crate::proxy::listener::{self, ListenError};
use crate::proxy::server::Workers;
use crate::proxy::worker::Shared;
use crate::routes::parse;
use crate::routes::splice::SpliceMode;
use crate::routes::table::Resolver;
use crate::share::{Share, share};
use crate::signals::{Signal, Signals};
use crate::source::{Follow, keep, start_from_disk};
use crate::splice::kernel::Events;
use crate::splice::{Engine, Kinds, trial};
use crate::state::Keeper;
use crate::store::file::{self, Watch};
use crate::store::{Event, etcd};
use crate::systemd::Systemd;
use crate::task_dump::Dumps;
use crate::telemetry::{self, LogControl};
use crate::trace::{self, Exporter};
use crate::{admin, resources, sandbox};

/// Events of the store that may wait to be applied.
const EVENTS: usize = 256;

/// Orders of operators that may wait.
const ORDERS: usize = 16;

/// Why gogeta did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A flag or the config file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The templates.
    #[error(transparent)]
    Pages(#[from] PagesError),
    /// The routes file.
    #[error(transparent)]
    Routes(#[from] file::FileError),
    /// An address, or an inherited socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Another gogeta, which goes on.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// The system.
    #[error("{0}")]
    System(String),
}

impl StartError {
    /// The exit code: 2 where what was given is wrong, 1 where the system says no.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Pages(_) | Self::Routes(_) => 2,
            Self::Listen(ListenError::Inherited { .. }) => 2,
            Self::Listen(ListenError::Address { .. }) | Self::Handover(_) | Self::System(_) => 1,
        }
    }
}

pub(crate) fn system(what: &str) -> impl Fn(std::io::Error) -> StartError + '_ {
    move |error| StartError::System(format!("{what}: {error}"))
}

/// Where a running gogeta listens.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The proxy.
    pub proxy: Vec<SocketAddr>,
    /// The admin listener.
    pub admin: Option<SocketAddr>,
}

/// Reads the configuration anew; what SIGHUP asks for.
pub type Reread = Box<dyn Fn() -> Result<Config, ConfigError> + Send>;

/// Runs gogeta until a signal ends it. `ready` is told where it listens, before the first connection is accepted.
///
/// # Errors
///
/// [`StartError`], before anything is served.
pub fn run(config: Config, reread: Reread, ready: impl FnOnce(&Addresses)) -> Result<(), StartError> {
    // First of all: the environment may be changed only while there is one thread.
    let places = listener::take_over(&config.listen)?;
    let log = telemetry::start(&config.log)?;
    let profile = config.log.cpu_profile.clone();
    let profile_at_start = config.log.profile_at_start;
    let source = config.source.clone();
    let plane = config.control_plane.clone();
    let threads = config.threads;
    if let Source::Etcd(etcd) = &source {
        etcd::check(etcd)?;
    }
    let resolver = resolver(config.resolver)?;
    // What is wrong with them has to show before connections can come in.
    let mut pages = load_pages(&config)?;
    let first = match &source {
        Source::File(path) | Source::Demo(path) => Some(file::read(path)?),
        Source::Etcd(_) | Source::Nothing => None,
    };
    resources::raise_file_limit();
    resources::forgo_huge_pages();
    let mut predecessor = config.upgrade.as_ref().map(Predecessor::ask).transpose()?.flatten();
    let mut bound = Bound::new(&config, places, predecessor.as_mut())?;
    let upgrade_timeout = config.upgrade.as_ref().map(|upgrade| upgrade.timeout);
    // Before there is a second thread, and behind all that takes privileges.
    let (engine, told) = load_engine(&config)?.unzip();
    let holds = settle(&config, engine.as_ref().map(|engine| engine.kinds), &reread)?;
    let templates = config.template_dir.as_deref().map(file::watch);
    if templates.is_some() {
        // Read once more now that they are watched, so that no change falls in between.
        pages = load_pages(&config)?;
    }
    let traces = config.telemetry.traces.clone();
    let Share { shared, inbox, writer, outbox } = share(config, pages, engine, holds)?;
    let mut controller = Controller::new(resolver, shared.clone());
    let mut routes_text = String::new();
    match first {
        Some(file::Version { event, text }) => {
            controller.take(event);
            // A file that has been read can be reached, from the first scrape on.
            controller.take(Event::Up);
            routes_text = text;
        }
        None if matches!(source, Source::Nothing) => controller.publish_as_it_is(),
        None => {}
    }
    let start = start_from_disk(&mut controller, &source, &plane);

    let runtime = tokio::runtime::Builder::new_multi_thread()
        // With several, tokio's dump of their tasks (SIGUSR1) waits for ever where one of them is late.
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(system("cannot start a runtime"))?;
    let signals = runtime.block_on(async { Signals::new() }).map_err(system("cannot catch signals"))?;
    let heard = controller.heard();
    let known = controller.known();
    let (events, changes) = mpsc::channel(EVENTS);
    let ending = Arc::new(Notify::new());
    let follow = Follow {
        text: routes_text,
        plane: plane.clone(),
        start,
        applied: controller.applied(),
        ending: ending.clone(),
    };
    let keeper = runtime.block_on(async { keep(&source, &plane, known) });
    let exporter = traces.zip(outbox).map(|(traces, outbox)| {
        let exporter = runtime.block_on(async { trace::export(&traces, outbox) });
        exporter
            .map_err(|error| StartError::System(format!("cannot export traces (--otlp-endpoint): {error}")))
    });
    let exporter = exporter.transpose()?;
    let (orders, ordered) = mpsc::channel(ORDERS);
    runtime.spawn(controller.run(changes, ordered));
    let has_start = follow.start.is_some();
    let store = runtime.spawn(follow.run(source, events, inbox));
    if has_start {
        // What was kept is served when etcd has been asked in vain; clients wait for so long in front of the door.
        let _ = runtime.block_on(async { tokio::time::timeout(FIRST_WORD, heard).await });
    }
    if let (Some(splice), Some(events)) = (&shared.splice, told) {
        runtime.spawn(listen_to_kernel(splice.engine.clone(), events, shared.changed.subscribe()));
    }
    runtime.spawn(sandbox::watch(shared.holds.clone()));
    let workers = Workers::start(&shared, bound.proxy).map_err(system("cannot start a thread"))?;
    if let Some(predecessor) = predecessor {
        bound.upgrade = Some(runtime.block_on(handover::succeed(predecessor, &shared, &orders))?);
    }
    workers.open();
    ready(&bound.addresses);
    tracing::info!(
        listen = ?bound.addresses.proxy, admin = ?bound.addresses.admin, threads,
        version = env!("CARGO_PKG_VERSION"), "gogeta is up"
    );
    let systemd = Systemd::ready(&format!("listening on {:?}", bound.addresses.proxy));
    systemd.stay_alive(&runtime, &workers.mailboxes);
    let profiler = Arc::new(Profiler::new(profile));
    if profile_at_start {
        // The log says where it cannot.
        let _ = profiler.start();
    }
    let (log, dumps) = (Arc::new(log), Arc::new(Dumps::new(workers.mailboxes.clone())));
    let over = watch::Sender::new(false);
    if let Some(listener) = bound.admin {
        let parts = admin::Parts {
            shared: shared.clone(),
            addresses: bound.addresses.clone(),
            orders,
            log: log.clone(),
            profiler: profiler.clone(),
            dumps: dumps.clone(),
            over: over.subscribe(),
        };
        runtime.spawn(admin::serve(listener, parts));
    }
    if let Some(templates) = templates {
        runtime.spawn(follow_templates(templates, shared.clone()));
    }
    let logged = shared.clone();
    let successor = match (bound.upgrade, bound.keep, upgrade_timeout) {
        (Some(listener), Some(keep), Some(limit)) => runtime
            .block_on(async { Successor::wait(listener, keep, limit, shared.clone()) })
            .map_err(system("cannot wait for upgrades"))?,
        _ => Successor::default(),
    };
    let running = Running {
        shared,
        log,
        profiler,
        dumps,
        reread,
        workers,
        keeper,
        exporter,
        ending,
        over,
        systemd,
        successor,
    };
    runtime.block_on(running.until_the_end(store, signals));
    if let (Some(writer), Some(log)) = (writer, &logged.access_log) {
        writer.finish(log);
    }
    // What is left are tasks that never end: watches, the admin listener.
    runtime.shutdown_timeout(Duration::from_millis(100));
    tracing::info!("gogeta is down");
    Ok(())
}

/// The engine that carries parked connections, with what it tells; none where that is userspace's. Where there is one,
/// its loading is the last thing that this process has a capability for.
fn load_engine(config: &Config) -> Result<Option<(Arc<Engine>, Events)>, StartError> {
    let mode = config.splice.mode;
    if mode == SpliceMode::Off {
        tracing::info!("userspace carries all connections, as --splice off says");
        return Ok(None);
    }
    let (pairs, logs) = (config.splice.max_pairs, config.log.access.is_some());
    let (wire, sockmap) = (Kinds { wire: true, sockmap: false }, Kinds { wire: false, sockmap: true });
    let both = Kinds { wire: true, sockmap: true };
    // The wire engine's programs look at each packet: whoever wants sockmap alone does not pay for that.
    let choices = match mode {
        SpliceMode::Sockmap => &[sockmap][..],
        SpliceMode::Wire => &[both, wire],
        _ => &[both, wire, sockmap],
    };
    let mut reason = String::new();
    for kinds in choices {
        match trial::load(pairs, logs, *kinds) {
            Ok(loaded) => {
                tell(mode, *kinds, pairs, &reason);
                return Ok(Some(loaded));
            }
            Err(why) => reason = why.to_string(),
        }
    }
    if mode == SpliceMode::Auto {
        tracing::info!(reason, "userspace carries all connections; the kernel cannot");
        return Ok(None);
    }
    let mode = if mode == SpliceMode::Wire { "wire" } else { "sockmap" };
    Err(StartError::System(format!("--splice {mode} cannot be: {reason}")))
}

/// Says once who carries what. `reason` is why not both engines are there, where that is so.
fn tell(mode: SpliceMode, kinds: Kinds, pairs: u32, reason: &str) {
    let why = (!reason.is_empty()).then_some(reason);
    match (mode, kinds.wire) {
        (SpliceMode::Sockmap, _) => {
            tracing::info!(pairs, "the kernel carries parked connections, by sockets");
        }
        (_, true) if kinds.sockmap => {
            tracing::info!(pairs, "the kernel carries parked connections, by packets");
        }
        (_, true) => {
            tracing::info!(pairs, why, "the kernel carries parked connections, by packets alone");
        }
        _ => tracing::info!(
            pairs,
            why,
            "userspace carries all connections but those of domains and instances that ask for sockmap"
        ),
    }
}

/// How hosts become targets, by what was chosen.
pub(crate) fn resolver(kind: ResolverType) -> Result<Resolver, StartError> {
    Ok(match kind {
        ResolverType::IoEtcd => Resolver::Domains,
        ResolverType::Env => Resolver::Env,
        ResolverType::Dummy => {
            let target = parse::uri_target("http://localhost:8080/").map_err(StartError::System)?;
            Resolver::Fixed(Arc::new(target))
        }
    })
}

fn load_pages(config: &Config) -> Result<Pages, PagesError> {
    match &config.template_dir {
        Some(directory) => Pages::load(directory),
        None => Pages::embedded(),
    }
}

/// Everything that runs.
struct Running {
    shared: Arc<Shared>,
    log: Arc<LogControl>,
    profiler: Arc<Profiler>,
    dumps: Arc<Dumps>,
    reread: Reread,
    workers: Workers,
    keeper: Option<Keeper>,
    exporter: Option<Exporter>,
    /// The store is told by it that the end is near.
    ending: Arc<Notify>,
    /// Those who watch live go when this turns true.
    over: watch::Sender<bool>,
    systemd: Systemd,
    successor: Successor,
}

impl Running {
    async fn until_the_end(mut self, store: tokio::task::JoinHandle<()>, mut signals: Signals) {
        let taken = loop {
            let signal = tokio::select! {
                signal = signals.next() => signal,
                taken = self.successor.comes() => break Some(taken),
            };
            match signal {
                Signal::End => break None,
                Signal::Reload => self.reload().await,
                Signal::Dump => tracing::info!("the state of every task:\n{}", self.dumps.take().await),
                Signal::Profile => self.profiler.toggle(),
            }
        };
        self.end(store, signals, taken).await;
    }

    /// Templates, configuration, the access log's file.
    async fn reload(&self) {
        self.systemd.reloading();
        if let Some(access_log) = &self.shared.access_log {
            access_log.reopen();
        }
        match (self.reread)().and_then(|config| self.shared.holds.admit(config)) {
            Ok(mut config) => {
                self.tell_what_waits(&config);
                // Whoever asks what is traced is told what is.
                config.telemetry = self.shared.config.load().telemetry.clone();
                if let Err(error) = self.log.change(&config.log.filter) {
                    tracing::error!(%error, "the log stays as it was");
                }
                self.shared.config.store(Arc::new(config));
                tracing::info!("the configuration is read anew");
                self.note(Level::Info, "the configuration is read anew".to_owned());
            }
            Err(error) => {
                tracing::error!(%error, "the configuration stays as it was");
                self.note(Level::Error, format!("the configuration stays as it was: {error}"));
            }
        }
        reload_templates(&self.shared).await;
        self.systemd.reloaded();
    }

    fn note(&self, level: Level, text: String) {
        self.shared.journal.note(Note::info(Kind::Action, "gogeta", text).at(level));
    }

    /// Some things are made once.
    fn tell_what_waits(&self, new: &Config) {
        let old = self.shared.config.load();
        let fixed = [
            ("listen", old.listen != new.listen),
            ("admin", old.admin != new.admin),
            ("threads", old.threads != new.threads),
            ("upgrade-socket", old.upgrade != new.upgrade),
            ("the source of routes", format!("{:?}", old.source) != format!("{:?}", new.source)),
            ("how etcd is followed", old.control_plane != new.control_plane),
            ("resolver-type", old.resolver != new.resolver),
            ("access-log", format!("{:?}", old.log.access) != format!("{:?}", new.log.access)),
            ("last-access-interval", old.last_access_interval != new.last_access_interval),
            ("upstream-idle-timeout", old.timeouts.upstream_idle != new.timeouts.upstream_idle),
            ("metrics-per-service", old.telemetry.services != new.telemetry.services),
            ("otlp-endpoint", old.telemetry.traces != new.telemetry.traces),
            ("sandbox", old.sandbox != new.sandbox),
            ("user", old.user != new.user),
            ("splice", old.splice.mode != new.splice.mode),
            ("splice-max-pairs", old.splice.max_pairs != new.splice.max_pairs),
            ("upstream-idle-max", old.upstream_idle_max != new.upstream_idle_max),
        ];
        let waiting: Vec<&str> =
            fixed.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
        if !waiting.is_empty() {
            tracing::warn!(options = waiting.join(", "), "these options are new, and wait for a restart");
        }
    }

    /// Not ready; not accepting; everything in flight finished; everything written.
    async fn end(mut self, store: tokio::task::JoinHandle<()>, mut signals: Signals, taken: Option<Taken>) {
        let config = self.shared.config.load_full();
        self.shared.draining.store(true, Ordering::Release);
        if let Some(splice) = &self.shared.splice {
            splice.engine.close();
        }
        self.note(Level::Warning, "gogeta is stopping: what is in flight is finished first".to_owned());
        let open = self.open();
        match &taken {
            Some(taken) => taken.tell(open),
            None => tracing::info!(
                open,
                "stopping: what is in flight is finished first; once more to stop at once"
            ),
        }
        // Sockets of this one that nobody else has end with its workers' alone.
        self.successor.close().await;
        if taken.as_ref().is_some_and(|taken| taken.admin) {
            self.over.send_replace(true);
        }
        if taken.is_some()
            && let Some(keeper) = self.keeper.take()
        {
            keeper.abandon();
        }
        // The unit goes on with another process.
        let is_taken = taken.is_some();
        // Nobody has to learn of another place where another gogeta is at the same.
        let is_moved = taken.is_some_and(|taken| taken.whole);
        let delay = if is_moved { Duration::ZERO } else { config.timeouts.drain_delay };
        if !is_taken {
            self.systemd.stopping(delay + config.timeouts.drain, open);
        }
        let workers = self.workers;
        let drain = async {
            tokio::time::sleep(delay).await;
            workers.drain(config.timeouts.drain).await;
        };
        tokio::select! {
            () = drain => {}
            () = signals.end() => tracing::warn!("stopping at once"),
        }
        // Where none is running, none is written.
        let _ = self.profiler.stop();
        self.over.send_replace(true);
        // The workers are gone, so what they had to say is in the queue; the store gets a moment to write it.
        self.ending.notify_one();
        tokio::time::sleep(FLUSH).await;
        store.abort();
        if let Some(keeper) = self.keeper {
            keeper.finish().await;
        }
        if let Some(exporter) = self.exporter {
            exporter.finish().await;
        }
    }

    fn open(&self) -> usize {
        self.shared.guests.count()
    }
}

/// How long the store may write after the last request.
const FLUSH: Duration = Duration::from_millis(400);

/// How long etcd may keep a start from disk waiting.
const FIRST_WORD: Duration = Duration::from_secs(1);

async fn listen_to_kernel(engine: Arc<Engine>, events: Events, changed: watch::Receiver<u64>) {
    if let Err(error) = engine.clone().run(events, changed).await {
        engine.close();
        tracing::error!(%error, "the kernel cannot be listened to; userspace carries all connections");
    }
}

/// Reads the templates anew for as long as the directory, which is watched already, tells of changes.
async fn follow_templates(watch: notify::Result<Watch>, shared: Arc<Shared>) {
    let (_watcher, mut changes) = match watch {
        Ok(watch) => watch,
        Err(error) => return tracing::error!(%error, "cannot watch the templates; SIGHUP reloads them"),
    };
    while changes.recv().await.is_some() {
        file::settle(&mut changes).await;
        reload_templates(&shared).await;
    }
}

async fn reload_templates(shared: &Arc<Shared>) {
    let config = shared.config.load_full();
    if config.template_dir.is_none() {
        return;
    }
    match tokio::task::spawn_blocking(move || load_pages(&config)).await {
        Ok(Ok(pages)) => {
            shared.pages.store(Arc::new(pages));
            tracing::info!("the templates are read anew");
        }
        Ok(Err(error)) => tracing::error!(%error, "the pages stay as they were"),
        Err(error) => tracing::error!(%error, "the pages stay as they were"),
    }
}
