//! A backend that answers with what it was asked: the request's head is the body.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub(crate) struct Echo {
    pub(crate) port: u16,
    gate: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Echo {
    pub(crate) async fn start() -> Self {
        Self::on((Ipv4Addr::LOCALHOST, 0).into()).await.expect("a port")
    }

    /// One that keeps each request until [`Echo::open`].
    pub(crate) async fn shut() -> Self {
        let echo = Self::start().await;
        echo.gate.forget_permits(Semaphore::MAX_PERMITS);
        echo
    }

    pub(crate) async fn on(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let port = listener.local_addr()?.port();
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let way = gate.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, way.clone()));
            }
        });
        Ok(Self { port, gate, task })
    }

    /// Lets everything through that waits, and will come.
    pub(crate) fn open(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request without a body after the other.
async fn answer(stream: TcpStream, gate: Arc<Semaphore>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while stream.read_line(&mut head).await.is_ok_and(|read| read > 0) {
        if !head.ends_with("\r\n\r\n") {
            continue;
        }
        let Ok(_pass) = gate.acquire().await else { return };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        head.clear();
    }
}
