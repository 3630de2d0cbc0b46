//! Whether names can still be resolved. Root has the resolver's files one by one, not the directory that they are in:
//! that one holds what is to be kept from whoever takes gogeta over. Where such a file is replaced, by a DHCP client for
//! one, root's gogeta cannot read the new one, and the C library goes on as if there were none, without a word.

use std::fs::File;
use std::io;
use std::time::Duration;

use super::Holds;

/// The file that says whom to ask.
const RESOLVER: &str = "/etc/resolv.conf";
/// How often it is looked at.
const PERIOD: Duration = Duration::from_secs(5);

/// Says in the log when it has become impossible to read whom to ask for names. Ends then; at once where that cannot be.
pub async fn watch(holds: Holds) {
    if holds.landlock.is_none() || holds.user != 0 {
        return;
    }
    let mut period = tokio::time::interval(PERIOD);
    loop {
        period.tick().await;
        if File::open(RESOLVER).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            tracing::error!(
                file = RESOLVER,
                "this file was replaced, and root's gogeta cannot read the new one within its sandbox: names are not \
                 resolved any more. Restart it; with --user it can read the new one"
            );
            return;
        }
    }
}
