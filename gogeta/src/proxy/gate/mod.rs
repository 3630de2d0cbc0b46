//! The strict gate: what a client sends is judged here, byte by byte, before the HTTP library sees it.
//!
//! RFC 9112, read strictly, and the stricter reading where it leaves a choice: whatever two parsers could take for
//! two different things is refused. A refused request is hidden whole from the library, so not one byte of it goes
//! anywhere. What passes, passes as it came.
//!
//! Pure: bytes in, verdicts out.

use memchr::memchr;

/// How much a request may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a head.
    pub head: usize,
    /// Fields of a head, and of a trailer section.
    pub fields: usize,
    /// Bytes of a target.
    pub target: usize,
    /// Bytes of a body.
    pub body: u64,
}

/// A request that does not pass: the status that tells of it, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// What is at fault, in a word: the name of its counter.
    pub kind: &'static str,
    /// The reason, in a few words.
    pub why: &'static str,
}

/// Names under which refusals are counted.
pub const KINDS: [&str; 5] = ["line", "field", "framing", "chunk", "size"];

const fn bad_line(why: &'static str) -> Refusal {
    Refusal { status: 400, kind: KINDS[0], why }
}

const fn bad_field(why: &'static str) -> Refusal {
    Refusal { status: 400, kind: KINDS[1], why }
}

const fn bad_framing(why: &'static str) -> Refusal {
    Refusal { status: 400, kind: KINDS[2], why }
}

const fn bad_chunk(why: &'static str) -> Refusal {
    Refusal { status: 400, kind: KINDS[3], why }
}

const fn too_much(status: u16, why: &'static str) -> Refusal {
    Refusal { status, kind: KINDS[4], why }
}

/// How a body is delimited (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// By chunks.
    Chunked,
}

/// What the gate needs to know of a head that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How its body is delimited.
    pub framing: Framing,
    /// Whether it asks for another protocol: what follows may not be HTTP then.
    pub upgrade: bool,
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
    /// A line, or a head, that has not come to its end.
    partial: Vec<u8>,
    /// Bytes of the current body, of its chunk extensions, and fields of its trailer section.
    body: u64,
    extensions: usize,
    trailers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before or within a head.
    Head,
    /// Within a body of so many bytes more.
    Length(u64),
    /// Within a chunk's size line.
    Size,
    /// Within a chunk of so many bytes more.
    Data(u64),
    /// Behind a chunk: its CRLF is due, of which so many bytes are there.
    DataEnd(u8),
    /// Within the trailer section.
    Trailer,
    /// Behind a request for another protocol.
    Waiting,
}

/// Bytes of chunk extensions that one body may have; nobody uses them.
const EXTENSIONS: usize = 4096;
/// Empty lines before a request line (RFC 9112, 2.2 asks for one at least).
const EMPTY_LINES: usize = 2;

