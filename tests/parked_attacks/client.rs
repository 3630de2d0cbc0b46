//! A client that is up to no good.

use gogeta::splice::Kind;
use gogeta_common::wire::segment::{ACK, FIN, PSH, RST, SYN, URG};

use super::scene::Scene;
use super::segment::Segment;
use crate::parked_network::talk::{get, is_told};
use crate::parked_network::world::World;
use crate::support::backend::service_at;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_by};
use crate::support::wait::until;

const REQUEST: &[u8] = b"GET /next HTTP/1.1\r\nHost: a.test\r\nX-Something-Els: 1\r\n\r\n";

#[tokio::test]
async fn urgent_data_does_not_take_bytes_out_of_what_the_guard_has_seen() {
    let Some(mut scene) = Scene::new(&[]).await else { return };
    let request = b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let honest = scene.seen().replace("/carried", "/next");
    // It says that a byte of the next request is urgent: of its own, and of what gogeta adds. Whoever does not ask for
    // urgent bytes reads on behind them.
    for place in [5, request.len() as u16 - 1, request.len() as u16 + 25] {
        let mut urgent = scene.raw.next().flags(ACK | URG);
        urgent.urgent = place;
        scene.raw.cable.send(&urgent).await;
        scene.raw.send(request).await;
        scene.raw.is_told("/next", "web").await;
        assert_eq!(scene.seen(), honest, "urgent at {place}");
    }
    assert_eq!(scene.carried().await, 4.0);
}

/// The same in other bytes: for another host, forged, a second request, and one byte only.
const OTHERS: [&[u8]; 4] = [
    b"GET /next HTTP/1.1\r\nHost: b.test\r\nX-Something-Els: 1\r\n\r\n",
    b"GET /next HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n",
    b"GET /nexT HTTP/1.1\r\nHost: a.test\r\nX-Something-Els: 1\r\n\r\n",
];

#[tokio::test]
async fn a_request_that_is_sent_again_in_other_bytes_is_the_one_that_the_guard_has_seen_or_none() {
    let Some(mut scene) = Scene::new(&[]).await else { return };
    for other in OTHERS {
        assert_eq!(other.len(), REQUEST.len(), "{}", other.escape_ascii());
        let before = scene.web.count();
        let first = scene.raw.next().flags(ACK | PSH).data(REQUEST);
        // The guard lets it pass, for TCP's checksum is right, and the upstream's kernel drops it: it has not got it when
        // the other one comes.
        let mut damaged = first.clone();
        damaged.wrong_ip = 1;
        scene.raw.cable.send(&damaged).await;
        let (mut earlier, mut later, mut longer, mut urgent) =
            (first.clone(), first.clone(), first.clone(), first.clone());
        // Half before it, from its middle to behind it, and from its beginning to behind it.
        earlier.seq = first.seq.wrapping_sub(20);
        later.seq = first.seq.wrapping_add(20);
        longer.data = [other, other].concat();
        (urgent.flags, urgent.urgent) = (ACK | URG, 30);
        for mut segment in [first.clone(), earlier, later, longer, urgent] {
            if segment.data.len() == other.len() {
                segment.data = other.to_vec();
            }
            scene.raw.cable.send(&segment).await;
        }
        assert_eq!(scene.web.count(), before, "it has nothing yet");
        scene.raw.cable.send(&first).await;
        scene.raw.seq = first.end();
        scene.raw.is_told("/next", "web").await;
        let seen = scene.web.requests();
        assert_eq!(seen.len(), before + 1, "{:?}", seen.last());
        assert!(seen[before].header("x-something-els") == Some("1"), "{}", seen[before].head);
        assert_eq!(seen[before].all("x-forwarded-for").len(), 1, "{}", seen[before].head);
    }
    assert_eq!(scene.carried().await, 1.0 + OTHERS.len() as f64);
}

