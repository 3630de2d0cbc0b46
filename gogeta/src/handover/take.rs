//! The new gogeta's half.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::message::{Drained, Message, PROTOCOL, Role};
use super::{network, rights, service};
use crate::config::Upgrade;
use crate::control::Order;
use crate::proxy::listener::{Place, check};
use crate::proxy::worker::Shared;

/// How long the running one may take for an answer. It is at hand: nothing is to be done first.
const ANSWER: Duration = Duration::from_secs(5);

/// How often is looked whether there are routes.
const LOOK: Duration = Duration::from_millis(50);

/// Why nothing was taken over.
#[derive(Debug, thiserror::Error)]
#[error("cannot take over from the gogeta at {} (--upgrade-socket): {why}", path.display())]
pub struct HandoverError {
    path: PathBuf,
    why: String,
}

/// The running gogeta, which has lent its sockets, and goes on until this one is ready.
#[derive(Debug)]
pub struct Predecessor {
    path: PathBuf,
    stream: UnixStream,
    until: Instant,
    sockets: HashMap<(Role, SocketAddr), Offered>,
    upgrade: UnixListener,
    taken: Vec<(Role, SocketAddr)>,
}

#[derive(Debug)]
struct Offered {
    inherited: bool,
    sockets: Vec<OwnedFd>,
}

impl Predecessor {
    /// Asks for all sockets of the gogeta that runs; none where none does.
    ///
    /// # Errors
    ///
    /// [`HandoverError`], where there is one that does not hand them over, or somebody else.
    pub fn ask(upgrade: &Upgrade) -> Result<Option<Self>, HandoverError> {
        let failed = |why: String| HandoverError { path: upgrade.socket.clone(), why };
        let until = Instant::now() + upgrade.timeout;
        let Some(stream) = connect(upgrade).map_err(|error| failed(unreachable(&error)))? else {
            return Ok(None);
        };
        let outcome = check_owner(&stream).and_then(|()| talk(&stream));
        let (version, offered) = outcome.map_err(failed)?;
        let (mut sockets, mut listener) = (HashMap::new(), None);
        for (role, address, one) in offered {
            match (role, address) {
                (Role::Upgrade, _) => listener = one.sockets.into_iter().next().map(UnixListener::from),
                (_, Some(address)) => drop(sockets.insert((role, address), one)),
                (_, None) => return Err(failed("it sent a socket without an address".to_owned())),
            }
        }
        let upgrade = listener.ok_or_else(|| failed("it kept its own socket".to_owned()))?;
        let path = failed(String::new()).path;
        tracing::info!(
            socket = %path.display(), version, listens = ?addresses(&sockets),
            "another gogeta runs, and goes on until this one is ready to take over"
        );
        Ok(Some(Self { path, stream, until, sockets, upgrade, taken: Vec::new() }))
    }

    /// These places, with the other one's sockets where it has some.
    pub fn places(&mut self, places: Vec<Place>) -> Vec<Place> {
        let take = |place| match place {
            Place::Address(address) => match self.take(Role::Proxy, address) {
                Some(Offered { inherited, sockets }) => Place::Taken { address, sockets, inherited },
                None => Place::Address(address),
            },
            other => other,
        };
        places.into_iter().map(take).collect()
    }

    /// The admin listener, where it has one there.
    pub fn admin(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let taken = self.take(Role::Admin, address)?;
        taken.sockets.into_iter().next().map(TcpListener::from)
    }

    fn take(&mut self, role: Role, address: SocketAddr) -> Option<Offered> {
        let taken = self.sockets.remove(&(role, address))?;
        self.taken.push((role, address));
        Some(taken)
    }

