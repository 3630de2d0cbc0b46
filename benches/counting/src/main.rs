//! gogeta over an allocator that counts. At its end it writes what it has counted to the file `allocations`.

mod allocator;

use std::fs;
use std::process::ExitCode;

use gogeta::app;
use gogeta::cli::Cli;
use gogeta::config::Config;

use allocator::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

fn main() -> ExitCode {
    let cli = Cli::from_arguments(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let resolve = move || Config::try_from(cli.options.clone());
    let served = resolve()
        .map_err(|error| error.to_string())
        .and_then(|config| app::run(config, Box::new(resolve), |_| {}).map_err(|error| error.to_string()));
    let (allocations, bytes) = ALLOCATOR.counted();
    let written = fs::write("allocations", format!("{allocations} {bytes}\n"));
    match served.and(written.map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            #[expect(clippy::print_stderr, reason = "who started it reads this")]
            {
                eprintln!("gogeta-counting: {reason}");
            }
            ExitCode::FAILURE
        }
    }
}
