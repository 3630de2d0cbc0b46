//! Backends: one that answers, one that is scripted byte for byte; both remember what they were sent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::wait::{acknowledged, for_a_thread, until};

/// The routes file's part for a domain whose service has an instance at each of `ports`.
pub(crate) fn service(domain: &str, ports: &[u16]) -> String {
    let addresses: Vec<_> = ports.iter().map(|port| (Ipv4Addr::LOCALHOST, *port).into()).collect();
    service_at(domain, &addresses)
}

/// The same, with an instance at each of these addresses.
pub(crate) fn service_at(domain: &str, addresses: &[SocketAddr]) -> String {
    let name = domain.replace('.', "-");
    let mut toml = format!("[domains.{domain:?}]\ntype = \"service\"\nvalue = {name:?}\n");
    for (index, address) in addresses.iter().enumerate() {
        toml += &format!(
            "[services.{name}.{}]\nlocation = {{ host = \"{}\", port = {} }}\n",
            index + 1,
            address.ip(),
            address.port()
        );
    }
    toml
}

/// The routes file's part for a domain that stands for a URI.
pub(crate) fn uri(domain: &str, value: &str) -> String {
    format!("[domains.{domain:?}]\ntype = \"uri\"\nvalue = {value:?}\n")
}

/// A request as a backend saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// From the request line to the empty line, as it came.
    pub(crate) head: String,
    /// The body, without its framing.
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The request line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or("")
    }

    /// All fields of that name, in their order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The only field of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} comes {} times:\n{}", all.len(), self.head);
        all.first().copied()
    }
}

#[derive(Debug, Default)]
struct Memory {
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: Mutex<Vec<Seen>>,
    noted: AtomicU64,
}

