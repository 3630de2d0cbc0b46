//! How many instructions a request takes in gogeta: a number that does not depend on how busy the machine is.
//!
//! gogeta serves so many requests under valgrind, and twice as many; what that differs by is theirs, but for what
//! gogeta does every now and then while there is nothing to do. That is counted, too, and subtracted by the time that
//! passed, or a busy machine would make requests dearer.

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
use counted::{Counted, Run};
use exchange::exchange;
use record::{FILE, Record};
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
    let now = count(&build(PROFILE)?)?;
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
        "requests take more instructions than they did:\n  {}\nif that is worth it, or the record is old: \
         `cargo xtask bench micro --update`, and commit {FILE}",
        outcome.failures.join("\n  ")
    )
}

/// Counts, and makes it the record.
///
/// # Errors
/// When nothing can be counted, or the record not be written.
pub(crate) fn update() -> Result<()> {
    let now = count(&build(PROFILE)?)?;
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

/// Counts each scenario with this binary, and tells what it finds.
///
/// # Errors
/// When valgrind is not here, or gogeta does not answer as it should.
pub(crate) fn count(binary: &Path) -> Result<Record> {
    let (rustc, host) = compiler()?;
    let mut counts = Vec::new();
    println!("instructions per request, of {}:", binary.display());
    let quiet = quiet(binary).context("cannot count what gogeta does by itself")?;
    for scenario in scenario::ALL {
        let count =
            one(binary, scenario, quiet).with_context(|| format!("cannot count {}", scenario.name))?;
        println!("{:<12}{:>10}  {}", scenario.name, record::show(count, ','), scenario.what);
        counts.push((scenario.name.to_owned(), count));
    }
    println!("{:<12}{:>10}  in a second with nothing to do, not in the others", "", quiet);
    Ok(Record { rustc, host, counts })
}

/// Instructions that one request takes, where gogeta executes `quiet` in a second by itself.
fn one(binary: &Path, scenario: &Scenario, quiet: i64) -> Result<u64> {
    let once = serve(binary, scenario, |gogeta, backend| exchange(gogeta, backend, scenario, REQUESTS))?;
    let twice = serve(binary, scenario, |gogeta, backend| exchange(gogeta, backend, scenario, 2 * REQUESTS))?;
    let others = (twice.millis - once.millis) * quiet / 1000;
    let more = twice.instructions - once.instructions - others;
    u64::try_from((more + REQUESTS / 2) / REQUESTS).context("twice the requests took less")
}

/// Instructions that gogeta executes in a second with nothing to do.
fn quiet(binary: &Path) -> Result<i64> {
    let scenario = &scenario::ALL[0];
    let short = serve(binary, scenario, |_, _| Ok(()))?;
    let long = serve(binary, scenario, |_, _| {
        thread::sleep(QUIET);
        Ok(())
    })?;
    Ok((long.instructions - short.instructions) * 1000 / (long.millis - short.millis).max(1))
}

fn serve(
    binary: &Path,
    scenario: &Scenario,
    asked: impl FnOnce(&Counted, &TcpListener) -> Result<()>,
) -> Result<Run> {
    let folder = workspace::target().join("instructions").join(scenario.name);
    let backend = TcpListener::bind("127.0.0.1:0")?;
    let gogeta = Counted::start(binary, &folder, scenario, backend.local_addr()?.port())?;
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
