//! How many instructions and allocations a request takes in gogeta: numbers that do not depend on how busy the machine
//! is.
//!
//! gogeta serves so many requests under valgrind, and twice as many; what that differs by is theirs, but for what
//! gogeta does every now and then while there is nothing to do. That is counted, too, and subtracted by the time that
//! passed, or a busy machine would make requests dearer. Then the same without valgrind, over an allocator that counts.

mod counted;
mod exchange;
pub(crate) mod record;
pub(crate) mod scenario;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs, thread};

use anyhow::{Context as _, Result, bail};

use crate::{command, tools, workspace};
use counted::{Counted, Meter, Run};
use exchange::exchange;
use record::{FILE, Record, Unit};
use scenario::Scenario;

/// Requests that are counted, beyond as many that are not.
const REQUESTS: i64 = 500;

/// For how long gogeta is left alone to see what it does by itself.
const QUIET: Duration = Duration::from_secs(10);

/// The profile that CI can afford to build.
pub(crate) const PROFILE: &str = "counts";

/// Counts, and fails where a scenario takes more than it did.
///
/// # Errors
/// When one does, or nothing can be counted.
pub(crate) fn check() -> Result<()> {
    if let Some(instruction) = tools::provide(&[tools::named("valgrind")], true)? {
        bail!("what counts instructions is missing: {instruction}");
    }
    let now = count()?;
    let file = workspace::root().join(FILE);
    let before = Record::parse(&fs::read_to_string(file).with_context(|| format!("cannot read {FILE}"))?)?;
    if !before.is_of_the_host_of(&now) {
        println!("SKIPPED: {FILE} is of {}, and this is {}", before.host, now.host);
        return Ok(());
    }
    let outcome = before.compare(&now);
    for note in &outcome.notes {
        println!("note: {note}");
    }
    if outcome.failures.is_empty() {
        return Ok(());
    }
    bail!(
        "requests take more than they did:\n  {}\nif that is worth it, or the record is old: \
         `cargo xtask bench micro --update`, and commit {FILE}",
        outcome.failures.join("\n  ")
    )
}

/// Counts, and makes it the record.
///
/// # Errors
/// When nothing can be counted, or the record not be written.
pub(crate) fn update() -> Result<()> {
    let now = count()?;
    let text = now.render();
    fs::write(workspace::root().join(FILE), &text).with_context(|| format!("cannot write {FILE}"))?;
    println!("written to {FILE}");
    Ok(())
}

/// Builds gogeta with this profile; gives where it is.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn build(profile: &str) -> Result<PathBuf> {
    Ok(workspace::build(profile, &["gogeta"])?.join("gogeta"))
}

/// Counts what each scenario takes of a gogeta that is built for it, and tells what it finds.
///
/// # Errors
/// When gogeta cannot be built, valgrind is not here, or gogeta does not answer as it should.
pub(crate) fn count() -> Result<Record> {
    let folder = workspace::build(PROFILE, &["gogeta", "gogeta-counting"])?;
    let mut record = instructions(&folder.join("gogeta"))?;
    let counting = folder.join("gogeta-counting");
    println!("allocations and bytes per request, of {}:", counting.display());
    for scenario in scenario::ALL {
        let counts = one(Meter::Allocations, &counting, scenario, 0)
            .with_context(|| format!("cannot count the allocations of {}", scenario.name))?;
        let shown: String = counts.iter().map(|count| format!("{:>10}", record::show(*count, ','))).collect();
        println!("{:<12}{shown}  {}", scenario.name, scenario.what);
        let named = [Unit::Allocations, Unit::Bytes].into_iter().zip(counts);
        record.counts.extend(named.map(|(unit, count)| (unit, scenario.name.to_owned(), count)));
    }
    Ok(record)
}

/// Counts the instructions of each scenario with this binary, and tells what it finds.
///
/// # Errors
/// When valgrind is not here, or gogeta does not answer as it should.
pub(crate) fn instructions(binary: &Path) -> Result<Record> {
    let (rustc, host) = compiler()?;
    let mut counts = Vec::new();
    println!("instructions per request, of {}:", binary.display());
    let quiet = quiet(binary).context("cannot count what gogeta does by itself")?;
    for scenario in scenario::ALL {
        let count = one(Meter::Instructions, binary, scenario, quiet)
            .with_context(|| format!("cannot count {}", scenario.name))?;
        let count = *count.first().context("valgrind has not counted")?;
        println!("{:<12}{:>10}  {}", scenario.name, record::show(count, ','), scenario.what);
        counts.push((Unit::Instructions, scenario.name.to_owned(), count));
    }
    println!("{:<12}{:>10}  in a second with nothing to do, not in the others", "", quiet);
    Ok(Record { rustc, host, counts })
}

/// What one request takes, where gogeta takes `quiet` in a second by itself.
fn one(meter: Meter, binary: &Path, scenario: &Scenario, quiet: i64) -> Result<Vec<u64>> {
    let ask = |times| {
        serve(meter, binary, scenario, move |gogeta, backend| exchange(gogeta, backend, scenario, times))
    };
    let (once, twice) = (ask(REQUESTS)?, ask(2 * REQUESTS)?);
    let others = (twice.millis - once.millis) * quiet / 1000;
    let each = once.counts.iter().zip(&twice.counts).map(|(once, twice)| {
        u64::try_from((twice - once - others + REQUESTS / 2) / REQUESTS)
            .context("twice the requests took less")
    });
    each.collect()
}

/// Instructions that gogeta executes in a second with nothing to do.
fn quiet(binary: &Path) -> Result<i64> {
    let serve = |asked: fn() -> Result<()>| {
        serve(Meter::Instructions, binary, &scenario::ALL[0], move |_, _| asked())
    };
    let short = serve(|| Ok(()))?;
    let long = serve(|| {
        thread::sleep(QUIET);
        Ok(())
    })?;
    let instructions = |run: &Run| run.counts.first().copied().unwrap_or_default();
    Ok((instructions(&long) - instructions(&short)) * 1000 / (long.millis - short.millis).max(1))
}

fn serve(
    meter: Meter,
    binary: &Path,
    scenario: &Scenario,
    asked: impl FnOnce(&Counted, &TcpListener) -> Result<()>,
) -> Result<Run> {
    let folder = workspace::target().join("counts-of").join(scenario.name);
    let backend = TcpListener::bind("127.0.0.1:0")?;
    let gogeta = Counted::start(meter, binary, &folder, scenario, backend.local_addr()?.port())?;
    asked(&gogeta, &backend)?;
    gogeta.end()
}

/// rustc's version, and the triple that it makes code for.
fn compiler() -> Result<(String, String)> {
    let said =
        command::output(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"))?;
    let line =
        |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned());
    line("release:").zip(line("host:")).context("rustc does not say which one it is")
}
