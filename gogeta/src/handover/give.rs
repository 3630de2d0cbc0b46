//! The running gogeta's half.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener as StdListener;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::geteuid;
use socket2::SockRef;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::message::{Drained, Message, PROTOCOL, Role, Sockets};
use super::{Fate, GIVEN, LENT, OWN, network, rights, service};
use crate::proxy::listener::Listener;
use crate::proxy::worker::Shared;
use crate::systemd::Systemd;

/// How long whoever has connected may take to say what it wants.
const ASK: Duration = Duration::from_secs(5);

/// The sockets of one place, kept to be given away.
#[derive(Debug)]
struct Kept {
    role: Role,
    address: SocketAddr,
    inherited: bool,
    sockets: Vec<OwnedFd>,
    fate: Arc<Fate>,
}

/// Descriptors of all listening sockets.
#[derive(Debug)]
pub struct Keep {
    all: Vec<Kept>,
    /// Looked up at the start, when nothing keeps this process from it yet.
    network: (u64, u64),
    service: String,
}

impl Keep {
    /// Nothing yet.
    ///
    /// # Errors
    ///
    /// Where the system does not say in which network namespace this is.
    pub fn new() -> io::Result<Self> {
        Ok(Self { all: Vec::new(), network: network()?, service: service() })
    }

    /// Keeps those of one place of the proxy's.
    ///
    /// # Errors
    ///
    /// The system's: it has no more descriptors.
    pub fn proxy(&mut self, address: SocketAddr, listeners: &[Listener]) -> io::Result<()> {
        let Some(first) = listeners.first() else { return Ok(()) };
        let mut sockets: Vec<OwnedFd> = Vec::new();
        let mut cookies = Vec::new();
        for listener in listeners {
            // Some have several descriptors of one.
            let cookie = rustix::net::sockopt::socket_cookie(&listener.socket)?;
            if !cookies.contains(&cookie) {
                cookies.push(cookie);
                sockets.push(listener.socket.try_clone()?.into());
            }
        }
        let (inherited, fate) = (first.inherited, first.fate.clone());
        self.all.push(Kept { role: Role::Proxy, address, inherited, sockets, fate });
        Ok(())
    }

    /// Keeps the admin listener.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn admin(&mut self, address: SocketAddr, listener: &TcpListener) -> io::Result<()> {
        let sockets = vec![listener.try_clone()?.into()];
        self.all.push(Kept { role: Role::Admin, address, inherited: false, sockets, fate: Arc::default() });
        Ok(())
    }

    /// What was the one is the other now.
    fn turn(&self, before: u8, after: u8) {
        for kept in &self.all {
            kept.fate.change(before, after);
        }
    }
}

/// What became of an upgrade that has come to its end.
#[derive(Debug)]
pub struct Taken {
    /// Who goes on.
    pub by: Heir,
    /// Whether it goes on everywhere.
    pub whole: bool,
    /// Whether it goes on as the admin listener, too.
    pub admin: bool,
}

/// The gogeta that asks.
#[derive(Debug, Clone)]
pub struct Heir {
    /// Its process, as this one sees it; 0 where it does not.
    pub pid: i32,
    /// Its version.
    pub version: String,
    /// Whether it is of the same service.
    is_here: bool,
}

impl Taken {
    /// Says so, with how many connections are open here.
    pub fn tell(&self, open: usize) {
        let Heir { pid, version, .. } = &self.by;
        tracing::info!(
            open,
            pid,
            version,
            "another gogeta has taken over: what is in flight here is finished; TERM to stop at once"
        );
    }
}

/// Whoever may take over from this gogeta, if anybody may.
#[derive(Debug, Default)]
pub struct Successor {
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    taken: mpsc::Receiver<Taken>,
}

impl Successor {
    /// Waits for one from now on, and gives it those sockets if it is ready in time; within a runtime.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn wait(listener: StdListener, keep: Keep, limit: Duration, shared: Arc<Shared>) -> io::Result<Self> {
        let (sender, taken) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let giver = Giver::new(listener, keep, limit, shared)?;
        let task = tokio::spawn(giver.run(sender, stopped));
        Ok(Self { waiting: Some(Waiting { task, stop, taken }) })
    }

    /// When one has taken over; for ever, where none does.
    pub async fn comes(&mut self) -> Taken {
        if let Some(waiting) = &mut self.waiting
            && let Some(taken) = waiting.taken.recv().await
        {
            return taken;
        }
        std::future::pending().await
    }

    /// Keeps no socket any more.
    pub async fn close(&mut self) {
        if let Some(Waiting { task, stop, .. }) = self.waiting.take() {
            // It may have ended by itself.
            let _ = stop.send(());
            let _ = task.await;
        }
    }
}

