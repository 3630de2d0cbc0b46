//! `gogeta watch`: changes as they happen.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::output::{Tone, clean, coloured, heard, note, paint};
use super::{Failure, context};
use crate::cli::{Cli, WatchOptions};
use crate::store::etcd::tree::{Break, Happened, Tree};

/// Between two tries to reach etcd.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(cli: &Cli, options: &WatchOptions) -> Result<u8, Failure> {
    let common = &options.common;
    let etcd = context::etcd(&context::options(cli, &common.etcd, common.config.as_deref())?)?;
    let mut tree = Tree::open(&etcd).await.map_err(Failure::Etcd)?;
    let space = tree.space().clone();
    let prefixes = match &options.prefix {
        Some(prefix) => vec![prefix.as_str()],
        None => vec![space.domains(), space.services()],
    };
    let teller = Teller { json: common.json, coloured: coloured() };
    let mut next = tree.revision().await.map_err(Failure::Etcd)? + 1;
    teller.note(&format!("watching {} from revision {next} on", prefixes.join(" and ")))?;
    loop {
        let Err(ended) = follow(&mut tree, &prefixes, &mut next, &teller).await?;
        match ended {
            Break::Compacted(oldest) => {
                teller.note(&format!(
                    "changes from revision {next} to {oldest} are lost: etcd has compacted them"
                ))?;
                next = oldest;
            }
            Break::Broken(reason) => {
                teller.note(&format!("etcd is away, and is tried again: {reason}"))?;
                tree = Tree::reopen(&etcd, PAUSE).await;
                let revision = tree.revision().await.unwrap_or(next);
                if revision < next - 1 {
                    teller.note(&format!("etcd is back with other data, at revision {revision}"))?;
                    next = revision + 1;
                } else {
                    teller.note(&format!("etcd is back; going on from revision {next}"))?;
                }
            }
        }
    }
}

/// Tells of changes until they end.
async fn follow(
    tree: &mut Tree,
    prefixes: &[&str],
    next: &mut i64,
    teller: &Teller,
) -> Result<Result<Infallible, Break>, Failure> {
    let mut watch = match tree.watch(prefixes, *next).await {
        Ok(watch) => watch,
        Err(reason) => return Ok(Err(Break::Broken(reason))),
    };
    loop {
        match watch.next().await {
            Ok(changes) => {
                for change in changes {
                    teller.change(&change)?;
                    *next = (*next).max(change.revision + 1);
                }
            }
            Err(ended) => return Ok(Err(ended)),
        }
    }
}

struct Teller {
    json: bool,
    coloured: bool,
}

impl Teller {
    /// Says what is no change: where it can be seen, and where a program can read it.
    fn note(&self, text: &str) -> Result<(), Failure> {
        note(text);
        if self.json { self.say(&format!("{}\n", json!({ "note": text }))) } else { Ok(()) }
    }

    /// Says a line, while somebody listens.
    fn say(&self, line: &str) -> Result<(), Failure> {
        if heard(line)? { Ok(()) } else { Err(Failure::Unheard) }
    }

    fn change(&self, change: &Happened) -> Result<(), Failure> {
        let now = OffsetDateTime::now_utc();
        if self.json {
            let text = |bytes: &Option<Vec<u8>>| {
                bytes.as_deref().map_or(Value::Null, |bytes| String::from_utf8_lossy(bytes).into())
            };
            let line = json!({
                "time": now.format(&Rfc3339).unwrap_or_default(),
                "revision": change.revision,
                "key": String::from_utf8_lossy(&change.key),
                "old": text(&change.old),
                "new": text(&change.new),
            });
            return self.say(&format!("{line}\n"));
        }
        let time = now.format(format_description!("[hour]:[minute]:[second]")).unwrap_or_default();
        let (words, tone) = words(change);
        let key = String::from_utf8_lossy(&change.key);
        self.say(&format!(
            "{}  {}  {}\n",
            paint(&format!("{time} {:>8}", change.revision), Tone::Faint, self.coloured),
            clean(&key),
            paint(&words, tone, self.coloured)
        ))
    }
}

/// What happened to a value.
fn words(change: &Happened) -> (String, Tone) {
    let text = |bytes: &[u8]| format!("\"{}\"", clean(&String::from_utf8_lossy(bytes)));
    match (&change.old, &change.new) {
        (None, Some(new)) => (format!("is new: {}", text(new)), Tone::Good),
        (Some(old), Some(new)) if old == new => (format!("is written again: {}", text(new)), Tone::Faint),
        (Some(old), Some(new)) => (format!("{} -> {}", text(old), text(new)), Tone::Busy),
        (Some(old), None) => (format!("is gone, was {}", text(old)), Tone::Bad),
        (None, None) => ("is gone".to_owned(), Tone::Bad),
    }
}
