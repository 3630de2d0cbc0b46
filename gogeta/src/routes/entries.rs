//! A table as the keys and values that lead to it: what is kept on disk.

use super::key::{DomainField, InstanceField, Key};
use super::model::{Domain, DomainConfig, Instance, InstanceConfig, Target};
use super::table::RouteTable;

/// Hands every key and its value to `put`: first the good ones, `false`, then those that are wrong, `true`. Whoever
/// applies the one and then the other has the same table, with what stays in force behind a wrong value.
///
/// # Errors
///
/// The first one of `put`'s.
pub fn each<E>(table: &RouteTable, mut put: impl FnMut(Key, &str, bool) -> Result<(), E>) -> Result<(), E> {
    for domain in table.domains() {
        each_of_domain(table, domain, &mut put)?;
    }
    for instance in table.services().flat_map(|service| &service.instances) {
        each_of_instance(instance, &mut put)?;
    }
    for (key, problem) in &table.problems {
        put(key.clone(), &problem.value, true)?;
    }
    Ok(())
}

fn each_of_domain<E>(
    table: &RouteTable,
    domain: &Domain,
    put: &mut impl FnMut(Key, &str, bool) -> Result<(), E>,
) -> Result<(), E> {
    let key = |field| Key::Domain { host: domain.host.clone(), field };
    let wrong = |field| table.problems.contains_key(&key(field));
    let is_wrong = wrong(DomainField::Type) || wrong(DomainField::Value);
    // What is in force, where it is not what was written.
    let in_force = domain.target.as_ref().filter(|_| is_wrong).map(|target| match target {
        Target::Service(name) => ("service", name.as_str()),
        Target::Uri(target) => ("uri", &*target.text),
    });
    if let Some((kind, value)) = in_force {
        put(key(DomainField::Type), kind, false)?;
        put(key(DomainField::Value), value, false)?;
    }
    // The half that is not to blame is wrong only together with the other.
    if let Some(kind) = &domain.kind {
        put(key(DomainField::Type), kind, is_wrong)?;
    }
    if let Some(value) = &domain.value {
        put(key(DomainField::Value), value, is_wrong)?;
    }
    if domain.config != DomainConfig::default() {
        put(key(DomainField::Config), &json(&domain.config), false)?;
    }
    Ok(())
}

fn each_of_instance<E>(
    instance: &Instance,
    put: &mut impl FnMut(Key, &str, bool) -> Result<(), E>,
) -> Result<(), E> {
    let key =
        |field| Key::Instance { service: instance.service.clone(), index: instance.index.clone(), field };
    if let Some(upstream) = &instance.upstream {
        put(key(InstanceField::Location), &json(&upstream.location), false)?;
    }
    let status = &instance.status;
    for (field, value) in [
        (InstanceField::Current, &status.current),
        (InstanceField::Expected, &status.expected),
        (InstanceField::Alive, &status.alive),
    ] {
        if let Some(value) = value {
            put(key(field), value, false)?;
        }
    }
    if instance.config != InstanceConfig::default() {
        put(key(InstanceField::Config), &json(&instance.config), false)?;
    }
    Ok(())
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