/// Waits for a successor.
#[derive(Debug)]
struct Giver {
    listener: UnixListener,
    own: OwnedFd,
    keep: Keep,
    limit: Duration,
    shared: Arc<Shared>,
    /// Who is about to start.
    busy: Mutex<Option<i32>>,
}

/// Why a successor does not get anything.
#[derive(Debug)]
enum Failure {
    /// It is told.
    Refused(String),
    /// It is gone.
    Gone(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl Giver {
    fn new(listener: StdListener, keep: Keep, limit: Duration, shared: Arc<Shared>) -> io::Result<Arc<Self>> {
        listener.set_nonblocking(true)?;
        let own = listener.try_clone()?.into();
        let listener = UnixListener::from_std(listener)?;
        Ok(Arc::new(Self { listener, own, keep, limit, shared, busy: Mutex::default() }))
    }

    /// Waits until a successor goes on, or this is to stop: then nothing is kept any more.
    async fn run(self: Arc<Self>, taken: mpsc::Sender<Taken>, stop: oneshot::Receiver<()>) {
        let mut sessions = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => drop(sessions.spawn(self.clone().serve(stream))),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept at --upgrade-socket");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                },
                Some(done) = sessions.join_next() => {
                    if let Ok(Some(done)) = done {
                        // Where nobody hears of it, this one is about to end anyway.
                        let _ = taken.send(done).await;
                        break;
                    }
                }
                _ = &mut stop => break,
            }
        }
        sessions.shutdown().await;
    }

    async fn serve(self: Arc<Self>, mut stream: UnixStream) -> Option<Taken> {
        let peer = match stream.peer_cred() {
            Ok(peer) => peer,
            Err(error) => {
                tracing::warn!(%error, "cannot see who is at --upgrade-socket");
                return None;
            }
        };
        let pid = peer.pid().unwrap_or_default();
        let own = geteuid().as_raw();
        let outcome = if peer.uid() == own || peer.uid() == 0 {
            self.upgrade(&mut stream, pid).await
        } else {
            Err(Failure::Refused(format!(
                "it runs as user {own}, and does not hand its sockets over to user {}",
                peer.uid()
            )))
        };
        match outcome {
            Ok(taken) => return Some(taken),
            Err(Failure::Gone(error)) => {
                tracing::warn!(
                    %error, pid, uid = peer.uid(),
                    "the gogeta that was to take over has gone before it was ready; this one goes on"
                );
            }
            Err(Failure::Refused(why)) => {
                tracing::warn!(
                    why,
                    pid,
                    uid = peer.uid(),
                    "another gogeta does not take over; this one goes on"
                );
                // Whoever does not listen is gone.
                let _ = timeout(ASK, Message::Refuse { why }.send(&mut stream)).await;
            }
        }
        None
    }

