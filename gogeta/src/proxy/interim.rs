//! Interim responses (RFC 9110, 15.2): told to the client as they come, between two of hyper's own writes.
//!
//! hyper's server has no way to send one, so they go out by the client's socket directly, which is where one
//! message ends and the next begins.

use std::cell::{Cell, RefCell};

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};

use super::headers;

/// What waits to be told to one client.
#[derive(Debug)]
pub struct Interims {
    due: RefCell<Vec<u8>>,
    /// Whether all that hyper had to write is written.
    flushed: Cell<bool>,
}

impl Default for Interims {
    fn default() -> Self {
        Self { due: RefCell::default(), flushed: Cell::new(true) }
    }
}

impl Interims {
    /// Tells the client, as soon as its socket takes it. Where it has not even read the response before, it learns
    /// nothing: an interim response must not come into the middle of another, and only hints at what is to come.
    pub fn tell(&self, head: &[u8]) {
        if self.flushed.get()
            && let Some(head) = to_client(head)
        {
            self.due.borrow_mut().extend_from_slice(&head);
        }
    }

    /// What goes out before anything else.
    pub fn due(&self) -> Vec<u8> {
        std::mem::take(&mut self.due.borrow_mut())
    }

    /// Whether something goes out before anything else.
    pub fn is_due(&self) -> bool {
        !self.due.borrow().is_empty()
    }

    /// What of it found no room goes out later.
    pub fn put_back(&self, rest: &[u8]) {
        self.due.borrow_mut().extend_from_slice(rest);
    }

    /// Whether all that hyper had to write is written.
    pub fn is_flushed(&self) -> bool {
        self.flushed.get()
    }

    /// hyper writes.
    pub fn writes(&self) {
        self.flushed.set(false);
    }

    /// All of that is written.
    pub fn flushed(&self) {
        self.flushed.set(true);
    }
}

/// The status of a head that passed the gate.
pub fn status(head: &[u8]) -> &[u8] {
    head.get(9..12).unwrap_or_default()
}

/// A head that passed the gate, without what is meant for one hop only.
fn to_client(head: &[u8]) -> Option<Vec<u8>> {
    let text = head.strip_suffix(b"\r\n\r\n")?;
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next()?;
    let mut fields = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        fields.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    headers::strip_hop_by_hop(&mut fields);
    fields.remove(CONTENT_LENGTH);
    let mut out = first.to_vec();
    for (name, value) in &fields {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told() {
        let head =
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-hop\r\nX-Hop: 1\r\nlink:</b>\r\n\r\n";
        let told = to_client(head).expect("a head");
        assert_eq!(told, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n");
        assert_eq!(status(head), b"103");
        assert_eq!(to_client(b"HTTP/1.1 102 \r\n\r\n").as_deref(), Some(&b"HTTP/1.1 102 \r\n\r\n"[..]));
    }

    #[test]
    fn not_into_the_middle_of_another() {
        let interims = Interims::default();
        interims.writes();
        interims.tell(b"HTTP/1.1 103 \r\n\r\n");
        assert!(!interims.is_due());
        interims.flushed();
        interims.tell(b"HTTP/1.1 103 \r\n\r\n");
        assert_eq!(interims.due().len(), 17);
        assert!(!interims.is_due());
    }
}
