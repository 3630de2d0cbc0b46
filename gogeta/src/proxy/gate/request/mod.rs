//! What a client sends: one request after the other.

use memchr::memchr;

use super::chunks::{Bounds, Chunks};
use super::grammar::{Fields, check_line_ends, end_of_head, is_token, read_fields, split_line};
use super::{
    Framing, HEAD_TOO_LARGE, Limits, OLD_CHUNKS, Refusal, TARGET_TOO_LONG, TOO_MUCH_BODY, TWO_FRAMINGS,
    bad_line,
};

/// What the gate needs to know of a head that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How its body is delimited.
    pub framing: Framing,
    /// Whether it asks for another protocol, or by CONNECT for a tunnel: what follows may not be HTTP then.
    pub upgrade: bool,
    /// Whether it is an OPTIONS of a whole server in absolute form, `OPTIONS http://a.test`: behind the last proxy
    /// its target is an asterisk (RFC 9112, 3.2.4). A URI library takes it for that of the server's root.
    pub of_server: bool,
}

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All of them pass.
    Pass,
    /// So many pass; the others wait until the request for another protocol is answered.
    Hold(usize),
    /// So many pass, which belong to requests before; the request behind them is refused, and nothing of it has
    /// passed that would make sense of it.
    Refuse(usize, Refusal),
    /// So many pass; behind them the body of a request that has passed already is broken.
    Break(usize, Refusal),
}

/// The state of one connection.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    state: State,
    /// A head that has not come to its end.
    partial: Vec<u8>,
    body_begun: bool,
    /// Heads that have passed, and which of them are an OPTIONS of a whole server, from 1.
    heads: u64,
    of_server: Vec<u64>,
}

#[derive(Debug)]
enum State {
    /// Before or within a head.
    Head,
    /// Within a body of so many bytes more.
    Length(u64),
    /// Within a chunked body.
    Chunked(Chunks),
    /// Behind a request for another protocol.
    Waiting,
}

/// Empty lines before a request line (RFC 9112, 2.2 asks for one at least).
const EMPTY_LINES: usize = 2;

impl Gate {
    /// A gate for a new connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Head,
            partial: Vec::new(),
            body_begun: false,
            heads: 0,
            of_server: Vec::new(),
        }
    }

    /// Whether a head has begun and not ended.
    pub fn is_within_head(&self) -> bool {
        self.is_at_head() && !self.partial.is_empty()
    }

    /// Whether a byte of the last request's body has come.
    pub fn has_begun_body(&self) -> bool {
        self.body_begun
    }

    /// How many heads have passed.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Which of the heads that have passed since the last look are an OPTIONS of a whole server, counted from 1.
    pub fn take_of_server(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.of_server)
    }

    /// Whether a request for another protocol has passed, and nothing behind it does.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// The request for another protocol was answered by HTTP: what follows is HTTP.
    pub fn go_on(&mut self) {
        if self.is_waiting() {
            self.state = State::Head;
        }
    }

    fn is_at_head(&self) -> bool {
        matches!(self.state, State::Head)
    }

    /// Judges what has come next.
    pub fn judge(&mut self, bytes: &[u8]) -> Verdict {
        let mut at = 0;
        // Where the current request begins in these bytes, if the library has not seen the whole of its head.
        let mut hidden = (self.is_at_head()).then_some(0);
        while at < bytes.len() {
            if self.is_waiting() {
                return Verdict::Hold(at);
            }
            if self.is_at_head() && self.partial.is_empty() {
                hidden = Some(at);
            }
            match self.step(&bytes[at..]) {
                Ok(count) => at += count,
                Err(refusal) => {
                    return match hidden {
                        Some(start) => Verdict::Refuse(start, refusal),
                        None => Verdict::Break(at, refusal),
                    };
                }
            }
        }
        Verdict::Pass
    }

    /// Takes what belongs together at the beginning of `bytes`, which are not empty; gives how many bytes.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match &mut self.state {
            State::Head => self.head(bytes),
            State::Length(left) => {
                self.body_begun = true;
                let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                if *left == 0 {
                    self.state = State::Head;
                }
                Ok(count)
            }
            State::Chunked(chunks) => {
                self.body_begun = true;
                let Limits { body, head: line, fields, .. } = self.limits;
                let count = chunks.step(bytes, Bounds { body, line, fields })?;
                if chunks.is_over() {
                    self.state = State::Head;
                }
                Ok(count)
            }
            State::Waiting => Ok(0),
        }
    }

    /// A head, whole or in parts.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let seen = self.partial.len();
        if seen == 0
            && let Some(end) = end_of_head(bytes, 0)
        {
            return self.whole_head(bytes, end);
        }
        self.partial.extend_from_slice(bytes);
        let partial = std::mem::take(&mut self.partial);
        match end_of_head(&partial, seen) {
            Some(end) => self.whole_head(&partial, end).map(|_| end - seen),
            None if partial.len() > self.limits.head => Err(self.too_large(&partial)),
            None => {
                check_beginning(&partial)?;
                check_line_ends(&partial, seen)?;
                self.partial = partial;
                Ok(bytes.len())
            }
        }
    }

    fn whole_head(&mut self, bytes: &[u8], end: usize) -> Result<usize, Refusal> {
        if end > self.limits.head {
            return Err(self.too_large(&bytes[..end]));
        }
        let head = check_head(&bytes[..end], &self.limits)?;
        self.body_begun = false;
        self.heads += 1;
        if head.of_server {
            self.of_server.push(self.heads);
        }
        self.state = match head.framing {
            Framing::Length(length) if length > self.limits.body => return Err(TOO_MUCH_BODY),
            Framing::Length(length) if length > 0 => State::Length(length),
            Framing::Chunked => State::Chunked(Chunks::default()),
            Framing::None | Framing::Length(_) if head.upgrade => State::Waiting,
            Framing::None | Framing::Length(_) => State::Head,
        };
        Ok(end)
    }

    /// What of a head is too large: the target, or the rest.
    fn too_large(&self, head: &[u8]) -> Refusal {
        let line = memchr(b'\n', head).map_or(head, |end| &head[..end]);
        if line.len() > self.limits.target + 64 { TARGET_TOO_LONG } else { HEAD_TOO_LARGE }
    }
}

