//! The upstream of tunnels: gives back what it gets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::Result;

use crate::load::read_head;

/// The answer to the key of RFC 6455, section 1.3.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Takes any upgrade, and gives all back that comes then.
///
/// # Errors
/// When the connection breaks.
pub(crate) fn give_back(mut stream: &TcpStream) -> Result<()> {
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