impl Gate {
    /// A gate for a new connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Head, partial: Vec::new(), body: 0, extensions: 0, trailers: 0 }
    }

    /// Whether a head has begun and not ended.
    pub fn is_within_head(&self) -> bool {
        self.state == State::Head && !self.partial.is_empty()
    }

    /// Whether a request for another protocol has passed, and nothing behind it does.
    pub fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// The request for another protocol was answered by HTTP: what follows is HTTP.
    pub fn go_on(&mut self) {
        if self.state == State::Waiting {
            self.state = State::Head;
        }
    }

    /// Judges what has come next.
    pub fn judge(&mut self, bytes: &[u8]) -> Verdict {
        let mut at = 0;
        // Where the current request begins in these bytes, if the library has not seen the whole of its head.
        let mut hidden = (self.state == State::Head).then_some(0);
        while at < bytes.len() {
            if self.state == State::Waiting {
                return Verdict::Hold(at);
            }
            if self.state == State::Head && self.partial.is_empty() {
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
        match self.state {
            State::Head => self.head(bytes),
            State::Length(left) => Ok(self.skip(bytes, left, State::Length, State::Head)),
            State::Size => self.line(bytes, Self::size),
            State::Data(left) => Ok(self.skip(bytes, left, State::Data, State::DataEnd(0))),
            State::DataEnd(seen) => self.data_end(bytes[0], seen),
            State::Trailer => self.line(bytes, Self::trailer),
            State::Waiting => Ok(0),
        }
    }

    fn skip(&mut self, bytes: &[u8], left: u64, within: fn(u64) -> State, behind: State) -> usize {
        let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - count as u64;
        self.state = if left == 0 { behind } else { within(left) };
        count
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
        (self.body, self.extensions, self.trailers) = (0, 0, 0);
        self.state = match head.framing {
            Framing::Length(length) if length > self.limits.body => return Err(TOO_MUCH_BODY),
            Framing::Length(length) if length > 0 => State::Length(length),
            Framing::Chunked => State::Size,
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

    /// A line of the chunked coding, whole or in parts.
    fn line(
        &mut self,
        bytes: &[u8],
        take: fn(&mut Self, &[u8]) -> Result<(), Refusal>,
    ) -> Result<usize, Refusal> {
        let end = memchr(b'\n', bytes);
        let count = end.map_or(bytes.len(), |end| end + 1);
        let allowed = if self.state == State::Size { EXTENSIONS } else { self.limits.head };
        if self.partial.len() + count > allowed {
            return Err(bad_chunk("a line of the chunked body is too long"));
        }
        if end.is_none() {
            self.partial.extend_from_slice(bytes);
            return Ok(count);
        }
        let mut line = std::mem::take(&mut self.partial);
        line.extend_from_slice(&bytes[..count]);
        let content = line.strip_suffix(b"\r\n").ok_or(bad_line("a line ends without CR"))?;
        take(self, content)?;
        Ok(count)
    }

    /// `chunk-size [ chunk-ext ]` (RFC 9112, 7.1).
    fn size(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at(digits);
        if size.is_empty() || size.len() > 16 {
            return Err(bad_chunk("a chunk's size is not one"));
        }
        if !extension.is_empty() && extension[0] != b';' {
            return Err(bad_chunk("a chunk's size is not one"));
        }
        if extension.iter().any(|byte| is_control(*byte)) {
            return Err(bad_chunk("a chunk extension has a control character"));
        }
        self.extensions += extension.len();
        if self.extensions > EXTENSIONS {
            return Err(bad_chunk("the chunk extensions are too long"));
        }
        let size = size.iter().fold(0_u64, |sum, digit| (sum << 4) | u64::from(hex(*digit)));
        if size > 1 << 56 {
            return Err(bad_chunk("a chunk is too large"));
        }
        self.body = self.body.saturating_add(size);
        if self.body > self.limits.body {
            return Err(TOO_MUCH_BODY);
        }
        self.state = if size == 0 { State::Trailer } else { State::Data(size) };
        Ok(())
    }

    fn data_end(&mut self, byte: u8, seen: u8) -> Result<usize, Refusal> {
        self.state = match (seen, byte) {
            (0, b'\r') => State::DataEnd(1),
            (1, b'\n') => State::Size,
            _ => return Err(bad_chunk("a chunk does not end where it should")),
        };
        Ok(1)
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if line.is_empty() {
            self.state = State::Head;
            return Ok(());
        }
        self.trailers += 1;
        if self.trailers > self.limits.fields {
            return Err(TOO_MANY_FIELDS);
        }
        check_field(line).map(drop)
    }
}

const TARGET_TOO_LONG: Refusal = too_much(414, "the target is too long");
const HEAD_TOO_LARGE: Refusal = too_much(431, "the head is too large");
const TOO_MANY_FIELDS: Refusal = too_much(431, "there are too many fields");
const TOO_MUCH_BODY: Refusal = too_much(413, "the body is too large");

/// Where a head ends, behind its empty line; `seen` bytes have been searched before.
fn end_of_head(bytes: &[u8], seen: usize) -> Option<usize> {
    // An empty line before the request line is no end.
    let start = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let mut at = start.max(seen.saturating_sub(2));
    while let Some(found) = memchr(b'\n', &bytes[at..]) {
        let end = at + found + 1;
        // Lines that end in LF alone end a head for some parsers: here too, and it is refused for it.
        if bytes[start..end].ends_with(b"\n\r\n") || bytes[start..end].ends_with(b"\n\n") {
            return Some(end);
        }
        at = end;
    }
    None
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
    let (line, mut rest) = split_line(rest)?;
    let old = check_request_line(line, limits)?;
    let mut found = Found::default();
    let mut count = 0;
    loop {
        let (line, behind) = split_line(rest)?;
        rest = behind;
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > limits.fields {
            return Err(TOO_MANY_FIELDS);
        }
        let (name, value) = check_field(line)?;
        found.note(name, value)?;
    }
    Ok(Head { framing: found.framing(old)?, upgrade: found.upgrade && found.connection_upgrade })
}

/// A line without its CRLF, and what is behind it.
fn split_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let end = memchr(b'\n', bytes).ok_or(bad_line("a line has no end"))?;
    let line = bytes[..end].strip_suffix(b"\r").ok_or(bad_line("a line ends without CR"))?;
    Ok((line, &bytes[end + 1..]))
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
    if !target.iter().all(|byte| matches!(*byte, 0x21..=0x7e) && *byte != b'#') {
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

/// `field-name ":" OWS field-value OWS` (RFC 9112, 5), as name and value.
fn check_field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(bad_field("a field is folded"));
    }
    let colon = memchr(b':', line).ok_or(bad_field("a field has no colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(bad_field("a field's name is not a token"));
    }
    if value.iter().any(|byte| is_control(*byte)) {
        return Err(bad_field("a field's value has a control character"));
    }
    Ok((name, value.trim_ascii()))
}

/// The fields of a head that delimit its body or what follows it.
#[derive(Default)]
struct Found {
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    connection_upgrade: bool,
}

impl Found {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.note_coding(value),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                self.connection_upgrade |= options.any(|option| option.eq_ignore_ascii_case(b"upgrade"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// RFC 9110, 8.6: digits, and once.
    fn note_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(bad_framing("there are several Content-Length"));
        }
        if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
            return Err(bad_framing("the Content-Length is not a length"));
        }
        let length = value.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        self.length = Some(length);
        Ok(())
    }

    /// RFC 9112, 6.1: `chunked`, alone and once; others are not implemented.
    fn note_coding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked {
            return Err(bad_framing("there are several Transfer-Encoding"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            let tokens =
                !value.is_empty() && value.iter().all(|byte| is_token(*byte) || b", ;=".contains(byte));
            let status = if tokens { 501 } else { 400 };
            return Err(Refusal { status, ..bad_framing("the Transfer-Encoding is not chunked") });
        }
        self.chunked = true;
        Ok(())
    }

    /// RFC 9112, 6.3: both are a sign of an attack, and HTTP/1.0 knows no chunks.
    fn framing(&self, old: bool) -> Result<Framing, Refusal> {
        match (self.length, self.chunked) {
            (None, false) => Ok(Framing::None),
            (Some(length), false) => Ok(Framing::Length(length)),
            (None, true) if !old => Ok(Framing::Chunked),
            (None, true) => Err(bad_framing("HTTP/1.0 has no Transfer-Encoding")),
            (Some(_), true) => Err(bad_framing("there are both Content-Length and Transfer-Encoding")),
        }
    }
}

/// RFC 9110, 5.6.2: `tchar`.
fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let others = b"!#$%&'*+-.^_`|~";
        let mut at = 0;
        while at < others.len() {
            table[others[at] as usize] = true;
            at += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}

/// RFC 9110, 5.5: what no field's value has.
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests;
