//! The one task that owns the registry: takes what the store says, publishes tables, and tells what happened.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use crate::journal::{Kind, Level, Note};
use crate::metrics::ReasonLabels;
use crate::proxy::worker::Shared;
use crate::routes::census::Census;
use crate::routes::key::Key;
use crate::routes::loss::Loss;
use crate::routes::model::ServiceName;
use crate::routes::registry::{Applied, Change, Registry};
use crate::routes::table::{Resolver, RouteTable};
use crate::state::{Kept, Known};
use crate::store::position::Why;
use crate::store::{Event, Names};

/// Lines about changes that may be logged in a second; the rest is counted.
const LINES: u32 = 20;

/// What an operator wants of the routes, beside what the store says.
#[derive(Debug)]
pub enum Order {
    /// An instance gets no new requests from this gogeta, or gets them again.
    Drain {
        /// Its service.
        service: ServiceName,
        /// Its index.
        index: String,
        /// Whether it gets none.
        drained: bool,
        /// Told whether there is such an instance, when requests are routed so.
        done: oneshot::Sender<bool>,
    },
}

/// The owner of the registry.
#[derive(Debug)]
pub struct Controller {
    registry: Registry,
    census: Census,
    shared: Arc<Shared>,
    budget: Budget,
    known: watch::Sender<Option<Known>>,
    applied: watch::Sender<i64>,
    /// Told once the store has been heard of, be it that it is away.
    heard: Option<oneshot::Sender<()>>,
    /// How often routes changed.
    changes: u64,
}

impl Controller {
    /// A controller of an empty registry.
    pub fn new(resolver: Resolver, shared: Arc<Shared>) -> Self {
        Self {
            registry: Registry::new(resolver),
            census: Census::default(),
            shared,
            budget: Budget::new(),
            known: watch::Sender::new(None),
            applied: watch::Sender::new(0),
            heard: None,
            changes: 0,
        }
    }

    /// What is known, and up to where, each time that changes.
    pub fn known(&self) -> watch::Receiver<Option<Known>> {
        self.known.subscribe()
    }

    /// The revision that is served, each time routes change.
    pub fn applied(&self) -> watch::Receiver<i64> {
        self.applied.subscribe()
    }

    /// Tells when the store has been heard of for the first time.
    pub fn heard(&mut self) -> oneshot::Receiver<()> {
        let (heard, told) = oneshot::channel();
        self.heard = Some(heard);
        told
    }

