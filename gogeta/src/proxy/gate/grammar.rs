//! What requests and responses have in common: bytes, lines, fields, and how a body is delimited.

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;

use super::{Refusal, TOO_MANY_FIELDS, bad_field, bad_framing, bad_line};

static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Where a head ends, behind its empty line; `seen` bytes have been searched before.
pub(super) fn end_of_head(bytes: &[u8], seen: usize) -> Option<usize> {
    // An empty line before the request line is no end.
    let start = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    if seen == 0
        && let Some(at) = EMPTY_LINE.find(&bytes[start..])
    {
        // An end in bare LF before it makes what is before it a bad line.
        return Some(start + at + 4);
    }
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

/// A line without its CRLF, and what is behind it.
pub(super) fn split_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let end = memchr(b'\n', bytes).ok_or(bad_line("a line has no end"))?;
    let line = bytes[..end].strip_suffix(b"\r").ok_or(bad_line("a line ends without CR"))?;
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

/// Whether bytes have no control characters but tabs and whole CRLFs. Most heads are like that, and are known to be
/// by a few instructions: there is no way out of the loop, so that the compiler looks at many bytes at once.
fn is_plain(bytes: &[u8]) -> bool {
    let odd = |before: u8, byte: u8| {
        ((before == b'\r') != (byte == b'\n'))
            | ((byte < 0x20) & (byte != b'\t') & (byte != b'\r') & (byte != b'\n'))
            | (byte == 0x7f)
    };
    let Some((first, rest)) = bytes.split_first() else { return true };
    let all = bytes.iter().zip(rest).fold(0, |all, (before, byte)| all | u8::from(odd(*before, *byte)));
    all == 0 && !odd(0, *first) && bytes.last() != Some(&b'\r')
}

/// Reads the fields of a head, behind its first line.
pub(super) fn read_fields(mut rest: &[u8], limit: usize) -> Result<Fields, Refusal> {
    let plain = is_plain(rest);
    let mut fields = Fields::default();
    let mut count = 0;
    loop {
        let (line, behind) = split_line(rest)?;
        rest = behind;
        if line.is_empty() {
            return Ok(fields);
        }
        count += 1;
        if count > limit {
            return Err(TOO_MANY_FIELDS);
        }
        let (name, value) = if plain { split_plain_field(line)? } else { check_field(line)? };
        fields.note(name, value)?;
    }
}

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
pub(super) fn is_control(byte: u8) -> bool {
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
    fn plain_bytes() {
        for plain in ["", "a: b\r\n\r\n", "a:\tb\u{e4}\r\n"] {
            assert!(is_plain(plain.as_bytes()), "{plain:?}");
        }
        for odd in ["\n", "\r", "a\n", "a\rb\n", "a\r", "\r\r\n", "\r\n\n", "a\0", "\0a", "\x1f", "a\x7f"] {
            assert!(!is_plain(odd.as_bytes()), "{odd:?}");
        }
    }

    proptest! {
        /// The short way says what the long one says.
        #[test]
        fn plain_fields(line in "[a-z :\u{1}\t\r\n\u{e4}]{0,8}") {
            if is_plain(line.as_bytes()) && !line.contains('\n') {
                prop_assert_eq!(split_plain_field(line.as_bytes()), check_field(line.as_bytes()));
            }
        }
    }
}
