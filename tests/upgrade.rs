//! After a 101 that was asked for, and only then, a connection is a tunnel.

use std::net::TcpStream;

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::support::backend::{Backend, Peer, ok, service};
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;
use crate::support::tunnel::{echo, web_socket};
use crate::support::wait::DEADLINE;

const ASK: &str =
    "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: test\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n";

/// A gogeta before a backend that switches, and goes on as `script` says.
async fn tunnel<F>(script: impl Fn(Peer) -> F + Clone + Send + 'static) -> (Backend, Gogeta)
where
    F: Future<Output = ()> + Send + 'static,
{
    let backend = Backend::scripted(move |mut peer| {
        let script = script.clone();
        async move {
            peer.head().await;
            peer.send(SWITCH).await.expect("to switch");
            script(peer).await;
        }
    })
    .await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    (backend, gogeta)
}

async fn open(gogeta: &Gogeta) -> Client {
    let mut client = Client::connect(gogeta.proxy).await;
    client.send(ASK).await;
    let head = client.head().await.expect("a head");
    assert_eq!((head.status, head.header("upgrade")), (101, Some("test")));
    assert!(head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")), "{head:?}");
    client
}

#[tokio::test]
async fn web_socket_messages_of_all_kinds_pass() {
    let gogeta = Gogeta::routes(&service("a.test", &[web_socket().port()])).start().await;
    let proxy = gogeta.proxy;
    let client = move || {
        let stream = TcpStream::connect(proxy).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        let (mut socket, _) = tungstenite::client("ws://a.test/chat?x=1", stream).expect("a WebSocket");
        let big = Message::binary(vec![7; 4 << 20]);
        for message in [Message::text("hello"), Message::binary(vec![0, 255, 10]), Message::text(""), big] {
            socket.send(message.clone()).expect("to send");
            assert!(socket.read().expect("a message") == message);
        }
        socket.send(Message::Ping("p".into())).expect("to send");
        assert_eq!(socket.read().expect("a pong"), Message::Pong("p".into()));
        let bye = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
        socket.close(Some(bye.clone())).expect("to close");
        assert_eq!(socket.read().expect("a close"), Message::Close(Some(bye)));
        assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
    };
    tokio::task::spawn_blocking(client).await.expect("the client");
}

#[tokio::test]
async fn what_comes_right_behind_the_101_arrives() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        peer.send(format!("{SWITCH}early")).await.expect("to send");
        echo(peer).await;
    })
    .await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    let mut client = open(&gogeta).await;
    assert_eq!(client.take(5).await, b"early");
    client.send("x").await;
    assert_eq!(client.take(1).await, b"x");
}

#[tokio::test]
async fn what_comes_right_behind_the_request_arrives_but_not_before_the_101() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        assert_eq!(peer.waiting(), 0, "bytes of a tunnel that is none yet");
        peer.send(SWITCH).await.expect("to switch");
        echo(peer).await;
    })
    .await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    // Like the beginning of a request, and like nothing but a frame.
    for eager in ["eager", "\u{1}ager"] {
        let mut client = Client::connect(gogeta.proxy).await;
        client.send(format!("{ASK}{eager}")).await;
        assert_eq!(client.head().await.expect("a head").status, 101);
        assert_eq!(client.take(5).await, eager.as_bytes());
    }
}

