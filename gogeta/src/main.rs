//! Exit codes and nothing else: 0 for a good end, 1 where the system says no or what was asked for is not so, 2 where
//! what was given is wrong or etcd cannot be used.

use std::process::ExitCode;

use gogeta::app::{self, StartError};
use gogeta::cli::{Cli, Command};
use gogeta::config::{Config, ConfigError, read_file};
use gogeta::{commands, demo};

/// A request makes some six allocations; this allocator makes them cheaper than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::from_arguments(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let outcome = match &cli.command {
        None => serve(cli).map_err(|error| (error.to_string(), error.exit_code())),
        Some(Command::Demo(options)) => {
            demo::run(options).map_err(|error| (error.to_string(), error.exit_code()))
        }
        Some(command) => match commands::run(&cli, command) {
            Ok(code) => return ExitCode::from(code),
            Err(failure) => Err((failure.to_string(), failure.exit_code())),
        },
    };
    let Err((reason, code)) = outcome else { return ExitCode::SUCCESS };
    #[expect(clippy::print_stderr, reason = "the last word goes to whoever started gogeta, log or no log")]
    {
        eprintln!("gogeta: {reason}");
    }
    ExitCode::from(code)
}

fn serve(cli: Cli) -> Result<(), StartError> {
    let config = resolve(&cli)?;
    app::run(config, Box::new(move || resolve(&cli)), |_| {})
}

/// Flags, environment and file, as one.
fn resolve(cli: &Cli) -> Result<Config, ConfigError> {
    match &cli.config {
        Some(path) => {
            let mut config = Config::try_from(cli.options.or(&read_file(path)?)?)?;
            config.files.push(path.clone());
            Ok(config)
        }
        None => Config::try_from(cli.options.clone()),
    }
}
