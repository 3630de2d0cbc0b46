//! What requests and responses have in common: bytes, lines, fields, and how a body is delimited.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter};

use super::{Refusal, TOO_MANY_FIELDS, bad_field, bad_framing, bad_line};

static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Where a head ends, behind its empty line; `seen` bytes have been searched before.
pub(super) fn end_of_head(bytes: &[u8], seen: usize) -> Option<usize> {
    // An empty line before the request line is no end.
    let start = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let from = start.max(seen.saturating_sub(3));
    EMPTY_LINE.find(&bytes[from..]).map(|at| from + at + 4)
}

/// For some parsers a line, and with it a head, ends in LF alone. A head that has not ended for us must not wait for
/// more then.
pub(super) fn check_line_ends(partial: &[u8], seen: usize) -> Result<(), Refusal> {
    let lone = |at: usize| at == 0 || partial[at - 1] != b'\r';
    if memchr_iter(b'\n', &partial[seen..]).any(|at| lone(seen + at)) { Err(NO_CR) } else { Ok(()) }
}

/// A line without its CRLF, and what is behind it.
pub(super) fn split_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let end = memchr(b'\n', bytes).ok_or(NO_END)?;
    let line = bytes[..end].strip_suffix(b"\r").ok_or(NO_CR)?;
    Ok((line, &bytes[end + 1..]))
}

/// `field-name ":" OWS field-value OWS` (RFC 9112, 5), as name and value.
pub(super) fn check_field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
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
    Ok((name, value))
}

/// How many control characters there are, LF and tab among them.
fn controls(bytes: &[u8]) -> usize {
    // Compilers make vectors of sums of bytes, which therefore must not grow beyond one.
    let of = |bytes: &[u8]| {
        bytes.iter().map(|byte| u8::from(*byte < 0x20 || *byte == 0x7f)).fold(0, u8::wrapping_add)
    };
    bytes.chunks(usize::from(u8::MAX)).map(|bytes| usize::from(of(bytes))).sum()
}

/// Reads the fields of a head, behind its first line.
///
/// Most heads have no control characters but those that end lines. That is seen by two numbers: there are twice as many
/// as lines. Only where they differ each field is looked at, for what is wrong with it, or for its tabs.
pub(super) fn read_fields(rest: &[u8], limit: usize) -> Result<Fields, Refusal> {
    let (fields, lines) = read_lines(rest, limit, split_plain_field)?;
    if controls(rest) == 2 * lines {
        Ok(fields)
    } else {
        read_lines(rest, limit, check_field).map(|(fields, _)| fields)
    }
}

type Split = fn(&[u8]) -> Result<(&[u8], &[u8]), Refusal>;

/// The fields, and how many lines there are with the empty one.
#[inline(always)]
fn read_lines(rest: &[u8], limit: usize, split: Split) -> Result<(Fields, usize), Refusal> {
    let mut fields = Fields::default();
    let mut start = 0;
    for (count, end) in memchr_iter(b'\n', rest).enumerate() {
        let line = rest[start..end].strip_suffix(b"\r").ok_or(NO_CR)?;
        start = end + 1;
        if line.is_empty() {
            return Ok((fields, count + 1));
        }
        if count == limit {
            return Err(TOO_MANY_FIELDS);
        }
        let (name, value) = split(line)?;
        fields.note(name, value)?;
    }
    Err(NO_END)
}

const NO_CR: Refusal = bad_line("a line ends without CR");
const NO_END: Refusal = bad_line("a line has no end");

/// [`check_field`], for a line without control characters.
fn split_plain_field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    match line.iter().position(|byte| !is_token(*byte)) {
        Some(colon @ 1..) if line[colon] == b':' => Ok((&line[..colon], &line[colon + 1..])),
        // It knows what is wrong.
        _ => check_field(line),
    }
}

/// The fields of a head that delimit its body or what follows it.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) upgrade: bool,
    pub(super) connection_upgrade: bool,
}

impl Fields {
    /// Notes a field, if it is one of them.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value.trim_ascii()),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.note_coding(value.trim_ascii()),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                // Some readers take such a line for none, and others see the `close` in it.
                if !value.is_ascii() {
                    return Err(bad_field("the Connection is not text"));
                }
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
}

/// RFC 9110, 5.6.2: `tchar`.
pub(super) fn is_token(byte: u8) -> bool {
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
pub(super) const fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

pub(super) fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_bytes_are_found() {
        let reads = |text: &str| read_fields(text.as_bytes(), 10).is_ok();
        for plain in ["\r\n", "a: b\r\n\r\n", "a:\tb\u{e4}\r\nb:\r\n\r\n"] {
            assert!(reads(plain), "{plain:?}");
        }
        for odd in ["\n", "\0", "\x1f", "\x7f", "\r"] {
            assert!(!reads(&format!("a: {odd}b\r\n\r\n")), "{odd:?}");
            assert!(!reads(&format!("a: b{odd}\r\n\r\n")), "{odd:?}");
        }
    }

    #[test]
    fn many_controls_are_counted() {
        for count in [0, 1, 254, 255, 256, 1000] {
            assert_eq!(controls(&vec![b'\t'; count]), count);
        }
        assert_eq!(controls(&(0..=u8::MAX).collect::<Vec<_>>()), 33);
    }

    proptest! {
        /// The short way says what the long one says.
        #[test]
        fn plain_fields(line in "[a-z :\u{1}\t\r\n\u{e4}]{0,8}") {
            if controls(line.as_bytes()) == 0 {
                prop_assert_eq!(split_plain_field(line.as_bytes()), check_field(line.as_bytes()));
            }
        }
    }
}