/// A backend; it is gone with its last connection when dropped.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) port: u16,
    memory: Arc<Memory>,
    serving: JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Backend {
    /// Answers every request with 200 and its name.
    pub(crate) async fn named(name: &str) -> Self {
        Self::replying(&ok(name)).await
    }

    /// Answers every request with these bytes, and keeps the connection.
    pub(crate) async fn replying(reply: &str) -> Self {
        let reply: Arc<str> = reply.into();
        Self::scripted(move |mut peer| {
            let reply = reply.clone();
            async move { while peer.request().await.is_some() && peer.send(&*reply).await.is_ok() {} }
        })
        .await
    }

    /// Does what `script` says with each connection.
    pub(crate) async fn scripted<F>(script: impl Fn(Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::listening(TcpListener::bind("127.0.0.1:0").await.expect("a port"), script)
    }

    /// One that begins its answer with `half`, and ends it with `rest` for a permit. Then the client ends.
    pub(crate) async fn halting(permits: &Arc<Semaphore>) -> Self {
        let permits = permits.clone();
        Self::scripted(move |mut peer| {
            let permits = permits.clone();
            async move {
                peer.request().await;
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await.expect("to send");
                permits.acquire().await.expect("a permit").forget();
                peer.send("rest").await.expect("to send");
                peer.ended().await;
            }
        })
        .await
    }

    /// The same, on a listener that is there.
    pub(crate) fn listening<F>(listener: TcpListener, script: impl Fn(Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let port = listener.local_addr().expect("an address").port();
        let memory = Arc::new(Memory::default());
        let serving = tokio::spawn({
            let memory = memory.clone();
            async move {
                // Dropped with this task, and all connections with it.
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    while connections.try_join_next().is_some() {}
                    stream.set_nodelay(true).expect("TCP_NODELAY");
                    memory.connections.fetch_add(1, Ordering::SeqCst);
                    connections.spawn(script(Peer::new(stream, memory.clone())));
                }
            }
        });
        Self { port, memory, serving }
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.memory.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many connections are open.
    pub(crate) async fn open(&self, count: usize) {
        let is = || self.memory.open.load(Ordering::SeqCst);
        until(&format!("{count} connections to be open"), async || (is() == count).then_some(())).await;
    }

    /// Whether no connection is open.
    pub(crate) fn is_alone(&self) -> bool {
        self.memory.open.load(Ordering::SeqCst) == 0
    }

    /// How many requests there have been.
    pub(crate) fn count(&self) -> usize {
        self.memory.requests.lock().expect("the requests").len()
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.memory.requests.lock().expect("the requests").clone()
    }

    /// Forgets the requests so far: for many.
    pub(crate) fn forget(&self) {
        self.memory.requests.lock().expect("the requests").clear();
    }

    /// The only request so far.
    pub(crate) fn request(&self) -> Seen {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// What the script has noted, in all.
    pub(crate) fn noted(&self) -> u64 {
        self.memory.noted.load(Ordering::SeqCst)
    }

    /// Waits until so many requests are there.
    pub(crate) async fn seen(&self, count: usize) {
        let what = format!("{count} requests at the backend");
        until(&what, async || (self.count() >= count).then_some(())).await;
    }
}

/// A port that refuses connections until its socket listens: bound, so that nobody else gets it.
pub(crate) fn refusing() -> (TcpSocket, u16) {
    let socket = refusing_at(0).expect("a port");
    let port = socket.local_addr().expect("an address").port();
    (socket, port)
}

/// The same at a certain port, which connections that have ended do not keep.
pub(crate) fn refusing_at(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    Ok(socket)
}

/// A reply with a length.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A connection, at the backend's end.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
    memory: Arc<Memory>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.memory.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Peer {
    fn new(stream: TcpStream, memory: Arc<Memory>) -> Self {
        memory.open.fetch_add(1, Ordering::SeqCst);
        Self { stream, buffer: Vec::new(), memory }
    }

    /// The next request, with its body; `None` at the connection's end.
    pub(crate) async fn request(&mut self) -> Option<Seen> {
        let head = self.take_head().await?;
        let mut seen = Seen { head, body: Vec::new() };
        if seen.header("transfer-encoding").is_some() {
            assert_eq!(seen.header("content-length"), None, "two framings:\n{}", seen.head);
            seen.body = self.chunks().await?;
        } else if let Some(length) = seen.header("content-length") {
            let length = length.parse().expect("a length");
            seen.body = self.take(length).await?;
        }
        self.remember(seen.clone());
        Some(seen)
    }

    /// The next request's head; its body is left where it is.
    pub(crate) async fn head(&mut self) -> Option<Seen> {
        let seen = Seen { head: self.take_head().await?, body: Vec::new() };
        self.remember(seen.clone());
        Some(seen)
    }

    fn remember(&self, seen: Seen) {
        self.memory.requests.lock().expect("the requests").push(seen);
    }

    async fn take_head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.buffer.drain(..at + 4).collect();
                return Some(String::from_utf8(head).expect("an ASCII head"));
            }
            self.fill().await?;
        }
    }

    /// The next so many bytes.
    pub(crate) async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            self.fill().await?;
        }
        Some(self.buffer.drain(..count).collect())
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.fill().await?;
        }
    }

    /// The next chunk of a body, the last one empty.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line().await?, 16).expect("the size of a chunk");
        let mut chunk = self.take(size + 2).await?;
        assert_eq!(chunk.split_off(size), b"\r\n", "the end of a chunk");
        Some(chunk)
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk().await?;
            if chunk.is_empty() {
                return Some(body);
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Reads and forgets a body of so many bytes, and adds them up: for big ones.
    pub(crate) async fn skip(&mut self, count: u64) -> u64 {
        let mut buffer = vec![0; 256 << 10];
        let mut seen = std::mem::take(&mut self.buffer).len() as u64;
        while seen < count {
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => seen += read as u64,
            }
        }
        seen
    }

    /// What comes next, as much as there is; `None` at the end.
    pub(crate) async fn some(&mut self) -> Option<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Some(std::mem::take(&mut self.buffer))
    }

    /// How many bytes have come and were not asked for.
    pub(crate) fn waiting(&mut self) -> usize {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.stream.try_read(&mut buffer) {
            self.buffer.extend_from_slice(&buffer[..count]);
        }
        self.buffer.len()
    }

    /// Ends the backend's side.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.expect("to end the own side");
    }

    /// Waits for the other side to end the connection, in whichever way.
    pub(crate) async fn ended(&mut self) {
        while self.fill().await.is_some() {}
    }

    /// Sends these bytes.
    pub(crate) async fn send(&mut self, raw: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(raw.as_ref()).await
    }

    /// Sends these bytes, in packets of their own: each leaves when the one before has got there.
    pub(crate) async fn send_apart(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        for piece in pieces {
            self.stream.write_all(piece).await?;
            acknowledged(&self.stream).await;
        }
        Ok(())
    }

    /// The connection for a thread, while nobody uses this one; nothing that was read is left.
    pub(crate) fn to_std(&self) -> std::net::TcpStream {
        assert!(self.buffer.is_empty(), "{} bytes have come too early", self.buffer.len());
        let copy = self.stream.as_fd().try_clone_to_owned().expect("a copy");
        for_a_thread(copy.into())
    }

    /// Notes a number of bytes, for the test to see.
    pub(crate) fn note(&self, count: usize) {
        self.memory.noted.fetch_add(count as u64, Ordering::SeqCst);
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().expect("SO_LINGER");
    }

    async fn fill(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}
