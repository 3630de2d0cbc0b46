//! Measuring: every row, every contender, in turn, several rounds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::contender::{Contender, Kind, Setup};
use crate::cost;
use crate::hosts::Host;
use crate::load;
use crate::plan::{Load, Plan, Scenario};
use crate::wrk::{self, Asked};

/// One contender in one row and one round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measure {
    pub(crate) row: String,
    pub(crate) contender: Kind,
    pub(crate) round: u32,
    /// How many exchanges there were.
    pub(crate) count: f64,
    /// Exchanges in a second.
    pub(crate) rate: f64,
    /// Bytes in a second, where they were counted.
    pub(crate) bytes: Option<f64>,
    /// In microseconds; from when a request was due, at a fixed rate, and from when it was sent, at the maximum.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: Option<f64>,
    /// Requests that failed, or were not answered in time at a fixed rate.
    pub(crate) failed: u64,
    /// CPU time of the whole machine for an exchange, in microseconds: load, servers and kernel are in it.
    pub(crate) machine: f64,
    /// What of it was the contender's own, as far as the kernel knows.
    pub(crate) own: Option<f64>,
    /// The memory that the contender holds afterwards, in KiB.
    pub(crate) memory: Option<u64>,
}

/// Those who take part, by whether they write logs.
#[derive(Debug)]
pub(crate) struct Field {
    contenders: Vec<Contender>,
    logging: Vec<Contender>,
}

impl Field {
    /// Starts them all; also gives who is not installed.
    ///
    /// # Errors
    /// When one does not start.
    pub(crate) fn start(gogeta: &Path, folder: &Path, plan: &Plan) -> Result<(Self, Vec<Kind>)> {
        let (mut contenders, mut missing) = (Vec::new(), Vec::new());
        let is_wanted = |kind: &Kind| !kind.is_watched() || plan.scenarios.iter().any(|row| row.watched);
        for kind in Kind::ALL.into_iter().filter(is_wanted) {
            match (Setup { gogeta, folder, logs: false }).start(kind)? {
                Some(contender) => contenders.push(contender),
                None => missing.push(kind),
            }
        }
        let mut logging = Vec::new();
        if let Some(row) = plan.scenarios.iter().find(|row| row.logs) {
            for kind in Kind::ALL.into_iter().filter(|kind| row.is_for(*kind)) {
                logging.extend((Setup { gogeta, folder, logs: true }).start(kind)?);
            }
        }
        Ok((Self { contenders, logging }, missing))
    }

    fn of(&self, row: &Scenario) -> impl Iterator<Item = &Contender> {
        let all = if row.logs { &self.logging } else { &self.contenders };
        all.iter().filter(|contender| row.is_for(contender.kind))
    }
}

/// Measures all that the plan says.
///
/// # Errors
/// When a load cannot be made.
pub(crate) fn all(plan: &Plan, field: &Field, folder: &Path) -> Result<Vec<Measure>> {
    let mut measures: Vec<Measure> = Vec::new();
    for round in 0..=plan.rounds {
        for row in &plan.scenarios {
            let contenders: Vec<_> = field.of(row).collect();
            // Nobody is always the first, after whom caches are warm.
            for turn in 0..contenders.len() {
                let contender = contenders[(turn + round as usize) % contenders.len()];
                // Round 0 is for warming up: at the start of each, and nowhere else.
                if round == 0 {
                    let is_plain = row.load == Load::Most(Asked::Plain) && row.body == 12;
                    if is_plain && row.connections == 64 {
                        one(plan, row, contender, folder, &BTreeMap::new(), 0)?;
                    }
                    continue;
                }
                let slowest = slowest(&measures);
                let measure = one(plan, row, contender, folder, &slowest, round)
                    .with_context(|| format!("{}: {}", row.title, contender.kind.title()))?;
                measures.push(measure);
            }
            if round > 0 {
                eprintln!("round {round} of {}: {}", plan.rounds, row.title);
            }
        }
    }
    Ok(measures)
}

/// What the slowest contender came to in each row so far.
fn slowest(measures: &[Measure]) -> BTreeMap<String, f64> {
    let mut slowest = BTreeMap::new();
    for measure in measures {
        let rate = slowest.entry(measure.row.clone()).or_insert(measure.rate);
        *rate = rate.min(measure.rate);
    }
    slowest
}

