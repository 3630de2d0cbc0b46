//! Following etcd: from what is known to what is new; and again, whatever breaks.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Reason;
use super::applied::Publisher;
use super::backoff::{Backoff, jitter};
use super::compare::{Comparison, Due};
use super::connect::{connect, readable};
use super::pages::Haste;
use super::papers::Papers;
use super::resume::obstacle;
use super::snapshot::{Snapshot, snapshot};
use super::watch::{Break, Opened, Watch, open, tells_progress};
use super::write::write;
use crate::config::{ControlPlane, Etcd};
use crate::feedback::Inbox;
use crate::routes::key::KeySpace;
use crate::routes::registry::Change;
use crate::store::position::{Position, Why};
use crate::store::{Event, Events, Names};

/// How often etcd is asked how far a quiet watch is: a compaction must not catch up with it.
const ASK: Duration = Duration::from_secs(10);
/// Revisions that say nothing about routes are passed on after so long.
const TELL: Duration = Duration::from_millis(500);
/// Between two tries to be who we are not taken for.
const REFUSED: Duration = Duration::from_secs(5);
/// Before what is doubted is read once more.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// All that following etcd takes.
#[derive(Debug)]
pub struct Course {
    /// Where etcd is.
    pub etcd: Etcd,
    /// How it is followed.
    pub plane: ControlPlane,
    /// Where what is known already ends; none where nothing is.
    pub start: Option<Position>,
    /// Where events go.
    pub events: Events,
    /// What requests have to say.
    pub inbox: Inbox,
    /// The revision that is served.
    pub applied: watch::Receiver<i64>,
    /// Told when gogeta is about to end.
    pub ending: Arc<Notify>,
}

/// Follows etcd for as long as someone listens.
pub async fn run(course: Course) {
    let Course { etcd, plane, start, events, inbox, applied, ending } = course;
    let space = KeySpace::new(&etcd.domain_dir, &etcd.service_dir);
    let follower = Follower {
        publisher: plane.publish_dir.as_deref().map(|directory| Publisher::new(directory, applied)),
        comparison: Comparison::every(plane.resync_interval),
        papers: Papers::watch(&etcd),
        names: Names::Keys(space.clone()),
        space,
        events,
        inbox,
        position: start,
        doubted: false,
        compacted: false,
        backoff: Backoff::default(),
        stale: Arc::default(),
        ending,
        etcd,
    };
    follower.run().await;
}

/// Why a connection is not followed any more.
enum End {
    /// Nobody listens.
    Nobody,
    /// What was read is doubted.
    Doubt,
    /// The way to etcd has to be made anew: certificates changed, or the token is worth nothing any more.
    Renew,
    /// The watch was too slow: what it needs has been compacted.
    Compacted,
    /// Something broke.
    Broken(Reason),
}

impl From<Break> for End {
    fn from(end: Break) -> Self {
        match end {
            Break::Compacted(_) => Self::Compacted,
            Break::Broken(reason) => Self::Broken(reason),
        }
    }
}

impl From<Reason> for End {
    fn from(reason: Reason) -> Self {
        Self::Broken(reason)
    }
}

struct Follower {
    etcd: Etcd,
    space: KeySpace,
    names: Names,
    events: Events,
    inbox: Inbox,
    position: Option<Position>,
    /// Whether what was read last was not believed.
    doubted: bool,
    /// Whether what comes behind the position has been compacted.
    compacted: bool,
    backoff: Backoff,
    comparison: Comparison,
    publisher: Option<Publisher>,
    papers: Papers,
    /// Told by whoever finds that etcd does not know us any more.
    stale: Arc<Notify>,
    /// Told when gogeta is about to end.
    ending: Arc<Notify>,
}

