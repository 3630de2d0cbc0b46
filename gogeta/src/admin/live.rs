//! Who watches gogeta live: what is sent to all of them is made once, and whoever does not keep up is let go.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::channel::Sender;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Admin, blocking, sampler};
use crate::journal::Change;

/// Listeners that there may be at once.
const LISTENERS: usize = 64;
/// Events that a listener may be behind.
const BEHIND: usize = 64;
/// For so long a listener may not take an event; beyond, it is let go.
const PATIENCE: Duration = Duration::from_secs(10);
/// Revisions are told once in this time at most: whoever hears of one reads a list anew.
const REVISIONS: Duration = Duration::from_millis(200);

/// What a listener is sent, as it stands on the wire (HTML, 9.2.6).
type Event = Bytes;

/// Those who watch.
#[derive(Debug)]
pub(super) struct Live {
    events: broadcast::Sender<Event>,
    places: Arc<Semaphore>,
}

impl Live {
    /// Nobody yet.
    pub(super) fn new() -> Self {
        Self { events: broadcast::Sender::new(BEHIND), places: Arc::new(Semaphore::new(LISTENERS)) }
    }

    /// A place for one more; none where there are enough.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }
}

/// What one listener gets, beginning with what was said before it is listened for the first time.
#[derive(Debug)]
pub(super) struct Listener {
    events: broadcast::Receiver<Event>,
    changes: broadcast::Receiver<Change>,
    over: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// A listener that misses nothing from now on.
    pub(super) fn new(admin: &Admin, place: OwnedSemaphorePermit) -> Self {
        Self {
            events: admin.live.events.subscribe(),
            changes: admin.shared.journal.listen(),
            over: admin.over.clone(),
            _place: place,
        }
    }

    /// Sends events until the listener leaves, falls behind, or gogeta ends. What is remembered of what came behind
    /// the change `after` goes first, where that is given.
    pub(super) async fn attend(mut self, admin: Admin, after: Option<u64>, mut to: Sender<Bytes>) {
        let mut last = after.unwrap_or(0);
        let status = admin.overview.status(&admin).await;
        // Behind the first byte a browser counts the stream as open.
        let mut first = vec![Bytes::from_static(b"retry: 2000\n\n"), event("status", None, &*status)];
        if let Some(after) = after {
            for change in admin.shared.journal.after(after) {
                last = change.seq;
                first.push(event("change", Some(change.seq), &change));
            }
        }
        for event in first {
            if !send(&mut to, event).await {
                return;
            }
        }
        drop(admin);
        loop {
            let next = tokio::select! {
                // Whoever has fallen behind has lost some: it comes back and asks for them.
                next = self.events.recv() => next.ok(),
                change = self.changes.recv() => match change {
                    // Sent already.
                    Ok(change) if change.seq <= last => continue,
                    Ok(change) => Some(event("change", Some(change.seq), &change)),
                    Err(_) => None,
                },
                Ok(_) = self.over.wait_for(|over| *over) => None,
            };
            let Some(next) = next else { return };
            if !send(&mut to, next).await {
                return;
            }
        }
    }
}

async fn send(to: &mut Sender<Bytes>, event: Event) -> bool {
    matches!(timeout(PATIENCE, to.send_data(event)).await, Ok(Ok(())))
}

/// An event; JSON has no line breaks of its own.
fn event(name: &str, id: Option<u64>, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).unwrap_or_default();
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("event: {name}\n{id}data: {data}\n\n").into()
}

#[derive(Serialize)]
struct Revision {
    revision: i64,
}

/// What is done once a second, and at each change of the routes: for ever.
pub(super) async fn pulse(admin: Admin) {
    let mut second = interval(sampler::INTERVAL);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changed = admin.shared.changed.subscribe();
    let mut quiet = interval(REVISIONS);
    quiet.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_due = false;
    loop {
        tokio::select! {
            _ = second.tick() => {
                let desk = admin.clone();
                // Of many services it takes a while.
                let _ = blocking(move || desk.sampler.sample(&desk.shared)).await;
                admin.shared.journal.settle();
                if admin.live.events.receiver_count() > 0 {
                    let status = admin.overview.status(&admin).await;
                    tell(&admin, event("status", None, &*status));
                }
            }
            Ok(()) = changed.changed() => is_due = true,
            _ = quiet.tick(), if is_due => {
                is_due = false;
                let revision = admin.shared.routes.load().revision();
                tell(&admin, event("revision", None, &Revision { revision }));
            }
        }
    }
}

fn tell(admin: &Admin, event: Event) {
    // That nobody listens is no mistake.
    let _ = admin.live.events.send(event);
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use http_body_util::channel::Channel;

    use super::*;
    use crate::admin::testing::{desk, many};
    use crate::journal::{Kind, Note};

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_read_is_let_go_and_the_others_hear_everything() {
        let admin = desk(many(1));
        let attend = |admin: &Admin| {
            let (sender, body) = Channel::<Bytes>::new(8);
            let listener = Listener::new(admin, admin.live.place().expect("there is room"));
            (tokio::spawn(listener.attend(admin.clone(), None, sender)), body)
        };
        let (slow, _unread) = attend(&admin);
        let (quick, mut body) = attend(&admin);
        let mut heard = String::new();
        for number in 0..40 {
            admin.shared.journal.note(Note::info(Kind::Action, "test", format!("number {number}.")));
            let wanted = format!("number {number}.");
            while !heard.contains(&wanted) {
                let frame = body.frame().await.expect("a frame").expect("a good one");
                heard.push_str(&String::from_utf8_lossy(frame.data_ref().expect("data")));
            }
        }
        let let_go = timeout(PATIENCE * 2, slow).await;
        assert!(let_go.is_ok_and(|ended| ended.is_ok()), "it waits no longer than that");
        assert!(!quick.is_finished());
        assert_eq!(admin.live.places.available_permits(), LISTENERS - 1);
    }
}
