//! `gogeta service`: instances, where they are, and how they are.

use serde_json::{Value, json};

use super::fields::{self, Field};
use super::output::{Table, Tone, coloured, say, say_json};
use super::{Failure, context, routes};
use crate::admin::routes::ServiceView;
use crate::cli::{Cli, ServiceCommand, ServiceLs, ServiceRm, ServiceSet, ServiceStatus, StatusFlags};
use crate::routes::model::Location;
use crate::routes::parse;
use crate::store::etcd::tree::{Committed, Step, Tree};

pub(super) async fn run(cli: &Cli, command: &ServiceCommand) -> Result<u8, Failure> {
    match command {
        ServiceCommand::Ls(options) => list(cli, options).await?,
        ServiceCommand::Set(options) => set(cli, options).await?,
        ServiceCommand::Status(options) => status(cli, options).await?,
        ServiceCommand::Rm(options) => remove(cli, options).await?,
    }
    Ok(0)
}

async fn list(cli: &Cli, options: &ServiceLs) -> Result<(), Failure> {
    let mut tree = context::open(cli, &options.common).await?;
    let (revision, services) = read(&mut tree, options.name.as_deref()).await?;
    show(revision, &services, options.common.json)
}

/// All services, or the one of that name.
async fn read(tree: &mut Tree, name: Option<&str>) -> Result<(i64, Vec<ServiceView>), Failure> {
    let space = tree.space().clone();
    let directory = match name {
        Some(name) => format!("{}{}/", space.services(), routes::part("name", name)?),
        None => space.services().to_owned(),
    };
    let snapshot = tree.read(&[&directory]).await.map_err(Failure::Etcd)?;
    let view = routes::view(&space, &snapshot);
    let services = match name {
        Some(name) => vec![
            routes::service(view, name).ok_or_else(|| Failure::No(format!("there is no service {name}")))?,
        ],
        None => view.services,
    };
    Ok((snapshot.revision, services))
}

fn show(revision: i64, services: &[ServiceView], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return say_json(&json!({ "revision": revision, "services": services }));
    }
    let mut table = Table::new(["SERVICE", "INSTANCE", "LOCATION", "STATE", "WEIGHT", "WHY"]);
    for service in services {
        for instance in &service.instances {
            let state = instance.state.as_str();
            table.row([
                (&service.name, Tone::Plain),
                (&instance.index, Tone::Plain),
                (instance.location.as_deref().unwrap_or("-"), Tone::Plain),
                (state, Tone::of(state)),
                (&instance.config.weight.unwrap_or(1).to_string(), Tone::Plain),
                (&instance.why, Tone::Faint),
            ]);
        }
    }
    say(&table.text(coloured()))
}

/// `HOST:PORT` as it stands under `location`, checked by the proxy's own parser.
pub(super) fn location(text: &str) -> Result<(Location, String), Failure> {
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| Failure::Usage(format!("--location must be HOST:PORT, not {text:?}")))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port: Value = port.parse::<u64>().map_or_else(|_| port.into(), Into::into);
    let value = json!({ "host": host, "port": port }).to_string();
    let location = parse::location(&value).map_err(|problem| {
        Failure::Usage(format!("--location must be HOST:PORT, not {text:?}: {problem}"))
    })?;
    Ok((location, value))
}

/// The steps that set those status keys that are given.
fn status_steps(directory: &str, flags: &StatusFlags) -> Vec<Step> {
    [("current", &flags.current), ("expected", &flags.expected), ("alive", &flags.alive)]
        .into_iter()
        .filter_map(|(field, text)| Some((field, text.as_deref()?)))
        .map(|(field, text)| Step::put(format!("{directory}status/{field}"), text))
        .collect()
}

