//! What an upstream sends: the response to one request, and nothing else.
//!
//! A response that breaks a rule is a 502, or is cut off visibly where its head has gone on already
//! (RFC 9112, 6.3 and 8). What comes behind its end belongs to nobody (CVE-2025-4366), and a `101` that nobody asked
//! for opens no tunnel (CVE-2026-2833).

use std::ops::RangeInclusive;

use super::chunks::{Bounds, Chunks};
use super::grammar::{Fields, check_line_ends, end_of_head, is_control, read_fields, split_line};
use super::{OLD_CHUNKS, Refusal, TWO_FRAMINGS, bad_framing, bad_line, too_much};

/// How much a response may have.
#[derive(Debug, Clone, Copy)]
pub struct ResponseLimits {
    /// Bytes of a head.
    pub head: usize,
    /// Fields of a head, and of a trailer section.
    pub fields: usize,
}

/// Interim responses before the final one: nobody sends more than a few.
const INTERIMS: usize = 32;

/// What the request asked for, as far as the end of its response depends on it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// HEAD: the response has no body, whatever its head says.
    pub head: bool,
    /// Another protocol, so that a 101 may come.
    pub upgrade: bool,
}

/// What the next bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A part of the response: it goes on as it is.
    Part,
    /// The rest of a head whose beginning was held back: here it is whole.
    Head(Vec<u8>),
    /// An interim response, whole (RFC 9110, 15.2).
    Interim(Vec<u8>),
    /// A part of a head: held back until the rest is there.
    Held,
    /// Behind the end: nobody asked for it.
    Surplus,
}

/// The state of one connection.
#[derive(Debug)]
pub struct ResponseGate {
    limits: ResponseLimits,
    asked: Asked,
    state: State,
    /// A head that has not come to its end.
    partial: Vec<u8>,
    interims: usize,
    begun: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing was asked.
    Idle,
    /// Before or within a head.
    Head,
    /// Within a body of so many bytes more.
    Length(u64),
    /// Within a chunked body.
    Chunked(Chunks),
    /// Within a body that ends with its connection.
    UntilClose,
    /// Behind a 101: no HTTP.
    Tunnel,
}

/// What a head says of what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Following {
    Interim,
    Tunnel,
    Nothing,
    Length(u64),
    Chunks,
    UntilClose,
}

impl ResponseGate {
    /// A gate for a new connection.
    pub fn new(limits: ResponseLimits) -> Self {
        let asked = Asked::default();
        Self { limits, asked, state: State::Idle, partial: Vec::new(), interims: 0, begun: false }
    }

    /// A request is about to be sent: a response may come.
    pub fn expect(&mut self, asked: Asked) {
        self.asked = asked;
        self.state = State::Head;
        self.partial.clear();
        self.interims = 0;
        self.begun = false;
    }

    /// Whether a byte of the response has come.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether more is owed at once: within a head, a body of a known length, or a chunk. Elsewhere a response may
    /// be quiet for as long as it likes.
    pub fn is_owed(&self) -> bool {
        match &self.state {
            State::Head => self.begun,
            State::Length(_) => true,
            State::Chunked(chunks) => !chunks.is_between_chunks(),
            State::Idle | State::UntilClose | State::Tunnel => false,
        }
    }

