//! What is asked over bad cables, and that each answer is right, each request comes once, and the kernel carries them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use gogeta::splice::Kind as Engine;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use super::world::{Good, Terrain, World};
use crate::parked_torture::ask::{Ask, Kind, SIMPLE};
use crate::parked_torture::reader::{Fate, Pace, Reader};
use crate::support::backend::{Backend, Seen, service_at};
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parking_by};
use crate::support::random::{Random, number, seed};
use crate::support::truth::metric;

/// Who asks at once.
const CLIENTS: u64 = 8;

/// The other host that they ask for.
const OTHER: &str = "a.test";

/// How long nothing may come while something is owed: whoever sends something again does so later and later.
const STALL: Duration = Duration::from_secs(60);

/// How often a connection was left to userspace for that.
const LOSSY: &str = "gogeta_splice_unparked_total{reason=\"lossy\"}";

/// Bytes of the buffer of a client with little room (`SO_RCVBUF`), and of answers that surely do not fit.
const BUFFER: u32 = 16 << 10;
const ROOM: u64 = 64 << 10;

/// What is asked of gogeta.
#[derive(Debug, Clone, Copy)]
pub(super) struct Talk {
    /// Requests, of all clients together; where `GOGETA_TEST_EXCHANGES` is set, that many.
    pub(super) exchanges: u64,
    /// Bytes of the largest bodies.
    pub(super) largest: usize,
    /// Whether clients have little room, and read nothing for a while where an answer is large, and now and then besides.
    pub(super) rests: bool,
    /// Whether requests are carried: of a hundred that many at least. Where both ends differ too much, none is.
    pub(super) carried: Option<u64>,
}

/// What most of them are.
pub(super) const TALK: Talk = Talk { exchanges: 200, largest: 100_000, rests: false, carried: Some(60) };

/// Who carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// The wire engine, whatever is lost.
    Wire,
    /// The same, until too much is.
    Either,
    Userspace,
}

/// What was seen.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    took: Duration,
    /// How often a connection was left to userspace for what was lost.
    lossy: f64,
}

/// Asks over such cables, by way of the wire engine, whatever is lost; and where it is asked for at length, by whoever
/// gogeta thinks better, and in userspace, too, to tell which was faster.
#[expect(clippy::print_stdout, reason = "what was measured")]
pub(super) async fn all_are_right(terrain: Terrain, talk: Talk) {
    let seed = seed();
    let Some(wire) = exchange(&terrain, talk, seed, By::Wire).await else { return };
    assert_eq!(wire.lossy, 0.0);
    if number("EXCHANGES").is_none() {
        return;
    }
    let Some(either) = exchange(&terrain, talk, seed, By::Either).await else { return };
    let Some(Outcome { took: off, .. }) = exchange(&terrain, talk, seed, By::Userspace).await else { return };
    let ratio = |took: Duration| off.as_secs_f64() / took.as_secs_f64();
    println!(
        "{terrain:?}: {off:?} in userspace; carried {:.2} of that speed, as gogeta does it {:.2} (left alone {} times)",
        ratio(wire.took),
        ratio(either.took),
        either.lossy,
    );
    // Ends that repair what two cables have lost take longer than a proxy between them that repairs each by itself.
    assert!(wire.took < 3 * off + Duration::from_secs(10), "{wire:?}, and {off:?} in userspace");
}

/// Asks over such cables as gogeta does it by itself; gives how often it left a connection to userspace for what was
/// lost.
pub(super) async fn left_alone(terrain: Terrain, talk: Talk) -> Option<f64> {
    exchange(&terrain, talk, seed(), By::Either).await.map(|outcome| outcome.lossy)
}

