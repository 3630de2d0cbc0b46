//! `gogeta check`: everything in etcd, or in a routes file, looked at as the proxy will read it, and closer.

mod domains;
mod keys;
mod services;

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::document::{self, Entry, Mistake};
use super::output::{Table, Tone, coloured, count, say, say_json};
use super::{Failure, context};
use crate::cli::{CheckOptions, Cli, Options};
use crate::config::Listen;
use crate::routes::key::KeySpace;
use crate::store::etcd::tree::Tree;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Something is not served, or not as it says.
    Error,
    /// It works, and is not what anyone wants.
    Warning,
}

/// A mistake, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Finding {
    /// The key.
    key: String,
    /// The file's line.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    severity: Severity,
    /// What kind of mistake, in one word for programs.
    kind: &'static str,
    /// What is wrong, in a sentence.
    problem: String,
}

/// What a look at everything has found.
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, entry: &Entry, kind: &'static str, problem: impl Into<String>) {
        self.add(entry, Severity::Error, kind, problem.into());
    }

    fn warning(&mut self, entry: &Entry, kind: &'static str, problem: impl Into<String>) {
        self.add(entry, Severity::Warning, kind, problem.into());
    }

    fn add(&mut self, entry: &Entry, severity: Severity, kind: &'static str, problem: String) {
        let key = String::from_utf8_lossy(&entry.key).into_owned();
        self.0.push(Finding { key, line: entry.line, severity, kind, problem });
    }
}

/// Where gogeta itself listens, as far as that is known.
pub(super) struct Own {
    ports: Vec<(std::net::IpAddr, u16)>,
}

impl Own {
    fn of(options: &Options) -> Self {
        let any = |port| vec![(std::net::Ipv4Addr::UNSPECIFIED.into(), port)];
        let listen = options.listen.as_ref();
        // Of a socket that somebody else has opened nothing is known here.
        let known = |place: &Listen| match place {
            Listen::Address(address) => Some((address.ip(), address.port())),
            Listen::Inherited(_) | Listen::Systemd => None,
        };
        let listen = listen.map(|all| all.iter().filter_map(known).collect());
        Self { ports: listen.unwrap_or_else(|| any(options.port.unwrap_or(7777))) }
    }

    /// Whether a connection to this place would come back to gogeta, as seen from its own machine.
    fn is(&self, host: &str, port: u16) -> bool {
        let loopback = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified());
        self.ports.iter().any(|(ip, own)| {
            *own == port
                && (host.parse() == Ok(*ip) || (loopback && (ip.is_unspecified() || ip.is_loopback())))
        })
    }
}

/// Looks at these keys and values.
fn look(space: &KeySpace, entries: &[Entry], own: &Own) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    let tree = keys::sort(space, entries, &mut findings);
    let services = services::look(&tree.services, own, &mut findings);
    domains::look(&tree.domains, &services, own, &mut findings);
    let mut found = findings.0;
    found.sort();
    found
}

pub(super) async fn run(cli: &Cli, options: &CheckOptions) -> Result<u8, Failure> {
    let all = context::options(cli, &options.common.etcd, options.common.config.as_deref())?;
    let file = options.routes.as_deref().or(match &all.etcd_address {
        Some(_) => None,
        None => all.routes.as_deref(),
    });
    let own = Own::of(&all);
    let (what, found, keys) = match file {
        Some(file) => look_at_file(file, &own)?,
        None => look_at_etcd(&all, &own).await?,
    };
    let of = |severity| found.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let good = errors == 0 && (warnings == 0 || !options.strict);
    let code = u8::from(!good);
    if options.common.json {
        say_json(&json!({
            "good": good, "keys": keys, "errors": errors, "warnings": warnings, "findings": found,
        }))?;
        return Ok(code);
    }
    let mut table = Table::new(["SEVERITY", "KEY", "LINE", "PROBLEM"]);
    for finding in &found {
        let severity = match finding.severity {
            Severity::Error => ("error", Tone::Bad),
            Severity::Warning => ("warning", Tone::Busy),
        };
        let line = finding.line.map_or_else(String::new, |line| line.to_string());
        table.row([
            severity,
            (&finding.key, Tone::Plain),
            (&line, Tone::Plain),
            (&finding.problem, Tone::Plain),
        ]);
    }
    if !found.is_empty() {
        say(&table.text(coloured()))?;
    }
    let (errors, warnings) = (count(errors, "error", "errors"), count(warnings, "warning", "warnings"));
    say(&format!("{what}: {errors}, {warnings} in {}\n", count(keys, "key", "keys")))?;
    Ok(code)
}

fn look_at_file(file: &Path, own: &Own) -> Result<(String, Vec<Finding>, usize), Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("cannot read {} (--routes): {error}", file.display())))?;
    let space = KeySpace::new("/domains", "/services");
    let document = document::read(&space, &text);
    let mistakes = document.mistakes.into_iter().map(|Mistake { line, path, problem }| Finding {
        key: path,
        line: Some(line),
        severity: Severity::Error,
        kind: "file",
        problem,
    });
    let mut found: Vec<Finding> = mistakes.collect();
    found.extend(look(&space, &document.entries, own));
    // From top to bottom, as one mends a file.
    found.sort_by_key(|finding| finding.line);
    Ok((file.display().to_string(), found, document.entries.len()))
}

async fn look_at_etcd(options: &Options, own: &Own) -> Result<(String, Vec<Finding>, usize), Failure> {
    let mut tree = Tree::open(&context::etcd(options)?).await.map_err(Failure::Etcd)?;
    let snapshot = tree.read_all().await.map_err(Failure::Etcd)?;
    let entries: Vec<Entry> = snapshot.pairs.into_iter().map(Entry::from).collect();
    let found = look(tree.space(), &entries, own);
    Ok((format!("etcd at revision {}", snapshot.revision), found, entries.len()))
}

#[cfg(test)]
mod tests;
