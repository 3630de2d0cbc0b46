//! The one task that owns the registry: takes what the store says, publishes tables, and tells what happened.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::proxy::worker::Shared;
use crate::routes::registry::{Applied, Change, Registry};
use crate::routes::table::{Resolver, RouteTable};
use crate::store::{Event, Names};

/// Lines about changes that may be logged in a second; the rest is counted.
const LINES: u32 = 20;

/// The owner of the registry.
#[derive(Debug)]
pub struct Controller {
    registry: Registry,
    shared: Arc<Shared>,
    budget: Budget,
}

impl Controller {
    /// A controller of an empty registry.
    pub fn new(resolver: Resolver, shared: Arc<Shared>) -> Self {
        Self { registry: Registry::new(resolver), shared, budget: Budget::new() }
    }

    /// Takes events for as long as a store sends them.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            self.take(event);
        }
    }

    /// Takes one event.
    pub fn take(&mut self, event: Event) {
        let metrics = &self.shared.metrics;
        match event {
            Event::Up => drop(metrics.store_connected.set(1)),
            Event::Down => {
                if metrics.store_connected.set(0) == 1 {
                    metrics.store_lost.inc();
                }
            }
            Event::Change { change, names } => self.apply(change, &names),
        }
    }

    /// Publishes the empty table of a resolver that needs no store.
    pub fn publish_as_it_is(&mut self) {
        self.shared.publish(self.registry.table());
        self.shared.loaded.store(true, Ordering::Release);
    }

    fn apply(&mut self, change: Change, names: &Names) {
        let whole = matches!(change, Change::Snapshot { .. });
        let applied = self.registry.apply(change);
        let table = self.registry.table();
        self.count(&applied, &table);
        self.tell(&applied, &table, names, whole);
        self.shared.publish(table);
        self.shared.loaded.store(true, Ordering::Release);
    }

    fn count(&self, applied: &Applied, table: &RouteTable) {
        let metrics = &self.shared.metrics;
        metrics.revision.set(table.revision());
        metrics.problems.set(gauge(table.problem_count()));
        if !applied.is_empty() {
            metrics.changes.inc();
            metrics.domains.set(gauge(table.domains().count()));
            metrics.services.set(gauge(table.services().count()));
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
