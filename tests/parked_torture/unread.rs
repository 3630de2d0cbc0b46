//! A client that asks on and on and reads nothing: it gets no further than the window, others are served, and when it
//! reads at last, everything is right.

use std::time::Duration;

use gogeta::splice::seat::WINDOW;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use super::ask::{Ask, SIMPLE};
use super::origin::origin;
use super::reader::{Fate, Pace, Reader};
use crate::support::backend::service;
use crate::support::parking::{carried, parked, parking};

const SIZE: u64 = 16 << 10;

/// What may be under way besides: in the sockets of the client, of gogeta and of the backend.
const BUFFERS: u64 = 2 << 20;

#[tokio::test]
async fn a_client_that_reads_nothing_holds_no_more_than_the_window() {
    let (web, other) = (origin("web").await, origin("other").await);
    let routes = service(SIMPLE, &[web.port]) + &service("a.test", &[other.port]);
    let Some(gogeta) = parking(&routes).await else { return };
    let mut others = TcpStream::connect(gogeta.proxy).await.expect("a connection");
    exchange(&mut others, "a.test", 1).await;
    parked(&gogeta, 1.0).await;
    let before = gogeta.rss_kib();

    let mut deaf = Vec::new();
    for number in 0..4 {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("SO_RCVBUF");
        let mut stream = socket.connect(gogeta.proxy).await.expect("a connection");
        exchange(&mut stream, SIMPLE, number).await;
        parked(&gogeta, 2.0).await;
        deaf.push((stream, Vec::new()));
        let (stream, asks) = deaf.last_mut().expect("it is there");
        let first = web.count() as u64;
        loop {
            let ask = Ask::simple(SIMPLE, SIZE, number << 32 | asks.len() as u64);
            let seen = web.count();
            stream.write_all(&ask.bytes()).await.expect("to send");
            asks.push(ask);
            let goes_on = tokio::time::timeout(Duration::from_secs(1), async {
                while web.count() == seen {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            if goes_on.await.is_err() {
                break;
            }
            let sent = (web.count() as u64 - first) * SIZE;
            assert!(sent < u64::from(WINDOW) + BUFFERS, "{sent} bytes were sent, and nothing was read");
        }
        assert!(asks.len() as u64 * SIZE > u64::from(WINDOW) / 2, "{} were answered", asks.len());
    }
    let grown = gogeta.rss_kib().saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more");
    let so_far = carried(&gogeta).await;
    for number in 0..100 {
        exchange(&mut others, "a.test", number).await;
    }
    assert!(carried(&gogeta).await >= so_far + 90.0, "others are still carried");

    for (stream, asks) in &mut deaf {
        let mut reader = Reader::default();
        for ask in asks {
            let fate = reader.response(stream, ask, Pace::Fast).await;
            assert_eq!(fate, Fate::Whole("web".to_owned(), true), "{ask:?}");
        }
        exchange(stream, SIMPLE, 1).await;
    }
}

/// A request and its response.
async fn exchange(stream: &mut TcpStream, host: &'static str, seed: u64) {
    let ask = Ask::simple(host, 1000, seed);
    stream.write_all(&ask.bytes()).await.expect("to send");
    let fate = Reader::default().response(stream, &ask, Pace::Fast).await;
    assert!(matches!(fate, Fate::Whole(_, true)), "{fate:?} for {ask:?}");
}
