//! The last of what takes more than serving does.

use super::{owner, user::User};
use crate::app::{Reread, StartError};
use crate::config::{Config, ConfigError, Source};
use crate::sandbox::{self, Holds, Needs};
use crate::splice::Kinds;
use crate::store::etcd;

/// From here on this is the user's process that it is to be, without capabilities and within its sandbox, and so are
/// its threads. There must be none yet, and all must be bound and loaded that takes a privilege,
/// `engine` among it.
///
/// # Errors
///
/// Where the user is unknown or may not be become, the sandbox cannot be had and was asked for, or something that is
/// read anew later could not be read then.
pub fn settle(config: &Config, engine: Option<Kinds>, reread: &Reread) -> Result<Holds, StartError> {
    if matches!(config.source, Source::Demo(_)) {
        // Its backends are threads of this process already.
        return Ok(Holds::default());
    }
    let system = |what: &str, error: std::io::Error| StartError::System(format!("{what}: {error}"));
    if let Some(text) = &config.user {
        let user = User::find(text).map_err(ConfigError)?;
        if rustix::process::geteuid().is_root() {
            owner::hand_over(config, &user).map_err(StartError::System)?;
        }
        // Behind that there is no right to.
        super::forget_bounds();
        user.become_him()
            .map_err(|error| system(&format!("--user {text} cannot be (it takes root)"), error))?;
    }
    if let Some(folder) = &config.control_plane.state_dir {
        // Only what is there can be open to the sandbox. Where it cannot be made, that is told when it is written to.
        let _ = std::fs::create_dir_all(folder);
    }
    super::give_up().map_err(|error| system("cannot give up capabilities", error))?;
    let needs = Needs {
        process: std::process::id(),
        // Whoever is to be told by a socket with a path: of what there is, only the service manager.
        local: std::env::var_os("NOTIFY_SOCKET").is_some(),
        maps: engine.is_some(),
        links: engine.is_some_and(|kinds| kinds.wire),
    };
    let holds = sandbox::enter(config, needs).map_err(StartError::System)?;
    // What cannot be read any more has to show now.
    reread()?;
    if let Source::Etcd(etcd) = &config.source {
        etcd::check(etcd)?;
    }
    tracing::info!(sandbox = %holds, "no capability is left");
    Ok(holds)
}
