//! One connection: the kernel carries what it can without a system call of gogeta's, userspace the rest.

use gogeta::splice::Kind;

use super::talk::{get, is_told, web_socket};
use super::world::World;
use crate::support::backend::service_at;
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_by};
use crate::support::strace::Count;

/// Requests whose system calls are counted.
const COUNTED: u16 = 300;

/// What userspace must see: the bytes, the size of their packets, and the answers.
type Odd = (String, usize, &'static [(&'static str, &'static str, &'static [u8])]);

fn odd() -> [Odd; 6] {
    let head = |line: &str, host: &str, fields: &str| format!("{line}\r\nHost: {host}\r\n{fields}\r\n");
    const WHOLE: usize = usize::MAX;
    let pair = head("GET /1 HTTP/1.1", "a.test", "") + &head("GET /2 HTTP/1.1", "a.test", "");
    let long = format!("X-Long: {}\r\n", "x".repeat(5000));
    [
        (
            head("POST /post HTTP/1.1", "a.test", "Content-Length: 3\r\n") + "abc",
            WHOLE,
            &[("web", "POST /post HTTP/1.1", b"abc")],
        ),
        (head("GET /other HTTP/1.1", "b.test", ""), WHOLE, &[("other", "GET /other HTTP/1.1", b"")]),
        (pair, WHOLE, &[("web", "GET /1 HTTP/1.1", b""), ("web", "GET /2 HTTP/1.1", b"")]),
        (head("HEAD /head HTTP/1.1", "a.test", ""), WHOLE, &[("web", "HEAD /head HTTP/1.1", b"")]),
        (head("GET /long HTTP/1.1", "a.test", &long), WHOLE, &[("web", "GET /long HTTP/1.1", b"")]),
        (head("GET /split HTTP/1.1", "a.test", ""), 13, &[("web", "GET /split HTTP/1.1", b"")]),
    ]
}

#[tokio::test]
async fn each_request_goes_where_it_should_and_those_that_sockmap_carries_cost_no_system_calls() {
    each_request_goes_where_it_should(Kind::Sockmap).await;
}

#[tokio::test]
async fn each_request_goes_where_it_should_and_those_that_the_wire_carries_cost_no_system_calls() {
    each_request_goes_where_it_should(Kind::Wire).await;
}

async fn each_request_goes_where_it_should(kind: Kind) {
    let Some(world) = World::new().await else { return };
    let (web, at_web) = world.backend("web", world.back);
    let (other, at_other) = world.backend("other", world.back);
    let routes = service_at("a.test", &[at_web]) + &service_at("b.test", &[at_other]);
    let Some(gogeta) = parking_by(kind, world.place(Gogeta::routes(&routes))).await else { return };
    let mut client = world.client(world.front()).await;
    let mut asked = carry(&mut client, &gogeta, 1.0).await;

    let Some(count) = Count::of(gogeta.pid()).await else { return };
    let before = carried(&gogeta).await;
    for number in 0..COUNTED {
        get(&mut client, "a.test", &format!("/counted/{number}"), "web").await;
    }
    let calls = count.end().await;
    assert!(calls < u64::from(COUNTED) / 10, "{calls} reads and writes for {COUNTED} requests");
    assert_eq!(carried(&gogeta).await, before + f64::from(COUNTED));
    let last = web.requests().pop().expect("a request");
    let head = format!("GET /counted/{} HTTP/1.1\r\nHost: a.test\r\n", COUNTED - 1);
    assert!(last.head.starts_with(&head), "{}", last.head);

    asked += usize::from(COUNTED);
    for (raw, size, answers) in odd() {
        client.send_in_packets(&raw, size).await;
        for (name, line, body) in answers {
            is_told(&mut client, name, line, body).await;
        }
        asked += answers.len() + carry(&mut client, &gogeta, 5.0).await;
    }
    assert_eq!(web.count() + other.count(), asked, "each was sent once");
    web_socket(client, &gogeta, "a.test").await;
}

/// Asks until so many more were carried, and gives how often.
async fn carry(client: &mut Client, gogeta: &Gogeta, count: f64) -> usize {
    let wanted = carried(gogeta).await + count;
    for asked in 1..100 {
        get(client, "a.test", &format!("/carried/{asked}"), "web").await;
        parked(gogeta, 1.0).await;
        if carried(gogeta).await >= wanted {
            return asked;
        }
    }
    panic!("{} requests were carried, and {wanted} should be", carried(gogeta).await);
}

#[tokio::test]
async fn requests_that_userspace_serves_cost_at_least_four_system_calls_each() {
    let Some(world) = World::new().await else { return };
    let (_web, at_web) = world.backend("web", world.back);
    let builder = Gogeta::routes(&service_at("a.test", &[at_web])).args(["--splice", "off"]);
    let gogeta = world.place(builder).start().await;
    let mut client = world.client(world.front()).await;
    get(&mut client, "a.test", "/first", "web").await;
    let Some(count) = Count::of(gogeta.pid()).await else { return };
    for number in 0..COUNTED {
        get(&mut client, "a.test", &format!("/counted/{number}"), "web").await;
    }
    let calls = count.end().await;
    assert!(calls >= 4 * u64::from(COUNTED), "{calls} reads and writes for {COUNTED} requests");
}