async fn set(cli: &Cli, options: &ServiceSet) -> Result<(), Failure> {
    let name = routes::part("service", &options.name)?;
    let index = routes::part("index", &options.index)?;
    let location = options.location.as_deref().map(location).transpose()?;
    let mut tree = context::open(cli, &options.common).await?;
    let directory = format!("{}{name}/{index}/", tree.space().services());
    let mut steps = status_steps(&directory, &options.status);
    if let Some((_, value)) = location {
        steps.push(Step::put(format!("{directory}location"), value));
    }
    let mut seen = Vec::new();
    let config = config(options);
    if !config.is_empty() {
        let check = |text: &str| parse::instance_config(text).map(drop);
        let (as_seen, step) = fields::edit(&mut tree, &directory, "config/gogeta", config, check).await?;
        seen.push(as_seen);
        steps.push(step);
    }
    if steps.is_empty() {
        return Err(Failure::Usage(
            "nothing to set: give one of --location, --current, --expected, --alive, --weight, --robots, --splice"
                .to_owned(),
        ));
    }
    let outcome = tree.commit(&seen, &steps).await.map_err(Failure::Etcd)?;
    if !outcome.done {
        return Err(Failure::No(format!(
            "somebody else changed {name}/{index} just now; nothing was written"
        )));
    }
    written(&options.common, &options.name, &options.index, outcome)
}

/// The instance's options that are given.
fn config(options: &ServiceSet) -> Vec<Field> {
    let weight = options.weight.map(|weight| ("weight", Some(weight.into())));
    let robots = options.robots.as_deref().map(|robots| ("robots", Some(robots.into())));
    let splice = options.splice.as_deref().map(fields::splice);
    [weight, robots, splice].into_iter().flatten().collect()
}

fn written(common: &crate::cli::Common, name: &str, index: &str, outcome: Committed) -> Result<(), Failure> {
    if common.json {
        return say_json(&json!({ "service": name, "instance": index, "revision": outcome.revision }));
    }
    say(&format!("{name}/{index} is set (revision {})\n", outcome.revision))
}

async fn status(cli: &Cli, options: &ServiceStatus) -> Result<(), Failure> {
    let ServiceStatus { name, index, status, common } = options;
    let mut tree = context::open(cli, common).await?;
    let (revision, mut services) = read(&mut tree, Some(name)).await?;
    if let Some(index) = index {
        let instances = services.iter_mut().map(|service| &mut service.instances);
        instances.for_each(|instances| instances.retain(|instance| instance.index == *index));
        if services.iter().all(|service| service.instances.is_empty()) {
            return Err(Failure::No(format!("the service {name} has no instance {index}")));
        }
    }
    let directory = format!("{}{name}/{}/", tree.space().services(), index.as_deref().unwrap_or_default());
    let steps = status_steps(&directory, status);
    match index {
        _ if steps.is_empty() => show(revision, &services, common.json),
        None => Err(Failure::Usage("say which INDEX the status is for".to_owned())),
        Some(index) => {
            let outcome = tree.commit(&[], &steps).await.map_err(Failure::Etcd)?;
            written(common, name, index, outcome)
        }
    }
}

async fn remove(cli: &Cli, options: &ServiceRm) -> Result<(), Failure> {
    let mut name = routes::part("service", &options.name)?.to_owned();
    if let Some(index) = &options.index {
        name = format!("{name}/{}", routes::part("index", index)?);
    }
    let mut tree = context::open(cli, &options.common).await?;
    let directory = format!("{}{name}/", tree.space().services());
    let outcome = tree.commit(&[], &[Step::DeleteBelow(directory)]).await.map_err(Failure::Etcd)?;
    if outcome.deleted == 0 {
        return Err(Failure::No(format!("there is no {name}")));
    }
    if options.common.json {
        return say_json(
            &json!({ "removed": name, "removedKeys": outcome.deleted, "revision": outcome.revision }),
        );
    }
    say(&format!("{name} is removed (revision {})\n", outcome.revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_of_the_command_line() {
        for (text, value) in [
            ("10.0.0.5:80", r#"{"host":"10.0.0.5","port":80}"#),
            ("[::1]:80", r#"{"host":"::1","port":80}"#),
            ("::1:80", r#"{"host":"::1","port":80}"#),
            ("web.internal:8080", r#"{"host":"web.internal","port":8080}"#),
        ] {
            assert_eq!(location(text).map(|(_, value)| value).ok().as_deref(), Some(value), "{text}");
        }
        for bad in ["", "web", "web:", "web:0", "web:70000", ":80", "a b:80", "web:http", "http://web:80"] {
            assert!(location(bad).is_err(), "{bad}");
        }
    }
}
