//! What is at the far end of a tunnel.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use tokio_tungstenite::tungstenite;

use super::backend::Peer;

/// Sends back what comes.
pub(crate) async fn echo(mut peer: Peer) {
    while let Some(bytes) = peer.some().await {
        peer.note(bytes.len());
        if peer.send(bytes).await.is_err() {
            break;
        }
    }
}

/// Sends back what came, from its end to its beginning, when the client has ended its half.
pub(crate) async fn reverse(mut peer: Peer) {
    let mut all = Vec::new();
    while let Some(bytes) = peer.some().await {
        all.extend(bytes);
    }
    all.reverse();
    peer.send(all).await.expect("to send");
}

/// A WebSocket server that sends messages back; each client has a thread.
pub(crate) fn web_socket() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    web_socket_on(listener);
    address
}

/// The same, on a listener that is there.
pub(crate) fn web_socket_on(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                // What breaks the rules ends in an error, behind the close that answers it.
                while let Ok(message) = socket.read() {
                    if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                        break;
                    }
                }
            });
        }
    });
}
