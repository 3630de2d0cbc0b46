//! What happened lately, for operators: bounded, and cheap for whoever writes it.
//!
//! It is no log: it knows only what somebody who looks at gogeta now wants to have seen, and forgets the rest.

mod tale;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use utoipa::ToSchema;

use crate::clock::since_1970;

/// Changes that are remembered of each of the two kinds: routes as they come and go, and all the rest. So a storm of
/// the first does not wash away what went wrong.
const REMEMBERED: usize = 250;
/// Changes of routes that are told one by one in a second; the others are counted.
const A_SECOND: u32 = 50;
/// Changes that a listener may be behind.
const BEHIND: usize = 256;

/// What a change was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ChangeKind)]
pub enum Kind {
    /// A domain came, went, or leads elsewhere.
    Domain,
    /// A service came or went.
    Service,
    /// An instance came, went, moved, or is in another state.
    Instance,
    /// A value is wrong.
    Problem,
    /// The store of the routes was lost or found, or was read anew.
    Store,
    /// Something fails, or does not any more: an instance that cannot be connected to.
    Error,
    /// An operator did something.
    Action,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is as it should be.
    Info,
    /// Someone should look at it.
    Warning,
    /// Requests fail for it.
    Error,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// Its number; later ones are greater, those after a restart of gogeta, too.
    pub seq: u64,
    /// When, in seconds since 1970.
    pub at: f64,
    /// What it was about.
    pub kind: Kind,
    /// How much it matters.
    pub level: Level,
    /// The name of what changed: a host, a service, `service/index`, a key.
    pub name: String,
    /// One sentence.
    pub text: String,
}

/// What is to be noted: a change before it has a number and a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub kind: Kind,
    /// How much it matters.
    pub level: Level,
    /// Its name.
    pub name: String,
    /// One sentence.
    pub text: String,
}

impl Note {
    /// A note of something that is as it should be.
    pub fn info(kind: Kind, name: impl fmt::Display, text: impl Into<String>) -> Self {
        Self { kind, level: Level::Info, name: name.to_string(), text: text.into() }
    }

    /// The same, where it matters as much.
    pub fn at(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// Whether it is of the kind that comes in storms.
    fn is_route(&self) -> bool {
        matches!(self.kind, Kind::Domain | Kind::Service | Kind::Instance | Kind::Problem)
    }
}

/// What happened lately.
#[derive(Debug)]
pub struct Journal {
    pages: Mutex<Pages>,
    live: broadcast::Sender<Change>,
}

#[derive(Debug)]
struct Pages {
    seq: u64,
    routes: VecDeque<Change>,
    rest: VecDeque<Change>,
    second: Instant,
    told: u32,
    untold: u64,
}

impl Default for Journal {
    fn default() -> Self {
        let pages = Pages {
            // So that who has seen one before a restart asks for what came later.
            seq: u64::try_from(since_1970().as_millis()).unwrap_or(0),
            routes: VecDeque::new(),
            rest: VecDeque::new(),
            second: Instant::now(),
            told: 0,
            untold: 0,
        };
        Self { pages: Mutex::new(pages), live: broadcast::Sender::new(BEHIND) }
    }
}

impl Journal {
    /// Notes something. Of what routes do, no more than is told in a second.
    pub fn note(&self, note: Note) {
        if note.is_route() {
            if self.may_tell(1) == 1 {
                self.put(note);
            }
        } else {
            self.put(note);
        }
    }

    /// How many of so many changes of routes may be told now; the others are counted, and told as a number.
    pub fn may_tell(&self, wanted: usize) -> usize {
        let mut pages = self.pages();
        if pages.second.elapsed().as_secs() > 0 {
            (pages.second, pages.told) = (Instant::now(), 0);
        }
        let left = (A_SECOND - pages.told) as usize;
        let may = wanted.min(left);
        pages.told += u32::try_from(may).unwrap_or(A_SECOND);
        pages.untold += (wanted - may) as u64;
        may
    }

    /// Tells how many changes were not told, once they are a second old. To be called now and then.
    pub fn settle(&self) {
        let untold = {
            let mut pages = self.pages();
            if pages.untold == 0 || pages.second.elapsed().as_secs() == 0 {
                return;
            }
            std::mem::take(&mut pages.untold)
        };
        let text = format!("{untold} more changes of routes than are told one by one");
        self.put(Note::info(Kind::Store, "routes", text));
    }

    /// What is remembered of what came after that number, the oldest first.
    pub fn after(&self, seq: u64) -> Vec<Change> {
        let pages = self.pages();
        let both = pages.routes.iter().chain(&pages.rest);
        let mut found: Vec<Change> = both.filter(|change| change.seq > seq).cloned().collect();
        drop(pages);
        found.sort_unstable_by_key(|change| change.seq);
        found
    }

    /// Everything that is noted from now on.
    pub fn listen(&self) -> broadcast::Receiver<Change> {
        self.live.subscribe()
    }

    fn put(&self, note: Note) {
        let is_route = note.is_route();
        let Note { kind, level, name, text } = note;
        let mut pages = self.pages();
        pages.seq += 1;
        let change = Change { seq: pages.seq, at: since_1970().as_secs_f64(), kind, level, name, text };
        let page = if is_route { &mut pages.routes } else { &mut pages.rest };
        if page.len() == REMEMBERED {
            page.pop_front();
        }
        if self.live.receiver_count() > 0 {
            // While nobody else can: listeners get them in the order of their numbers.
            let _ = self.live.send(change.clone());
        }
        page.push_back(change);
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(number: usize) -> Note {
        Note::info(Kind::Domain, format!("{number}.test"), "it is new")
    }

    #[test]
    fn changes_come_back_in_their_order() {
        let journal = Journal::default();
        let first = journal.pages().seq;
        journal.note(domain(1));
        journal.note(Note::info(Kind::Store, "etcd", "it is away").at(Level::Warning));
        journal.note(domain(2));
        let names = |after| -> Vec<String> {
            let found = journal.after(first + after).into_iter();
            found.map(|change| format!("{} {}", change.seq - first, change.name)).collect()
        };
        assert_eq!(names(0), ["1 1.test", "2 etcd", "3 2.test"]);
        assert_eq!(names(2), ["3 2.test"]);
        assert!(names(3).is_empty());
    }

    #[test]
    fn a_storm_of_routes_is_counted_and_washes_nothing_else_away() {
        let journal = Journal::default();
        journal.note(Note::info(Kind::Error, "web/1", "it cannot be connected to").at(Level::Error));
        for number in 0..100_000 {
            journal.note(domain(number));
        }
        let told = journal.after(0);
        assert_eq!(told[0].name, "web/1");
        assert!(told.len() <= 2 * REMEMBERED, "{}", told.len());
        journal.pages().second -= std::time::Duration::from_secs(1);
        journal.settle();
        let last = journal.after(0).pop().expect("a change");
        assert!(last.kind == Kind::Store && last.text.contains("more changes"), "{last:?}");
        journal.settle();
        assert_eq!(journal.after(last.seq), [], "it is said once");
    }

    #[test]
    fn who_listens_hears_what_is_noted_later() {
        let journal = Journal::default();
        journal.note(domain(1));
        let mut live = journal.listen();
        journal.note(domain(2));
        assert_eq!(live.try_recv().map(|change| change.name), Ok("2.test".to_owned()));
        assert!(live.try_recv().is_err());
    }
}