    /// Takes events for as long as a store sends them, and what operators order meanwhile.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(event),
                    None => break,
                },
                Some(order) = orders.recv() => self.obey(order),
            }
        }
        // A store that has no more to say leaves the routes as they are, and operators go on.
        while let Some(order) = orders.recv().await {
            self.obey(order);
        }
    }

    /// Does what an operator orders.
    fn obey(&mut self, order: Order) {
        let Order::Drain { service, index, drained, done } = order;
        let before = self.registry.table();
        let applied = self.registry.drain(&service, &index, drained);
        if let Some(applied) = applied.as_ref().filter(|applied| !applied.is_empty()) {
            let table = self.registry.table();
            self.shared.metrics.set_counts(self.census.follow(&table, applied));
            self.shared.journal.tell(&before, &table, applied, |_| String::new());
            self.shared.publish(table);
        }
        // That nobody waits for it any more does not undo it.
        let _ = done.send(applied.is_some());
    }

    /// Takes one event.
    pub fn take(&mut self, event: Event) {
        let metrics = &self.shared.metrics;
        match event {
            Event::Up => {
                if metrics.store_connected.set(1) == 0 {
                    self.shared.journal.note(Note::info(Kind::Store, "store", "it can be reached"));
                }
                metrics.age.current();
                self.hear();
            }
            Event::Down => {
                if metrics.store_connected.set(0) == 1 {
                    metrics.store_lost.inc();
                    let text = "it cannot be reached; the routes that were last known are served";
                    self.shared.journal.note(Note::info(Kind::Store, "store", text).at(Level::Warning));
                }
                metrics.age.unknown();
                self.hear();
            }
            Event::Change { change, names } => self.apply(change, &names),
            Event::Reread { change, names, why, doubted } => self.reread(change, &names, why, doubted),
            Event::Compared { entries, except, names } => self.compare(entries, &except, &names),
            Event::At(position) => {
                if self.registry.table().revision() != position.revision {
                    self.registry.advance(position.revision);
                    self.shared.publish(self.registry.table());
                    self.shared.metrics.revision.set(position.revision);
                }
                let table = self.registry.table();
                self.known.send_replace(Some(Known { table, position, changes: self.changes }));
            }
        }
    }

    fn hear(&mut self) {
        if let Some(heard) = self.heard.take() {
            let _ = heard.send(());
        }
    }

    /// Publishes the empty table of a resolver that needs no store.
    pub fn publish_as_it_is(&mut self) {
        self.shared.publish(self.registry.table());
        self.shared.loaded.store(true, Ordering::Release);
        self.shared.metrics.age.current();
    }

    /// Begins with what was kept on disk.
    pub fn start_from(&mut self, kept: Kept, names: &Names) {
        let revision = kept.position.revision;
        self.shared.metrics.age.kept(kept.saved);
        self.apply(Change::Snapshot { revision, entries: kept.good }, names);
        let ops = kept.wrong.into_iter().map(|(key, value)| crate::routes::registry::Op::Put(key, value));
        self.apply(Change::Delta { revision, ops: ops.collect() }, names);
    }

    fn apply(&mut self, change: Change, names: &Names) {
        let whole = matches!(change, Change::Snapshot { .. });
        let before = self.registry.table();
        let applied = self.registry.apply(change);
        self.publish(&before, &applied, names, whole);
    }

    /// Applies what was read anew, unless it takes away so much that someone should look twice.
    fn reread(&mut self, change: Change, names: &Names, why: Why, doubted: Option<oneshot::Sender<bool>>) {
        let metrics = &self.shared.metrics;
        let before = self.registry.table();
        let applied = self.registry.apply(change);
        let loss = Loss::between(&before, &self.registry.table(), &applied);
        let percent = self.shared.config.load().control_plane.mass_removal_guard;
        if let Some(doubted) = doubted {
            if loss.exceeds(percent) && doubted.send(true).is_ok() {
                self.registry.restore(before);
                metrics.doubts.inc();
                let text = format!(
                    "it was read anew, and {} of {} domains and {} of {} instances are gone; it is read once more before \
                     that is believed (--mass-removal-guard)",
                    loss.lost_domains, loss.domains, loss.lost_instances, loss.instances
                );
                self.shared.journal.note(Note::info(Kind::Store, "store", text).at(Level::Warning));
                tracing::warn!(
                    domains = loss.domains,
                    lost_domains = loss.lost_domains,
                    instances = loss.instances,
                    lost_instances = loss.lost_instances,
                    reason = why.as_str(),
                    "etcd was read anew, and most of the routes are gone; it is read once more before that is believed (--mass-removal-guard)"
                );
                return;
            }
        } else if loss.exceeds(percent) {
            tracing::warn!(
                lost_domains = loss.lost_domains,
                lost_instances = loss.lost_instances,
                "a second reading shows the same: most of the routes are gone"
            );
        }
        metrics.resyncs.get_or_create(&ReasonLabels { reason: why.as_str() }).inc();
        let text = format!("it was read anew: {}", why.as_str());
        self.shared.journal.note(Note::info(Kind::Store, "store", text));
        self.publish(&before, &applied, names, true);
    }

    /// Applies what a comparison found; it should have found nothing.
    fn compare(&mut self, entries: Vec<(Key, Vec<u8>)>, except: &HashSet<Key>, names: &Names) {
        let before = self.registry.table();
        let applied = self.registry.compare(entries, except);
        tracing::debug!(
            differing = applied.domains.len() + applied.services.len(),
            "routes compared with etcd's"
        );
        if applied.is_empty() && applied.problems.is_empty() {
            return;
        }
        let count = applied.domains.len() + applied.services.len();
        self.shared.metrics.drift.inc_by(count as u64);
        let hosts = applied.domains.iter().map(ToString::to_string);
        let services = applied.services.iter().map(|name| format!("service {name}"));
        let some: Vec<String> = hosts.chain(services).take(5).collect();
        tracing::error!(
            count,
            some = some.join(", "),
            "routes were other than in etcd, though nothing had been missed; they are right now. This is a mistake in gogeta or in etcd"
        );
        let text = format!(
            "{count} routes were other than in it, though nothing had been missed; they are right now"
        );
        self.shared.journal.note(Note::info(Kind::Store, "store", text).at(Level::Error));
        self.publish(&before, &applied, names, true);
    }

    fn publish(&mut self, before: &RouteTable, applied: &Applied, names: &Names, whole: bool) {
        let table = self.registry.table();
        let revision = table.revision();
        self.count(applied, &table);
        self.tell(applied, &table, names, whole);
        self.shared.journal.tell(before, &table, applied, |key| names.of(key));
        self.changes += u64::from(!applied.is_empty() || !applied.problems.is_empty());
        self.shared.publish(table);
        self.shared.loaded.store(true, Ordering::Release);
        self.applied.send_replace(revision);
    }

    fn count(&mut self, applied: &Applied, table: &RouteTable) {
        let metrics = &self.shared.metrics;
        metrics.revision.set(table.revision());
        metrics.problems.set(gauge(table.problem_count()));
        if !applied.is_empty() {
            metrics.changes.inc();
            metrics.set_counts(self.census.follow(table, applied));
            for name in &applied.services {
                if let Some(service) = table.service(name.as_str()) {
                    metrics.admit(service, table.service_count());
                }
            }
        }
    }

    fn tell(&mut self, applied: &Applied, table: &RouteTable, names: &Names, whole: bool) {
        for (key, problem) in &applied.problems {
            if self.budget.spend() {
                tracing::warn!(
                    key = names.of(key),
                    problem = &**problem,
                    "a value is wrong; the last good one stays in force"
                );
            }
        }
        if whole && applied.is_empty() {
            return;
        }
        if whole {
            let (domains, services) = (applied.domains.len(), applied.services.len());
            tracing::info!(
                revision = table.revision(),
                changed_domains = domains,
                changed_services = services,
                "routes applied"
            );
            return;
        }
        for host in &applied.domains {
            if self.budget.spend() {
                tracing::info!(%host, revision = table.revision(), "domain changed");
            }
        }
        for service in &applied.services {
            if self.budget.spend() {
                let instances = table.service(service.as_str()).map_or(&[][..], |service| &service.instances);
                let states: Vec<String> =
                    instances.iter().map(|i| format!("{}:{}", i.index, i.state.as_str())).collect();
                tracing::info!(%service, instances = states.join(" "), revision = table.revision(), "service changed");
            }
        }
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// So many lines a second.
#[derive(Debug)]
struct Budget {
    since: Instant,
    spent: u32,
}

impl Budget {
    fn new() -> Self {
        Self { since: Instant::now(), spent: 0 }
    }

    fn spend(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            if self.spent > LINES {
                tracing::info!(unlogged = self.spent - LINES, "more changes than can be logged");
            }
            *self = Self::new();
        }
        self.spent += 1;
        self.spent <= LINES
    }
}
