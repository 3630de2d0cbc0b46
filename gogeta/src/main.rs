//! Exit codes and nothing else: 0 for a good end, 1 where the system says no, 2 where what was given is wrong.

use std::process::ExitCode;

use clap::Parser;
use gogeta::app::{self, StartError};
use gogeta::cli::{Cli, Command, modernise};
use gogeta::config::{Config, ConfigError, read_file};
use gogeta::demo;

/// A request makes some ten small allocations; this allocator makes them cheaper than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse_from(modernise(std::env::args_os()));
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(
                clippy::print_stderr,
                reason = "the last word goes to whoever started gogeta, log or no log"
            )]
            {
                eprintln!("gogeta: {error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), StartError> {
    match &cli.command {
        Some(Command::Demo(options)) => demo::run(options),
        None => {
            let config = resolve(&cli)?;
            app::run(config, Box::new(move || resolve(&cli)), |_| {})
        }
    }
}

/// Flags, environment and file, as one.
fn resolve(cli: &Cli) -> Result<Config, ConfigError> {
    match &cli.config {
        Some(path) => Config::try_from(cli.options.or(&read_file(path)?)?),
        None => Config::try_from(cli.options.clone()),
    }
}