/// What can be said of a head before its end: a client that does not speak HTTP need not be waited for.
fn check_beginning(partial: &[u8]) -> Result<(), Refusal> {
    let empty = partial.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    if empty > 2 * EMPTY_LINES {
        return Err(bad_line("there are empty lines before the request"));
    }
    match partial.get(empty) {
        Some(byte) if !is_token(*byte) => Err(bad_line("the method is not a token")),
        _ => Ok(()),
    }
}

/// Judges a whole head, from its request line to its empty line.
///
/// # Errors
///
/// The first rule that it breaks.
pub fn check_head(bytes: &[u8], limits: &Limits) -> Result<Head, Refusal> {
    let mut rest = bytes;
    let mut empty = 0;
    while let Some(behind) = rest.strip_prefix(b"\r\n") {
        rest = behind;
        empty += 1;
    }
    if empty > EMPTY_LINES {
        return Err(bad_line("there are empty lines before the request"));
    }
    let (line, rest) = split_line(rest)?;
    let old = check_request_line(line, limits)?;
    let found = read_fields(rest, limits.fields)?;
    // Methods have a letter case: hyper takes `connect` for one that it does not know.
    let connect = line.starts_with(b"CONNECT ");
    let upgrade = connect || (found.upgrade && found.connection_upgrade);
    Ok(Head { framing: framing(&found, old)?, upgrade, of_server: is_of_server(line) })
}

/// `method SP request-target SP HTTP-version` (RFC 9112, 3); whether the version is 1.0.
fn check_request_line(line: &[u8], limits: &Limits) -> Result<bool, Refusal> {
    let first = memchr(b' ', line).ok_or(bad_line("the request line is not one"))?;
    let (method, rest) = (&line[..first], &line[first + 1..]);
    let second = memchr(b' ', rest).ok_or(bad_line("the request line has no version"))?;
    let (target, version) = (&rest[..second], &rest[second + 1..]);
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(bad_line("the method is not a token"));
    }
    if target.is_empty() {
        return Err(bad_line("there is no target"));
    }
    if target.len() > limits.target {
        return Err(TARGET_TOO_LONG);
    }
    if !target.iter().all(|byte| is_of_target(*byte)) {
        return Err(bad_line("the target has a character that is not allowed in one"));
    }
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        [b'H', b'T', b'T', b'P', b'/', b'0' | b'2'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Refusal { status: 505, ..bad_line("the version is not supported") })
        }
        _ => Err(bad_line("the version is not one")),
    }
}

/// RFC 3986, and what many send unencoded nevertheless; but angle brackets and backquotes, which the URI library does
/// not take either.
fn is_of_target(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'#' | b'<' | b'>' | b'`')
}

fn is_of_server(line: &[u8]) -> bool {
    let Some(target) = line.strip_prefix(b"OPTIONS ") else { return false };
    let target = target.split(|byte| *byte == b' ').next().unwrap_or_default();
    let behind = |scheme: &[u8]| {
        let (begin, rest) = target.split_at_checked(scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let authority = behind(b"http://").or_else(|| behind(b"https://"));
    authority.is_some_and(|authority| !authority.contains(&b'/') && !authority.contains(&b'?'))
}

/// RFC 9112, 6.3: both are a sign of an attack, and HTTP/1.0 knows no chunks.
fn framing(fields: &Fields, old: bool) -> Result<Framing, Refusal> {
    match (fields.length, fields.chunked) {
        (None, false) => Ok(Framing::None),
        (Some(length), false) => Ok(Framing::Length(length)),
        (None, true) if !old => Ok(Framing::Chunked),
        (None, true) => Err(OLD_CHUNKS),
        (Some(_), true) => Err(TWO_FRAMINGS),
    }
}

#[cfg(test)]
mod tests;