#[tokio::test]
async fn bytes_behind_a_request_that_was_not_switched_may_be_none() {
    let backend = Backend::named("plain").await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send(format!("{ASK}\u{1}ager")).await;
    assert_eq!(client.reply().await.text(), "plain");
    let refused = client.reply().await;
    assert!(refused.status == 400 && !refused.keeps(), "{refused:?}");
    assert_eq!(client.rest().await, b"");
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn bytes_behind_a_request_that_was_not_switched_are_the_next_request() {
    let backend = Backend::named("plain").await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send(format!("{ASK}GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
    assert_eq!((client.reply().await.text(), client.reply().await.text()), ("plain".into(), "plain".into()));
    let lines: Vec<String> = backend.requests().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(lines, ["GET /chat HTTP/1.1", "GET /next HTTP/1.1"]);
}

#[tokio::test]
async fn each_side_may_end_its_half() {
    // The client ends first, and still gets the answer.
    let (_backend, gogeta) = tunnel(|mut peer| async move {
        let mut all = Vec::new();
        while let Some(bytes) = peer.some().await {
            all.extend(bytes);
        }
        all.reverse();
        peer.send(all).await.expect("to send");
    })
    .await;
    let mut client = open(&gogeta).await;
    client.send("abc").await;
    client.half_close().await;
    assert_eq!(client.rest().await, b"cba");

    // The backend ends first, and still gets what the client has to say.
    let (backend, gogeta) = tunnel(|mut peer| async move {
        peer.send("over").await.expect("to send");
        peer.half_close().await;
        let heard = peer.take(4).await.expect("the client's word");
        assert_eq!(heard, b"last");
        peer.ended().await;
    })
    .await;
    let mut client = open(&gogeta).await;
    assert_eq!(client.rest().await, b"over");
    client.send("last").await;
    backend.open(1).await;
    client.half_close().await;
    backend.open(0).await;
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_a_502() {
    for (what, ask, answer) in [
        ("no upgrade", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", SWITCH),
        ("not in Connection", "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: test\r\n\r\n", SWITCH),
        ("another protocol", ASK, "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"),
        ("two protocols", ASK, "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: test, other\r\n\r\n"),
        ("no protocol", ASK, "HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n"),
    ] {
        let backend = Backend::scripted(move |mut peer| async move {
            peer.head().await;
            let _ = peer.send(format!("{answer}{}", ok("smuggled"))).await;
            peer.ended().await;
        })
        .await;
        let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
        let mut client = Client::connect(gogeta.proxy).await;
        client.send(ask).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.header("x-gogeta-page")), (502, Some("badgateway")), "{what}");
        assert!(!reply.text().contains("smuggled"), "{what}");
        // Its connection is not used again.
        backend.open(0).await;
    }
}

#[tokio::test]
async fn h2c_is_never_relayed() {
    let backend = Backend::named("plain").await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    for protocol in ["h2c", "H2C", "h2c, test", "h2", "test, h2c"] {
        let mut client = Client::connect(gogeta.proxy).await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\n\
                 HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
            ))
            .await;
        assert_eq!(client.reply().await.text(), "plain", "{protocol}");
    }
    for seen in backend.requests() {
        assert_eq!((seen.all("upgrade").len(), seen.all("http2-settings").len()), (0, 0), "{}", seen.head);
        assert_eq!(seen.header("connection"), None);
    }
}

#[tokio::test]
async fn a_tunnel_without_traffic_is_closed() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        peer.send(SWITCH).await.expect("to switch");
        echo(peer).await;
    })
    .await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port]))
        .args(["--tunnel-idle-timeout", "1s", "--idle-timeout", "500ms", "--body-timeout", "500ms"])
        .start()
        .await;
    let mut client = open(&gogeta).await;
    // Traffic keeps it, for longer than the time-out.
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < 2500 {
        client.send("x").await;
        assert_eq!(client.take(1).await, b"x");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(client.rest().await, b"");
    backend.open(0).await;
}

#[tokio::test]
async fn two_tunnels_do_not_mix() {
    let (_backend, gogeta) = tunnel(echo).await;
    let (mut one, mut two) = (open(&gogeta).await, open(&gogeta).await);
    for turn in 0..20 {
        one.send(format!("one{turn:02}")).await;
        two.send(format!("two{turn:02}")).await;
        assert_eq!(two.take(5).await, format!("two{turn:02}").into_bytes());
        assert_eq!(one.take(5).await, format!("one{turn:02}").into_bytes());
    }
}

#[tokio::test]
async fn a_tunnel_ends_with_either_side() {
    let (backend, gogeta) = tunnel(|mut peer| async move { peer.ended().await }).await;
    drop(open(&gogeta).await);
    backend.open(0).await;

    let (_backend, gogeta) = tunnel(|peer| async move { peer.reset() }).await;
    let mut client = open(&gogeta).await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn an_upgrade_with_a_body_is_no_way_around_it() {
    // The body that is still on its way must not become the tunnel's first bytes, nor hold the answer up.
    let (_backend, gogeta) = tunnel(|mut peer| async move { peer.ended().await }).await;
    let mut client = Client::connect(gogeta.proxy).await;
    let ask = ASK.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n");
    client.send(ask).await;
    assert_eq!(client.reply().await.status, 502, "a 101 before the request has ended");
}
