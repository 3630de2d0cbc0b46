//! A worker: one thread, one runtime, its listeners, its connections.
//!
//! A request never leaves its thread: client and upstream connections live in the same runtime, and no other
//! thread is woken on the way. Connections are spread by the kernel (SO_REUSEPORT) and, since long ones can pile
//! up on one thread, handed to the thread that has the fewest when they are accepted. An inherited socket is shared
//! by a few threads, and they hand over in the same way.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{SendFlags, SocketFlags};
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::guests::{Guest, Guests, Place};
use super::headers::forwarded::is_trusted;
use super::listener::{BACKLOG, Listener, let_nobody_in};
use super::vitals::Clock;
use super::worker::{Shared, Worker};
use super::{connection, record};
use crate::task_dump;
use crate::watched::Watched;

/// What a worker can be told.
#[derive(Debug)]
pub enum Command {
    /// Serve this client, which another worker accepted.
    Serve(StdStream, SocketAddr, Guest),
    /// Say what every task waits for.
    Dump(oneshot::Sender<String>),
    /// Answer, which whoever is stuck cannot.
    Ping(oneshot::Sender<()>),
}

/// Where all workers can be told something.
pub type Mailboxes = Arc<[mpsc::UnboundedSender<Command>]>;

/// How the workers are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Stage {
    /// There, and not accepting yet.
    Shut,
    /// Accepting.
    Open,
    /// Finishing what is there.
    Draining,
    /// Stopping, whatever is there.
    Over,
}

/// Running workers.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    /// Their mailboxes.
    pub mailboxes: Mailboxes,
    stage: watch::Sender<Stage>,
}

impl Workers {
    /// Starts a thread for each of `listeners`' sets. They accept when they are [opened](Self::open).
    ///
    /// # Errors
    ///
    /// Where the system gives no thread or no runtime.
    pub fn start(shared: &Arc<Shared>, listeners: Vec<Vec<Listener>>) -> io::Result<Self> {
        let (stage, stages) = watch::channel(Stage::Shut);
        let (mailboxes, boxes): (Vec<_>, Vec<_>) =
            listeners.iter().map(|_| mpsc::unbounded_channel()).unzip();
        let mailboxes: Mailboxes = mailboxes.into();
        let doors = Arc::new(());
        let mut threads = Vec::new();
        for (index, (listeners, mailbox)) in listeners.into_iter().zip(boxes).enumerate() {
            let start = Start {
                index,
                shared: shared.clone(),
                listeners: listeners.into_iter().map(|listener| (listener, doors.clone())).collect(),
                doors: Arc::downgrade(&doors),
                mailbox,
                mailboxes: mailboxes.clone(),
                stage: stages.clone(),
            };
            threads.push(
                std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || start.run())?,
            );
        }
        Ok(Self { threads, mailboxes, stage })
    }

    /// Accepts, from now on.
    pub fn open(&self) {
        self.stage.send_replace(Stage::Open);
    }

    /// Stops accepting, and waits until every client has been served or `limit` has passed.
    pub async fn drain(self, limit: Duration) {
        self.stage.send_replace(Stage::Draining);
        let stage = self.stage;
        let threads = self.threads;
        let all = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A worker that panicked has nothing left to finish.
                let _ = thread.join();
            }
        });
        tokio::pin!(all);
        if tokio::time::timeout(limit, &mut all).await.is_err() {
            tracing::warn!(limit = ?limit, "the drain time-out has passed; what is still in flight is cut off (--drain-timeout)");
            stage.send_replace(Stage::Over);
            let _ = all.await;
        }
    }
}

/// What a worker's thread starts with.
struct Start {
    index: usize,
    shared: Arc<Shared>,
    /// Each with its part of what `doors` counts.
    listeners: Vec<(Listener, Arc<()>)>,
    /// The doors of all workers that are still open.
    doors: Weak<()>,
    mailbox: mpsc::UnboundedReceiver<Command>,
    mailboxes: Mailboxes,
    stage: watch::Receiver<Stage>,
}

