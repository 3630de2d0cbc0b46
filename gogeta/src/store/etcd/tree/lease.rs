//! Leases: keys that go when nobody keeps them.

use std::time::Duration;

use etcd_client::Error;

use super::Tree;
use crate::store::etcd::Reason;
use crate::store::etcd::connect::{in_time, reason};

impl Tree {
    /// A new lease of so long, by the second.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn grant(&mut self, ttl: Duration) -> Result<i64, Reason> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        in_time(self.client.lease_grant(seconds, None)).await.map(|lease| lease.id())
    }

    /// Keeps a lease for its time to live, from now on; false where there is no such lease any more. Gives up after
    /// `patience`: another endpoint may answer.
    ///
    /// # Errors
    ///
    /// Why etcd does not say.
    pub async fn keep_alive(&mut self, lease: i64, patience: Duration) -> Result<bool, Reason> {
        match tokio::time::timeout(patience, self.client.lease_keep_alive(lease)).await {
            Ok(Ok(_)) => Ok(true),
            // The client's own words for a time to live of 0.
            Ok(Err(Error::LeaseKeepAliveError(text))) if text == "lease not found" => Ok(false),
            Ok(Err(error)) => Err(reason(&error)),
            Err(_) => Err(format!("no answer within {patience:?}")),
        }
    }

    /// Ends a lease, and with it all of its keys at once.
    ///
    /// # Errors
    ///
    /// Why not.
    pub async fn revoke(&mut self, lease: i64) -> Result<(), Reason> {
        in_time(self.client.lease_revoke(lease)).await.map(drop)
    }
}
