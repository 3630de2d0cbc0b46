//! Some fields of a config in etcd set or removed; the others, known or not, stay as they are.

use serde_json::{Map, Value};

use super::Failure;
use crate::store::etcd::tree::{Seen, Step, Tree};

/// A field, and what it becomes; it goes where that is nothing.
pub(super) type Field = (&'static str, Option<Value>);

/// The step that makes these of the fields of the config under `{directory}{key}`, and that key as it was seen. A config
/// of which no field is left goes; what `check` says no to is not written.
pub(super) async fn edit(
    tree: &mut Tree,
    directory: &str,
    key: &str,
    fields: Vec<Field>,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<(Seen, Step), Failure> {
    let key = format!("{directory}{key}").into_bytes();
    let snapshot = tree.read(&[directory]).await.map_err(Failure::Etcd)?;
    let old = snapshot.pairs.iter().find(|pair| pair.key == key);
    let mut config: Map<String, Value> = match old {
        Some(pair) => serde_json::from_slice(&pair.value).map_err(|error| {
            Failure::No(format!("the config of {} is broken: {error}", directory.trim_end_matches('/')))
        })?,
        None => Map::new(),
    };
    for (field, value) in fields {
        match value {
            Some(value) => config.insert(field.to_owned(), value),
            None => config.remove(field),
        };
    }
    let step = if config.is_empty() {
        Step::Delete(key.clone())
    } else {
        let text = Value::from(config).to_string();
        check(&text).map_err(Failure::No)?;
        Step::put(key.clone(), text)
    };
    Ok(((key, old.map_or(0, |pair| pair.revision)), step))
}

/// The field of a `--splice`: a mode, or '' to remove it.
pub(super) fn splice(word: &str) -> Field {
    ("splice", (!word.is_empty()).then(|| word.into()))
}
