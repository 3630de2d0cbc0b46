//! gogeta is killed while it has connections parked: they end at once, and nothing of it is left.

use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::ask::{Ask, SIMPLE};
use super::origin::origin;
use super::reader::{Fate, Pace, Reader};
use crate::support::backend::service;
use crate::support::client::Client;
use crate::support::etcd::free_port;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_with};

/// Parked connections; every second one has a response under way.
const CLIENTS: u64 = 20;

#[tokio::test]
async fn who_is_parked_when_gogeta_is_killed_sees_the_end_and_the_next_one_parks_on_the_same_port() {
    let web = origin("web").await;
    let address = format!("127.0.0.1:{}", free_port());
    let start = async || {
        parking_with(Gogeta::routes(&service(SIMPLE, &[web.port])).args(["--listen", &*address])).await
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
    for (number, (stream, _)) in clients.iter_mut().enumerate().step_by(2) {
        stream.write_all(&large(number).bytes()).await.expect("to send");
    }
    web.seen(30).await;
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
