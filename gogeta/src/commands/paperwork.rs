//! `gogeta completions` and `gogeta man`: what shells and readers want to know of the command line, written by it.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Failure;
use super::output::say;
use crate::cli::Cli;

/// The shell's completions, on standard output.
pub(super) fn completions(shell: Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gogeta", &mut script);
    say(&String::from_utf8_lossy(&script))?;
    Ok(0)
}

/// The manual: all pages into a directory, or the first one on standard output.
pub(super) fn man(directory: Option<&Path>) -> Result<u8, Failure> {
    let command = Cli::command();
    match directory {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command)
                .render(&mut page)
                .map_err(|error| Failure::No(format!("cannot write the manual: {error}")))?;
            say(&String::from_utf8_lossy(&page))?;
        }
        Some(directory) => {
            std::fs::create_dir_all(directory)
                .and_then(|()| clap_mangen::generate_to(command, directory))
                .map_err(|error| {
                    Failure::No(format!("cannot write the manual into {}: {error}", directory.display()))
                })?;
        }
    }
    Ok(0)
}
