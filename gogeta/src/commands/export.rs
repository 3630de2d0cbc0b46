//! `gogeta export`: everything that etcd has, as a routes file.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::document::{self, Entry};
use super::output::{count, note, say, say_json};
use super::{Failure, context};
use crate::cli::{Cli, ExportOptions};

pub(super) async fn run(cli: &Cli, options: &ExportOptions) -> Result<u8, Failure> {
    let mut tree = context::open(cli, &options.common).await?;
    let snapshot = tree.read_all().await.map_err(Failure::Etcd)?;
    let (revision, all) = (snapshot.revision, snapshot.pairs.len());
    let pairs = snapshot.pairs.into_iter().filter(|pair| options.leased || pair.lease == 0);
    let entries: Vec<Entry> = pairs.map(Entry::from).collect();
    if entries.len() < all {
        let leased = count(all - entries.len(), "key under a lease is", "keys under a lease are");
        note(&format!("{leased} left out (--leased)"));
    }
    let (text, left_out) = document::write(tree.space(), &entries);
    for key in &left_out {
        note(&format!("the key \"{}\" is not UTF-8, and is left out", key.escape_ascii()));
    }
    let code = u8::from(!left_out.is_empty());
    let text = format!("# Routes of gogeta, at revision {revision} of etcd.\n{text}");
    match &options.output {
        Some(file) => {
            replace(file, &text)
                .map_err(|error| Failure::No(format!("cannot write {}: {error}", file.display())))?;
            match options.common.json {
                true => say_json(&json!({ "revision": revision, "keys": entries.len() }))?,
                false => say(&format!("{} at revision {revision}\n", count(entries.len(), "key", "keys")))?,
            }
        }
        None if options.common.json => say_json(&json!({ "revision": revision, "keys": json_of(&entries) }))?,
        None => say(&text)?,
    }
    Ok(code)
}

/// Keys and values as JSON, which has texts alone: what is none is shown in ASCII.
fn json_of(entries: &[Entry]) -> Vec<Value> {
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "escaped": bytes.escape_ascii().to_string() }),
    };
    entries.iter().map(|entry| json!({ "key": text(&entry.key), "value": text(&entry.value) })).collect()
}

/// Puts a new file in the place of the old one, so that nobody reads half of it.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let fresh = file.with_file_name(name);
    let written = std::fs::File::create(&fresh).and_then(|mut out| {
        out.write_all(text.as_bytes())?;
        out.sync_all()
    });
    let outcome = written.and_then(|()| std::fs::rename(&fresh, file));
    if outcome.is_err() {
        // What is left of it is of no use to anyone.
        let _ = std::fs::remove_file(&fresh);
    }
    outcome
}