    /// Takes what belongs together at the beginning of `bytes`, which are not empty: how many, and what they are.
    ///
    /// # Errors
    ///
    /// The first rule that they break. Nothing that comes after it means anything.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(usize, Piece), Refusal> {
        match &mut self.state {
            State::Idle => Ok((bytes.len(), Piece::Surplus)),
            State::UntilClose | State::Tunnel => Ok((bytes.len(), Piece::Part)),
            State::Head => {
                self.begun = true;
                self.head(bytes)
            }
            State::Length(left) => {
                let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                if *left == 0 {
                    self.state = State::Idle;
                }
                Ok((count, Piece::Part))
            }
            State::Chunked(chunks) => {
                let ResponseLimits { head: line, fields } = self.limits;
                let count = chunks.step(bytes, Bounds { body: u64::MAX, line, fields })?;
                if chunks.is_over() {
                    self.state = State::Idle;
                }
                Ok((count, Piece::Part))
            }
        }
    }

    /// A head, whole or in parts.
    fn head(&mut self, bytes: &[u8]) -> Result<(usize, Piece), Refusal> {
        let seen = self.partial.len();
        if seen == 0
            && let Some(end) = end_of_head(bytes, 0)
        {
            return Ok((
                end,
                match self.whole_head(&bytes[..end])? {
                    Following::Interim => Piece::Interim(bytes[..end].to_vec()),
                    _ => Piece::Part,
                },
            ));
        }
        self.partial.extend_from_slice(bytes);
        let Some(end) = end_of_head(&self.partial, seen) else {
            if self.partial.len() > self.limits.head {
                return Err(HEAD_TOO_LARGE);
            }
            check_beginning(&self.partial)?;
            check_line_ends(&self.partial, seen)?;
            return Ok((bytes.len(), Piece::Held));
        };
        let mut head = std::mem::take(&mut self.partial);
        head.truncate(end);
        let following = self.whole_head(&head)?;
        let piece = if following == Following::Interim { Piece::Interim(head) } else { Piece::Head(head) };
        Ok((end - seen, piece))
    }

    fn whole_head(&mut self, head: &[u8]) -> Result<Following, Refusal> {
        if head.len() > self.limits.head {
            return Err(HEAD_TOO_LARGE);
        }
        let following = check_head(head, self.asked, self.limits.fields)?;
        self.state = match following {
            Following::Interim => {
                self.interims += 1;
                if self.interims > INTERIMS {
                    return Err(too_much(502, "there are too many interim responses"));
                }
                State::Head
            }
            Following::Tunnel => State::Tunnel,
            Following::Nothing | Following::Length(0) => State::Idle,
            Following::Length(length) => State::Length(length),
            Following::Chunks => State::Chunked(Chunks::default()),
            Following::UntilClose => State::UntilClose,
        };
        Ok(following)
    }
}

const HEAD_TOO_LARGE: Refusal = too_much(502, "the response's head is too large");

/// What can be said of a head before its end: an upstream that does not speak HTTP need not be waited for.
fn check_beginning(partial: &[u8]) -> Result<(), Refusal> {
    const START: &[u8] = b"HTTP/1.";
    let count = partial.len().min(START.len());
    if partial[..count] == START[..count] { Ok(()) } else { Err(NOT_HTTP) }
}

const NOT_HTTP: Refusal = bad_line("the response does not begin with HTTP/1");

/// Judges a whole head, from its status line to its empty line.
fn check_head(head: &[u8], asked: Asked, limit: usize) -> Result<Following, Refusal> {
    let (line, rest) = split_line(head)?;
    let (status, old) = check_status_line(line)?;
    let fields = read_fields(rest, limit)?;
    following(status, old, &fields, asked)
}

/// `HTTP-version SP status-code SP [ reason-phrase ]` (RFC 9112, 4); whether the version is 1.0. Many leave the
/// second space out where there is no reason.
fn check_status_line(line: &[u8]) -> Result<(u16, bool), Refusal> {
    const CODES: RangeInclusive<u16> = 100..=999;
    let old = match line.get(..9) {
        Some(b"HTTP/1.1 ") => false,
        Some(b"HTTP/1.0 ") => true,
        _ => return Err(NOT_HTTP),
    };
    let (code, reason) = line[9..].split_at_checked(3).ok_or(NO_STATUS)?;
    if !code.iter().all(u8::is_ascii_digit) {
        return Err(NO_STATUS);
    }
    let status = code.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    if !CODES.contains(&status) || !(reason.is_empty() || reason.starts_with(b" ")) {
        return Err(NO_STATUS);
    }
    if reason.iter().any(|byte| is_control(*byte)) {
        return Err(bad_line("the reason has a control character"));
    }
    Ok((status, old))
}

const NO_STATUS: Refusal = bad_line("the status is not one");

/// RFC 9112, 6.3.
fn following(status: u16, old: bool, fields: &Fields, asked: Asked) -> Result<Following, Refusal> {
    if fields.chunked && fields.length.is_some() {
        return Err(TWO_FRAMINGS);
    }
    if fields.chunked && old {
        return Err(OLD_CHUNKS);
    }
    let framed = fields.chunked || fields.length.is_some_and(|length| length > 0);
    match status {
        101 if asked.upgrade && !framed => Ok(Following::Tunnel),
        101 if asked.upgrade => Err(BODY_OF_NONE),
        101 => Err(bad_line("it switched to a protocol that nobody asked for")),
        100..=199 if old => Err(bad_line("HTTP/1.0 has no interim responses")),
        100..=199 | 204 if framed => Err(BODY_OF_NONE),
        100..=199 => Ok(Following::Interim),
        // Here they tell of the body that there would be.
        _ if asked.head || status == 204 || status == 304 => Ok(Following::Nothing),
        _ if fields.chunked => Ok(Following::Chunks),
        _ => Ok(fields.length.map_or(Following::UntilClose, Following::Length)),
    }
}

const BODY_OF_NONE: Refusal = bad_framing("a response that has no body is given one");

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
