//! A client that sends what it is told, byte for byte, and reads replies as strictly as it can.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::wait::{DEADLINE, acknowledged, for_a_thread};

/// A GET on a connection of its own.
pub(crate) async fn get(proxy: SocketAddr, host: &str, path: &str) -> Reply {
    request(proxy, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
}

/// These bytes on a connection of their own, and the one reply.
pub(crate) async fn request(proxy: SocketAddr, raw: &str) -> Reply {
    let mut client = Client::connect(proxy).await;
    client.send(raw).await;
    client.reply().await
}

/// A reply, as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to the end that its framing promised.
    pub(crate) whole: bool,
}

impl Reply {
    /// The first field of that name, in any letter case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// All fields of that name, in their order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| &**value).collect()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the server keeps the connection.
    pub(crate) fn keeps(&self) -> bool {
        !self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// One connection.
pub(crate) struct Client {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.expect("a connection"))
    }

    /// On a connection that is there.
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let (reader, writer) = stream.into_split();
        Self { reader, writer, buffer: Vec::new() }
    }

    /// Its own address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.writer.local_addr().expect("an address")
    }

    /// Sends these bytes.
    pub(crate) async fn send(&mut self, raw: impl AsRef<[u8]>) {
        self.try_send(raw).await.expect("to send");
    }

    /// Sends these bytes, if the server still takes them.
    pub(crate) async fn try_send(&mut self, raw: impl AsRef<[u8]>) -> io::Result<()> {
        self.writer.write_all(raw.as_ref()).await
    }

    /// Sends these bytes, in packets of so many: each leaves when the one before has got there.
    pub(crate) async fn send_in_packets(&mut self, raw: impl AsRef<[u8]>, size: usize) {
        for piece in raw.as_ref().chunks(size) {
            self.send(piece).await;
            acknowledged(self.writer.as_ref()).await;
        }
    }

    /// The connection itself, for a thread; nothing that was read is left.
    pub(crate) fn into_std(self) -> std::net::TcpStream {
        assert!(self.buffer.is_empty(), "{} bytes have come too early", self.buffer.len());
        let stream = self.reader.reunite(self.writer).expect("they belong together");
        for_a_thread(stream.into_std().expect("it leaves the runtime"))
    }

    /// Sends a GET that keeps the connection, and reads the reply.
    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        self.reply().await
    }

    /// Ends the client's side.
    pub(crate) async fn half_close(&mut self) {
        self.writer.shutdown().await.expect("to end the own side");
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        let stream = self.reader.reunite(self.writer).expect("they belong together");
        stream.set_zero_linger().expect("SO_LINGER");
    }

    /// The next reply that is not an interim one, with its body.
    pub(crate) async fn reply(&mut self) -> Reply {
        self.try_reply().await.unwrap_or_else(|error| panic!("no reply: {error}"))
    }

    /// The same, for a reply that must not have a body (HEAD, 204, 304).
    pub(crate) async fn bodiless_reply(&mut self) -> Reply {
        self.head().await.unwrap_or_else(|error| panic!("no reply: {error}"))
    }

    /// The next reply, or why there is none.
    pub(crate) async fn try_reply(&mut self) -> io::Result<Reply> {
        loop {
            let mut reply = self.head().await?;
            if (100..200).contains(&reply.status) && reply.status != 101 {
                continue;
            }
            if ![101, 204, 304].contains(&reply.status) {
                self.body(&mut reply).await?;
            }
            return Ok(reply);
        }
    }

    /// The next head, be it an interim one; its body is left where it is.
    pub(crate) async fn head(&mut self) -> io::Result<Reply> {
        let head = self.take_until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| {
            let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
            rest.get(..3)?.parse().ok()
        });
        let status = status.unwrap_or_else(|| panic!("not the head of a reply: {head:?}"));
        let headers = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}")))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Ok(Reply { status, headers, body: Vec::new(), whole: true })
    }

    async fn body(&mut self, reply: &mut Reply) -> io::Result<()> {
        if reply.header("transfer-encoding").is_some() {
            assert_eq!(reply.header("content-length"), None, "two framings");
            reply.whole = false;
            while let Some(chunk) = self.chunk().await? {
                if chunk.is_empty() {
                    reply.whole = true;
                    break;
                }
                reply.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = reply.header("content-length") {
            let length = length.parse().expect("a length");
            while self.buffer.len() < length && self.fill().await? > 0 {}
            reply.whole = self.buffer.len() >= length;
            reply.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        } else {
            while self.fill().await? > 0 {}
            reply.body = std::mem::take(&mut self.buffer);
        }
        Ok(())
    }

    /// The next chunk of a chunked body, the last one empty; `None` where the connection ended before.
    pub(crate) async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Ok(line) = self.take_until(b"\r\n").await else { return Ok(None) };
        let line = String::from_utf8_lossy(&line).into_owned();
        let size = usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("no size: {line:?}"));
        while self.buffer.len() < size + 2 {
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
        let mut chunk: Vec<u8> = self.buffer.drain(..size + 2).collect();
        assert_eq!(chunk.split_off(size), b"\r\n", "the end of a chunk");
        Ok(Some(chunk))
    }

    /// Everything up to and with the first `mark`.
    pub(crate) async fn take_until(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        let mut looked = 0;
        loop {
            let found = self.buffer[looked..].windows(mark.len()).position(|window| window == mark);
            if let Some(at) = found {
                return Ok(self.buffer.drain(..looked + at + mark.len()).collect());
            }
            looked = self.buffer.len().saturating_sub(mark.len());
            if self.fill().await? == 0 {
                let got = String::from_utf8_lossy(&self.buffer).into_owned();
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ended with {got:?}")));
            }
        }
    }

    /// So many bytes, raw.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill().await.expect("to read") > 0, "it ended after {} bytes", self.buffer.len());
        }
        self.buffer.drain(..count).collect()
    }

    /// Reads and forgets so many bytes; says whether they came before the connection ended, in whichever way.
    pub(crate) async fn try_take(&mut self, count: usize) -> bool {
        while self.buffer.len() < count {
            if !self.fill().await.is_ok_and(|read| read > 0) {
                return false;
            }
        }
        self.buffer.drain(..count);
        true
    }

    /// Reads and forgets `count` bytes of a body: for big ones.
    pub(crate) async fn skip(&mut self, mut count: u64) {
        let mut buffer = vec![0; 256 << 10];
        let here = usize::try_from(count).unwrap_or(usize::MAX).min(self.buffer.len());
        self.buffer.drain(..here);
        count -= here as u64;
        while count > 0 {
            let most = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
            let read = within(self.reader.read(&mut buffer[..most])).await.expect("to read");
            assert!(read > 0, "the body ended {count} bytes too early");
            count -= read as u64;
        }
    }

    /// What comes until the server closes, which it must do.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await.is_ok_and(|count| count > 0) {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether the server has said something that was not read yet, or has closed.
    pub(crate) fn has_something(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.reader.try_read(&mut buffer) {
            Ok(count) => {
                self.buffer.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        within(self.reader.read_buf(&mut self.buffer)).await
    }
}

/// Nothing here waits for longer than the tests' deadline.
async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(DEADLINE.max(Duration::from_secs(1)), work).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("nothing came within {DEADLINE:?}"),
    }
}
