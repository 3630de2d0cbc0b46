//! Asks a running gogeta for what is shown, again and again, and goes on asking while it is away.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::model::{Away, View};
use crate::commands::Failure;
use crate::commands::client::answers::{Changes, Domain, History, Page, Problems, Service, Status};
use crate::commands::client::{Client, encoded};
use crate::explain::Explanation;

/// So many rows are asked for at once; more is not given.
pub(super) const ROWS: usize = 1000;
/// The first pause while gogeta is away, and the longest; each is twice the one before.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wants {
    /// What is looked at.
    pub(super) view: View,
    /// What its names must have.
    pub(super) search: String,
    /// The state that it must have.
    pub(super) state: Option<&'static str>,
    /// Where in all of it the rows begin.
    pub(super) offset: usize,
    /// The host whose way is explained.
    pub(super) explain: Option<String>,
    /// Nothing is by itself, while somebody reads.
    pub(super) paused: bool,
    /// How often.
    pub(super) interval: Duration,
}

/// What gogeta said, all of it at about the same time.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    pub(super) status: Status,
    pub(super) history: History,
    pub(super) services: Option<Page<Service>>,
    pub(super) domains: Option<Page<Domain>>,
    pub(super) problems: Option<Problems>,
    pub(super) explanation: Option<(String, Explanation)>,
    /// Those that were not told yet.
    pub(super) changes: Changes,
    /// Whether this is another process than the one before.
    pub(super) reborn: bool,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum News {
    /// It answered.
    Fresh(Box<Fresh>),
    /// It did not.
    Away(Away),
}

/// The model's end of it.
pub(super) struct Feed(watch::Sender<Wants>);

impl Feed {
    /// Begins to ask.
    pub(super) fn start(client: Client, wants: Wants) -> (Self, mpsc::Receiver<News>) {
        let (sender, receiver) = watch::channel(wants);
        let (news, told) = mpsc::channel(1);
        tokio::spawn(Asking { client, wants: receiver, news, seen: 0, life: (0, 0) }.run());
        (Self(sender), told)
    }

    /// From now on this is asked for.
    pub(super) fn want(&mut self, wants: Wants) {
        self.0.send_if_modified(|before| {
            let is_new = *before != wants;
            *before = wants;
            is_new
        });
    }
}

struct Asking {
    client: Client,
    wants: watch::Receiver<Wants>,
    news: mpsc::Sender<News>,
    /// The last change that was told.
    seen: u64,
    /// Which process that was: its id and its start.
    life: (u32, i64),
}

impl Asking {
    /// Asks for as long as somebody listens.
    async fn run(mut self) {
        let (mut pause, mut is_new) = (FIRST, true);
        loop {
            let wants = self.wants.borrow_and_update().clone();
            let mut next = Instant::now() + wants.interval;
            // Who looks at something else while it is paused wants to see that.
            if is_new || !wants.paused {
                let news = match self.ask(&wants).await {
                    Ok(fresh) => {
                        pause = FIRST;
                        News::Fresh(Box::new(fresh))
                    }
                    Err(failure) => {
                        next = Instant::now() + pause;
                        let away = Away { why: failure.to_string(), again: next.into_std() };
                        pause = (pause * 2).min(LONGEST);
                        News::Away(away)
                    }
                };
                if self.news.send(news).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = tokio::time::sleep_until(next) => is_new = false,
                changed = self.wants.changed() => match changed {
                    Ok(()) => is_new = true,
                    Err(_) => return,
                },
            }
        }
    }

    async fn ask(&mut self, wants: &Wants) -> Result<Fresh, Failure> {
        let status: Status = self.client.get("/api/status").await?;
        // The uptime grows; when it began does not.
        let life = (status.pid, status.started_at as i64);
        let reborn = self.life != (0, 0) && self.life != life;
        if reborn {
            self.seen = 0;
        }
        self.life = life;
        let mut fresh = Fresh { status, reborn, ..Fresh::default() };
        fresh.history = self.client.get("/api/history").await?;
        fresh.changes = self.client.get(&format!("/api/changes?after={}", self.seen)).await?;
        self.seen = fresh.changes.items.iter().map(|change| change.seq).max().unwrap_or(self.seen);
        let state = wants.state.map_or_else(String::new, |state| format!("&state={state}"));
        let list = |path: &str, search: &str, state: &str| {
            format!("{path}?limit={ROWS}&offset={}&q={}{state}", wants.offset, encoded(search))
        };
        match wants.view {
            View::Services => {
                fresh.services = Some(self.client.get(&list("/api/services", &wants.search, &state)).await?);
            }
            // Of an instance, its place and its index can be searched for, too: that is done here.
            View::Instances => fresh.services = Some(self.client.get(&list("/api/services", "", "")).await?),
            View::Domains => {
                fresh.domains = Some(self.client.get(&list("/api/domains", &wants.search, &state)).await?);
            }
            View::Wrong => fresh.problems = Some(self.client.get("/api/problems").await?),
            View::Changes => {}
        }
        if let Some(host) = &wants.explain {
            let path = format!("/api/explain?host={}", encoded(host));
            fresh.explanation = Some((host.clone(), self.client.get(&path).await?));
        }
        Ok(fresh)
    }
}
