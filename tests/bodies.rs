//! Bodies stream both ways, whole and in bounded memory; one that breaks off is seen to.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::support::backend::{Backend, ok, service};
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

/// What memory may grow by while something big passes, in KiB.
const GROWTH: u64 = 64 << 10;

/// 1 GiB, which takes a few seconds; less where there is no time for it.
fn big() -> u64 {
    if std::env::var_os("GOGETA_TEST_QUICK").is_some() { 128 << 20 } else { 1 << 30 }
}

async fn before(backend: &Backend) -> Gogeta {
    Gogeta::routes(&service("a.test", &[backend.port])).start().await
}

/// Runs `work` and gives the most that gogeta grew by meanwhile, in KiB.
async fn growth_during(gogeta: &Gogeta, work: impl Future<Output = ()>) -> u64 {
    let idle = gogeta.rss_kib();
    let mut most = idle;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    tokio::pin!(work);
    loop {
        tokio::select! {
            () = &mut work => return most.saturating_sub(idle),
            _ = tick.tick() => most = most.max(gogeta.rss_kib()),
        }
    }
}

/// `count` bytes, a block at a time.
fn blocks(count: u64) -> impl Iterator<Item = &'static [u8]> {
    static BLOCK: [u8; 256 << 10] = [b'x'; 256 << 10];
    (0..count).step_by(BLOCK.len()).map(move |at| {
        let left = usize::try_from(count - at).unwrap_or(usize::MAX);
        &BLOCK[..left.min(BLOCK.len())]
    })
}

