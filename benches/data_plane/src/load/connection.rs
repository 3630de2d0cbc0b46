//! One connection of the load, with one exchange on its way at most.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use super::Args;

/// The key of RFC 6455, section 1.3, to which echo.rs knows the answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Exchanges that nobody times, on each connection: TCP sends ten packets at first, and then waits for what the other
/// end takes its time to say.
const WARMING: usize = 3;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    due: Instant,
    wanted: Wanted,
}

/// What has to come before the exchange is complete.
#[derive(Debug)]
enum Wanted {
    Nothing,
    /// The rest of a head, of which this has come.
    Head(Vec<u8>),
    Bytes(usize),
}

impl Connection {
    /// Connects, and opens the tunnel where there is to be one.
    pub(super) fn open(args: &Args) -> Result<Self> {
        let stream = TcpStream::connect(args.address)?;
        stream.set_nodelay(true)?;
        let host = host(args.echo.is_some());
        let request = if let Some(length) = args.echo {
            upgrade(&stream, host)?;
            vec![b'x'; length]
        } else {
            format!("GET {} HTTP/1.1\r\nHost: {host}\r\n\r\n", args.path).into_bytes()
        };
        let mut this = Self { stream, request, due: Instant::now(), wanted: Wanted::Nothing };
        for _ in 0..WARMING {
            this.exchange()?;
        }
        this.stream.set_nonblocking(true)?;
        Ok(this)
    }

    /// One exchange from its beginning to its end, on a socket that waits.
    fn exchange(&mut self) -> Result<()> {
        self.ask(Instant::now())?;
        let mut buffer = [0; 64 << 10];
        loop {
            match (&self.stream).read(&mut buffer)? {
                0 => bail!("a connection was closed"),
                count if self.take(&buffer[..count])? => return Ok(()),
                _ => {}
            }
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Begins an exchange that was due then.
    pub(super) fn ask(&mut self, due: Instant) -> Result<()> {
        self.due = due;
        self.wanted = if self.request.starts_with(b"GET ") {
            Wanted::Head(Vec::new())
        } else {
            Wanted::Bytes(self.request.len())
        };
        let sent = (&self.stream).write(&self.request).context("a request")?;
        ensure!(sent == self.request.len(), "a request does not fit the socket's buffer");
        Ok(())
    }

    /// Reads all that has come; gives when the exchange was due, once it is complete.
    pub(super) fn read(&mut self) -> Result<Option<Instant>> {
        let mut buffer = [0; 64 << 10];
        let mut is_complete = false;
        loop {
            match (&self.stream).read(&mut buffer) {
                Ok(0) => bail!("a connection was closed"),
                Ok(count) => is_complete |= self.take(&buffer[..count])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(is_complete.then_some(self.due));
                }
                Err(error) => return Err(error).context("a response"),
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<bool> {
        if let Wanted::Head(head) = &mut self.wanted {
            head.extend_from_slice(bytes);
            let Some(end) = memchr::memmem::find(head, b"\r\n\r\n") else { return Ok(false) };
            let (length, rest) = (body(&head[..end])?, head.len() - end - 4);
            self.wanted = Wanted::Bytes(length);
            bytes = &bytes[bytes.len() - rest..];
        }
        let Wanted::Bytes(rest) = &mut self.wanted else { bail!("something came that nobody asked for") };
        *rest = rest.checked_sub(bytes.len()).context("more came than was asked for")?;
        let is_complete = *rest == 0;
        if is_complete {
            self.wanted = Wanted::Nothing;
        }
        Ok(is_complete)
    }
}

/// The hosts that the contenders route by.
pub(crate) fn host(is_echo: bool) -> &'static str {
    if is_echo { "echo.test" } else { "web.test" }
}

/// The length of the body behind this head.
fn body(head: &[u8]) -> Result<usize> {
    let head = str::from_utf8(head)?;
    ensure!(head.starts_with("HTTP/1.1 200"), "answered with {:?}", head.lines().next());
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    length.context("a response without a length")?.parse().context("a length")
}

/// Opens a WebSocket.
fn upgrade(mut stream: &TcpStream, host: &str) -> Result<()> {
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )?;
    let head = read_head(stream)?;
    ensure!(head.starts_with(b"HTTP/1.1 101"), "not upgraded: {}", String::from_utf8_lossy(&head));
    Ok(())
}

/// Reads a head to its end, and nothing behind it.
pub(crate) fn read_head(mut stream: &TcpStream) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_complete_at_its_end_however_it_is_cut() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
        let address = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(address).expect("connected");
        let whole = b"HTTP/1.1 200 OK\r\ncontent-Length: 5\r\n\r\nhello";
        for cut in 1..whole.len() {
            let mut connection = Connection {
                stream: stream.try_clone().expect("a descriptor"),
                request: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
                due: Instant::now(),
                wanted: Wanted::Head(Vec::new()),
            };
            assert!(!connection.take(&whole[..cut]).expect("right so far"), "{cut}");
            assert!(connection.take(&whole[cut..]).expect("right"), "{cut}");
            assert!(connection.take(b"x").is_err());
        }
        assert!(body(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5").is_err());
        assert!(body(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked").is_err());
    }
}
