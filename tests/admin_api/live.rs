//! Everything as it happens: server-sent events.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{assert_problem, shown};
use crate::support::backend::uri;
use crate::support::client::{Client, get};
use crate::support::gogeta::Gogeta;
use crate::support::wait::within;

/// One who listens.
struct Listener {
    client: Client,
    text: String,
}

/// One event.
#[derive(Debug)]
struct Event {
    name: String,
    id: Option<u64>,
    data: Value,
}

impl Listener {
    async fn new(gogeta: &Gogeta, fields: &str) -> Self {
        let mut client = Client::connect(gogeta.admin).await;
        client.send(format!("GET /api/live HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
        let head = client.head().await.expect("a head");
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        Self { client, text: String::new() }
    }

    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let event = field("event: ").map(|name| Event {
                    name,
                    id: field("id: ").and_then(|id| id.parse().ok()),
                    data: field("data: ")
                        .map_or(Value::Null, |data| serde_json::from_str(&data).expect("JSON")),
                });
                self.text = rest.to_owned();
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let chunk = self.client.chunk().await.expect("to read").filter(|chunk| !chunk.is_empty())?;
            self.text.push_str(&String::from_utf8(chunk).expect("UTF-8"));
        }
    }

    /// The next one of that name.
    async fn named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("it ended before {name}"));
            if event.name == name {
                return event;
            }
        }
    }
}

#[tokio::test]
async fn who_listens_hears_of_changes_within_a_second() {
    let gogeta = Gogeta::routes("").start().await;
    let mut listener = Listener::new(&gogeta, "").await;
    let status = listener.next().await.expect("an event");
    assert_eq!((&*status.name, &status.data["counts"]["domains"]), ("status", &0.into()));
    gogeta.edit_routes(&uri("new.test", "http://127.0.0.1:9"));
    // From the save on; the file is read when it has been quiet for a moment.
    let heard = async {
        // Either may be told first: the journal and the routes are two.
        let (mut change, mut revision) = (None, None);
        while change.is_none() || revision.is_none() {
            let event = listener.next().await.expect("an event");
            match &*event.name {
                "change" => change = Some(event),
                "revision" => revision = Some(event),
                _ => {}
            }
        }
        change.zip(revision).expect("both")
    };
    let (change, revision) =
        tokio::time::timeout(Duration::from_secs(1), heard).await.expect("within a second");
    assert_eq!((&change.data["name"], &change.data["kind"]), (&"new.test".into(), &"domain".into()));
    assert_eq!(change.id, change.data["seq"].as_u64());
    assert_eq!(revision.data["revision"], shown(&gogeta, "/api/domains").await["revision"]);
    loop {
        if listener.named("status").await.data["counts"]["domains"] == 1 {
            break;
        }
    }
}

#[tokio::test]
async fn who_comes_back_hears_what_was_missed() {
    let gogeta = Gogeta::routes("").start().await;
    let mut listener = Listener::new(&gogeta, "").await;
    listener.named("status").await;
    gogeta.edit_routes(&uri("one.test", "http://127.0.0.1:9"));
    let last = listener.named("change").await.id.expect("a number");
    drop(listener);
    gogeta.edit_routes(&(uri("one.test", "http://127.0.0.1:9") + &uri("two.test", "http://127.0.0.1:9")));
    within(Duration::from_secs(5), "it is noted", async || {
        let changes = shown(&gogeta, &format!("/api/changes?after={last}")).await;
        changes["items"].as_array().is_some_and(|items| !items.is_empty()).then_some(())
    })
    .await;
    let mut again = Listener::new(&gogeta, &format!("Last-Event-ID: {last}\r\n")).await;
    let missed = again.named("change").await;
    assert_eq!(missed.data["name"], "two.test");
    assert!(missed.id > Some(last));
}

#[tokio::test]
async fn there_are_so_many_listeners_and_no_more() {
    let gogeta = Gogeta::routes("").start().await;
    let mut listeners = Vec::new();
    for _ in 0..64 {
        listeners.push(Listener::new(&gogeta, "").await);
    }
    assert_problem(&get(gogeta.admin, "localhost", "/api/live").await, 503, "too many");
    for listener in &mut listeners {
        assert_eq!(listener.next().await.expect("an event").name, "status");
    }
    drop(listeners);
    within(Duration::from_secs(5), "there is room again", async || {
        let mut client = Client::connect(gogeta.admin).await;
        client.send("GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        (client.head().await.expect("a head").status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn listeners_do_not_hold_the_end_up_and_see_it_come() {
    let mut gogeta = Gogeta::routes("").start().await;
    let mut listener = Listener::new(&gogeta, "").await;
    listener.named("status").await;
    gogeta.signal(Signal::TERM);
    // A chunk of no length: the stream has an end, and did not just break off.
    while listener.next().await.is_some() {}
    assert_eq!(gogeta.wait().await.code(), Some(0));
    let said = gogeta.log();
    assert!(!said.contains("drain time-out has passed"), "{said}");
}