/// A backend that answers with `count` bytes.
async fn source(count: u64) -> Backend {
    Backend::scripted(move |mut peer| async move {
        peer.head().await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n\r\n");
        if peer.send(head).await.is_ok() {
            for block in blocks(count) {
                if peer.send(block).await.is_err() {
                    return;
                }
                peer.note(block.len());
            }
            peer.ended().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_length_stays_a_length() {
    let backend = Backend::named("hello").await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    for body in ["hello", ""] {
        let length = body.len();
        client
            .send(format!("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await;
        let reply = client.reply().await;
        assert_eq!((reply.header("content-length"), reply.header("transfer-encoding")), (Some("5"), None));
        assert_eq!(reply.text(), "hello");
    }
    let lengths: Vec<Option<String>> =
        backend.requests().iter().map(|seen| seen.header("content-length").map(str::to_owned)).collect();
    assert_eq!(lengths, [Some("5".to_owned()), Some("0".to_owned())]);
    assert_eq!(backend.requests()[0].body, b"hello");
}

#[tokio::test]
async fn chunks_stay_chunks() {
    let backend = Backend::replying(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n000002\r\nde\r\n0\r\n\r\n",
    )
    .await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    for turn in 1..=2 {
        client
            .send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\nA\r\n0123456789\r\n0\r\n\r\n")
            .await;
        let reply = client.reply().await;
        assert_eq!((&*reply.text(), reply.header("transfer-encoding")), ("abcde", Some("chunked")));
        let seen = &backend.requests()[turn - 1];
        assert_eq!(
            (&seen.body[..], seen.header("transfer-encoding")),
            (&b"x0123456789"[..], Some("chunked"))
        );
    }
}

#[tokio::test]
async fn a_response_that_ends_with_its_connection_is_whole() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.request().await;
        let _ = peer.send("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..2 {
        let reply = client.get("a.test", "/").await;
        assert_eq!((&*reply.text(), reply.whole, reply.keeps()), ("until the end", true, true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_download_takes_no_memory() {
    let backend = source(big()).await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    let download = async {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let head = client.head().await.expect("a head");
        assert_eq!(head.header("content-length"), Some(&*big().to_string()));
        client.skip(big()).await;
    };
    let growth = growth_during(&gogeta, download).await;
    assert!(growth < GROWTH, "it grew by {growth} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_upload_takes_no_memory() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        let count = peer.skip(big()).await;
        let _ = peer.send(ok(&count.to_string())).await;
    })
    .await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    let upload = async {
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", big())).await;
        for block in blocks(big()) {
            client.send(block).await;
        }
        assert_eq!(client.reply().await.text(), big().to_string());
    };
    let growth = growth_during(&gogeta, upload).await;
    assert!(growth < GROWTH, "it grew by {growth} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_stops_its_backend() {
    let count = 200 << 20;
    let backend = source(count).await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    let reading = async {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        client.head().await.expect("a head");
        // Nothing is read until the backend has been stuck for a hundred looks.
        let (mut last, mut looks) = (0, 0);
        until("the backend to be stuck", async || {
            looks = if backend.noted() == last { looks + 1 } else { 0 };
            last = backend.noted();
            (last > 0 && looks > 100).then_some(())
        })
        .await;
        assert!(backend.noted() < count / 2, "{} of {count} bytes are gone", backend.noted());
        client.skip(count).await;
    };
    let growth = growth_during(&gogeta, reading).await;
    assert!(growth < GROWTH, "it grew by {growth} KiB");
}

#[tokio::test]
async fn events_arrive_one_at_a_time_and_at_once() {
    let (tell, told) = mpsc::channel::<String>(1);
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let backend = Backend::scripted(move |mut peer| {
        let told = told.clone();
        async move {
            peer.head().await;
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            peer.send(head).await.expect("to send");
            while let Some(event) = told.lock().await.recv().await {
                peer.send(format!("{:x}\r\n{event}\r\n", event.len())).await.expect("to send");
            }
            peer.send("0\r\n\r\n").await.expect("to send");
            peer.ended().await;
        }
    })
    .await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    // The head comes before there is any event.
    assert_eq!(client.head().await.expect("a head").header("content-type"), Some("text/event-stream"));
    for turn in 0..50 {
        let event = format!("data: {turn}\n\n");
        tell.send(event.clone()).await.expect("a backend");
        assert_eq!(client.chunk().await.expect("a chunk").expect("a chunk"), event.into_bytes());
    }
    drop(tell);
    assert_eq!(client.chunk().await.expect("a chunk").expect("the last chunk"), b"");
}

#[tokio::test]
async fn a_request_body_arrives_as_it_is_sent() {
    let backend = Backend::scripted(|mut peer| async move {
        while peer.head().await.is_some() {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.expect("to send");
            // Each part is answered before the next one is sent: both directions run at once.
            while let Some(chunk) = peer.chunk().await.filter(|chunk| !chunk.is_empty()) {
                let answer = format!("{:x}\r\n", chunk.len()).into_bytes();
                peer.send([&answer, &chunk[..], b"\r\n"].concat()).await.expect("to send");
            }
            peer.send("0\r\n\r\n").await.expect("to send");
        }
    })
    .await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(client.head().await.expect("an early head").status, 200);
    for turn in 0..20 {
        client.send(format!("6\r\npart{turn:02}\r\n")).await;
        assert_eq!(
            client.chunk().await.expect("a chunk").expect("a chunk"),
            format!("part{turn:02}").into_bytes()
        );
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await.expect("a chunk").expect("the last chunk"), b"");
    // Both are done, so the connection goes on.
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 200);
}

#[tokio::test]
async fn a_response_that_breaks_off_is_seen_to() {
    for (what, reply, got) in [
        ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "half"),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "half"),
        ("within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nhalf", "half"),
        ("a bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", "half"),
    ] {
        for reset in [false, true] {
            let backend = Backend::scripted(move |mut peer| async move {
                peer.request().await;
                let _ = peer.send(reply).await;
                if reset {
                    peer.reset();
                }
            })
            .await;
            let gogeta = before(&backend).await;
            let mut client = Client::connect(gogeta.proxy).await;
            let reply = client.get("a.test", "/").await;
            assert_eq!((reply.status, reply.whole), (200, false), "{what}, reset {reset}");
            assert_eq!(reply.text(), got, "{what}, reset {reset}");
            assert_eq!(client.rest().await, b"", "{what}, reset {reset}");
        }
    }
}

#[tokio::test]
async fn a_request_body_that_breaks_off_is_no_request() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        peer.ended().await;
    })
    .await;
    let gogeta = before(&backend).await;
    for raw in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut client = Client::connect(gogeta.proxy).await;
        let seen = backend.count();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{raw}")).await;
        backend.seen(seen + 1).await;
        drop(client);
        backend.open(0).await;
    }
}

#[tokio::test]
async fn a_malformed_body_is_the_clients_fault() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        peer.ended().await;
    })
    .await;
    let gogeta = before(&backend).await;
    for chunks in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "5\r\nhello\r\n0x\r\n\r\n",
    ] {
        let mut client = Client::connect(gogeta.proxy).await;
        client
            .send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"))
            .await;
        let reply = client.reply().await;
        assert!(reply.status == 400 && !reply.keeps(), "{chunks:?}: {reply:?}");
        assert_eq!(client.rest().await, b"", "{chunks:?}");
        backend.open(0).await;
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_upload_is_over() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        let _ = peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nnope").await;
        peer.ended().await;
    })
    .await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nfirst").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, &*reply.text(), reply.whole), (413, "nope", true));
    // What is left of the upload is not the next request, at neither side.
    backend.open(0).await;
    let _ = client.try_send("x".repeat(1000)).await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_survives_an_upload_that_nobody_wants() {
    // The backend answers and hangs up in the middle of the upload, as many do.
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        let _ = peer
            .send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnope")
            .await;
    })
    .await;
    let gogeta = before(&backend).await;
    for _ in 0..20 {
        let mut client = Client::connect(gogeta.proxy).await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 200000\r\n\r\n{}",
                "x".repeat(100_000)
            ))
            .await;
        let reply = client.reply().await;
        assert_eq!((reply.status, &*reply.text(), reply.whole), (413, "nope", true));
    }
}

#[tokio::test]
async fn a_client_that_expects_a_100_gets_it_before_it_sends() {
    let backend = Backend::named("thanks").await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..2 {
        client
            .send("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            .await;
        assert_eq!(client.head().await.expect("an interim head").status, 100);
        client.send("body").await;
        let reply = client.head().await.expect("the final head");
        assert_eq!((reply.status, client.take(6).await), (200, b"thanks".to_vec()));
    }
    assert!(backend.requests().iter().all(|seen| seen.body == b"body"));
}

#[tokio::test]
async fn a_client_that_expects_a_100_and_is_refused_does_not_get_it() {
    let gogeta = Gogeta::routes("").start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    assert_eq!(client.head().await.expect("a head").status, 404);
}

#[tokio::test]
async fn a_client_that_leaves_a_quiet_stream_takes_it_along() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await.expect("to send");
        peer.ended().await;
    })
    .await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.head().await.expect("a head").status, 200);
    drop(client);
    backend.open(0).await;
}