impl Start {
    fn run(self) {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(Default::default())
        {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, worker = self.index, "cannot start a runtime");
                return;
            }
        };
        runtime.block_on(self.serve());
    }

    async fn serve(self) {
        let worker = Worker::new(self.index, self.shared);
        let mut accepting = Vec::new();
        for (listener, open) in self.listeners {
            let door = Door {
                worker: worker.clone(),
                mailboxes: self.mailboxes.clone(),
                stage: self.stage.clone(),
                _open: open,
            };
            accepting.push(tokio::task::spawn_local(door.accept(listener)));
        }
        tokio::task::spawn_local(read_mail(worker.clone(), self.mailbox));
        let tick = tokio::task::spawn_local(tick(worker.clone()));

        let mut stage = self.stage;
        let _ = stage.wait_for(|stage| *stage > Stage::Open).await;
        worker.draining.set(true);
        for door in accepting {
            // Only after it has taken in whoever was waiting already.
            let _ = door.await;
        }
        worker.ward.wake_all();
        let done = async {
            // Through an open door of another worker a client can still be handed to this one.
            while self.doors.strong_count() > 0 || worker.shared.guests.of_worker(worker.index) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = done => {}
            _ = stage.wait_for(|stage| *stage == Stage::Over) => {}
        }
        tick.abort();
        if let Some(access_log) = &worker.access_log {
            access_log.flush();
        }
    }
}

impl Worker {
    /// Serves a client in a task of its own.
    async fn admit(self: &Rc<Self>, stream: TcpStream, address: SocketAddr, guest: Guest) {
        // tokio polls all tasks to dump them, and a task that is spawned meanwhile is its panic. That poll ends here.
        tokio::task::yield_now().await;
        let worker = self.clone();
        tokio::task::spawn_local(async move {
            connection::serve(worker, stream, address).await;
            drop(guest);
        });
    }
}

/// Where clients come in.
struct Door {
    worker: Rc<Worker>,
    mailboxes: Mailboxes,
    stage: watch::Receiver<Stage>,
    /// Dropped with the door, when nobody comes through it any more.
    _open: Arc<()>,
}

