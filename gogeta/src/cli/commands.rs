//! What gogeta can do besides serving, and the flags of it.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

/// What gogeta can do besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the main job with nothing else installed: backends, routes in each state, proxy and admin page.
    Demo(DemoOptions),
}

/// The flags of `gogeta demo`.
#[derive(Debug, Args)]
pub struct DemoOptions {
    /// Where the proxy listens; another port is taken where this one is in use.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7777")]
    pub listen: SocketAddr,
    /// Where the admin page listens; another port is taken where this one is in use.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7778")]
    pub admin: SocketAddr,
}
