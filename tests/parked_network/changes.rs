//! Routes that change under load: whom a change touches is served elsewhere from its next request on, nothing is lost,
//! and nobody else notices.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::SocketAddr;

use gogeta::splice::Kind;

use super::talk::{get, told};
use super::world::World;
use crate::support::client::{self, Client};
use crate::support::gogeta::Gogeta;
use crate::support::parking::parking_by;
use crate::support::truth::metric;
use crate::support::wait::{all, until};

/// Clients of each domain.
const CLIENTS: usize = 8;

/// Threads of gogeta's, of which each may have a connection for those who ask only once.
const THREADS: usize = 2;

/// What becomes of `a.test`: its service, that service's first instance, and who answers then.
#[derive(Debug, Clone, Copy)]
struct Stage {
    service: &'static str,
    first: First,
    answers: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum First {
    /// It is there.
    Is(&'static str),
    /// It is not.
    IsNot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    By(&'static str),
    Page(&'static str),
}

const USUAL: Stage = Stage { service: "web", first: First::Is("started"), answers: Answer::By("one") };

const STAGES: [Stage; 4] = [
    Stage { service: "other", answers: Answer::By("two"), ..USUAL },
    Stage { first: First::Is("stopped"), answers: Answer::Page("stopped"), ..USUAL },
    Stage { first: First::Is("passivated"), answers: Answer::Page("passivated"), ..USUAL },
    // Another instance has its place.
    Stage { first: First::IsNot, answers: Answer::By("two"), ..USUAL },
];

/// How often each of them comes, and goes.
const ROUNDS: usize = 3;

fn changes() -> impl Iterator<Item = Stage> {
    std::iter::repeat_n(STAGES, ROUNDS).flatten().flat_map(|stage| [stage, USUAL])
}

impl Stage {
    fn routes(&self, number: usize, [one, two, three]: [SocketAddr; 3]) -> String {
        let domain = |name: &str, service: &str| {
            format!("[domains.\"{name}\"]\ntype = \"service\"\nvalue = \"{service}\"\n")
        };
        let instance = |name: &str, at: SocketAddr, status: &str| {
            let location = format!("location = {{ host = \"{}\", port = {} }}", at.ip(), at.port());
            let status =
                format!("status = {{ current = \"{status}\", expected = \"{status}\", alive = \"1\" }}");
            format!("[services.{name}]\n{location}\n{status}\n")
        };
        let first = match self.first {
            First::Is(status) => instance("web.1", one, status),
            First::IsNot => instance("web.2", two, "started"),
        };
        [
            domain("a.test", self.service),
            domain("c.test", "third"),
            domain(&mark(number), "third"),
            first,
            instance("other.1", two, "started"),
            instance("third.1", three, "started"),
        ]
        .concat()
    }
}

/// A domain that tells that the routes of that number are there.
fn mark(number: usize) -> String {
    format!("routes{number}.test")
}

/// Who may answer for `a.test`.
struct Truth {
    may: RefCell<Vec<Answer>>,
    changes: Cell<usize>,
    begins: Cell<bool>,
    is_over: Cell<bool>,
}

#[tokio::test]
async fn whatever_changes_under_load_the_next_request_of_whom_it_touches_goes_right_and_nobody_else_notices()
{
    let Some(world) = World::new().await else { return };
    let backends = ["one", "two", "three"].map(|name| world.backend(name, world.back));
    let places = backends.each_ref().map(|(_, at)| *at);
    let builder = world.place(Gogeta::routes(&USUAL.routes(0, places)));
    let Some(gogeta) = parking_by(Kind::Wire, builder).await else { return };
    let truth = Truth {
        may: RefCell::new(vec![USUAL.answers]),
        changes: Cell::default(),
        begins: Cell::default(),
        is_over: Cell::default(),
    };
    let touched = all((0..CLIENTS).map(|number| touched(&world, &truth, number)));
    let others = all((0..CLIENTS).map(|number| untouched(&world, &truth, number)));
    let changing = async {
        pairs(&gogeta, "a.test", CLIENTS).await;
        pairs(&gogeta, "c.test", CLIENTS).await;
        truth.begins.set(true);
        for (number, stage) in changes().enumerate() {
            change((&world, &gogeta), &truth, &stage, number + 1, places).await;
        }
        truth.is_over.set(true);
    };
    let (answered, undisturbed, ()) = tokio::join!(touched, others, changing);

    let (counts, clients): (Vec<_>, Vec<_>) = undisturbed.into_iter().unzip();
    let count: usize = counts.iter().sum();
    assert!(count > 500, "{count} requests were carried meanwhile");
    let carried = requests(&gogeta, "c.test").await;
    assert_eq!(carried, (count - CLIENTS) as u64, "all but the first of each client");
    drop(clients);
    let asked = answered.into_iter().sum::<usize>() + count;
    let seen: Vec<_> = backends.iter().flat_map(|(backend, _)| backend.requests()).collect();
    let lines: HashSet<_> = seen.iter().map(|request| request.line()).collect();
    let marks = seen.iter().filter(|request| request.line().contains("/mark/")).count();
    assert_eq!((seen.len(), lines.len()), (asked + marks, asked + 1), "each was sent once");
    let broken = metric(&gogeta, "gogeta_splice_unparked_total{reason=\"cut\"}").await;
    assert_eq!(broken, 0.0, "nothing was cut");
    let connections = backends[2].0.connections();
    assert!(connections <= CLIENTS + THREADS, "{connections} connections: each has its own all the time");
}

/// Changes the routes, and sees that nobody is served by the old ones from then on.
async fn change(
    (world, gogeta): (&World, &Gogeta),
    truth: &Truth,
    stage: &Stage,
    number: usize,
    places: [SocketAddr; 3],
) {
    let before = truth.may.borrow()[0];
    truth.may.borrow_mut().push(stage.answers);
    gogeta.edit_routes(&stage.routes(number, places));
    until("the routes are there", async || {
        let reply = world.client(world.front()).await.get(&mark(number), "/mark/").await;
        (reply.status == 200).then_some(())
    })
    .await;
    let left = match before {
        Answer::By("one") => Some(places[0]),
        Answer::By(_) => Some(places[1]),
        Answer::Page(_) => None,
    };
    if let Some(left) = left.filter(|_| before != stage.answers) {
        until("no pair leads where they led", async || {
            let left = left.to_string();
            let leads = |pair: &serde_json::Value| pair["host"] == "a.test" && pair["upstream"] == *left;
            (!shown(gogeta).await.iter().any(leads)).then_some(())
        })
        .await;
    }
    truth.may.replace(vec![stage.answers]);
    truth.changes.set(truth.changes.get() + 1);
    if let Answer::By(_) = stage.answers {
        pairs(gogeta, "a.test", CLIENTS).await;
    }
}

/// Asks all the time, and gives how often a backend answered.
async fn touched(world: &World, truth: &Truth, client: usize) -> usize {
    let mut peer = world.client(world.front()).await;
    let mut answered = 0;
    for number in 0.. {
        if truth.is_over.get() {
            break;
        }
        let (mut may, changes) = (truth.may.borrow().clone(), truth.changes.get());
        let target = format!("/touched/{client}/{number}/{}", number * 7919 % 30_000);
        let answer = ask(&mut peer, &target).await;
        // The routes may have changed while it was on its way.
        may.extend(truth.may.borrow().iter());
        assert!(may.contains(&answer), "{answer:?}, and {may:?} may, since change {changes}");
        answered += usize::from(matches!(answer, Answer::By(_)));
    }
    answered
}

async fn ask(client: &mut Client, target: &str) -> Answer {
    let reply = client.get("a.test", target).await;
    match reply.header("x-gogeta-page") {
        Some("stopped") => Answer::Page("stopped"),
        Some("passivated") => Answer::Page("passivated"),
        Some(page) => panic!("{page}: {reply:?}"),
        None => {
            let is_whole = |name: &&str| reply.body == told(name, &format!("GET {target} HTTP/1.1"), b"");
            Answer::By(["one", "two"].into_iter().find(is_whole).expect("a whole answer"))
        }
    }
}

/// The same of whom no change touches; its connection is still there then.
async fn untouched(world: &World, truth: &Truth, client: usize) -> (usize, Client) {
    let mut peer = world.client(world.front()).await;
    for number in 0.. {
        let target = format!("/untouched/{client}/{number}/{}", number * 7919 % 30_000);
        get(&mut peer, "c.test", &target, "three").await;
        until("all are parked", async || truth.begins.get().then_some(())).await;
        if truth.is_over.get() {
            return (number + 1, peer);
        }
    }
    unreachable!("it goes on until it is over")
}

async fn shown(gogeta: &Gogeta) -> Vec<serde_json::Value> {
    let reply = client::get(gogeta.admin, "localhost", "/api/pairs").await;
    let shown: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    shown["pairs"].as_array().expect("a list").clone()
}

/// Waits until so many pairs of that host are parked.
async fn pairs(gogeta: &Gogeta, host: &str, count: usize) {
    until(&format!("{count} pairs of {host}"), async || {
        let count_of = shown(gogeta).await.iter().filter(|pair| pair["host"] == host).count();
        (count_of == count).then_some(())
    })
    .await;
}

/// How many requests those pairs have carried.
async fn requests(gogeta: &Gogeta, host: &str) -> u64 {
    let pairs = shown(gogeta).await;
    pairs.iter().filter(|pair| pair["host"] == host).filter_map(|pair| pair["requests"].as_u64()).sum()
}
