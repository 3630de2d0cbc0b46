//! gogeta beside its peers: `cargo xtask bench data-plane` and `cargo xtask bench idle`.
//!
//! Every contender is measured in one run, in turn, over several rounds, between network namespaces. What counts are
//! ratios within a round.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark's output is what it is for")]

mod bare;
mod collector;
mod contender;
mod cost;
mod echo;
mod hosts;
mod idle;
mod load;
#[path = "../../machine.rs"]
mod machine;
mod measure;
mod plan;
mod plot;
mod process;
mod results;
mod serve;
mod tables;
mod wrk;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;

/// As gogeta's: it is in the comparison with it as bare hyper.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// gogeta beside its peers.
#[derive(Parser)]
enum Task {
    /// Throughput, latency, CPU and memory
    DataPlane(Options),
    /// Memory of connections that do nothing
    Idle(Options),
    /// Tables and pictures of the results that are in that folder
    Redraw { output: PathBuf },
    /// The same, where everything is in namespaces of its own
    #[command(hide = true)]
    Inside(Options),
    #[command(hide = true)]
    InsideIdle(Options),
    #[command(hide = true)]
    BareHyper { listen: SocketAddr, upstream: SocketAddr },
    #[command(hide = true)]
    Echo { listen: SocketAddr },
    #[command(hide = true)]
    Collector { listen: SocketAddr },
    #[command(hide = true)]
    Load(load::Args),
}

#[derive(clap::Args)]
struct Options {
    /// gogeta's program, in release
    #[arg(long)]
    gogeta: PathBuf,
    /// Where the results go
    #[arg(long)]
    output: PathBuf,
    /// A first look, which writes no results
    #[arg(long)]
    quick: bool,
    /// Only rows with this in their title; writes no results
    #[arg(long)]
    only: Option<String>,
    /// How often each row is measured: 3 times without this
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
}

impl Options {
    /// As arguments once more.
    fn again(&self, task: &str) -> Result<Vec<String>> {
        let mut arguments = vec![task, "--gogeta", utf8(&self.gogeta)?, "--output", utf8(&self.output)?];
        arguments.extend(self.quick.then_some("--quick"));
        arguments.extend(self.only.iter().flat_map(|only| ["--only", only]));
        let rounds = self.rounds.map(|rounds| format!("--rounds={rounds}"));
        Ok(arguments.into_iter().map(str::to_owned).chain(rounds).collect())
    }

    /// Whether this is one for the record.
    fn is_whole(&self) -> bool {
        !self.quick && self.only.is_none()
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::DataPlane(options) => options.again("inside").and_then(|line| hosts::enclosed(&line)),
        Task::Idle(options) => options.again("inside-idle").and_then(|line| hosts::enclosed(&line)),
        Task::Redraw { output } => redraw(&output),
        Task::Inside(options) => data_plane(&options),
        Task::InsideIdle(options) => idle(&options),
        Task::BareHyper { listen, upstream } => bare::serve(listen, upstream, contender::workers()),
        Task::Echo { listen } => serve::serve(listen, echo::give_back),
        Task::Collector { listen } => serve::serve(listen, collector::take),
        Task::Load(args) => load::run(&args).and_then(|outcome| {
            println!("{}", serde_json::to_string(&outcome)?);
            Ok(())
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn data_plane(options: &Options) -> Result<()> {
    let plan = if options.quick { plan::Plan::quick() } else { plan::Plan::whole() };
    let mut plan = plan.only(options.only.as_deref());
    plan.rounds = options.rounds.unwrap_or(plan.rounds);
    let folder = &hosts::raise()?;
    let setup = contender::Setup { gogeta: &options.gogeta, folder, logs: false };
    let _servers = setup.servers()?;
    let (field, missing) = measure::Field::start(&options.gogeta, folder, &plan)?;
    let measures = measure::all(&plan, &field, folder)?;
    let results = results::Results::new(&plan, missing, measures, versions());
    println!("{}", tables::markdown(&results));
    if options.is_whole() {
        write(&options.output.join(KEPT), &(serde_json::to_string_pretty(&results)? + "\n"))?;
        draw(&results, &options.output)?;
    }
    Ok(())
}

fn idle(options: &Options) -> Result<()> {
    let idle = idle::run(&options.gogeta, options.quick, versions())?;
    println!("{}", idle.markdown());
    if options.is_whole() {
        write(&options.output.join("idle.json"), &(serde_json::to_string_pretty(&idle)? + "\n"))?;
        write(&options.output.join("idle.md"), &idle.markdown())?;
    }
    Ok(())
}

/// The results, as they are kept.
const KEPT: &str = "data-plane.json";

/// Writes the tables and pictures of these.
fn draw(results: &results::Results, folder: &Path) -> Result<()> {
    write(&folder.join("data-plane.md"), &tables::markdown(results))?;
    write(&folder.join("throughput.svg"), &plot::throughput(results))?;
    write(&folder.join("latency.svg"), &plot::latency(results))?;
    write(&folder.join("cpu.svg"), &plot::cpu(results))
}

/// Draws the results once more that were kept.
fn redraw(folder: &Path) -> Result<()> {
    let path = folder.join(KEPT);
    let kept = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    draw(&serde_json::from_str(&kept).with_context(|| path.display().to_string())?, folder)
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())?;
    println!("written: {}", path.display());
    Ok(())
}

/// What the peers call themselves.
fn versions() -> Vec<String> {
    let say = |program: &str, option: &str, pick: fn(&str) -> Option<&str>| {
        let output = Command::new(program).arg(option).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        pick(&String::from_utf8_lossy(&text)).map(|version| format!("{program} {version}"))
    };
    [
        say("nginx", "-v", |text| text.trim().rsplit('/').next()),
        say("haproxy", "-v", |text| text.split_whitespace().nth(2)),
        say("caddy", "version", |text| text.split_whitespace().next()),
    ]
    .into_iter()
    .flatten()
    .collect()
}
