//! What is asked, and what backends answer: no two answers are alike, and each tells whose it is and to what.

use std::os::fd::AsFd as _;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use crate::support::backend::{Peer, Seen};
use crate::support::client::Client;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried_bytes, parked};
use crate::support::stuff::Stuff;

/// The key of the example in RFC 6455, 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The body of the answer: a target's last segment says how many bytes follow those that name it.
pub(crate) fn told(name: &str, line: &str, asked: &[u8]) -> Vec<u8> {
    let mut body = format!("{name}: {line}\n").into_bytes();
    body.extend(asked);
    let target = line.split(' ').nth(1).unwrap_or_default();
    let more = target.rsplit('/').next().and_then(|size| size.parse().ok()).unwrap_or(0);
    body.extend(Stuff(line.len() as u64 ^ more as u64).bytes(0, more));
    body
}

/// A backend's side of a connection. It answers `/apart/..` with a head in pieces, `/long/..` with a long one.
pub(super) async fn talk(mut peer: Peer, name: &'static str) {
    while let Some(request) = peer.request().await {
        if request.header("upgrade").is_some() {
            return echo(peer, &request).await;
        }
        let line = request.line();
        let body = told(name, line, &request.body);
        let long =
            if line.contains("/long/") { format!("X-Long: {}\r\n", "x".repeat(3000)) } else { String::new() };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{long}\r\n", body.len());
        let sent = if line.starts_with("HEAD ") {
            peer.send(head).await
        } else if line.contains("/apart/") {
            let (first, rest) = body.split_at(body.len().min(500));
            let pieces: Vec<_> = head.as_bytes().chunks(17).chain([first, rest]).collect();
            peer.send_apart(&pieces).await
        } else {
            peer.send([head.as_bytes(), &body].concat()).await
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Sends back each message of a WebSocket.
async fn echo(mut peer: Peer, request: &Seen) {
    let key = request.header("sec-websocket-key").unwrap_or_default();
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    if peer.send(head).await.is_err() {
        return;
    }
    let mut socket = WebSocket::from_raw_socket(peer.to_std(), Role::Server, None);
    let echo = tokio::task::spawn_blocking(move || {
        while let Ok(message) = socket.read() {
            if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                return;
            }
        }
    });
    echo.await.expect("it ends");
}

/// Reads the answer to a request of that line and body, which must be that backend's.
pub(crate) async fn is_told(client: &mut Client, name: &str, line: &str, asked: &[u8]) {
    let body = told(name, line, asked);
    let is_head = line.starts_with("HEAD ");
    let reply = if is_head { client.bodiless_reply().await } else { client.reply().await };
    let length = body.len().to_string();
    assert_eq!((reply.status, reply.header("content-length")), (200, Some(&*length)), "{line}: {reply:?}");
    assert!(is_head || reply.body == body, "{line}: {:?}..", shown(&reply.body));
}

fn shown(body: &[u8]) -> String {
    body[..body.len().min(100)].escape_ascii().to_string()
}

/// A GET, and its answer by that backend.
pub(crate) async fn get(client: &mut Client, host: &str, target: &str, name: &str) {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    is_told(client, name, &format!("GET {target} HTTP/1.1"), b"").await;
}

/// Upgrades a connection to a WebSocket, and sends messages there and back, of which the kernel carries all: the last
/// thing on a connection.
pub(super) async fn web_socket(mut client: Client, gogeta: &Gogeta, host: &str) {
    client
        .send(format!(
            "GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        ))
        .await;
    let reply = client.head().await.expect("a head");
    assert_eq!(reply.status, 101, "{reply:?}");
    assert_eq!(reply.header("sec-websocket-accept"), Some(&*derive_accept_key(KEY.as_bytes())));
    parked(gogeta, 1.0).await;
    let before = carried_bytes(gogeta).await;
    let stream = client.into_std();
    let cookie = gogeta::splice::kernel::socket::cookie(stream.as_fd()).expect("a socket");
    let mut socket = WebSocket::from_raw_socket(stream, Role::Client, None);
    let exchanges = tokio::task::spawn_blocking(move || {
        let mut sum = 0;
        for size in [0, 10, 1500, 100_000, 4 << 20, 7] {
            let message = Message::binary(Stuff(cookie ^ size as u64).bytes(0, size));
            socket.send(message.clone()).expect("to send");
            assert!(socket.read().expect("a message") == message, "{size} bytes");
            sum += size;
        }
        socket.close(None).expect("to close");
        assert!(socket.read().expect("a close").is_close());
        assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
        sum
    });
    let sum = exchanges.await.expect("the client") as f64;
    parked(gogeta, 0.0).await;
    let carried = carried_bytes(gogeta).await - before;
    // Userspace takes over for a while where a side is slow.
    assert!(carried > sum / 10.0, "{carried} of {sum} bytes, there and back, were carried");
}