/// What is wrong with a segment, and how it is made so.
type Odd = (&'static str, fn(&mut Segment));

/// Segments that carry the next request, but for something.
const ODD: [Odd; 13] = [
    ("a SYN", |it| it.flags |= SYN),
    ("a SYN in its midst", |it| (it.flags, it.seq) = (SYN, it.seq.wrapping_add(77_777))),
    ("no acknowledgement", |it| it.flags = PSH),
    ("every flag but one", |it| it.flags = !RST),
    ("congestion told", |it| it.flags |= 0xc0),
    ("no hop left", |it| it.hops = 1),
    ("a wrong checksum", |it| it.wrong = 77),
    ("a signature (RFC 2385)", |it| it.options = [&[19, 18][..], &[7; 16], &[1, 1]].concat()),
    ("a cookie (RFC 7413)", |it| it.options = [&[34, 10][..], &[7; 8], &[1, 1]].concat()),
    ("an option of no length", |it| it.options = vec![1, 1, 8, 0]),
    ("an option that goes on behind the header", |it| it.options = vec![1, 1, 8, 40]),
    ("an acknowledgement of what was not sent", |it| it.ack = it.ack.wrapping_add(1000)),
    ("a time of long ago", |it| *it = it.clone().at(0x8000_0000, 0)),
];

#[tokio::test]
async fn whatever_a_segment_is_like_the_upstream_gets_the_request_once_and_as_the_guard_has_seen_it() {
    let Some(mut scene) = Scene::new(&[]).await else { return };
    for (what, make) in ODD {
        scene.carry().await;
        let before = scene.web.count();
        let right = scene.raw.next().flags(ACK | PSH).data(REQUEST);
        let mut odd = right.clone();
        make(&mut odd);
        scene.raw.cable.send(&odd).await;
        // As a kernel would that hears nothing: a moment later, by its clock.
        scene.raw.cable.send(&right).await;
        scene.raw.seq = right.end();
        scene.raw.is_told("/next", "web").await;
        let seen = scene.web.requests();
        assert_eq!(seen.len(), before + 1, "{what}");
        assert_eq!(seen[before].all("x-forwarded-for").len(), 1, "{what}: {}", seen[before].head);
        assert!(seen[before].header("x-something-els") == Some("1"), "{what}: {}", seen[before].head);
    }
}

/// What is wrong with a packet's headers.
type Malformed = (&'static str, fn(&mut Vec<u8>));

const MALFORMED: [Malformed; 8] = [
    ("a header of less than 20 bytes", |it| it[32] = 0x40),
    ("a header that goes on behind the packet", |it| {
        it.truncate(20 + 40);
        it[32] = 0xf0;
        total(it, 60);
    }),
    ("a fragment", |it| it[6] = 0x20),
    ("a later fragment", |it| it[7] = 1),
    ("less than there is", |it| {
        let count = it.len();
        total(it, count - 7);
    }),
    ("more than there is", |it| {
        let count = it.len();
        total(it, count + 7);
    }),
    ("an option of IP's", |it| {
        it[0] = 0x46;
        it.splice(20..20, [1, 1, 1, 0]);
        let count = it.len();
        total(it, count);
    }),
    ("no length at all", |it| total(it, 0)),
];

/// Sets the length in an IPv4 header.
fn total(packet: &mut [u8], count: usize) {
    packet[2..4].copy_from_slice(&(count as u16).to_be_bytes());
}

#[tokio::test]
async fn a_packet_that_is_malformed_changes_nothing() {
    let Some(mut scene) = Scene::new(&[]).await else { return };
    for (what, make) in MALFORMED {
        scene.carry().await;
        let before = scene.web.count();
        let right = scene.raw.next().flags(ACK | PSH).data(REQUEST);
        let mut packet = right.packet();
        make(&mut packet);
        Segment::mend(&mut packet);
        scene.raw.cable.send_packet(&packet).await;
        scene.raw.cable.send(&right).await;
        scene.raw.seq = right.end();
        scene.raw.is_told("/next", "web").await;
        let seen = scene.web.requests();
        assert_eq!(seen.len(), before + 1, "{what}");
        assert!(seen[before].header("x-something-els") == Some("1"), "{what}: {}", seen[before].head);
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_more_holds_nothing_for_longer_than_the_idle_time_out() {
    let Some(mut scene) = Scene::new(&["--idle-timeout", "1"]).await else { return };
    // It has not gone: it goes on telling that it is there.
    let mut alive = scene.raw.next();
    alive.seq = alive.seq.wrapping_sub(1);
    for _ in 0..3 {
        scene.raw.cable.send(&alive).await;
    }
    parked(&scene.gogeta, 0.0).await;
    scene.raw.take_until(|segment| segment.flags & (FIN | RST) != 0).await;
    scene.web.open(0).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_nothing_for_longer_than_the_time_outs() {
    let Some(mut scene) = Scene::new(&["--response-timeout", "1", "--body-timeout", "1"]).await else {
        return;
    };
    // Not a byte: it has no room, and says so each time that it is asked.
    let mut request = scene.raw.next().flags(ACK | PSH);
    request.window = 0;
    request.data = b"GET /200000 HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec();
    scene.raw.cable.send(&request).await;
    scene.raw.seq = request.end();
    scene.raw.window = 0;
    parked(&scene.gogeta, 0.0).await;
    scene.web.open(0).await;
}

#[tokio::test]
async fn a_client_that_begins_anew_by_the_same_port_is_served_anew() {
    let Some(mut scene) = Scene::new(&[]).await else { return };
    // It has forgotten the connection, and nobody was told.
    scene.raw.begin_anew().await;
    scene.carry().await;
    // It has closed it, and gogeta waits for what may be late (RFC 9293, 3.6).
    scene.raw.close().await;
    parked(&scene.gogeta, 0.0).await;
    scene.raw.begin_anew().await;
    scene.carry().await;
}

#[tokio::test]
async fn whatever_a_carried_request_says_its_line_in_the_log_is_one() {
    let Some(world) = World::new().await else { return };
    let (_web, at_web) = world.backend("web", world.back);
    let builder = world.place(Gogeta::routes(&service_at("a.test", &[at_web])));
    let log = builder.file("access.log", "");
    let builder = builder.args(["--access-log-format", "combined"]).arg("--access-log").arg(&log);
    let Some(gogeta) = parking_by(Kind::Wire, builder).await else { return };
    let mut client = world.client(world.front()).await;
    get(&mut client, "a.test", "/first", "web").await;
    parked(&gogeta, 1.0).await;
    let agent = "x\" 200 1\\\t6.6.6.6 - - \"GET /forged";
    let request = format!("GET /sly HTTP/1.1\r\nHost: a.test\r\nUser-Agent: {agent}\r\n\r\n");
    client.send(request).await;
    is_told(&mut client, "web", "GET /sly HTTP/1.1", b"").await;
    assert_eq!(carried(&gogeta).await, 1.0);
    let lines = until("it is logged", async || {
        let text = std::fs::read_to_string(&log).expect("the log is there and is UTF-8");
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.len() >= 2).then_some(lines)
    })
    .await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    // Nothing in it ends a field, nor a line in anybody's eyes.
    let fields = lines[1].replace("\\\"", "").matches('"').count();
    assert_eq!(fields, 6, "{}", lines[1]);
    assert!(lines[1].chars().all(|letter| (' '..='~').contains(&letter)), "{}", lines[1].escape_debug());
}
