//! What all workers share, and what each has for itself.

use std::cell::{Cell, RefCell};
use std::hash::BuildHasher as _;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use arc_swap::ArcSwap;
use foldhash::quality::RandomState;
use http::HeaderValue;
use tokio::sync::watch;

use super::budget::Budget;
use super::guests::Guests;
use super::pool::Pool;
use super::tenancy::Splice;
use super::vitals::Ward;
use crate::access_log::{AccessLog, Buffer};
use crate::config::{Config, Timeouts};
use crate::feedback::Feedback;
use crate::journal::Journal;
use crate::metrics::{Metrics, WorkerMetrics};
use crate::pages::Pages;
use crate::routes::table::RouteTable;
use crate::sandbox::Holds;
use crate::trace::Tracer;

/// What all workers, the admin listener and the controller share.
#[derive(Debug)]
pub struct Shared {
    /// What gogeta runs with; replaced by SIGHUP.
    pub config: ArcSwap<Config>,
    /// The current routes.
    pub routes: ArcSwap<RouteTable>,
    /// Told each time the routes change.
    pub changed: watch::Sender<u64>,
    /// Whether routes have been read at all.
    pub loaded: AtomicBool,
    /// Whether gogeta is on its way out.
    pub draining: AtomicBool,
    /// The pages.
    pub pages: ArcSwap<Pages>,
    /// What requests have to say to the store.
    pub feedback: Feedback,
    /// Everything that is counted.
    pub metrics: Arc<Metrics>,
    /// What happened lately, for operators.
    pub journal: Journal,
    /// The access log, where there is one.
    pub access_log: Option<AccessLog>,
    /// Who says what is traced, where anything is.
    pub tracer: Option<Arc<Tracer>>,
    /// Who carries parked connections, where the kernel does.
    pub splice: Option<Splice>,
    /// TLS to upstreams.
    pub tls: Arc<rustls::ClientConfig>,
    /// Who is connected.
    pub guests: Arc<Guests>,
    /// Requests held for starting instances.
    pub held: AtomicUsize,
    /// What gogeta is confined to.
    pub holds: Holds,
}

impl Shared {
    /// Publishes a table: from now on requests are routed by it.
    pub fn publish(&self, table: RouteTable) {
        self.routes.store(Arc::new(table));
        self.changed.send_modify(|count| *count += 1);
    }
}

/// Lines about failed requests that a worker may log in a second.
const LOG_BUDGET: u32 = 20;

/// A worker's hold on something shared: counted per worker, so that requests of different workers do not write to
/// one counter.
pub type Local<T> = Rc<Arc<T>>;

/// What one worker has for itself: nothing here is ever touched by another thread.
#[derive(Debug)]
pub struct Worker {
    /// Its number, from 0.
    pub index: usize,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Idle connections to upstreams.
    pub pool: Rc<Pool>,
    /// The deadlines of its clients.
    pub ward: Ward,
    /// Its counters.
    pub metrics: Arc<WorkerMetrics>,
    /// Its part of the access log.
    pub access_log: Option<Buffer>,
    /// The retries that it may make.
    pub retries: Budget,
    /// Whether it is on its way out.
    pub draining: Cell<bool>,
    log_budget: Cell<u32>,
    ids: (RandomState, Cell<u64>),
    config: RefCell<Local<Config>>,
    timeouts: RefCell<Rc<Timeouts>>,
    routes: RefCell<Local<RouteTable>>,
}

impl Worker {
    /// A worker of these.
    pub fn new(index: usize, shared: Arc<Shared>) -> Rc<Self> {
        let config = shared.config.load_full();
        Rc::new(Self {
            index,
            pool: Rc::new(Pool::new(config.upstream_idle_max, config.timeouts.upstream_idle)),
            ward: Ward::new(),
            metrics: shared.metrics.worker(index),
            access_log: shared.access_log.as_ref().map(AccessLog::buffer),
            timeouts: RefCell::new(Rc::new(config.timeouts.clone())),
            config: RefCell::new(Rc::new(config)),
            retries: Budget::default(),
            draining: Cell::new(false),
            log_budget: Cell::new(LOG_BUDGET),
            ids: (RandomState::default(), Cell::new(0)),
            routes: RefCell::new(Rc::new(shared.routes.load_full())),
            shared,
        })
    }

    /// Whether there is room in the log for one more line about a failed request: a broken backend under load
    /// must not turn into a flood. The metrics count them all.
    pub fn may_log(&self) -> bool {
        let left = self.log_budget.get();
        self.log_budget.set(left.saturating_sub(1));
        if left == 1 {
            tracing::warn!("more requests fail than can be logged; gogeta_errors_total counts them all");
        }
        left > 1
    }

    /// Takes a retry out of the budget, and counts it, whether it was there or not.
    pub fn may_retry(&self) -> bool {
        let may = self.retries.take();
        if may {
            self.metrics.upstream_retry();
        } else {
            self.metrics.retry_refused();
        }
        may
    }

    /// An id that no other request has: hardly to be guessed, and not meant as a secret.
    pub fn request_id(&self) -> HeaderValue {
        let (hasher, counter) = &self.ids;
        let count = counter.get() + 1;
        counter.set(count);
        let id = format!("{:016x}{:016x}", hasher.hash_one(count), hasher.hash_one((self.index, count)));
        HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }

    /// What gogeta runs with, as of the last [`refresh`](Self::refresh).
    pub fn config(&self) -> Local<Config> {
        self.config.borrow().clone()
    }

    /// The time-outs, likewise.
    pub fn timeouts(&self) -> Rc<Timeouts> {
        self.timeouts.borrow().clone()
    }

    /// Takes a new configuration over, if there is one: with each request, and each tick.
    pub fn refresh(&self) {
        let config = self.shared.config.load();
        if !Arc::ptr_eq(&config, &self.config.borrow()) {
            *self.timeouts.borrow_mut() = Rc::new(config.timeouts.clone());
            *self.config.borrow_mut() = Rc::new(Arc::clone(&config));
        }
    }

    /// What is due each tick; `second` says that it is the first of a second.
    pub fn tick(&self, second: bool) {
        self.ward.tick();
        self.refresh();
        if second {
            self.log_budget.set(LOG_BUDGET);
            self.retries.second();
            // So that an idle worker does not keep a table, and its connections, that nobody wants any more.
            drop(self.routes());
            self.pool.sweep();
            self.metrics.set_idle_upstreams(self.pool.len());
        }
        if let Some(access_log) = &self.access_log {
            access_log.flush();
        }
    }

    /// The current routes.
    pub fn routes(&self) -> Local<RouteTable> {
        let current = self.shared.routes.load();
        let mut mine = self.routes.borrow_mut();
        if !Arc::ptr_eq(&current, &mine) {
            *mine = Rc::new(Arc::clone(&current));
        }
        mine.clone()
    }
}
