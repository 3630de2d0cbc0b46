//! `gogeta route`: which host goes where.

use serde_json::json;

use super::output::{Table, Tone, clean, coloured, note, say, say_json};
use super::{Failure, context, fields, routes};
use crate::admin::routes::DomainView;
use crate::cli::{Cli, RouteCommand, RouteLs, RouteRm, RouteSet};
use crate::routes::parse::{self, TargetError};
use crate::routes::splice::SpliceSetting;
use crate::store::etcd::tree::{Snapshot, Step};

pub(super) async fn run(cli: &Cli, command: &RouteCommand) -> Result<u8, Failure> {
    match command {
        RouteCommand::Set(options) => set(cli, options).await?,
        RouteCommand::Rm(options) => remove(cli, options).await?,
        RouteCommand::Ls(options) => list(cli, options).await?,
    }
    Ok(0)
}

/// Type, value and config in one transaction: nobody sees half a route.
async fn set(cli: &Cli, options: &RouteSet) -> Result<(), Failure> {
    let RouteSet { host: text, kind, value, config, splice, create, .. } = options;
    let host = routes::host(text)?;
    parse::target(kind, value).map_err(|error| match error {
        TargetError::Kind(problem) | TargetError::Value(problem) => Failure::No(problem),
    })?;
    let config = config.as_deref().filter(|config| !config.is_empty());
    if let Some(config) = config {
        let known = parse::domain_config(config).map_err(Failure::No)?;
        for field in known.unknown.keys() {
            note(&format!(
                "this gogeta knows no field {field:?} in a domain's config; it is written all the same"
            ));
        }
        known.splice.as_ref().map_or(Ok(()), SpliceSetting::check).map_err(Failure::No)?;
    }
    let mut tree = context::open_by(cli, &options.etcd, None).await?;
    let directory = format!("{}{host}/", tree.space().domains());
    let key = |field: &str| format!("{directory}{field}").into_bytes();
    let mut steps = vec![Step::put(key("type"), kind.as_str()), Step::put(key("value"), value.as_str())];
    match config {
        Some(config) => steps.push(Step::put(key("config"), config)),
        None if options.config.is_some() => steps.push(Step::Delete(key("config"))),
        None => {}
    }
    let mut seen = if *create { vec![(key("type"), 0), (key("value"), 0)] } else { vec![] };
    if let Some(word) = splice {
        let check = |text: &str| parse::domain_config(text).map(drop);
        let (as_seen, step) =
            fields::edit(&mut tree, &directory, "config", vec![fields::splice(word)], check).await?;
        seen.push(as_seen);
        steps.push(step);
    }
    let outcome = tree.commit(&seen, &steps).await.map_err(Failure::Etcd)?;
    if !outcome.done && !create {
        return Err(Failure::No(format!("somebody else changed {host} just now; nothing was written")));
    }
    if !outcome.done {
        return Err(Failure::No(format!("{host} has a route already, and --create is for new ones")));
    }
    if options.json {
        return say_json(
            &json!({ "host": host, "type": kind, "value": value, "revision": outcome.revision }),
        );
    }
    say(&format!("{host} goes to {kind} {} (revision {})\n", clean(value), outcome.revision))
}

async fn remove(cli: &Cli, options: &RouteRm) -> Result<(), Failure> {
    let text = routes::part("host", &options.host)?;
    // Keys of any spelling are read, and what is no host at all should be easy to remove, too.
    let host = routes::host(text).unwrap_or_else(|_| text.to_owned());
    let mut tree = context::open(cli, &options.common).await?;
    let below = |host: &str| Step::DeleteBelow(format!("{}{host}/", tree.space().domains()));
    let steps = if *text == *host { vec![below(text)] } else { vec![below(text), below(&host)] };
    let outcome = tree.commit(&[], &steps).await.map_err(Failure::Etcd)?;
    if outcome.deleted == 0 {
        return Err(Failure::No(format!("there is no route for {host}")));
    }
    if options.common.json {
        return say_json(
            &json!({ "host": host, "removedKeys": outcome.deleted, "revision": outcome.revision }),
        );
    }
    say(&format!("{host} has no route any more (revision {})\n", outcome.revision))
}

async fn list(cli: &Cli, options: &RouteLs) -> Result<(), Failure> {
    let host = options.host.as_deref().map(routes::host).transpose()?;
    let mut tree = context::open(cli, &options.common).await?;
    // One host's state needs its keys and those of the services; of 100,000 others' none.
    let space = tree.space().clone();
    let snapshot: Snapshot = match &host {
        Some(host) => tree.read(&[&format!("{}{host}/", space.domains()), space.services()]).await,
        None => tree.read_all().await,
    }
    .map_err(Failure::Etcd)?;
    let view = routes::view(&space, &snapshot);
    let domains: Vec<DomainView> = match &host {
        Some(host) => vec![
            routes::domain(view, host).ok_or_else(|| Failure::No(format!("there is no route for {host}")))?,
        ],
        None => view.domains,
    };
    if options.common.json {
        return say_json(&json!({ "revision": snapshot.revision, "domains": domains }));
    }
    let mut table = Table::new(["HOST", "TYPE", "VALUE", "STATE", "WHY"]);
    for domain in &domains {
        table.row([
            (&domain.host, Tone::Plain),
            (domain.kind.as_deref().unwrap_or("-"), Tone::Plain),
            (domain.value.as_deref().unwrap_or("-"), Tone::Plain),
            (domain.state.as_str(), Tone::of(domain.state.as_str())),
            (&domain.why, Tone::Faint),
        ]);
    }
    say(&table.text(coloured()))
}
