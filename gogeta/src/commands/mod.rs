//! The commands beside serving: each talks to etcd (or a file, or a running gogeta), says what it did, and ends with a code.
//!
//! Exit codes: 0 where it is done or so; 1 where it is not, or was refused; 2 where what was given is wrong, or etcd
//! cannot be used. Standard output has the answer and nothing else: a table for people, JSON with `--json`.
//!
//! - `client`: a running gogeta's admin listener, asked
//! - `context`: where etcd is, and why a command failed
//! - `fields`: some fields of a config, set or removed
//! - `measures`: rates, times and amounts, as people read them
//! - `output`: tables, colours, JSON
//! - `routes`: etcd's keys as a route table, for those that show states

mod check;
mod client;
mod context;
mod document;
mod explain;
mod export;
mod fields;
mod import;
mod measures;
mod output;
mod paperwork;
mod register;
mod route;
mod routes;
mod service;
mod status;
mod top;
mod wait;
mod watch;

pub use context::Failure;

use crate::cli::{Cli, Command};

/// Runs a command to its end, and gives its exit code.
///
/// # Errors
///
/// [`Failure`], which has a code too.
pub fn run(cli: &Cli, command: &Command) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::No(format!("cannot start a runtime: {error}")))?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Demo(_) => Err(Failure::Usage("the demo is no command of etcd's".to_owned())),
            Command::Route(command) => route::run(cli, command).await,
            Command::Check(options) => check::run(cli, options).await,
            Command::Export(options) => export::run(cli, options).await,
            Command::Import(options) => import::run(cli, options).await,
            Command::Completions { shell } => paperwork::completions(*shell),
            Command::Man { directory } => paperwork::man(directory.as_deref()),
            Command::Register(options) => register::run(cli, options).await,
            Command::Explain(options) => explain::run(cli, options).await,
            Command::Status(options) => status::run(cli, options).await,
            Command::Top(options) => top::run(cli, options).await,
            Command::Service(command) => service::run(cli, command).await,
            Command::Wait(options) => wait::run(cli, options).await,
            Command::Watch(options) => watch::run(cli, options).await,
        }
    });
    match outcome {
        Err(Failure::Unheard) => Ok(0),
        outcome => outcome,
    }
}
