//! What can be wrong with instances.

use std::collections::BTreeMap;

use super::keys::InstanceKeys;
use super::{Entry, Findings, Own, domains};
use crate::routes::key::InstanceField;
use crate::routes::model::Location;
use crate::routes::parse;
use crate::status::{State, Status};

/// What the instances of a service have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Has {
    /// Neither a location nor a status.
    Nothing,
    /// No location.
    NoLocation,
    /// A location at least.
    Location,
}

/// Looks at all services; gives what each has.
pub(super) fn look<'a>(
    services: &'a BTreeMap<String, BTreeMap<String, InstanceKeys<'a>>>,
    own: &Own,
    findings: &mut Findings,
) -> BTreeMap<&'a str, Has> {
    let has = services.iter().map(|(name, instances)| {
        let mut places: BTreeMap<String, &str> = BTreeMap::new();
        let mut has = Has::Nothing;
        for (index, keys) in instances {
            let place = instance(keys, own, findings);
            let status = keys.keys().any(|field| {
                matches!(field, InstanceField::Current | InstanceField::Expected | InstanceField::Alive)
            });
            has = match (has, &place) {
                (_, Some(_)) | (Has::Location, _) => Has::Location,
                (has, None) if !status => has,
                _ => Has::NoLocation,
            };
            if let (Some(place), Some(entry)) = (place, keys.get(&InstanceField::Location))
                && let Some(other) = places.insert(place.to_string(), index)
            {
                findings.warning(entry, "location-twice", format!("the instance {other} is at {place}, too"));
            }
        }
        (name.as_str(), has)
    });
    has.collect()
}

fn text(entry: &Entry) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&entry.value)
}

/// Looks at an instance; gives where it is.
fn instance(keys: &InstanceKeys<'_>, own: &Own, findings: &mut Findings) -> Option<Location> {
    status(keys, findings);
    if let Some(entry) = keys.get(&InstanceField::Config) {
        config(entry, findings);
    }
    if let Some(entry) = keys.get(&InstanceField::LastAccess) {
        last_access(entry, findings);
    }
    let entry = keys.get(&InstanceField::Location)?;
    match parse::location(&text(entry)) {
        Ok(location) => {
            if own.is(&location.host, location.port) {
                findings.warning(entry, "itself", format!("gogeta itself listens at {location}"));
            }
            Some(location)
        }
        Err(problem) => {
            let kind = match serde_json::from_slice::<serde_json::Value>(&entry.value) {
                Ok(value) if !value["host"].is_string() => "location-host",
                Ok(value) if value["port"].is_null() || problem.contains("the port must") => "location-port",
                Ok(_) => "location-host",
                Err(_) => "location",
            };
            findings.error(entry, kind, problem);
            None
        }
    }
}

fn status(keys: &InstanceKeys<'_>, findings: &mut Findings) {
    let entry = |field| keys.get(&field).copied();
    let (current, expected, alive) =
        (entry(InstanceField::Current), entry(InstanceField::Expected), entry(InstanceField::Alive));
    let value = |entry: Option<&Entry>| entry.map(|entry| text(entry).into());
    let status = Status { current: value(current), expected: value(expected), alive: value(alive) };
    let before = findings.0.len();
    if let Some(entry) = current
        && let Err(problem) = parse::status_text(
            status.current.as_deref(),
            &["stopped", "starting", "started", "stopping", "passivated"],
        )
    {
        findings.error(entry, "current", problem);
    }
    if let Some(entry) = expected
        && let Err(problem) =
            parse::status_text(status.expected.as_deref(), &["stopped", "started", "passivated"])
    {
        findings.error(entry, "expected", problem);
    }
    // One mistake a status: what follows from it is no other one.
    if findings.0.len() > before || status.is_absent() || status.state() != State::Error {
        if let (Some(entry), State::Started, None) = (current, status.state(), entry(InstanceField::Location))
        {
            findings.warning(
                entry,
                "location-missing",
                "it is started, but has no location, so it gets no requests",
            );
        }
        return;
    }
    match (current, expected) {
        (None, None) => {
            if let Some(entry) = alive {
                findings.error(
                    entry,
                    "current-missing",
                    "it is alive, but status/current and status/expected are not set",
                );
            }
        }
        (None, Some(entry)) => {
            findings.error(entry, "current-missing", "status/current is not set beside it")
        }
        (Some(entry), None) => {
            findings.error(entry, "expected-missing", "status/expected is not set beside it")
        }
        (Some(entry), Some(_)) if status.current == status.expected => {
            findings.error(entry, "alive-missing", format!("it counts as error: {}", status.why()));
        }
        (Some(entry), Some(_)) => {
            findings.warning(entry, "contradiction", format!("it counts as error: {}", status.why()));
        }
    }
}

fn config(entry: &Entry, findings: &mut Findings) {
    match parse::instance_config(&text(entry)) {
        Err(problem) => {
            let value: serde_json::Value = serde_json::from_slice(&entry.value).unwrap_or_default();
            let weight = !value["weight"].is_null();
            match weight {
                true => findings.error(
                    entry,
                    "weight",
                    format!("the weight must be 0 to 100, not {}: {problem}", value["weight"]),
                ),
                false => findings.error(entry, "config", problem),
            }
        }
        Ok(config) => {
            domains::unknown(entry, &config.unknown, findings);
            domains::splice(entry, config.splice.as_ref(), findings);
            if config.weight == Some(0) {
                findings.warning(entry, "weight-zero", "its weight is 0, so it gets no requests");
            }
        }
    }
}

/// `2006-01-02 15:04:05`, by its form alone: nobody reads it here.
fn last_access(entry: &Entry, findings: &mut Findings) {
    let form = "0000-00-00 00:00:00";
    let value = text(entry);
    let fits = |(letter, form): (u8, u8)| if form == b'0' { letter.is_ascii_digit() } else { letter == form };
    if value.len() != form.len() || !value.bytes().zip(form.bytes()).all(fits) {
        findings.warning(entry, "last-access", format!("{value:?} is no time such as 2006-01-02 15:04:05"));
    }
}
