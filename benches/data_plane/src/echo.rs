//! The upstream of tunnels: gives back what it gets.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Result;

use crate::load::read_head;

/// The answer to the key of RFC 6455, section 1.3.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The echo's upstream: takes any upgrade, and gives all back that comes then, on a thread for each connection.
///
/// # Errors
/// When it cannot listen there.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    loop {
        let (stream, _) = listener.accept()?;
        std::thread::spawn(move || {
            // Whoever goes away is gone.
            let _ = serve_one(&stream);
        });
    }
}

fn serve_one(mut stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    read_head(stream)?;
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    )?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}
