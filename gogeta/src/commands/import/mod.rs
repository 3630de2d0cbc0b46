//! `gogeta import`: what a routes file has, written to etcd; each domain and each instance as one.

mod plan;

use std::io::{IsTerminal, Read as _};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tokio::task::JoinSet;

use super::document;
use super::output::{Tone, clean, coloured, count, note, paint, say, say_json};
use super::{Failure, context};
use crate::cli::{Cli, ImportOptions};
use crate::store::etcd::Reason;
use crate::store::etcd::tree::{Committed, Step, Tree};
use plan::{Change, Plan, What};

/// Transactions on their way at once: etcd writes what waits for the disk together.
const AT_ONCE: usize = 32;

pub(super) async fn run(cli: &Cli, options: &ImportOptions) -> Result<u8, Failure> {
    let text = read(&options.file)?;
    let mut tree = context::open(cli, &options.common).await?;
    let document = document::read(tree.space(), &text);
    if !document.mistakes.is_empty() {
        for mistake in &document.mistakes {
            let colon = if mistake.path.is_empty() { "" } else { ": " };
            note(&format!("line {}: {}{colon}{}", mistake.line, mistake.path, mistake.problem));
        }
        let file = options.file.display();
        return Err(Failure::No(format!("{file} is no routes file; nothing was written")));
    }
    let snapshot = tree.read_all().await.map_err(Failure::Etcd)?;
    let plan = plan::plan(tree.space(), &document.entries, &snapshot.pairs, options.prune);
    if plan.leased > 0 {
        let leased =
            count(plan.leased, "key under a lease differs, and is", "keys under a lease differ, and are");
        note(&format!("{leased} left alone"));
    }
    if options.dry_run && !options.common.json {
        say(&listed(&plan))?;
    }
    let mut done = Done { revision: snapshot.revision, ..Done::default() };
    if !options.dry_run {
        write(&tree, &plan.changes, &mut done).await?;
    }
    summary(options, &plan, &done)
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let outcome = match file.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text).map(drop),
        false => std::fs::read_to_string(file).map(|read| text = read),
    };
    match outcome {
        Ok(()) => Ok(text),
        Err(error) => Err(Failure::Usage(format!("cannot read {}: {error}", file.display()))),
    }
}

/// What came of it.
#[derive(Default)]
struct Done {
    revision: i64,
    /// Entities that somebody else changed between the reading and the writing.
    refused: Vec<String>,
}

/// Takes all changes, each as one transaction.
async fn write(tree: &Tree, changes: &[Change], done: &mut Done) -> Result<(), Failure> {
    let bar = progress(changes.len());
    let mut tasks: JoinSet<Result<Committed, (usize, Reason)>> = JoinSet::new();
    let mut entities = std::collections::HashMap::new();
    let mut left = changes.iter().enumerate();
    let mut written = 0;
    loop {
        while tasks.len() < AT_ONCE
            && let Some((at, change)) = left.next()
        {
            let mut tree = tree.clone();
            let (seen, steps) = (change.seen.clone(), change.steps.clone());
            let task =
                tasks.spawn(async move { tree.commit(&seen, &steps).await.map_err(|reason| (at, reason)) });
            entities.insert(task.id(), at);
        }
        let Some(outcome) = tasks.join_next_with_id().await else { break };
        let (id, outcome) = outcome.map_err(|error| Failure::No(error.to_string()))?;
        match outcome {
            Ok(committed) => {
                done.revision = done.revision.max(committed.revision);
                written += usize::from(committed.done);
                if !committed.done
                    && let Some(at) = entities.get(&id)
                {
                    done.refused.push(changes[*at].entity.clone());
                }
            }
            Err((at, reason)) => {
                bar.abandon();
                let (entity, all) = (&changes[at].entity, changes.len());
                return Err(Failure::Etcd(format!(
                    "{reason}; {written} of {all} changes are written for sure, {entity} is not known to be"
                )));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// A bar on a terminal; elsewhere, nothing.
fn progress(length: usize) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(u64::try_from(length).ok(), target);
    let style = ProgressStyle::with_template("{wide_bar} {pos} of {len} written, {per_sec}, {eta} left");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// Every change, key by key.
fn listed(plan: &Plan) -> String {
    let coloured = coloured();
    let mut text = String::new();
    for change in &plan.changes {
        for (step, (_, revision)) in change.steps.iter().zip(&change.seen) {
            let (line, tone) = match step {
                Step::Put { key, value, .. } => {
                    let (sign, tone) = if *revision == 0 { ('+', Tone::Good) } else { ('~', Tone::Busy) };
                    let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
                    (format!("{sign} {} = {}", clean(&key), clean(&value)), tone)
                }
                Step::Delete(key) => (format!("- {}", clean(&String::from_utf8_lossy(key))), Tone::Bad),
                Step::DeleteBelow(directory) => (format!("- {}", clean(directory)), Tone::Bad),
            };
            text.push_str(&paint(&line, tone, coloured));
            text.push('\n');
        }
    }
    text
}

fn summary(options: &ImportOptions, plan: &Plan, done: &Done) -> Result<u8, Failure> {
    let of = |what| {
        let of_that_kind = plan.changes.iter().filter(|change| change.what == what);
        of_that_kind.filter(|change| !done.refused.contains(&change.entity)).count()
    };
    let (added, changed, removed) = (of(What::Added), of(What::Changed), of(What::Removed));
    let refused = &done.refused;
    if options.common.json {
        say_json(&json!({
            "revision": done.revision, "dryRun": options.dry_run, "added": added, "changed": changed,
            "removed": removed, "same": plan.same, "leased": plan.leased, "refused": refused,
        }))?;
    } else {
        let would = if options.dry_run { "would be " } else { "" };
        say(&format!(
            "{would}{added} added, {changed} changed, {removed} removed; {} as they should be (revision {})\n",
            plan.same, done.revision
        ))?;
    }
    if refused.is_empty() {
        return Ok(0);
    }
    Err(Failure::No(format!(
        "somebody else changed these meanwhile, they stay as they are: {}",
        refused.join(", ")
    )))
}
