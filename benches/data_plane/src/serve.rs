//! Servers of a few connections, for what is measured beside a proxy.

use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Result;

/// Serves for ever, on a thread for each connection.
///
/// # Errors
/// When it cannot listen there.
pub(crate) fn serve(address: SocketAddr, one: fn(&TcpStream) -> Result<()>) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    loop {
        let (stream, _) = listener.accept()?;
        std::thread::spawn(move || {
            // Whoever goes away is gone.
            let _ = one(&stream);
        });
    }
}
