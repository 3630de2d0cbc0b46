//! The backends: each answers as it is told to, well or badly.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use tokio::net::TcpListener;

use super::ask::{Kind, Told};
use crate::support::backend::{Backend, Peer};
use crate::support::origin::POISON;
use crate::support::stuff::Stuff;

/// Bytes that are sent at once.
const PIECE: u64 = 64 << 10;

/// A backend of that name.
pub(super) async fn origin(name: &'static str) -> Backend {
    origin_at(name, Ipv4Addr::LOCALHOST.into()).await
}

/// The same, at that address.
pub(super) async fn origin_at(name: &'static str, address: IpAddr) -> Backend {
    origin_on(TcpListener::bind((address, 0)).await.expect("a port"), name)
}

/// The same, on a listener that is there.
pub(super) fn origin_on(listener: TcpListener, name: &'static str) -> Backend {
    Backend::listening(listener, move |peer| async move {
        // Who fails to send has lost its client.
        let _ = serve(peer, name).await;
    })
}

async fn serve(mut peer: Peer, name: &str) -> io::Result<()> {
    while let Some(request) = peer.request().await {
        let told: Told = request.line().parse().unwrap_or_else(|()| panic!("{:?}", request.line()));
        // What is wrong with it, the client will hear.
        let asked = if request.body == Stuff(!told.seed).bytes(0, told.up) { "whole" } else { "broken" };
        let is_head = request.line().starts_with("HEAD ");
        let fields = format!("X-Seed: {}\r\nX-From: {name}\r\nX-Asked: {asked}\r\n", told.seed);
        match told.kind {
            Kind::Die => return Ok(()),
            Kind::Reset => {
                peer.reset();
                return Ok(());
            }
            _ => {}
        }
        answer(&mut peer, told, &fields, is_head).await?;
        match told.kind {
            Kind::Last | Kind::Cut | Kind::Short | Kind::Leave => return Ok(()),
            Kind::Tear | Kind::Break => {
                peer.reset();
                return Ok(());
            }
            _ => {}
        }
    }
    Ok(())
}

async fn answer(peer: &mut Peer, told: Told, fields: &str, is_head: bool) -> io::Result<()> {
    let Told { kind, size, seed, .. } = told;
    let body = Stuff(seed);
    let mut head = match kind {
        Kind::Nothing => format!("HTTP/1.1 204 No Content\r\n{fields}\r\n"),
        Kind::Unchanged => format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"),
        Kind::Chunked | Kind::Short => {
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{fields}\r\n")
        }
        Kind::Last => {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n{fields}\r\n")
        }
        _ => format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n{fields}\r\n"),
    };
    if kind == Kind::Early {
        head = format!("HTTP/1.1 103 Early Hints\r\nLink: </early>\r\n\r\n{head}");
    }
    if is_head || matches!(kind, Kind::Nothing | Kind::Unchanged) {
        return peer.send(head).await;
    }
    let end = if matches!(kind, Kind::Cut | Kind::Tear | Kind::Short) { size / 2 } else { size };
    if kind == Kind::Late {
        peer.send(std::mem::take(&mut head)).await?;
        tokio::task::yield_now().await;
    }
    let mut bytes = head.into_bytes();
    let mut at = 0;
    // Small pieces at first, so that a large body ends some time.
    let mut piece = if kind == Kind::Drip { 1 + seed % 700 } else { PIECE };
    while at < end {
        let count = piece.min(end - at);
        let stuff = body.bytes(at, usize::try_from(count).expect("it is small"));
        if matches!(kind, Kind::Chunked | Kind::Short) {
            bytes.extend(format!("{count:x}\r\n").bytes());
            bytes.extend(stuff);
            bytes.extend(b"\r\n");
        } else {
            bytes.extend(stuff);
        }
        at += count;
        if kind == Kind::Drip {
            piece = (piece + piece / 8 + 1).min(PIECE);
            tokio::task::yield_now().await;
        }
        if at < end {
            peer.send(std::mem::take(&mut bytes)).await?;
        }
    }
    match kind {
        Kind::Chunked => bytes.extend(b"0\r\n\r\n"),
        Kind::Surplus => bytes.extend(POISON.bytes()),
        _ => {}
    }
    peer.send(bytes).await?;
    if kind == Kind::Later {
        tokio::task::yield_now().await;
        // Were it a response, nobody could tell that it is not the answer to a request that came just before.
        peer.send("garbage").await?;
    }
    Ok(())
}