    /// How long this one may take until it is ready.
    fn patience(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    fn why(&self, why: impl Into<String>) -> HandoverError {
        HandoverError { path: self.path.clone(), why: why.into() }
    }

    /// Says that this one is ready. From here on the sockets are its own; gives the one that upgrades come by, and what
    /// operators had told the other one alone.
    ///
    /// # Errors
    ///
    /// [`HandoverError`], where the other one does not want to end any more.
    fn ready(self) -> Result<(UnixListener, Vec<Drained>), HandoverError> {
        // What it listens to, and this one does not, is its own alone.
        drop(self.sockets);
        let failed = |why: String| HandoverError { path: self.path.clone(), why };
        let answer = match exchange(&self.stream, &Message::Ready { taken: self.taken }) {
            // It must not be both that the other one ends, and that this one gives up.
            Err(error) if is_late(&error) => last_word(&self.stream).map_err(|_| error),
            answer => answer,
        };
        match answer {
            Ok(Message::Yours { drained }) => Ok((self.upgrade, drained)),
            Ok(Message::Refuse { why }) => Err(failed(why)),
            Ok(_) => Err(failed("it said something else than was asked".to_owned())),
            Err(error) if is_gone(&error) => {
                tracing::warn!("the other gogeta has ended by itself; this one goes on with its sockets");
                Ok((self.upgrade, Vec::new()))
            }
            Err(error) => Err(failed(unreadable(&error))),
        }
    }
}

/// Takes over, as soon as this one serves what it is to: gives the socket that upgrades come by.
///
/// # Errors
///
/// [`HandoverError`], where this one is not ready in time, or the other one does not end.
pub async fn succeed(
    predecessor: Predecessor,
    shared: &Shared,
    orders: &mpsc::Sender<Order>,
) -> Result<UnixListener, HandoverError> {
    let mut changed = shared.changed.subscribe();
    let loaded = async {
        while !shared.loaded.load(Ordering::Acquire) {
            // It is said behind the change, which is some microseconds.
            let _ = timeout(LOOK, changed.changed()).await;
        }
    };
    if timeout(predecessor.patience(), loaded).await.is_err() {
        return Err(predecessor.why("this one has no routes yet, and its time is up (--upgrade-timeout)"));
    }
    let (listener, drained) = predecessor.ready()?;
    for Drained { service, index } in drained {
        let (done, told) = oneshot::channel();
        let name = service.as_str().into();
        let order = Order::Drain { service: name, index: index.clone(), drained: true, done };
        if orders.send(order).await.is_ok() && told.await.is_ok_and(|is_there| is_there) {
            tracing::info!(service, index, "it was drained by hand, and stays so");
        }
    }
    Ok(listener)
}

fn addresses(sockets: &HashMap<(Role, SocketAddr), Offered>) -> Vec<SocketAddr> {
    let mut all: Vec<_> = sockets.keys().map(|(_, address)| *address).collect();
    all.sort_unstable();
    all
}

/// A connection to the gogeta that runs; none where none does.
fn connect(upgrade: &Upgrade) -> io::Result<Option<UnixStream>> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One that does not accept must not keep this one for ever.
    socket.set_write_timeout(Some(ANSWER))?;
    socket.set_read_timeout(Some(ANSWER))?;
    match socket.connect(&SockAddr::unix(&upgrade.socket)?) {
        Ok(()) => Ok(Some(UnixStream::from(OwnedFd::from(socket)))),
        // What is no socket refuses, too; nobody replaces it.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whoever is not this user, nor root, could listen along. Root may take from anybody: it was told where.
fn check_owner(stream: &UnixStream) -> Result<(), String> {
    let (owner, own) = (socket_peercred(stream).map_err(|error| error.to_string())?.uid, geteuid());
    if owner == own || owner.is_root() || own.is_root() {
        Ok(())
    } else {
        Err(format!(
            "it is user {owner}'s, and this one runs as user {own}",
            owner = owner.as_raw(),
            own = own.as_raw()
        ))
    }
}

/// Says something, and hears what is said to that, or was said before it.
fn exchange(stream: &UnixStream, message: &Message) -> io::Result<Message> {
    // Whoever does not listen any more may have said why.
    let said = message.write(stream);
    Message::read(stream).map_err(|error| said.err().unwrap_or(error))
}

/// What the other one has said by now; from here on it cannot say anything, and learns so.
fn last_word(stream: &UnixStream) -> io::Result<Message> {
    stream.shutdown(Shutdown::Read)?;
    Message::read(stream)
}

type Answer = (String, Vec<(Role, Option<SocketAddr>, Offered)>);

fn talk(stream: &UnixStream) -> Result<Answer, String> {
    let system = |error: io::Error| unreadable(&error);
    let network = network().map_err(system)?;
    let (version, service) = (env!("CARGO_PKG_VERSION").to_owned(), service());
    let ask = Message::Ask { protocol: PROTOCOL, version, network, service };
    let (version, sockets) = match exchange(stream, &ask).map_err(system)? {
        Message::Offer { version, sockets } => (version, sockets),
        Message::Refuse { why } => return Err(why),
        _ => return Err("it said something else than was asked".to_owned()),
    };
    let count = sockets.iter().map(|some| some.count).sum();
    let mut all = rights::receive(stream, count).map_err(system)?.into_iter();
    let mut offered = Vec::new();
    for some in sockets {
        let sockets: Vec<_> = all.by_ref().take(some.count).collect();
        if let Some(address) = some.address {
            let wrong = sockets.iter().find_map(|socket| match check(socket) {
                Ok(there) if there == address => None,
                Ok(there) => Some(format!("it sent a socket of {there} for {address}")),
                Err(why) => Some(format!("it sent a wrong socket for {address}: {why}")),
            });
            if let Some(wrong) = wrong.or_else(|| sockets.is_empty().then(|| "it sent nothing".to_owned())) {
                return Err(wrong);
            }
        }
        offered.push((some.role, some.address, Offered { inherited: some.inherited, sockets }));
    }
    Ok((version, offered))
}

fn unreachable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{error}; start this one as the same user"),
        _ => unreadable(error),
    }
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        _ if is_late(error) => {
            format!("it does not answer within {} s", ANSWER.as_secs())
        }
        io::ErrorKind::UnexpectedEof => "it ended in the midst of it".to_owned(),
        _ => error.to_string(),
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}
