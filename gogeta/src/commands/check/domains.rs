//! What can be wrong with domains.

use std::collections::BTreeMap;

use super::keys::DomainKeys;
use super::services::Has;
use super::{Entry, Findings, Own};
use crate::routes::host;
use crate::routes::model::Target;
use crate::routes::parse::{self, TargetError};
use crate::routes::splice::SpliceSetting;

/// Looks at all domains; `services` is what each service has.
pub(super) fn look(
    domains: &BTreeMap<&str, DomainKeys<'_>>,
    services: &BTreeMap<&str, Has>,
    own: &Own,
    findings: &mut Findings,
) {
    let mut spellings: BTreeMap<String, &str> = BTreeMap::new();
    for (spelled, keys) in domains {
        let Some(any) = keys.any() else { continue };
        let host = host::parse_pattern(spelled).unwrap_or_default().into_owned();
        if host != **spelled {
            findings.warning(any, "host-spelling", format!("this host is read as {host}"));
        }
        if let Some(other) = spellings.insert(host, spelled) {
            findings.error(
                any,
                "host-twice",
                format!("{other} is the same host; of two values, the last written is in force"),
            );
        }
        target(keys, services, own, findings);
        if let Some(entry) = keys.config {
            config(entry, findings);
        }
    }
}

fn text(entry: &Entry) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&entry.value)
}

fn target(keys: &DomainKeys<'_>, services: &BTreeMap<&str, Has>, own: &Own, findings: &mut Findings) {
    let (kind, value) = match (keys.kind, keys.value) {
        (Some(kind), Some(value)) => (kind, value),
        (Some(kind), None) => {
            return findings.warning(
                kind,
                "value-missing",
                "there is no value beside it, so the host is not routed",
            );
        }
        (None, Some(value)) => {
            return findings.warning(
                value,
                "type-missing",
                "there is no type beside it, so the host is not routed",
            );
        }
        (None, None) => {
            let Some(config) = keys.config else { return };
            return findings.warning(config, "type-missing", "there are no type and value beside it");
        }
    };
    match parse::target(&text(kind), &text(value)) {
        Err(TargetError::Kind(problem)) => findings.error(kind, "type", problem),
        Err(TargetError::Value(problem)) if text(kind) == "uri" => findings.error(value, "uri", problem),
        Err(TargetError::Value(problem)) => findings.error(value, "service-name", problem),
        Ok(Target::Uri(target)) => {
            let location = &target.upstream.location;
            if own.is(&location.host, location.port) {
                findings.warning(value, "itself", format!("gogeta itself listens at {location}"));
            }
        }
        Ok(Target::Service(name)) => match services.get(name.as_str()) {
            None => findings.error(value, "service-unknown", format!("the service {name} does not exist")),
            Some(Has::Nothing) => {
                findings.error(
                    value,
                    "service-empty",
                    format!("no instance of {name} has a location or a status"),
                );
            }
            Some(Has::NoLocation) => {
                findings.warning(value, "service-nowhere", format!("no instance of {name} has a location"));
            }
            Some(Has::Location) => {}
        },
    }
}

fn config(entry: &Entry, findings: &mut Findings) {
    match parse::domain_config(&text(entry)) {
        Err(problem) => findings.error(entry, "config", problem),
        Ok(config) => {
            unknown(entry, &config.unknown, findings);
            splice(entry, config.splice.as_ref(), findings);
        }
    }
}

/// Fields that gogeta does not know.
pub(super) fn unknown(entry: &Entry, fields: &BTreeMap<String, serde_json::Value>, findings: &mut Findings) {
    for field in fields.keys() {
        findings.warning(entry, "config-field", format!("gogeta knows no field {field:?}"));
    }
}

/// A `splice` that is none.
pub(super) fn splice(entry: &Entry, setting: Option<&SpliceSetting>, findings: &mut Findings) {
    if let Some(Err(problem)) = setting.map(SpliceSetting::check) {
        findings.error(entry, "splice", problem);
    }
}
