//! What requests have to say to the store. It goes through a bounded queue: no request ever waits for etcd, and
//! what does not fit is dropped and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::unix_seconds;
use crate::metrics::Metrics;
use crate::routes::model::{Instance, ServiceName};

/// How many messages may wait for the store.
const QUEUE: usize = 4096;
/// How many are written at once.
const BATCH: usize = 64;
/// How long messages are gathered before they are written.
const GATHER: Duration = Duration::from_millis(250);
/// How long a wake-up that was asked for may take to show, in seconds, before it is asked for again.
const WAKE_AGAIN: u64 = 5;

/// One instance of a service.
pub type Name = (ServiceName, Arc<str>);

/// Something for the store to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Someone asked for a passivated instance.
    Wake(Name),
    /// An instance was used at this time, in seconds since 1970.
    Accessed(Name, u64),
}

/// What a store has to write at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Instances to wake.
    pub wakes: Vec<Name>,
    /// When instances were used last, in seconds since 1970.
    pub accesses: HashMap<Name, u64>,
}

/// The requests' end of the queue.
#[derive(Debug)]
pub struct Feedback {
    queue: mpsc::Sender<Message>,
    metrics: Arc<Metrics>,
    interval: u64,
}

/// The store's end of the queue.
#[derive(Debug)]
pub struct Inbox {
    queue: mpsc::Receiver<Message>,
    /// What is being gathered, and until when.
    batch: Batch,
    until: tokio::time::Instant,
}

/// A queue. At most one `lastAccess` goes through it in each `interval` for each instance; none if it is zero.
pub fn channel(interval: Duration, metrics: Arc<Metrics>) -> (Feedback, Inbox) {
    let (queue, inbox) = mpsc::channel(QUEUE);
    let inbox = Inbox { queue: inbox, batch: Batch::default(), until: tokio::time::Instant::now() };
    // Clocks count whole seconds here; half of one is no reason to write none.
    let interval = interval.as_secs() + u64::from(interval.subsec_nanos() > 0);
    (Feedback { queue, metrics, interval }, inbox)
}

impl Feedback {
    /// Asks for an instance to be woken, unless that was just done.
    pub fn wake(&self, instance: &Instance) {
        if instance.activity.wake_is_due(unix_seconds(), WAKE_AGAIN) {
            self.send(Message::Wake((instance.service.clone(), instance.index.clone())));
        }
    }

    /// Notes that an instance is used, if that is due.
    pub fn accessed(&self, instance: &Instance) {
        let now = unix_seconds();
        if self.interval > 0 && instance.activity.access_is_due(now, self.interval) {
            self.send(Message::Accessed((instance.service.clone(), instance.index.clone()), now));
        }
    }

    fn send(&self, message: Message) {
        if self.queue.try_send(message).is_err() {
            self.metrics.feedback_dropped.inc();
        }
    }
}

impl Inbox {
    /// The next batch; none when there will be no more. A wake-up is not kept waiting for others.
    ///
    /// Cancel-safe: what is gathered when the future is dropped is in the next one's batch.
    pub async fn next(&mut self) -> Option<Batch> {
        if self.batch.len() == 0 {
            self.batch.add(self.queue.recv().await?);
            self.until = tokio::time::Instant::now() + GATHER;
        }
        while self.batch.wakes.is_empty() && self.batch.len() < BATCH {
            match tokio::time::timeout_at(self.until, self.queue.recv()).await {
                Ok(Some(message)) => self.batch.add(message),
                Ok(None) | Err(_) => break,
            }
        }
        while self.batch.len() < BATCH
            && let Ok(message) = self.queue.try_recv()
        {
            self.batch.add(message);
        }
        Some(std::mem::take(&mut self.batch))
    }
}

impl Batch {
    fn add(&mut self, message: Message) {
        match message {
            Message::Wake(name) if self.wakes.contains(&name) => {}
            Message::Wake(name) => self.wakes.push(name),
            Message::Accessed(name, at) => {
                self.accesses.insert(name, at);
            }
        }
    }

    fn len(&self) -> usize {
        self.wakes.len() + self.accesses.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(index: &str) -> Name {
        ("web".into(), index.into())
    }

    #[tokio::test(start_paused = true)]
    async fn batches_hold_each_thing_once() {
        let (feedback, mut inbox) = channel(Duration::from_secs(10), Arc::new(Metrics::new(1, None)));
        for message in [
            Message::Accessed(name("1"), 1),
            Message::Accessed(name("1"), 2),
            Message::Accessed(name("2"), 3),
        ] {
            feedback.send(message);
        }
        let batch = inbox.next().await.expect("a batch");
        assert_eq!(batch.accesses, HashMap::from([(name("1"), 2), (name("2"), 3)]));
        feedback.send(Message::Wake(name("1")));
        feedback.send(Message::Wake(name("1")));
        assert_eq!(inbox.next().await.expect("a batch").wakes, [name("1")]);
        drop(feedback);
        assert_eq!(inbox.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_nobody_waited_for_is_not_lost() {
        let (feedback, mut inbox) = channel(Duration::from_secs(10), Arc::new(Metrics::new(1, None)));
        feedback.send(Message::Accessed(name("1"), 1));
        assert!(tokio::time::timeout(GATHER / 2, inbox.next()).await.is_err());
        feedback.send(Message::Accessed(name("2"), 2));
        let batch = inbox.next().await.expect("a batch");
        assert_eq!(batch.accesses, HashMap::from([(name("1"), 1), (name("2"), 2)]));
    }

    #[test]
    fn half_a_second_is_not_never() {
        let interval =
            |millis| channel(Duration::from_millis(millis), Arc::new(Metrics::new(1, None))).0.interval;
        assert_eq!([interval(0), interval(500), interval(1000), interval(1001)], [0, 1, 1, 2]);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_counted() {
        let metrics = Arc::new(Metrics::new(1, None));
        let (feedback, _inbox) = channel(Duration::from_secs(10), metrics.clone());
        for _ in 0..QUEUE + 3 {
            feedback.send(Message::Wake(name("1")));
        }
        assert_eq!(metrics.feedback_dropped.get(), 3);
    }
}
