//! A client's connection, of which each byte is looked at as it comes.

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::ask::{Ask, Kind};
use crate::support::stuff::Stuff;

/// How long nothing may come while something is owed, where the network is good.
const STALL: Duration = Duration::from_secs(20);

/// How someone reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    Fast,
    /// A moment's rest after each of the first few pieces, of this size.
    Slow(usize),
    /// Leaves after so many bytes of a body.
    Until(u64),
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its response, whole, from that backend; and whether the connection goes on.
    Whole(String, bool),
    /// gogeta's own page, of that status; and whether the connection goes on.
    Page(u16, bool),
    /// A part of its response, and the end.
    Cut,
    /// The end.
    Nothing,
    /// The client has read enough.
    Left,
}

/// What was read and is not yet looked at.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    stall: Duration,
}

impl Default for Reader {
    fn default() -> Self {
        Self::patient(STALL)
    }
}

#[derive(Debug)]
struct Head {
    status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    fn field(&self, name: &str) -> Option<&str> {
        let mut named = self.fields.iter().filter(|(field, _)| field == name);
        let value = named.next().map(|(_, value)| &**value);
        assert!(named.next().is_none(), "{name} comes twice: {:?}", self.fields);
        value
    }
}

impl Reader {
    /// One that waits for so long while something is owed.
    pub(super) fn patient(stall: Duration) -> Self {
        Self { buffer: Vec::new(), stall }
    }

    /// Reads one response, and panics where a byte of it is not what was asked for.
    pub(super) async fn response(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        ask: &Ask,
        pace: Pace,
    ) -> Fate {
        let head = loop {
            let Some(head) = self.head(from, ask).await else { return Fate::Nothing };
            if head.status != 103 {
                break head;
            }
            assert_eq!(ask.kind, Kind::Early, "{ask:?}");
        };
        let keeps = !head.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let page = head.field("x-gogeta-page").is_some();
        if !page {
            assert_eq!(head.field("x-seed"), Some(&*ask.seed.to_string()), "{head:?} for {ask:?}");
            assert_eq!(head.field("x-asked"), Some("whole"), "{ask:?}");
        }
        let stuff = (!page).then_some(Stuff(ask.seed));
        let bodiless = ask.method == "HEAD" || matches!(head.status, 204 | 304);
        let whole = if bodiless {
            Some(true)
        } else if head.field("transfer-encoding").is_some() {
            self.chunks(from, stuff, ask, pace).await
        } else {
            let length = head.field("content-length").unwrap_or_else(|| panic!("no framing for {ask:?}"));
            let length = length.parse().expect("a length");
            assert!(page || length == ask.size, "{length} bytes for {ask:?}");
            self.body(from, stuff, 0, length, ask, pace).await
        };
        match whole {
            None => Fate::Left,
            Some(false) => Fate::Cut,
            Some(true) if page => Fate::Page(head.status, keeps),
            Some(true) => {
                let status = match ask.kind {
                    Kind::Nothing => 204,
                    Kind::Unchanged => 304,
                    _ => 200,
                };
                assert_eq!(head.status, status, "{ask:?}");
                Fate::Whole(head.field("x-from").expect("a backend").to_owned(), keeps)
            }
        }
    }

    /// Waits for the end, before which nothing may come.
    pub(super) async fn end(&mut self, from: &mut (impl AsyncRead + Unpin), what: &(impl Debug + Sync)) {
        while self.fill(from, what, 64 << 10).await {}
        assert!(self.buffer.is_empty(), "behind {what:?}: {}", self.shown());
    }

    async fn head(&mut self, from: &mut (impl AsyncRead + Unpin), ask: &Ask) -> Option<Head> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            if !self.fill(from, ask, 4096).await {
                assert!(self.buffer.is_empty(), "half a head for {ask:?}: {}", self.shown());
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap_or_else(|error| panic!("{ask:?}: {error}"));
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a head, for {ask:?}: {head:?}"));
        let fields = lines.map(|line| line.split_once(':').unwrap_or_else(|| panic!("{ask:?}: {line:?}")));
        let fields =
            fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        Some(Head { status, fields })
    }

    async fn body(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        stuff: Option<Stuff>,
        before: u64,
        length: u64,
        ask: &Ask,
        pace: Pace,
    ) -> Option<bool> {
        let (mut at, mut rests) = (before, 100);
        let most = if let Pace::Slow(most) = pace { most } else { 64 << 10 };
        while at < before + length {
            if matches!(pace, Pace::Until(end) if at >= end) {
                return None;
            }
            if self.buffer.is_empty() {
                if !self.fill(from, ask, most).await {
                    return Some(false);
                }
                if matches!(pace, Pace::Slow(_)) && rests > 0 {
                    rests -= 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            let count = self.buffer.len().min(usize::try_from(before + length - at).unwrap_or(usize::MAX));
            if let Some(stuff) = stuff {
                stuff.assert_has(at, &self.buffer[..count], ask);
            }
            self.buffer.drain(..count);
            at += count as u64;
        }
        Some(true)
    }

    async fn chunks(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        stuff: Option<Stuff>,
        ask: &Ask,
        pace: Pace,
    ) -> Option<bool> {
        let mut at = 0;
        loop {
            let Some(line) = self.line(from, ask).await else { return Some(false) };
            let size = u64::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("{ask:?}: {line:?}"));
            let whole = self.body(from, stuff, at, size, ask, pace).await?;
            if !whole {
                return Some(false);
            }
            at += size;
            let Some(end) = self.line(from, ask).await else { return Some(false) };
            assert_eq!(end, "", "behind a chunk of {ask:?}");
            if size == 0 {
                assert!(stuff.is_none() || at == ask.size, "{at} bytes for {ask:?}");
                return Some(true);
            }
        }
    }

    async fn line(&mut self, from: &mut (impl AsyncRead + Unpin), ask: &Ask) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).take(at).collect();
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            assert!(self.buffer.len() < 100, "no line of {ask:?}: {}", self.shown());
            if !self.fill(from, ask, 4096).await {
                return None;
            }
        }
    }

    /// Reads on; false at the end, be it a reset.
    async fn fill(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        what: &(impl Debug + Sync),
        most: usize,
    ) -> bool {
        self.buffer.reserve(most);
        let mut limited = from.take(most as u64);
        match tokio::time::timeout(self.stall, limited.read_buf(&mut self.buffer)).await {
            Ok(Ok(count)) => count > 0,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => false,
            Ok(Err(error)) => panic!("{what:?}: {error}"),
            Err(_) => panic!("nothing came within {:?} for {what:?}; before: {}", self.stall, self.shown()),
        }
    }

    fn shown(&self) -> String {
        self.buffer[..self.buffer.len().min(300)].escape_ascii().to_string()
    }
}
