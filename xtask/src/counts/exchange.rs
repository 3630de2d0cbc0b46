//! The client and the backend around a counted gogeta: one thread, one message at a time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::counted::{Counted, DEADLINE};
use super::scenario::Scenario;

/// Asks `times` times. Neither side sends anything before gogeta has nothing left to do: an answer that is there
/// early is read by another path than one that is waited for.
///
/// # Errors
/// When an answer is not the right one, or does not come.
pub(crate) fn exchange(
    gogeta: &Counted,
    backend: &TcpListener,
    scenario: &Scenario,
    times: i64,
) -> Result<()> {
    let request = (scenario.request)();
    let mut client = connect(gogeta)?;
    let mut upstream = None;
    for turn in 0..times {
        if scenario.connects && turn > 0 {
            drop(client);
            gogeta.fall_asleep()?;
            client = connect(gogeta)?;
        }
        client.write_all(request.as_bytes())?;
        let answer = scenario.answer.map(|answer| answer());
        if let Some(answer) = &answer {
            let upstream = match &mut upstream {
                Some(upstream) => upstream,
                none => none.insert(accept(backend)?),
            };
            message(upstream).context("what reaches the backend")?;
            gogeta.fall_asleep()?;
            upstream.write_all(answer.as_bytes())?;
        }
        let response = message(&mut client).context("what reaches the client")?;
        let body = answer.as_deref().and_then(body).unwrap_or_default();
        ensure!(
            response.starts_with(scenario.status) && response.ends_with(body),
            "the answer was {response:?}"
        );
        gogeta.fall_asleep()?;
    }
    drop(client);
    gogeta.fall_asleep()
}

/// A connection that gogeta has accepted, and waits on.
fn connect(gogeta: &Counted) -> Result<TcpStream> {
    let stream = patient(TcpStream::connect_timeout(&gogeta.proxy, DEADLINE)?)?;
    gogeta.fall_asleep()?;
    Ok(stream)
}

fn accept(backend: &TcpListener) -> Result<TcpStream> {
    backend.set_nonblocking(true)?;
    let begun = Instant::now();
    loop {
        match backend.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return patient(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && begun.elapsed() < DEADLINE => {
                thread::yield_now()
            }
            Err(error) => return Err(error).context("gogeta does not connect to the backend"),
        }
    }
}

fn patient(stream: TcpStream) -> Result<TcpStream> {
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The next message, with a body as long as its `Content-Length` says.
fn message(stream: &mut TcpStream) -> Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the connection ended behind {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..count]);
        let text = str::from_utf8(&bytes).context("not text")?;
        if body(text).is_some_and(|body| body.len() >= length(text)) {
            return Ok(text.to_owned());
        }
    }
}

/// What follows the head, if that is whole.
fn body(message: &str) -> Option<&str> {
    message.split_once("\r\n\r\n").map(|(_, body)| body)
}

fn length(message: &str) -> usize {
    let fields = message.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_long_as_it_says() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!((length(text), body(text)), (3, Some("abc")));
        assert_eq!(length("GET / HTTP/1.1\r\nHost: a\r\n\r\ncontent-length: 3\r\n"), 0);
        assert_eq!(body("GET / HTTP/1.1\r\n"), None);
    }
}
