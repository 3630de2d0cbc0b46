//! Interim responses, bodies that wait to be asked for, and trailers: what HTTP/1.1 has besides heads and bodies.

use tokio::sync::mpsc;

use crate::support::backend::{Backend, ok, service};
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\r\n";
const EXPECTING: &str =
    "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

async fn before(backend: &Backend) -> Gogeta {
    Gogeta::routes(&service("a.test", &[backend.port])).start().await
}

/// A backend that sends `first` at once, and a reply when it is told to.
async fn in_two_steps(first: String) -> (Backend, mpsc::Sender<()>) {
    let (tell, told) = mpsc::channel::<()>(1);
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let backend = Backend::scripted(move |mut peer| {
        let (told, first) = (told.clone(), first.clone());
        async move {
            while peer.head().await.is_some() {
                peer.send(&first).await.expect("to send");
                told.lock().await.recv().await;
                peer.send(ok("done")).await.expect("to send");
            }
        }
    })
    .await;
    (backend, tell)
}

#[tokio::test]
async fn a_hint_arrives_before_its_response() {
    let (backend, go_on) = in_two_steps(HINTS.to_owned()).await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let hint = client.head().await.expect("a hint");
        assert_eq!((hint.status, hint.header("link")), (103, Some("</style.css>")));
        assert_eq!(hint.headers.len(), 1, "hop-by-hop fields: {hint:?}");
        go_on.send(()).await.expect("a backend");
        let reply = client.reply().await;
        assert_eq!((reply.status, &*reply.text()), (200, "done"));
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn hints_in_one_piece_with_the_response_arrive_too() {
    let backend = Backend::replying(&format!("{HINTS}HTTP/1.1 102 Processing\r\n\r\n{}", ok("done"))).await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    // Three requests at once: every message stays in one piece.
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(3)).await;
    for _ in 0..3 {
        for status in [103, 102] {
            assert_eq!(client.head().await.expect("an interim head").status, status);
        }
        assert_eq!(client.reply().await.text(), "done");
    }
}

#[tokio::test]
async fn an_old_client_gets_no_hints() {
    let backend = Backend::replying(&format!("{HINTS}{}", ok("done"))).await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.head().await.expect("the only head").status, 200);
    assert_eq!(client.rest().await, b"done");
}

#[tokio::test]
async fn a_body_waits_until_the_backend_asks_for_it() {
    let (tell, told) = mpsc::channel::<()>(1);
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let backend = Backend::scripted(move |mut peer| {
        let told = told.clone();
        async move {
            while peer.head().await.is_some() {
                told.lock().await.recv().await;
                assert_eq!(peer.waiting(), 0, "nothing was asked for");
                peer.send("HTTP/1.1 100 Continue\r\n\r\n").await.expect("to send");
                let body = peer.take(4).await.expect("the body");
                peer.send(ok(&String::from_utf8_lossy(&body))).await.expect("to send");
            }
        }
    })
    .await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    for turn in 1..=2 {
        client.send(EXPECTING).await;
        backend.seen(turn).await;
        assert!(!client.has_something(), "a 100 before the backend's");
        tell.send(()).await.expect("a backend");
        assert_eq!(client.head().await.expect("an interim head").status, 100);
        client.send("body").await;
        let reply = client.head().await.expect("one 100, and the final head");
        assert_eq!((reply.status, client.take(4).await), (200, b"body".to_vec()));
    }
    assert_eq!(backend.requests()[0].header("expect"), Some("100-continue"));
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_body_that_the_backend_does_not_want_is_never_asked_for() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        let _ = peer.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").await;
        assert_eq!(peer.some().await, None, "the body of a refused request");
    })
    .await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send(EXPECTING).await;
    let reply = client.head().await.expect("the only head");
    assert_eq!((reply.status, client.take(2).await), (401, b"no".to_vec()));
    // Whether the body comes nevertheless cannot be known, so nothing else does.
    assert_eq!(client.rest().await, b"");
    backend.open(0).await;
}

#[tokio::test]
async fn a_body_that_is_there_already_is_not_waited_for() {
    let backend = Backend::named("thanks").await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send(format!("{EXPECTING}body")).await;
    assert_eq!(client.reply().await.text(), "thanks");
    assert_eq!(backend.request().header("expect"), None);
    assert_eq!(backend.request().body, b"body");
}

#[tokio::test]
async fn trailers_reach_those_who_ask_for_them() {
    let reply = "HTTP/1.1 200 OK\r\nTrailer: X-Sum, Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Sum: 7\r\nX-Other: 1\r\nContent-Length: 5\r\n\r\n";
    let backend = Backend::replying(reply).await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).args(["--threads", "1"]).start().await;
    for (asks, last) in [("TE: trailers\r\n", "0\r\nx-sum: 7\r\n\r\n"), ("", "0\r\n\r\n")] {
        let mut client = Client::connect(gogeta.proxy).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close, te\r\n{asks}\r\n")).await;
        let head = client.head().await.expect("a head");
        assert_eq!(head.header("trailer").is_some(), !asks.is_empty());
        assert_eq!(String::from_utf8_lossy(&client.rest().await), format!("2\r\nok\r\n{last}"));
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn trailers_of_a_request_go_no_further() {
    let backend = Backend::named("thanks").await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a.test\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nok\r\n0\r\nX-Sum: 7\r\nHost: evil\r\n\r\n",
        )
        .await;
    assert_eq!(client.reply().await.text(), "thanks");
    let seen = backend.request();
    assert_eq!((seen.header("trailer"), &seen.body[..]), (None, &b"ok"[..]));
}