impl Follower {
    async fn run(mut self) {
        // Endpoints take turns. A client of several asks whichever is quickest to say something, and that is a dead
        // one that refuses the connection.
        let mut told = vec![String::new(); self.etcd.endpoints.len()];
        let mut turn = 0;
        while !self.events.is_closed() {
            let address = self.etcd.endpoints[turn].clone();
            let end = self.follow(&address).await;
            self.comparison.stop();
            match end {
                End::Nobody => return,
                // The same member, and no pause but one that a mistake of ours could not turn into a storm.
                End::Renew => tokio::time::sleep(self.backoff.pause()).await,
                End::Compacted => {
                    self.compacted = true;
                    tokio::time::sleep(self.backoff.pause()).await;
                }
                End::Doubt => {
                    turn = (turn + 1) % told.len();
                    tokio::time::sleep(SECOND_LOOK).await;
                }
                End::Broken(reason) => {
                    if self.events.send(Event::Down).await.is_err() {
                        return;
                    }
                    // A reason that stays is told once, not with each try; what was told before the last success
                    // is history.
                    if self.backoff.is_fresh() {
                        told.fill(String::new());
                    }
                    if told[turn] != reason {
                        tracing::error!(
                            address,
                            reason,
                            "cannot read routes from etcd (--etcd-address); the routes stay as they are, and gogeta goes on trying"
                        );
                        told[turn].clone_from(&reason);
                    }
                    turn = (turn + 1) % told.len();
                    // A password takes etcd a tenth of a second of work, and a wrong one stays wrong.
                    let refused =
                        reason.contains("authentication failed") || reason.contains("permission denied");
                    let pause = if refused { jitter(REFUSED) } else { self.backoff.pause() };
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Connects, finds what is new, then passes on what changes until something ends that.
    async fn follow(&mut self, address: &str) -> End {
        let outcome = async {
            let mut client = connect(&self.etcd, address).await?;
            let watch = self.begin(&mut client, address).await?;
            self.go_on(client, watch).await
        };
        match outcome.await {
            Ok(end) | Err(end) => end,
        }
    }

    /// Goes on from where the last watch was; where that is impossible, reads everything anew.
    async fn begin(&mut self, client: &mut Client, address: &str) -> Result<Watch, End> {
        let tells = tells_progress(client).await?;
        let why = match self.position.as_ref() {
            None => Why::First,
            Some(_) if self.compacted => Why::Compacted,
            Some(known) => match obstacle(client, &self.space, known).await? {
                Some(why) => why,
                None => match open(client, &self.space, known.revision + 1, tells).await? {
                    Opened::Watch(watch) => {
                        tracing::info!(
                            revision = known.revision,
                            address,
                            "watching etcd from where it was left"
                        );
                        self.arrived(true).await?;
                        return Ok(*watch);
                    }
                    Opened::Compacted => Why::Compacted,
                },
            },
        };
        let Snapshot { position, entries } = snapshot(client, &self.space, 0, Haste::Now).await?;
        let revision = position.revision;
        let Opened::Watch(watch) = open(client, &self.space, revision + 1, tells).await? else {
            return Err(End::Broken("etcd compacts faster than it can be read".to_owned()));
        };
        match why {
            Why::First => tracing::info!(revision, keys = entries.len(), address, "routes read from etcd"),
            _ => tracing::warn!(
                revision,
                known = self.position.as_ref().map_or(0, |known| known.revision),
                keys = entries.len(),
                address,
                reason = why.as_str(),
                "routes read anew from etcd: it could not be gone on from what was known"
            ),
        }
        let (doubted, answer) = oneshot::channel();
        // A second look is believed, whatever it shows.
        let doubted = (!std::mem::take(&mut self.doubted)).then_some(doubted);
        let second = doubted.is_none();
        let change = Change::Snapshot { revision, entries };
        self.send(Event::Reread { change, names: self.names.clone(), why, doubted }).await?;
        if !second && answer.await.unwrap_or(false) {
            self.doubted = true;
            return Err(End::Doubt);
        }
        self.position = Some(position);
        self.arrived(false).await?;
        Ok(*watch)
    }

    /// What is known is what etcd has.
    async fn arrived(&mut self, resumed: bool) -> Result<(), End> {
        self.doubted = false;
        self.compacted = false;
        self.backoff.reset();
        self.comparison.begin(resumed);
        self.tell_position().await?;
        self.send(Event::Up).await
    }

    async fn go_on(&mut self, client: Client, mut watch: Watch) -> Result<End, End> {
        // Aborted when this is dropped.
        let mut publishing =
            self.publisher.as_ref().map_or_else(JoinSet::new, |publisher| publisher.start(&client));
        let mut ask = interval(ASK);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begun = Instant::now();
        // A revision that is to be told, and when.
        let mut tell: Option<Instant> = None;
        loop {
            tokio::select! {
                response = watch.message() => {
                    watch.take_in(&self.space, &response?).await?;
                    let Some(position) = &mut self.position else { return Err(End::Nobody) };
                    let before = position.revision;
                    let ops = watch.take(position);
                    let revision = position.revision;
                    if !ops.is_empty() {
                        self.comparison.note(&ops);
                        let change = Change::Delta { revision, ops };
                        self.send(Event::Change { change, names: self.names.clone() }).await?;
                        self.tell_position().await?;
                        tell = None;
                    } else if revision > before && tell.is_none() {
                        tell = Some(Instant::now() + TELL);
                    }
                }
                () = sleep_until(tell.unwrap_or_else(Instant::now)), if tell.is_some() => {
                    tell = None;
                    self.tell_position().await?;
                }
                _ = ask.tick() => watch.ask_for_progress().await?,
                due = self.comparison.next() => match due {
                    Due::Read => {
                        let revision = self.position.as_ref().map_or(0, |position| position.revision);
                        self.comparison.read(&client, &self.space, revision);
                    }
                    Due::Compare(entries, except) => {
                        self.send(Event::Compared { entries, except, names: self.names.clone() }).await?;
                    }
                    Due::Failed(reason) => tracing::debug!(reason, "cannot compare the routes with etcd's now"),
                },
                batch = self.inbox.next() => match batch {
                    // Written by a task of its own: changes must not wait for it.
                    Some(batch) => {
                        drop(tokio::spawn(write(client.clone(), self.space.clone(), batch, self.stale.clone())));
                    }
                    None => return Ok(End::Nobody),
                },
                () = self.ending.notified() => {
                    publishing.shutdown().await;
                    if let Some(publisher) = self.publisher.take() {
                        publisher.withdraw(&client).await;
                    }
                }
                // Not more often than now and then, or a user who may write nothing would connect for ever.
                () = self.stale.notified(), if begun.elapsed() >= ASK => {
                    tracing::info!("etcd has forgotten who we are; connecting anew");
                    return Ok(End::Renew);
                }
                () = self.papers.changed() => match readable(&self.etcd) {
                    Ok(()) => {
                        tracing::info!("the certificates for etcd are new; connecting anew");
                        return Ok(End::Renew);
                    }
                    Err(reason) => tracing::warn!(reason, "the certificates for etcd changed; going on with the old ones"),
                },
            }
        }
    }

    async fn tell_position(&self) -> Result<(), End> {
        match &self.position {
            Some(position) => self.send(Event::At(position.clone())).await,
            None => Ok(()),
        }
    }

    async fn send(&self, event: Event) -> Result<(), End> {
        self.events.send(event).await.map_err(|_| End::Nobody)
    }
}