    async fn upgrade(&self, stream: &mut UnixStream, pid: i32) -> Result<Taken, Failure> {
        let refused = |why: String| Err(Failure::Refused(why));
        let until = Instant::now() + self.limit;
        let asked = timeout(ASK, Message::receive(&mut *stream)).await;
        let by = match asked {
            Ok(Ok(Message::Ask { protocol: PROTOCOL, version, network, service })) => {
                if network != self.keep.network {
                    return refused(
                        "it is in another network namespace, where its sockets hear nobody of this one; \
                         see docs/upgrading.md for containers"
                            .to_owned(),
                    );
                }
                Heir { pid, version, is_here: service == self.keep.service }
            }
            Ok(Ok(Message::Ask { protocol, version, .. })) => {
                return refused(format!(
                    "it ({}) speaks version {PROTOCOL} of the protocol, and {version} speaks {protocol}: \
                     stop the old one, and start the new one",
                    env!("CARGO_PKG_VERSION")
                ));
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(error.into()),
            _ => return refused("it was not asked as a gogeta asks".to_owned()),
        };
        let _busy = match Busy::claim(&self.busy, pid) {
            Ok(busy) => busy,
            Err(other) => {
                return refused(format!(
                    "another upgrade is under way, by process {other}; try again when that has come to its end"
                ));
            }
        };
        self.keep.turn(OWN, LENT);
        let outcome = self.lend(stream, by, until).await;
        if outcome.is_err() {
            self.keep.turn(LENT, OWN);
        }
        outcome
    }

    /// Lends all sockets, and gives those away that the successor goes on with. Where this does not come to its end, for
    /// this gogeta is to, they stay lent: whoever has them may go on with them.
    async fn lend(&self, stream: &mut UnixStream, by: Heir, until: Instant) -> Result<Taken, Failure> {
        let refused = |why: &str| Err(Failure::Refused(why.to_owned()));
        let offered = timeout(ASK, self.offer(stream)).await;
        offered.map_err(|_| Failure::Refused("it did not take the sockets".to_owned()))??;
        tracing::info!(pid = by.pid, version = by.version, "another gogeta is about to take over");
        let late = || {
            Failure::Refused(format!(
                "it was not ready within {} s (--upgrade-timeout)",
                self.limit.as_secs_f64()
            ))
        };
        let said = timeout_at(until, Message::receive(&mut *stream)).await.map_err(|_| late())??;
        let Message::Ready { taken } = said else {
            return refused("it said something else than that it is ready");
        };
        self.give(stream, by, &taken).await
    }

    /// Sends all sockets.
    async fn offer(&self, stream: &mut UnixStream) -> io::Result<()> {
        let mut sockets: Vec<Sockets> = Vec::new();
        let mut descriptors: Vec<BorrowedFd<'_>> = Vec::new();
        for Kept { role, address, inherited, sockets: some, .. } in &self.keep.all {
            // One that could not listen is of no use to anybody.
            let listen = |socket: &&OwnedFd| SockRef::from(*socket).is_listener().unwrap_or_default();
            let before = descriptors.len();
            descriptors.extend(some.iter().filter(listen).map(OwnedFd::as_fd));
            let (address, count) = (Some(*address), descriptors.len() - before);
            sockets.push(Sockets { role: *role, address, inherited: *inherited, count });
        }
        sockets.push(Sockets { role: Role::Upgrade, address: None, inherited: false, count: 1 });
        descriptors.push(self.own.as_fd());
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Message::Offer { version, sockets }.send(&mut *stream).await?;
        rights::send(stream, &descriptors).await
    }

    /// From here on they are the successor's.
    async fn give(
        &self,
        stream: &mut UnixStream,
        by: Heir,
        taken: &[(Role, SocketAddr)],
    ) -> Result<Taken, Failure> {
        let is_taken = |kept: &&Kept| taken.contains(&(kept.role, kept.address));
        for kept in self.keep.all.iter().filter(is_taken) {
            kept.fate.set(GIVEN);
        }
        if by.pid > 0 && by.is_here {
            Systemd::succeeded_by(by.pid);
        }
        let said = timeout(ASK, Message::Yours { drained: self.drained() }.send(&mut *stream)).await;
        if let Err(error) = said.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            self.keep.turn(GIVEN, LENT);
            return Err(error.into());
        }
        let whole = self.keep.all.iter().all(|kept| is_taken(&kept));
        let admin = taken.iter().any(|(role, _)| *role == Role::Admin);
        Ok(Taken { by, whole, admin })
    }

    /// What operators have drained here, which is in no store.
    fn drained(&self) -> Vec<Drained> {
        let routes = self.shared.routes.load();
        let instances = routes.services().flat_map(|service| service.instances.iter());
        instances
            .filter(|instance| instance.drained)
            .map(|instance| Drained {
                service: instance.service.to_string(),
                index: instance.index.to_string(),
            })
            .collect()
    }
}

/// Only one is about to start at a time.
struct Busy<'a>(&'a Mutex<Option<i32>>);

impl<'a> Busy<'a> {
    fn claim(place: &'a Mutex<Option<i32>>, pid: i32) -> Result<Self, i32> {
        let mut busy = place.lock().unwrap_or_else(PoisonError::into_inner);
        match *busy {
            Some(other) => Err(other),
            None => {
                *busy = Some(pid);
                Ok(Self(place))
            }
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
