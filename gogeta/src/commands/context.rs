//! What commands start from: flags, environment and file, as one; and the ways in which they fail.

use std::path::Path;

use crate::cli::{Cli, Common, EtcdFlags, Options};
use crate::config::{ConfigError, Etcd, read_file};
use crate::store::etcd::Reason;
use crate::store::etcd::tree::Tree;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It is not so, it was refused, or there was nothing to do it to.
    #[error("{0}")]
    No(String),
    /// What was given is wrong.
    #[error("{0}")]
    Usage(String),
    /// etcd cannot be used.
    #[error("cannot use etcd (--etcd-address): {0}")]
    Etcd(Reason),
    /// No running gogeta can be asked.
    #[error("{0}")]
    Away(String),
    /// Nobody listens to the answer any more, which is no mistake of anyone's.
    #[error("nobody listens any more")]
    Unheard,
}

impl Failure {
    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unheard => 0,
            Self::No(_) => 1,
            Self::Usage(_) | Self::Etcd(_) | Self::Away(_) => 2,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// A command's options: its own flags go before those in front of the command and the environment, these before the
/// file.
pub(super) fn options(cli: &Cli, flags: &EtcdFlags, file: Option<&Path>) -> Result<Options, Failure> {
    let options = flags.options().or(&cli.options)?;
    match file.or(cli.config.as_deref()) {
        Some(path) => Ok(options.or(&read_file(path)?)?),
        None => Ok(options),
    }
}

/// Where etcd is.
pub(super) fn etcd(options: &Options) -> Result<Etcd, Failure> {
    if let (Some(file), None) = (&options.routes, &options.etcd_address) {
        return Err(Failure::Usage(format!(
            "the routes come from the file {} (--routes), which is changed by an editor; \
             this command is for etcd, which --etcd-address names",
            file.display()
        )));
    }
    let etcd = Etcd::of(options)?;
    crate::store::etcd::check(&etcd)?;
    Ok(etcd)
}

/// The way to etcd.
pub(super) async fn open(cli: &Cli, common: &Common) -> Result<Tree, Failure> {
    open_by(cli, &common.etcd, common.config.as_deref()).await
}

/// The same, for a command whose `--config` is something else.
pub(super) async fn open_by(cli: &Cli, flags: &EtcdFlags, file: Option<&Path>) -> Result<Tree, Failure> {
    let etcd = etcd(&options(cli, flags, file)?)?;
    Tree::open(&etcd).await.map_err(Failure::Etcd)
}