fn one(
    plan: &Plan,
    row: &Scenario,
    contender: &Contender,
    folder: &Path,
    slowest: &BTreeMap<String, f64>,
    round: u32,
) -> Result<Measure> {
    let own = || contender.process.as_ref().map(crate::process::Process::cpu);
    let (machine_before, own_before) = (cost::machine()?, own());
    let mut measure = match row.load {
        Load::Most(asked) => {
            let outcome = wrk::run(contender.web, &row.path(), row.connections, plan.seconds, asked, folder)?;
            let seconds = Duration::from_micros(outcome.micros).as_secs_f64();
            // Of a large body, what has come of it counts, though its end has not.
            let count = (outcome.requests as f64).max(outcome.bytes as f64 / (row.body as f64 + 1024.0));
            Measure {
                count,
                rate: count / seconds,
                bytes: Some(outcome.bytes as f64 / seconds),
                p50: outcome.p50 as f64,
                p99: outcome.p99 as f64,
                failed: outcome.errors,
                ..Measure::new(row, contender.kind, round)
            }
        }
        Load::Echo(bytes) => {
            let address = contender.echo.context("it takes no tunnels")?;
            generated(plan, row, contender.kind, round, (address, 0, Some(bytes)))?
        }
        Load::Share(percent) => {
            let base = plan.scenarios.iter().find(|other| {
                other.body == row.body
                    && other.connections == row.connections
                    && other.load == Load::Most(Asked::Plain)
            });
            let most = base.and_then(|base| slowest.get(&base.title)).context("no maximum is known")?;
            let rate = (most * f64::from(percent) / 100.0) as u32;
            generated(plan, row, contender.kind, round, (contender.web, rate, None))?
        }
    };
    let per_exchange = |time: Duration| time.as_secs_f64() * 1e6 / measure.count;
    measure.machine = per_exchange(cost::machine()?.saturating_sub(machine_before));
    measure.own = own().zip(own_before).map(|(after, before)| per_exchange(after.saturating_sub(before)));
    measure.memory = contender.process.as_ref().map(crate::process::Process::memory);
    Ok(measure)
}

impl Measure {
    fn new(row: &Scenario, contender: Kind, round: u32) -> Self {
        Self {
            row: row.title.clone(),
            contender,
            round,
            count: 0.0,
            rate: 0.0,
            bytes: None,
            p50: 0.0,
            p99: 0.0,
            p999: None,
            failed: 0,
            machine: 0.0,
            own: None,
            memory: None,
        }
    }

    fn with(self, outcome: &load::Outcome, seconds: f64) -> Self {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        Self {
            count: outcome.count as f64,
            rate: outcome.count as f64 / seconds,
            p50: micros(outcome.p50),
            p99: micros(outcome.p99),
            p999: Some(micros(outcome.p999)),
            failed: outcome.late as u64,
            ..self
        }
    }
}

/// What the own load comes to there: at that rate, or as much as can be, of echoes or requests.
fn generated(
    plan: &Plan,
    row: &Scenario,
    contender: Kind,
    round: u32,
    (address, rate, echo): (SocketAddr, u32, Option<usize>),
) -> Result<Measure> {
    let (path, connections, seconds) = (row.path(), row.connections, plan.seconds);
    let outcome = generate(&load::Args { address, path, connections, rate, seconds, echo })?;
    Ok(Measure::new(row, contender, round).with(&outcome, seconds))
}

/// Runs the own load on the client.
fn generate(args: &load::Args) -> Result<load::Outcome> {
    let mut command = Host::Client.command(std::env::current_exe()?);
    command.arg("load").args(["--address", &args.address.to_string(), "--path", &args.path]);
    command.args(["--connections", &args.connections.to_string(), "--rate", &args.rate.to_string()]);
    command.args(["--seconds", &args.seconds.to_string()]);
    if let Some(bytes) = args.echo {
        command.args(["--echo", &bytes.to_string()]);
    }
    let output = command.output().context("the load")?;
    anyhow::ensure!(output.status.success(), "the load: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("what the load says")
}
