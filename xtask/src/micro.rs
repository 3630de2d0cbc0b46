//! `cargo xtask bench micro`: what single steps of a request take, in time, and a whole one, in instructions.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::counts::record::{Record, Unit, percent, show};
use crate::counts::{self, scenario};
use crate::machine::machine;
use crate::{command, workspace};

/// How often instructions are counted for the page.
const ROUNDS: usize = 3;

/// A step's time, as Criterion has measured it.
struct Step {
    name: String,
    /// Of one call, in nanoseconds: the median, and the ends of its 95 % confidence interval.
    median: f64,
    low: f64,
    high: f64,
}

/// Times the steps and counts instructions; writes `docs/benchmarks/micro.*` unless it is a quick look.
///
/// # Errors
/// When something cannot be built, measured or written.
pub(crate) fn run(is_quick: bool) -> Result<()> {
    let steps = steps(is_quick)?;
    if is_quick {
        println!("\n{}", markdown(&steps, &[(counts::PROFILE, vec![counts::count()?])]));
        return Ok(());
    }
    let release = counts::build("release")?;
    let rounds =
        |count: &dyn Fn() -> Result<Record>| (0..ROUNDS).map(|_| count()).collect::<Result<Vec<_>>>();
    let counted = [
        ("release", rounds(&|| counts::instructions(&release))?),
        (counts::PROFILE, rounds(&counts::count)?),
    ];
    let page = markdown(&steps, &counted);
    println!("\n{page}");
    let folder = workspace::root().join("docs/benchmarks");
    fs::write(folder.join("micro.md"), page)?;
    fs::write(folder.join("micro.json"), serde_json::to_string_pretty(&json(&steps, &counted))? + "\n")?;
    println!("written to docs/benchmarks/micro.json and micro.md");
    Ok(())
}

/// Runs the benchmark of the steps; a quick look does without the minutes of fat LTO.
fn steps(is_quick: bool) -> Result<Vec<Step>> {
    let home = workspace::target().join("criterion-micro");
    if home.exists() {
        // Of steps that are no more.
        fs::remove_dir_all(&home)?;
    }
    let mut cargo = workspace::cargo();
    cargo.args(["bench", "--locked", "-p", "gogeta", "--bench", "micro"]);
    cargo.args(if is_quick { &["--profile", "counts", "--", "--quick"][..] } else { &[] });
    command::run(cargo.env("CRITERION_HOME", &home))?;
    let mut steps = Vec::new();
    for group in folders(&home)? {
        for step in folders(&group)? {
            let new = step.join("new");
            if new.exists() {
                steps.push(read(&new).with_context(|| format!("cannot read {}", new.display()))?);
            }
        }
    }
    steps.sort_by_key(|step| natural(&step.name));
    Ok(steps)
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

/// What Criterion keeps of a benchmark's last run.
fn read(folder: &Path) -> Result<Step> {
    let value = |file| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(folder.join(file))?)?) };
    let name = value("benchmark.json")?["full_id"].as_str().context("it has no name")?.to_owned();
    let median = &value("estimates.json")?["median"];
    let number = |pointer| median.pointer(pointer).and_then(Value::as_f64).context("it has no median");
    Ok(Step {
        name,
        median: number("/point_estimate")?,
        low: number("/confidence_interval/lower_bound")?,
        high: number("/confidence_interval/upper_bound")?,
    })
}

/// Sorts numbers in names by their value.
fn natural(name: &str) -> (String, u64, String) {
    let (group, step) = name.split_once('/').unwrap_or((name, ""));
    (group.to_owned(), step.parse().unwrap_or(u64::MAX), step.to_owned())
}

