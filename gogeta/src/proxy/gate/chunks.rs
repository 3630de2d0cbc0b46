//! The chunked coding (RFC 9112, 7.1): where chunks, and the body that they make, come to their end.

use memchr::memchr;

use super::grammar::{check_field, hex, is_control};
use super::{Refusal, TOO_MANY_FIELDS, TOO_MUCH_BODY, bad_chunk, bad_line};

/// Bytes of chunk extensions that one body may have; nobody uses them.
const EXTENSIONS: usize = 4096;

/// How much a chunked body may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of data.
    pub(super) body: u64,
    /// Bytes of a line of the trailer section.
    pub(super) line: usize,
    /// Fields of the trailer section.
    pub(super) fields: usize,
}

/// A body on its way.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    place: Place,
    /// A line that has not come to its end.
    partial: Vec<u8>,
    /// Bytes of data, of extensions, and fields of the trailer section.
    body: u64,
    extensions: usize,
    trailers: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Within a chunk's size line.
    #[default]
    Size,
    /// Within a chunk of so many bytes more.
    Data(u64),
    /// Behind a chunk: its CRLF is due, of which so many bytes are there.
    DataEnd(u8),
    /// Within the trailer section.
    Trailer,
    /// Behind all of it.
    End,
}

impl Chunks {
    /// Whether the body has come to its end.
    pub(super) fn is_over(&self) -> bool {
        self.place == Place::End
    }

    /// Whether nothing is owed: a chunk may follow, and need not at once.
    pub(super) fn is_between_chunks(&self) -> bool {
        self.place == Place::Size && self.partial.is_empty()
    }

    /// Takes what belongs together at the beginning of `bytes`, which are not empty; gives how many bytes.
    pub(super) fn step(&mut self, bytes: &[u8], bounds: Bounds) -> Result<usize, Refusal> {
        match self.place {
            Place::Size => self.line(bytes, bounds, EXTENSIONS, Self::size),
            Place::Data(left) => {
                let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - count as u64;
                self.place = if left == 0 { Place::DataEnd(0) } else { Place::Data(left) };
                Ok(count)
            }
            Place::DataEnd(seen) => self.data_end(bytes[0], seen),
            Place::Trailer => self.line(bytes, bounds, bounds.line, Self::trailer),
            Place::End => Ok(0),
        }
    }

    /// A line of the chunked coding, whole or in parts.
    fn line(
        &mut self,
        bytes: &[u8],
        bounds: Bounds,
        allowed: usize,
        take: fn(&mut Self, &[u8], Bounds) -> Result<(), Refusal>,
    ) -> Result<usize, Refusal> {
        let end = memchr(b'\n', bytes);
        let count = end.map_or(bytes.len(), |end| end + 1);
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
        take(self, content, bounds)?;
        Ok(count)
    }

    /// `chunk-size [ chunk-ext ]` (RFC 9112, 7.1).
    fn size(&mut self, line: &[u8], bounds: Bounds) -> Result<(), Refusal> {
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
        if self.body > bounds.body {
            return Err(TOO_MUCH_BODY);
        }
        self.place = if size == 0 { Place::Trailer } else { Place::Data(size) };
        Ok(())
    }

    fn data_end(&mut self, byte: u8, seen: u8) -> Result<usize, Refusal> {
        self.place = match (seen, byte) {
            (0, b'\r') => Place::DataEnd(1),
            (1, b'\n') => Place::Size,
            _ => return Err(bad_chunk("a chunk does not end where it should")),
        };
        Ok(1)
    }

    fn trailer(&mut self, line: &[u8], bounds: Bounds) -> Result<(), Refusal> {
        if line.is_empty() {
            self.place = Place::End;
            return Ok(());
        }
        self.trailers += 1;
        if self.trailers > bounds.fields {
            return Err(TOO_MANY_FIELDS);
        }
        check_field(line).map(drop)
    }
}