impl Door {
    async fn accept(mut self, listener: Listener) {
        // Until then they may be another gogeta's, which goes on with them where this one does not come so far.
        if self.stage.wait_for(|stage| *stage != Stage::Shut).await.is_err() {
            return;
        }
        if let Err(error) = listener.listen() {
            return tracing::warn!(%error, "a thread has no socket of its own to accept from");
        }
        let Listener { socket, inherited, fate, .. } = listener;
        let listener = match Watched::new(socket) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "cannot accept"),
        };
        let guests = self.worker.shared.guests.clone();
        loop {
            let next = tokio::select! {
                biased;
                _ = self.stage.wait_for(|stage| *stage > Stage::Open) => break,
                next = next(&listener, &guests) => next,
            };
            if let Some((place, accepted)) = next {
                self.welcome(place, accepted).await;
            }
        }
        // From here on, whoever is admitted is told that this is the last answer.
        self.worker.draining.set(true);
        if fate.is_given() {
            // Whoever is in the queue is another gogeta's already.
            return;
        }
        // What another one has in its hands meanwhile may be its own before long.
        if let Err(error) = self.empty(&listener.into_inner().0, inherited || fate.is_lent()).await {
            tracing::warn!(%error, "cannot take in everyone who is waiting to be accepted");
        }
    }

    /// Takes in whoever is in the queue: the kernel told them that we are here, and would reset them when the
    /// listener is closed. tokio learns of them later than the kernel, so the kernel is asked.
    ///
    /// Whether somebody else has an inherited socket nobody can tell us. Where someone has, its queue stays, and
    /// what we leave in it is his; where nobody has, it ends with our descriptors. Right for both: newcomers are
    /// not kept out, as many are taken in as can have been waiting, and none of them only to be turned away.
    async fn empty(&self, listener: &TcpListener, inherited: bool) -> io::Result<()> {
        if !inherited {
            let engine = self.worker.shared.splice.as_ref().map(|splice| &*splice.engine);
            let_nobody_in(listener, engine);
        }
        let most = if inherited { BACKLOG } else { i32::MAX };
        for _ in 0..most {
            let place = self.worker.shared.guests.place_now();
            if inherited && place.is_none() {
                break;
            }
            match accept(listener) {
                Ok(accepted) => match place {
                    Some(place) => self.welcome(place, Ok(accepted)).await,
                    None => drop(accepted),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn welcome(&self, place: Place, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_connection(&error) => return,
            Err(error) => {
                // Out of descriptors or memory: others have to end first.
                self.worker.metrics.error("accept");
                if self.worker.may_log() {
                    tracing::error!(%error, "cannot accept a connection");
                }
                return tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, client = %address, "cannot set TCP_NODELAY");
        }
        self.worker.metrics.connection();
        let Worker { shared, index, .. } = &*self.worker;
        let trusted = is_trusted(address.ip(), &shared.config.load().trusted_proxies);
        let counted = (!trusted).then(|| address.ip().to_canonical());
        let Some(guest) = shared.guests.admit(place, *index, counted) else {
            self.worker.metrics.error("too_many");
            tracing::debug!(client = %address, "too many connections from this address (--max-connections-per-client)");
            record::unread(&self.worker, address.ip(), 429, 0);
            return turn_away(&stream);
        };
        let open = !self.worker.draining.get() && *self.stage.borrow() == Stage::Open;
        match shared.guests.idler_than(*index).filter(|_| open) {
            Some(other) => match stream.into_std() {
                Ok(stream) => {
                    let command = Command::Serve(stream, address, guest.moved_to(other));
                    drop(self.mailboxes[other].send(command));
                }
                Err(error) => tracing::warn!(%error, client = %address, "cannot hand a connection over"),
            },
            None => self.worker.admit(stream, address, guest).await,
        }
    }
}

/// Who comes next, once there is a place: at the bound, clients wait in the kernel's queue. No place is taken before
/// somebody is there, for it would be missing at the other doors. None where somebody
/// else has accepted them.
async fn next(
    listener: &AsyncFd<Watched<TcpListener>>,
    guests: &Guests,
) -> Option<(Place, io::Result<(TcpStream, SocketAddr)>)> {
    let mut ready = match listener.readable().await {
        Ok(ready) => ready,
        Err(error) => return Some((guests.place().await?, Err(error))),
    };
    let place = guests.place().await?;
    Some((place, ready.try_io(|listener| accept(&listener.get_ref().0)).ok()?))
}

fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, address) = rustix::net::acceptfrom_with(listener, flags)?;
    let address = address.ok_or(ErrorKind::ConnectionAborted)?.try_into()?;
    Ok((TcpStream::from_std(socket.into())?, address))
}

/// Says that there are too many, without waiting for whether it is heard.
fn turn_away(stream: &TcpStream) {
    let answer =
        b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    // A new socket has room for so little. The runtime does not know that yet, so the kernel is asked.
    let _ = rustix::net::send(stream, answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// Errors that say something about one client, not about us (accept(2)).
fn is_of_the_connection(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn read_mail(worker: Rc<Worker>, mut mailbox: mpsc::UnboundedReceiver<Command>) {
    while let Some(command) = mailbox.recv().await {
        match command {
            Command::Serve(stream, address, guest) => match TcpStream::from_std(stream) {
                Ok(stream) => worker.admit(stream, address, guest).await,
                Err(error) => tracing::warn!(%error, client = %address, "cannot take a connection over"),
            },
            Command::Dump(reply) => {
                drop(reply.send(task_dump::take(&format!("worker-{}", worker.index)).await))
            }
            Command::Ping(reply) => drop(reply.send(())),
        }
    }
}

async fn tick(worker: Rc<Worker>) {
    let mut interval = tokio::time::interval(Clock::TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut ticks = 0_u32;
    loop {
        interval.tick().await;
        worker.tick(ticks.is_multiple_of(5));
        ticks = ticks.wrapping_add(1);
    }
}
