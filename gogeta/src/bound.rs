//! All sockets that gogeta listens to, bound before anything runs: its own, inherited, or taken over.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use crate::app::{Addresses, StartError, system};
use crate::config::Config;
use crate::handover::{self, Keep, Predecessor};
use crate::proxy::listener::{self, Listener, Place};

/// All sockets.
pub(crate) struct Bound {
    /// The proxy's, by thread.
    pub(crate) proxy: Vec<Vec<Listener>>,
    /// The admin listener.
    pub(crate) admin: Option<TcpListener>,
    /// Where both are.
    pub(crate) addresses: Addresses,
    /// Where the next gogeta asks, and what it gets.
    pub(crate) upgrade: Option<UnixListener>,
    pub(crate) keep: Option<Keep>,
}

impl Bound {
    /// Binds them, or takes them over.
    ///
    /// # Errors
    ///
    /// Names the address, and its flag.
    pub(crate) fn new(
        config: &Config,
        mut places: Vec<Place>,
        mut predecessor: Option<&mut Predecessor>,
    ) -> Result<Self, StartError> {
        if let Some(predecessor) = &mut predecessor {
            places = predecessor.places(places);
        }
        let mut proxy: Vec<Vec<Listener>> = (0..config.threads).map(|_| Vec::new()).collect();
        let mut addresses = Addresses { proxy: Vec::new(), admin: None };
        let kept = |error| system("cannot keep a socket for upgrades")(error);
        let mut keep = config.upgrade.as_ref().map(|_| Keep::new()).transpose().map_err(kept)?;
        for place in places {
            let (address, listeners) = listener::open(place, config.threads)?;
            addresses.proxy.push(address);
            if let Some(keep) = &mut keep {
                keep.proxy(address, &listeners).map_err(kept)?;
            }
            for (index, listener) in listeners.into_iter().enumerate() {
                proxy[index % config.threads].push(listener);
            }
        }
        let taken = |address| predecessor.as_mut().and_then(|predecessor| predecessor.admin(address));
        let admin = match config.admin {
            Some(address) => Some(match config.admin.and_then(taken) {
                Some(listener) => listener,
                None => listener::bind_alone(address, "--admin")?,
            }),
            None => None,
        };
        addresses.admin = admin.as_ref().and_then(|listener| listener.local_addr().ok());
        if let (Some(keep), Some(listener), Some(address)) = (&mut keep, &admin, addresses.admin) {
            keep.admin(address, listener).map_err(kept)?;
        }
        let upgrade = match (&config.upgrade, predecessor) {
            // Behind the others: whoever has an address has the path.
            (Some(upgrade), None) => {
                let path = upgrade.socket.display();
                let failed = |error| {
                    StartError::System(format!("cannot listen at {path} (--upgrade-socket): {error}"))
                };
                Some(handover::listen(&upgrade.socket).map_err(failed)?)
            }
            _ => None,
        };
        Ok(Self { proxy, admin, addresses, upgrade, keep })
    }
}
