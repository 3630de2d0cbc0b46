//! `gogeta register`: an instance that is in etcd for as long as it runs.

mod child;
mod keeper;

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::output::note;
use super::{Failure, context, routes, service};
use crate::cli::{Cli, RegisterOptions};
use crate::store::etcd::tree::Tree;
use keeper::{Keeper, Phase};

/// Taking the keys out may take so long; where etcd is away, they go with their lease.
const GOODBYE: Duration = Duration::from_secs(1);

pub(super) async fn run(cli: &Cli, options: &RegisterOptions) -> Result<u8, Failure> {
    let RegisterOptions { service: name, index, ttl, domain, command, .. } = options;
    let (service, index) = (routes::part("service", name)?, routes::part("index", index)?);
    let (location, location_text) = service::location(&options.location)?;
    if ttl.0 < Duration::from_secs(2) {
        return Err(Failure::Usage(format!("--ttl must be 2s at least, not {ttl}: etcd counts in seconds")));
    }
    let etcd = context::etcd(&context::options(cli, &options.etcd, options.config.as_deref())?)?;
    let tree = Tree::open(&etcd).await.map_err(Failure::Etcd)?;
    let mut signals = Signals::new()?;

    let first = if command.is_empty() { Phase::Started } else { Phase::Starting };
    let (phase, phases) = watch::channel(first);
    let mut keeper = Keeper::new(etcd, tree, service, index, ttl.0);
    keeper.add("location", &location_text);
    if let Some(host) = domain {
        keeper.add("domain", &routes::host(host)?);
    }
    keeper.register(first).await.map_err(Failure::Etcd)?;
    note(&format!("{service}/{index} is registered at {location}"));
    let keeping = tokio::spawn(keeper.keep(phases));

    let outcome = match command.split_first() {
        Some((program, arguments)) => child::run(program, arguments, &location, &mut signals, &phase).await,
        None => {
            signals.next().await;
            Ok(0)
        }
    };
    // The keeper may have nobody to tell any more; then there is nothing to take out.
    let _ = phase.send(Phase::Gone);
    if !matches!(tokio::time::timeout(GOODBYE, keeping).await, Ok(Ok(true))) {
        note(&format!("etcd is away; {service}/{index} goes when its lease ends, within {ttl}"));
    }
    outcome
}

/// The signals that end a registration, or are passed on.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(|error| Failure::No(format!("cannot catch signals: {error}")));
        Ok(Self {
            term: take(SignalKind::terminate())?,
            int: take(SignalKind::interrupt())?,
            hup: take(SignalKind::hangup())?,
        })
    }

    /// The next one.
    async fn next(&mut self) -> rustix::process::Signal {
        tokio::select! {
            _ = self.term.recv() => rustix::process::Signal::TERM,
            _ = self.int.recv() => rustix::process::Signal::INT,
            _ = self.hup.recv() => rustix::process::Signal::HUP,
        }
    }
}
