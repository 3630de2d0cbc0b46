//! gogeta is killed while it has connections parked: they end at once, and nothing of it is left.

use std::net::SocketAddr;
use std::time::Duration;

use gogeta::splice::Kind;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::ask::{Ask, SIMPLE};
use super::origin::origin_at;
use super::reader::{Fate, Pace, Reader};
use crate::support::backend::service_at;
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;
use crate::support::netns::{Namespace, connect};
use crate::support::parking::{carried, parked, parking_by};

/// Parked connections; every second one has a response under way.
const CLIENTS: u64 = 20;

#[tokio::test]
async fn whom_sockmap_carries_when_gogeta_is_killed_sees_the_end_and_the_next_one_parks_on_the_same_port() {
    who_is_parked_sees_the_end(Kind::Sockmap).await;
}

#[tokio::test]
async fn whom_the_wire_carries_when_gogeta_is_killed_sees_the_end_and_the_next_one_parks_on_the_same_port() {
    who_is_parked_sees_the_end(Kind::Wire).await;
}

async fn who_is_parked_sees_the_end(kind: Kind) {
    let Some(host) = Namespace::new() else { return };
    let (here, there) = connect(&Namespace::host(), &host).await;
    let web = origin_at("web", here).await;
    let routes = service_at(SIMPLE, &[(here, web.port).into()]);
    let [listen, admin] = [8080, 0].map(|port| SocketAddr::new(there, port).to_string());
    let start = async || {
        let builder = Gogeta::routes(&routes).on(&host).args(["--listen", &listen, "--admin", &admin]);
        parking_by(kind, builder).await
    };
    let Some(mut gogeta) = start().await else { return };
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let (mut stream, mut reader) =
            (TcpStream::connect(gogeta.proxy).await.expect("a connection"), Reader::default());
        let ask = Ask::simple(SIMPLE, 10, number);
        stream.write_all(&ask.bytes()).await.expect("to send");
        assert!(matches!(reader.response(&mut stream, &ask, Pace::Fast).await, Fate::Whole(..)));
        clients.push((stream, reader));
    }
    parked(&gogeta, CLIENTS as f64).await;
    for (number, (stream, reader)) in clients.iter_mut().enumerate() {
        let ask = Ask::simple(SIMPLE, 10, number as u64);
        stream.write_all(&ask.bytes()).await.expect("to send");
        assert!(matches!(reader.response(stream, &ask, Pace::Fast).await, Fate::Whole(..)));
    }
    assert_eq!(carried(&gogeta).await, CLIENTS as f64);
    for (number, (stream, _)) in clients.iter_mut().enumerate().step_by(2) {
        stream.write_all(&large(number).bytes()).await.expect("to send");
    }
    web.seen(2 * 20 + 10).await;
    gogeta.signal(Signal::KILL);
    gogeta.wait().await;
    let ends = async {
        for (number, (stream, reader)) in clients.iter_mut().enumerate() {
            let ask = large(number);
            if number % 2 == 0 {
                let fate = reader.response(stream, &ask, Pace::Fast).await;
                assert!(matches!(fate, Fate::Whole(..) | Fate::Cut | Fate::Nothing), "{fate:?}");
            }
            reader.end(stream, &ask).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), ends).await.expect("all of them end");
    web.open(0).await;

    let Some(gogeta) = start().await else { return };
    let mut client = Client::connect(gogeta.proxy).await;
    for number in 0..3 {
        let target = String::from_utf8(Ask::simple(SIMPLE, 10, number).bytes()).expect("ASCII");
        client.send(target).await;
        assert_eq!(client.reply().await.body.len(), 10);
        parked(&gogeta, 1.0).await;
    }
    assert_eq!(carried(&gogeta).await, 2.0);
}

fn large(number: usize) -> Ask {
    Ask::simple(SIMPLE, 400_000, number as u64 + 1000)
}
