//! The last of what takes more than serving does.

use super::{owner, user::User};
use crate::app::{Reread, StartError};
use crate::config::{Config, ConfigError, Source};
use crate::store::etcd;

/// From here on this is the user's process that it is to be, without capabilities, and so are its threads. There
/// must be none yet, and all must be bound and loaded that takes a privilege.
///
/// # Errors
///
/// Where the user is unknown or may not be become, or something that is read anew later could not be read then.
pub fn settle(config: &Config, reread: &Reread) -> Result<(), StartError> {
    if matches!(config.source, Source::Demo(_)) {
        // Its backends are threads of this process already.
        return Ok(());
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
    super::give_up().map_err(|error| system("cannot give up capabilities", error))?;
    // What cannot be read any more has to show now.
    reread()?;
    if let Source::Etcd(etcd) = &config.source {
        etcd::check(etcd)?;
    }
    tracing::info!("no capability is left");
    Ok(())
}