/// None where it cannot be done.
async fn exchange(terrain: &Terrain, talk: Talk, seed: u64, by: By) -> Option<Outcome> {
    let world = World::new(terrain, seed).await?;
    let [(simple, at_simple), (other, at_other)] = ["simple", "other"].map(|name| world.backend(name));
    let routes = service_at(SIMPLE, &[at_simple]) + &service_at(OTHER, &[at_other]);
    let builder = world.place(Gogeta::routes(&routes));
    let gogeta = match by {
        By::Wire => parking_by(Engine::Wire, builder.args(["--splice-max-loss", "100"])).await?,
        By::Either => parking_by(Engine::Wire, builder).await?,
        By::Userspace => builder.args(["--splice", "off"]).start().await,
    };
    let begun = Instant::now();
    let exchanges = number("EXCHANGES").unwrap_or(talk.exchanges).div_ceil(CLIENTS);
    let mut clients = JoinSet::new();
    let (mut asked, mut bytes) = (HashSet::new(), 0);
    for index in 0..CLIENTS {
        let mut random = Random(seed ^ (index + 1) << 48);
        let asks: Vec<_> = (0..exchanges).map(|at| ask(&mut random, talk, at, index << 32 | at)).collect();
        bytes += asks.iter().filter(|ask| has_body(ask)).map(|ask| ask.size).sum::<u64>();
        asked.extend(asks.iter().map(|ask| ask.seed));
        let stream = world.connection(talk.rests.then_some(BUFFER)).await;
        clients.spawn(client(stream, asks, talk.rests, random));
    }
    while let Some(client) = clients.join_next().await {
        if let Err(error) = client {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    let took = begun.elapsed();
    came_once(&world, &[&simple, &other], asked);
    for (cable, weather) in world.cables.iter().zip(terrain.weather) {
        cable.assert_was(weather);
    }
    let probes: u64 = [&world.proxy, &world.backends].map(|host| host.counted("TCPWinProbe")).iter().sum();
    assert!(!talk.rests || probes > 0, "nobody had to ask for room");
    if let Some(packets) = world.answers() {
        let segments = bytes / 1448;
        assert_eq!(
            packets > segments,
            terrain.good == Good::Alone,
            "{packets} packets for {segments} segments"
        );
    }
    let count = carried(&gogeta).await;
    match talk.carried.filter(|_| by != By::Userspace) {
        Some(share) => {
            let all = exchanges * CLIENTS;
            let is_enough = count * 100.0 >= (all * share) as f64;
            assert!(is_enough || by == By::Either, "{count} of {all} were carried");
        }
        None => assert_eq!(count, 0.0),
    }
    let lossy = if by == By::Userspace { 0.0 } else { metric(&gogeta, LOSSY).await };
    Some(Outcome { took, lossy })
}

/// One of the requests of a connection, by its number; the first one is such that it can be parked behind it.
fn ask(random: &mut Random, talk: Talk, at: u64, seed: u64) -> Ask {
    let most = match (at % 10, random.below(3)) {
        (5, _) => talk.largest,
        (_, 0) => talk.largest.min(10_000),
        _ => 1000,
    };
    let least = if most == talk.largest { most / 2 } else { 0 };
    let size = (least + random.below(most - least)) as u64;
    let simple = Ask::simple(SIMPLE, size, seed);
    match random.below(100) {
        _ if at == 0 => simple,
        0..4 => Ask { method: "HEAD", ..simple },
        4..7 => Ask { method: "POST", up: Some((random.below(20_000), random.once_in(2))), ..simple },
        7..8 => Ask { host: OTHER, ..simple },
        10..12 => Ask { kind: Kind::Chunked, ..simple },
        12..15 => Ask { kind: Kind::Late, ..simple },
        15..18 => Ask { kind: Kind::Drip, ..simple },
        18..20 => Ask { kind: Kind::Nothing, ..simple },
        20..22 => Ask { kind: Kind::Unchanged, ..simple },
        _ => simple,
    }
}

/// Whether its answer has.
fn has_body(ask: &Ask) -> bool {
    ask.method != "HEAD" && !matches!(ask.kind, Kind::Nothing | Kind::Unchanged)
}

/// One connection, to its end.
async fn client(mut stream: tokio::net::TcpStream, asks: Vec<Ask>, rests: bool, mut random: Random) {
    let mut reader = Reader::patient(STALL);
    for ask in asks {
        stream.write_all(&ask.bytes()).await.expect("to send");
        if rests && (ask.size > ROOM || random.once_in(8)) {
            // Long enough for whoever answers to ask whether there is room (RFC 9293, 3.8.6.1).
            tokio::time::sleep(Duration::from_millis(400 + random.below(400) as u64)).await;
        }
        let pace = if rests && random.once_in(4) { Pace::Slow(4000) } else { Pace::Fast };
        let fate = reader.response(&mut stream, &ask, pace).await;
        let name = if ask.host == OTHER { "other" } else { "simple" };
        assert_eq!(fate, Fate::Whole(name.to_owned(), true), "{ask:?}");
    }
    stream.shutdown().await.expect("to end");
    reader.end(&mut stream, &"the last one").await;
}

/// Each request has come once, and with what gogeta says of it.
fn came_once(world: &World, backends: &[&Backend], mut asked: HashSet<u64>) {
    let client = world.client.to_string();
    for seen in backends.iter().flat_map(|backend| backend.requests()) {
        let seed = seen.line().split('/').nth(3).and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| panic!("{}", seen.head));
        assert!(asked.remove(&seed), "it came twice, or nobody asked for it: {}", seen.head);
        let told =
            |name: &str, value: &str| assert_eq!(Seen::header(&seen, name), Some(value), "{}", seen.head);
        told("x-forwarded-for", &client);
        told("x-real-ip", &client);
        told("x-forwarded-proto", "http");
    }
    assert!(asked.is_empty(), "{} were answered, and did not come", asked.len());
}
