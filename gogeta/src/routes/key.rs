//! The text of a key in etcd, and what it names.

use std::sync::Arc;

use super::host::{self, BadHost};
use super::model::ServiceName;

/// What one key names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// `{domainDir}/{host}/…`
    Domain {
        /// The normalised host, or `*.` and a name.
        host: Arc<str>,
        /// Which of the domain's keys it is.
        field: DomainField,
    },
    /// `{serviceDir}/{name}/{index}/…`
    Instance {
        /// The service's name.
        service: ServiceName,
        /// The instance's index; any text.
        index: Arc<str>,
        /// Which of the instance's keys it is.
        field: InstanceField,
    },
}

impl Key {
    /// Whether both are of one domain, or of one service.
    pub fn is_beside(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Domain { host: one, .. }, Self::Domain { host: other, .. }) => one == other,
            (Self::Instance { service: one, .. }, Self::Instance { service: other, .. }) => one == other,
            _ => false,
        }
    }

    /// Whether its value says anything about routing.
    pub fn is_routing(&self) -> bool {
        !matches!(self, Self::Instance { field: InstanceField::Domain | InstanceField::LastAccess, .. })
    }
}

/// The keys of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DomainField {
    /// `type`: `service` or `uri`.
    Type,
    /// `value`: a service's name or a URI.
    Value,
    /// `config`: options, as JSON.
    Config,
}

/// The keys of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InstanceField {
    /// `location`: where it listens, as JSON.
    Location,
    /// `status/current`.
    Current,
    /// `status/expected`.
    Expected,
    /// `status/alive`.
    Alive,
    /// `config/gogeta`: options, as JSON.
    Config,
    /// `domain`: for people.
    Domain,
    /// `lastAccess`: written by gogeta.
    LastAccess,
}

const DOMAIN_FIELDS: [(&str, DomainField); 3] =
    [("type", DomainField::Type), ("value", DomainField::Value), ("config", DomainField::Config)];

const INSTANCE_FIELDS: [(&str, InstanceField); 7] = [
    ("location", InstanceField::Location),
    ("status/current", InstanceField::Current),
    ("status/expected", InstanceField::Expected),
    ("status/alive", InstanceField::Alive),
    ("config/gogeta", InstanceField::Config),
    ("domain", InstanceField::Domain),
    ("lastAccess", InstanceField::LastAccess),
];

/// Why a text names nothing that gogeta knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Below neither of the two directories.
    #[error("it is below neither directory")]
    Elsewhere,
    /// The host in it is no host.
    #[error("{0}")]
    Host(#[from] BadHost),
    /// The last part is not one of those that gogeta reads.
    #[error("gogeta knows no such key; it reads {expected}")]
    Field {
        /// The parts that it does read.
        expected: &'static str,
    },
}

/// The two directories that the keys live in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpace {
    domains: String,
    services: String,
}

impl KeySpace {
    /// Makes a key space of two directories, with or without a slash at their end.
    pub fn new(domain_dir: &str, service_dir: &str) -> Self {
        let directory = |text: &str| format!("{}/", text.trim_end_matches('/'));
        Self { domains: directory(domain_dir), services: directory(service_dir) }
    }

    /// What every domain's key begins with; ends in a slash.
    pub fn domains(&self) -> &str {
        &self.domains
    }

    /// What every instance's key begins with; ends in a slash.
    pub fn services(&self) -> &str {
        &self.services
    }

    /// What a key's text names.
    ///
    /// # Errors
    ///
    /// [`BadKey`], which is no reason to stop: others may keep their own keys beside ours.
    pub fn parse(&self, text: &str) -> Result<Key, BadKey> {
        if let Some(rest) = text.strip_prefix(&self.domains) {
            let (host, field) = rest.split_once('/').unwrap_or((rest, ""));
            let field = find(&DOMAIN_FIELDS, field)
                .ok_or(BadKey::Field { expected: "<host>/type, <host>/value and <host>/config" })?;
            return Ok(Key::Domain { host: host::parse_pattern(host)?.into(), field });
        }
        if let Some(rest) = text.strip_prefix(&self.services) {
            let mut parts = rest.splitn(3, '/');
            let (service, index, field) = (parts.next(), parts.next(), parts.next());
            let field = field.and_then(|field| find(&INSTANCE_FIELDS, field));
            return match (service, index, field) {
                (Some(service), Some(index), Some(field)) if !service.is_empty() && !index.is_empty() => {
                    Ok(Key::Instance { service: service.into(), index: index.into(), field })
                }
                _ => Err(BadKey::Field {
                    expected: "<service>/<index>/ with location, status/current, status/expected, \
                               status/alive, config/gogeta, domain and lastAccess",
                }),
            };
        }
        Err(BadKey::Elsewhere)
    }

    /// The text of a key.
    pub fn render(&self, key: &Key) -> String {
        match key {
            Key::Domain { host, field } => {
                format!("{}{host}/{}", self.domains, name(&DOMAIN_FIELDS, *field))
            }
            Key::Instance { service, index, field } => {
                format!("{}{service}/{index}/{}", self.services, name(&INSTANCE_FIELDS, *field))
            }
        }
    }
}

fn find<F: Copy>(fields: &[(&str, F)], text: &str) -> Option<F> {
    fields.iter().find(|(name, _)| *name == text).map(|(_, field)| *field)
}

fn name<F: PartialEq>(fields: &[(&'static str, F)], wanted: F) -> &'static str {
    fields.iter().find(|(_, field)| *field == wanted).map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn space() -> KeySpace {
        KeySpace::new("/domains", "/services/")
    }

    #[test]
    fn there_and_back() {
        for text in [
            "/domains/a.test/type",
            "/domains/*.a.test/value",
            "/domains/a.test/config",
            "/services/web/1/location",
            "/services/web/1/status/current",
            "/services/web/1/status/expected",
            "/services/web/blue/status/alive",
            "/services/web/1/config/gogeta",
            "/services/web/1/domain",
            "/services/web/1/lastAccess",
        ] {
            let key = space().parse(text).expect(text);
            assert_eq!(space().render(&key), text);
        }
    }

    #[test]
    fn what_names_nothing() {
        for text in [
            "/domains/a.test",
            "/domains/a.test/tpye",
            "/domains/a.test/type/x",
            "/domains//type",
            "/domains/a b/type",
            "/services/web/location",
            "/services/web//location",
            "/services//1/location",
            "/services/web/1/status",
            "/services/web/1/lastaccess",
        ] {
            assert!(space().parse(text).is_err(), "{text}");
        }
        assert_eq!(space().parse("/elsewhere/a"), Err(BadKey::Elsewhere));
    }

    #[test]
    fn hosts_are_normalised() {
        let key = space().parse("/domains/A.Test./type");
        assert_eq!(key, Ok(Key::Domain { host: "a.test".into(), field: DomainField::Type }));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(/domains|/services)?/?\\PC{0,40}") {
            if let Ok(key) = space().parse(&text) {
                let rendered = space().render(&key);
                prop_assert_eq!(space().parse(&rendered), Ok(key));
            }
        }
    }
}