fn markdown(steps: &[Step], counted: &[(&str, Vec<Record>)]) -> String {
    let mut page = String::from("# Steps and instructions, measured\n\n");
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(page, "{text}").expect("text can be written");
    line(format_args!("By `cargo xtask bench micro`, which writes this page; [how](README.md)."));
    line(format_args!("{}.\n", made_on(counted)));
    line(format_args!("## A request in userspace\n"));
    line(format_args!(
        "Instructions, and by how much the highest of {} counts is above the lowest.\n",
        rounds(counted)
    ));
    let profiles = |cell: fn(&str) -> String| counted.iter().map(|(name, _)| cell(name)).collect::<String>();
    line(format_args!("| request |{}", profiles(|name| format!(" `--profile {name}` | spread |"))));
    line(format_args!("| --- |{}", profiles(|_| " --- | --- |".to_owned())));
    for scenario in scenario::ALL {
        let cells = counted.iter().map(|(_, rounds)| {
            let (low, median, high) = spread(rounds, Unit::Instructions, scenario.name);
            format!(" {} | {:.2} % |", show(median, ','), percent(low, high))
        });
        line(format_args!("| {} |{}", scenario.what, cells.collect::<String>()));
    }
    line(format_args!("\nAllocations, with `--profile {}`.\n", counts::PROFILE));
    line(format_args!("| request | allocations | bytes |\n| --- | --- | --- |"));
    for scenario in scenario::ALL {
        let rounds = counted.last().map_or(&[][..], |(_, rounds)| rounds);
        let cell = |unit| show(spread(rounds, unit, scenario.name).1, ',');
        let (allocations, bytes) = (cell(Unit::Allocations), cell(Unit::Bytes));
        line(format_args!("| {} | {allocations} | {bytes} |", scenario.what));
    }
    line(format_args!("\n## Single steps\n"));
    line(format_args!("Nanoseconds a call: the median, and its 95 % confidence interval.\n"));
    line(format_args!("| step | median | from | to |\n| --- | --- | --- | --- |"));
    for Step { name, median, low, high } in steps {
        line(format_args!("| {name} | {median:.1} | {low:.1} | {high:.1} |"));
    }
    page
}

fn json(steps: &[Step], counted: &[(&str, Vec<Record>)]) -> Value {
    let steps = steps.iter().map(|Step { name, median, low, high }| {
        json!({ "step": name, "median_ns": median, "low_ns": low, "high_ns": high })
    });
    let counts = counted.iter().flat_map(|(profile, rounds)| {
        scenario::ALL.iter().map(move |scenario| {
            let mut value = json!({ "request": scenario.name, "profile": profile });
            for unit in Unit::ALL {
                let counts: Vec<_> =
                    rounds.iter().filter_map(|round| round.count(unit, scenario.name)).collect();
                if !counts.is_empty() {
                    value[unit.name()] = json!(counts);
                }
            }
            value
        })
    });
    json!({
        "machine": made_on(counted),
        "requests": counts.collect::<Vec<_>>(),
        "steps": steps.collect::<Vec<_>>(),
    })
}

fn rounds(counted: &[(&str, Vec<Record>)]) -> usize {
    counted.first().map_or(0, |(_, rounds)| rounds.len())
}

/// The lowest, the middle and the highest of a scenario's counts.
fn spread(rounds: &[Record], unit: Unit, name: &str) -> (u64, u64, u64) {
    let mut counts: Vec<_> = rounds.iter().filter_map(|round| round.count(unit, name)).collect();
    counts.sort_unstable();
    let at = |at: usize| counts.get(at).copied().unwrap_or(0);
    (at(0), at(counts.len() / 2), at(counts.len().saturating_sub(1)))
}

/// What it ran on, and what made it.
fn made_on(counted: &[(&str, Vec<Record>)]) -> String {
    let rustc = counted.iter().flat_map(|(_, rounds)| rounds).next().map_or("", |record| &record.rustc);
    format!("{}, rustc {rustc}", machine())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_in_the_order_of_their_numbers() {
        let mut names = ["resolve/10000", "gate/post", "resolve/unknown", "resolve/1000", "gate/get"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["gate/get", "gate/post", "resolve/1000", "resolve/10000", "resolve/unknown"]);
    }

    #[test]
    fn the_middle_and_the_ends_are_found() {
        let round = |count| Record {
            rustc: String::new(),
            host: String::new(),
            counts: vec![(Unit::Bytes, "get".to_owned(), count)],
        };
        assert_eq!(spread(&[round(7), round(5), round(6)], Unit::Bytes, "get"), (5, 6, 7));
        assert_eq!(spread(&[], Unit::Bytes, "get"), (0, 0, 0));
    }
}
