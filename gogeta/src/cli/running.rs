//! The commands that ask a running gogeta, and their flags.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::EtcdFlags;
use crate::config::Seconds;

/// Where the running gogeta is.
#[derive(Debug, Clone, Default, Args)]
pub struct AdminFlags {
    /// The admin listener of the running gogeta [env: GOGETA_ADMIN] [default: http://127.0.0.1:7778]
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
    /// Read options from this TOML file, as the proxy does [env: GOGETA_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `gogeta status`
#[derive(Debug, Args)]
pub struct StatusOptions {
    /// JSON for programs, as /api/status has it, instead of text for people
    #[arg(long)]
    pub json: bool,
    /// Where the running gogeta is.
    #[command(flatten)]
    pub at: AdminFlags,
}

/// `gogeta top`
#[derive(Debug, Args)]
pub struct TopOptions {
    /// Ask so often
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub interval: Seconds,
    /// Where the running gogeta is.
    #[command(flatten)]
    pub at: AdminFlags,
}

/// `gogeta explain`
#[derive(Debug, Args)]
pub struct ExplainOptions {
    /// The host, with or without a port, as a client would ask for it; or a whole URL
    #[arg(value_name = "HOST|URL")]
    pub host: String,
    /// The path, with its query [default: /]
    pub path: Option<String>,
    /// The method
    #[arg(long, short = 'X', value_name = "METHOD", default_value = "GET")]
    pub method: String,
    /// A further field of the request's head; may be given several times
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// The address that it comes from
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub client: IpAddr,
    /// As by https, which the proxy in front says by X-Forwarded-Proto; so it is for a URL of https
    #[arg(long)]
    pub https: bool,
    /// Ask this routes file instead of the running gogeta
    #[arg(long, value_name = "FILE", help_heading = "Without a running gogeta")]
    pub routes: Option<PathBuf>,
    /// JSON for programs, instead of text for people
    #[arg(long)]
    pub json: bool,
    /// Where the running gogeta is.
    #[command(flatten)]
    pub at: AdminFlags,
    /// Where etcd is, if that is asked instead.
    #[command(flatten, next_help_heading = "Without a running gogeta")]
    pub etcd: EtcdFlags,
}
