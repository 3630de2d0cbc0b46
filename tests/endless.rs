//! Origins that do not come to an end, or to a stand in the middle: they are cut off, and take little memory.

use std::time::{Duration, Instant};

use crate::support::backend::{Backend, Peer, ok, service};
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;
use crate::support::origin::{CHUNKED, POISON, before};
use crate::support::wait::until;

/// What an endless origin may send before it is cut off: what buffers in kernels hold, and some.
const TAKEN: u64 = 32 << 20;

/// What memory may grow by meanwhile, in KiB.
const GROWTH: u64 = 16 << 10;

/// Sends `first`, then `rest` without an end.
async fn endless(mut peer: Peer, first: &str, rest: &str) {
    peer.request().await;
    let rest = rest.repeat(64 << 10 >> rest.len().ilog2());
    if peer.send(first).await.is_ok() {
        while peer.send(&rest).await.is_ok() {
            peer.note(rest.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_end_is_cut_off_in_little_memory() {
    let last = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n";
    let (first, size) = (format!("{CHUNKED}4\r\nhalf\r\n5;"), format!("{CHUNKED}4\r\nhalf\r\n"));
    let cases = [
        ("a reason", "HTTP/1.1 200 ", "a", 502),
        ("fields", "HTTP/1.1 200 OK\r\n", "X-A: 1\r\n", 502),
        ("a name", "HTTP/1.1 200 OK\r\n", "a", 502),
        ("a value", "HTTP/1.1 200 OK\r\nX-A: ", "a", 502),
        ("empty lines", "", "\r\n", 502),
        ("interim responses", "", "HTTP/1.1 100 Continue\r\n\r\n", 502),
        ("early hints", "", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 502),
        ("noise", "", "\0", 502),
        ("trailers", last, "X-A: 1\r\n", 200),
        ("a trailer", last, "a", 200),
        ("an extension", &first, "a", 200),
        ("a size", &size, "0", 200),
        ("surplus", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf", POISON, 200),
    ];
    for (what, first, rest, status) in cases {
        let (first, rest) = (first.to_owned(), rest.to_owned());
        let backend = Backend::scripted(move |peer| {
            let (first, rest) = (first.clone(), rest.clone());
            async move { endless(peer, &first, &rest).await }
        })
        .await;
        let gogeta = before(&service("a.test", &[backend.port])).start().await;
        let idle = gogeta.rss_kib();
        let mut client = Client::connect(gogeta.proxy).await;
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let reply = client.reply().await;
        backend.open(0).await;
        let surplus = what == "surplus";
        assert_eq!((reply.status, reply.whole), (status, status == 502 || surplus), "{what}");
        assert!(status == 502 || reply.text() == "half", "{what}: {reply:?}");
        assert!(backend.noted() < TAKEN, "{what}: {} bytes were taken", backend.noted());
        let growth = gogeta.rss_kib().saturating_sub(idle);
        assert!(growth < GROWTH, "{what}: it grew by {growth} KiB");
    }
}

/// An origin that sends this and then nothing more, before a gogeta that waits for a second.
async fn stalling(sends: &str, flags: &[&str]) -> (Backend, Gogeta) {
    let sends = sends.to_owned();
    let backend = Backend::scripted(move |mut peer| {
        let sends = sends.clone();
        async move {
            peer.request().await;
            peer.send(&*sends).await.expect("to send");
            peer.ended().await;
        }
    })
    .await;
    let gogeta = before(&service("a.test", &[backend.port])).args(flags).start().await;
    (backend, gogeta)
}

#[tokio::test]
async fn a_promised_body_that_stalls_is_cut() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    for sends in [
        format!("{length}half"),
        format!("{CHUNKED}4\r\nhalf\r\nA"),
        format!("{CHUNKED}A\r\nhalf"),
        format!("{CHUNKED}4\r\nhalf"),
        format!("{CHUNKED}4\r\nhalf\r\n0\r\n"),
    ] {
        let (backend, gogeta) = stalling(&sends, &["--body-timeout", "1s", "--stream-timeout", "1h"]).await;
        let mut client = Client::connect(gogeta.proxy).await;
        let reply = client.get("a.test", "/").await;
        assert_eq!((reply.status, &*reply.text(), reply.whole), (200, "half", false), "{sends:?}");
        assert_eq!(client.rest().await, b"", "{sends:?}");
        backend.open(0).await;
        assert_eq!(backend.count(), 1, "{sends:?}");
    }
}

#[tokio::test]
async fn a_body_that_may_be_quiet_is_cut_much_later() {
    for sends in [format!("{CHUNKED}4\r\nhalf\r\n"), "HTTP/1.1 200 OK\r\n\r\nhalf".to_owned()] {
        let (backend, gogeta) = stalling(&sends, &["--body-timeout", "1s", "--stream-timeout", "3s"]).await;
        let begun = Instant::now();
        let reply = Client::connect(gogeta.proxy).await.get("a.test", "/").await;
        assert_eq!((reply.status, &*reply.text(), reply.whole), (200, "half", false), "{sends:?}");
        assert!(begun.elapsed().as_secs() >= 2, "{sends:?}: as if something had been promised");
        backend.open(0).await;
    }
}

#[tokio::test]
async fn a_head_that_stalls_is_a_504() {
    for sends in
        ["", "H", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\n\r", "HTTP/1.1 100 Continue\r\n\r\n"]
    {
        let (backend, gogeta) = stalling(sends, &["--response-timeout", "1s"]).await;
        let reply = Client::connect(gogeta.proxy).await.get("a.test", "/").await;
        assert_eq!((reply.status, reply.header("x-gogeta-page")), (504, Some("timeout")), "{sends:?}");
        backend.open(0).await;
        assert_eq!(backend.count(), 1, "{sends:?}");
    }
}

#[tokio::test]
async fn a_head_that_trickles_is_a_504_and_a_body_that_does_is_whole() {
    let backend = Backend::scripted(|mut peer| async move {
        while let Some(seen) = peer.request().await {
            let head = seen.line().starts_with("GET /head");
            let raw = if head {
                "HTTP/1.1 200 OK\r\nX-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            } else {
                &ok("slow but steady")
            };
            let (at_once, trickle) = raw.split_at(if head { 1 } else { raw.len() - 15 });
            let _ = peer.send(at_once).await;
            for byte in trickle.bytes() {
                tokio::time::sleep(Duration::from_millis(150)).await;
                if peer.send([byte]).await.is_err() {
                    return peer.note(1);
                }
            }
        }
    })
    .await;
    let flags = ["--response-timeout", "1s", "--body-timeout", "1s"];
    let gogeta = before(&service("a.test", &[backend.port])).args(flags).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    let reply = client.get("a.test", "/body").await;
    assert_eq!((reply.status, &*reply.text(), reply.whole), (200, "slow but steady", true));
    assert_eq!(client.get("a.test", "/head").await.status, 504);
    until("the origin to be cut off", async || (backend.noted() == 1).then_some(())).await;
}
