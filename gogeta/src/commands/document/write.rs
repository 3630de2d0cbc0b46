//! Keys and values as a routes file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::Entry;
use crate::routes::host;
use crate::routes::key::{DomainField, InstanceField, Key, KeySpace};

/// The fields of an entity, each as TOML.
type Fields = Vec<(&'static str, String)>;

/// These keys and values as TOML, and the keys that no text can hold.
pub(in crate::commands) fn write(space: &KeySpace, entries: &[Entry]) -> (String, Vec<Vec<u8>>) {
    let mut domains: BTreeMap<String, Fields> = BTreeMap::new();
    let mut services: BTreeMap<(String, String), Fields> = BTreeMap::new();
    let mut other: [Vec<(String, String)>; 2] = Default::default();
    let mut left_out = Vec::new();
    for Entry { key, value, .. } in entries {
        let Ok(text) = std::str::from_utf8(key) else {
            left_out.push(key.clone());
            continue;
        };
        let placed = std::str::from_utf8(value).ok().and_then(|value| place(space, text, value));
        match placed {
            Some(Place::Domain(host, field)) => domains.entry(host).or_default().push(field),
            Some(Place::Instance(name, field)) => services.entry(name).or_default().push(field),
            None => {
                let value = match std::str::from_utf8(value) {
                    Ok(value) => quote(value),
                    Err(_) => format!("{{ hex = \"{}\" }}", hex(value)),
                };
                let directories = [space.domains(), space.services()];
                for (list, directory) in other.iter_mut().zip(directories) {
                    if let Some(rest) = text.strip_prefix(directory) {
                        list.push((rest.to_owned(), value.clone()));
                    }
                }
            }
        }
    }
    (text(&domains, &services, &other), left_out)
}

fn text(
    domains: &BTreeMap<String, Fields>,
    services: &BTreeMap<(String, String), Fields>,
    other: &[Vec<(String, String)>; 2],
) -> String {
    let mut text = String::new();
    let lines =
        |fields: &Fields| fields.iter().map(|(field, value)| format!("{field} = {value}\n")).collect();
    let mut section = |head: String, lines: String| {
        let _ = write!(text, "\n[{head}]\n{lines}");
    };
    for (host, fields) in domains {
        section(format!("domains.{}", name(host)), lines(fields));
    }
    for ((service, index), fields) in services {
        section(format!("services.{}.{}", name(service), name(index)), lines(fields));
    }
    for (directory, list) in ["domains", "services"].iter().zip(other).filter(|(_, list)| !list.is_empty()) {
        let lines = list.iter().map(|(key, value)| format!("{} = {value}\n", basic(key))).collect();
        section(format!("other.{directory}"), lines);
    }
    text
}

/// Where a key has its place in the proxy's form.
enum Place {
    Domain(String, (&'static str, String)),
    Instance((String, String), (&'static str, String)),
}

/// The place of a key with that value, if there is one that gives both back as they are.
fn place(space: &KeySpace, key: &str, value: &str) -> Option<Place> {
    match space.parse(key).ok()? {
        Key::Domain { field, .. } => {
            // As it is spelled, which the parsed key has forgotten.
            let host = key.strip_prefix(space.domains())?.split('/').next()?;
            host::parse_pattern(host).ok()?;
            let field = match field {
                DomainField::Type => ("type", quote(value)),
                DomainField::Value => ("value", quote(value)),
                DomainField::Config => ("config", object(value)?),
            };
            Some(Place::Domain(host.to_owned(), field))
        }
        Key::Instance { service, index, field } => {
            let field = match field {
                InstanceField::Location => ("location", object(value)?),
                InstanceField::Current => ("status.current", quote(value)),
                InstanceField::Expected => ("status.expected", quote(value)),
                InstanceField::Alive => ("status.alive", quote(value)),
                InstanceField::Config => ("config", object(value)?),
                InstanceField::Domain => ("domain", quote(value)),
                InstanceField::LastAccess => ("lastAccess", quote(value)),
            };
            Some(Place::Instance((service.to_string(), index.to_string()), field))
        }
    }
}

/// A JSON object as a table, if that gives each byte back; else as a text, if it is an object at all.
fn object(text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    value.as_object()?;
    let as_we_write_it = value.to_string();
    let table = (as_we_write_it == text).then(|| toml_of(&value)).flatten();
    Some(table.unwrap_or_else(|| quote(text)))
}

/// JSON as TOML; none for what TOML has no word for.
fn toml_of(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => value.to_string(),
        Value::Number(number) if number.is_i64() => number.to_string(),
        // Floats have many spellings; the text of the JSON keeps theirs.
        Value::Number(_) => return None,
        Value::String(text) => basic(text),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(toml_of).collect::<Option<Vec<_>>>()?.join(", "))
        }
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let field =
                |(field, value): (&String, &Value)| Some(format!("{} = {}", name(field), toml_of(value)?));
            format!("{{ {} }}", map.iter().map(field).collect::<Option<Vec<_>>>()?.join(", "))
        }
    })
}

/// A key: bare where it may be.
fn name(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !text.is_empty() && text.bytes().all(bare) { text.to_owned() } else { basic(text) }
}

/// A text, without escapes where it can do without.
fn quote(text: &str) -> String {
    let literal = text.contains(['"', '\\']) && !text.contains('\'') && !text.chars().any(char::is_control);
    if literal { format!("'{text}'") } else { basic(text) }
}

fn basic(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            letter if letter.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
