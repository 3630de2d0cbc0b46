//! The raw HTTP cases again, each as what follows on a connection that is parked: the verdicts are those of a fresh one.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use gogeta::splice::Kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::cases::RUN;
use crate::support::backend::{ok, service_at};
use crate::support::etcd::{free_port, skip};
use crate::support::gogeta::Gogeta;
use crate::support::netns::{Namespace, connect};
use crate::support::parking::{carried, parked, parking_by};
use crate::support::wait::acknowledged;

/// What parks a connection; no case looks like it.
const WARM: &str = "GET /warm HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// How the bytes of a case come to gogeta.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// As they were sent.
    Whole,
    /// In two segments, of which the first is the first so many bytes.
    Split(usize),
}

#[tokio::test]
async fn every_raw_case_gets_on_a_connection_of_sockmaps_what_it_must() {
    try_all(Kind::Sockmap, Way::Whole).await;
}

#[tokio::test]
async fn every_raw_case_gets_on_a_connection_of_the_wires_what_it_must() {
    try_all(Kind::Wire, Way::Whole).await;
}

#[tokio::test]
async fn every_raw_case_in_two_pieces_gets_on_a_connection_of_sockmaps_what_it_must() {
    // In the midst of most heads, and behind the end of the shortest.
    try_all(Kind::Sockmap, Way::Split(40)).await;
}

#[tokio::test]
async fn every_raw_case_in_two_pieces_gets_on_a_connection_of_the_wires_what_it_must() {
    try_all(Kind::Wire, Way::Split(40)).await;
}

async fn try_all(kind: Kind, way: Way) {
    if !Path::new(RUN).is_file() {
        return skip("there is no ../shared/cases beside this repository");
    }
    let origin = free_port();
    // gogeta has a host of its own, with a cable to ours.
    let Some(host) = Namespace::new() else { return };
    let (here, there) = connect(&Namespace::host(), &host).await;
    let veil = TcpListener::bind((here, 0)).await.expect("a port");
    let routes = service_at("a.test", &[veil.local_addr().expect("an address")]);
    let [listen, admin] = [8080, 0].map(|port| SocketAddr::new(there, port).to_string());
    // Nobody gets connections that the last one has left: they lead to the origin by then.
    let builder = Gogeta::routes(&routes).args(["--listen", &listen, "--admin", &admin]);
    let builder = builder.args(["--threads", "1", "--upstream-idle-timeout", "0"]);
    let Some(gogeta) = parking_by(kind, builder.on(&host)).await else { return };
    let veil = tokio::spawn(hide_warm_requests(veil, origin));
    let front = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = front.local_addr().expect("an address");
    let mut count = 0;
    let forwarding = async {
        // One after the other, as they come.
        while let Ok((client, _)) = front.accept().await {
            forward(client, &gogeta, way).await;
            count += 1;
        }
    };
    let running = Command::new("python3")
        .args([RUN, &proxy.to_string(), &format!("127.0.0.1:{origin}"), "-v"])
        .stdin(Stdio::null())
        .output();
    let outcome = tokio::select! {
        outcome = running => outcome.expect("python3 runs"),
        () = forwarding => panic!("nobody forwards any more"),
    };
    veil.abort();
    let told = String::from_utf8_lossy(&outcome.stdout);
    assert!(outcome.status.success(), "{told}{}", String::from_utf8_lossy(&outcome.stderr));
    assert!(told.contains(" passed, 0 failed"), "{told}");
    assert!(count > 50, "{told}");
    // Some of them are simple.
    let simple = carried(&gogeta).await;
    assert!(matches!(way, Way::Split(_)) || simple >= 4.0, "only {simple} were carried");
}

/// Between a client and gogeta: all that the client sends follows on a connection that is parked.
async fn forward(client: TcpStream, gogeta: &Gogeta, way: Way) {
    parked(gogeta, 0.0).await;
    let proxy = TcpStream::connect(gogeta.proxy).await.expect("a connection");
    proxy.set_nodelay(true).expect("TCP_NODELAY");
    let (mut answers, mut requests) = proxy.into_split();
    requests.write_all(WARM.as_bytes()).await.expect("to send");
    let mut answer = Vec::new();
    while !answer.ends_with(b"warm") {
        let read = answers.read_buf(&mut answer).await.expect("an answer");
        assert!(read > 0, "{}", answer.escape_ascii());
    }
    parked(gogeta, 1.0).await;
    let (from, to) = client.into_split();
    // Who ends first, ends both.
    tokio::select! {
        () = send(from, requests, way) => {}
        () = copy(answers, to) => {}
    }
}

async fn send(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way) {
    let mut bytes = Vec::with_capacity(128 << 10);
    if let Way::Split(first) = way
        && matches!(from.read_buf(&mut bytes).await, Ok(1..))
    {
        let (one, two) = bytes.split_at(first.min(bytes.len()));
        if to.write_all(one).await.is_err() {
            return;
        }
        acknowledged(to.as_ref()).await;
        if to.write_all(two).await.is_err() {
            return;
        }
    }
    copy(from, to).await;
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

/// Between gogeta and the origin: answers what parks a connection, so that the origin sees its case only.
async fn hide_warm_requests(listener: TcpListener, origin: u16) {
    while let Ok((gogeta, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut requests, mut answers) = gogeta.into_split();
            let mut bytes = Vec::with_capacity(64 << 10);
            // gogeta sends a head at once.
            while matches!(requests.read_buf(&mut bytes).await, Ok(1..)) && bytes.starts_with(b"GET /warm ") {
                bytes.clear();
                if answers.write_all(ok("warm").as_bytes()).await.is_err() {
                    return;
                }
            }
            let Ok(origin) = TcpStream::connect(("127.0.0.1", origin)).await else { return };
            let (from_origin, mut to_origin) = origin.into_split();
            if to_origin.write_all(&bytes).await.is_ok() {
                tokio::select! {
                    () = copy(requests, to_origin) => {}
                    () = copy(from_origin, answers) => {}
                }
            }
        });
    }
}
