//! The guard: which requests and responses may pass between a parked pair of sockets without userspace.
//!
//! The kernel's programs and userspace's tests run this same code. Whatever it says no to is not wrong: userspace
//! looks at it. What it says yes to, userspace would have passed on as it is, to the same place: RFC 9112 read even
//! more strictly than by the strict gate of userspace, and nothing in it that gogeta sets, strips or goes by.
//! What may be there is listed in [`grammar`]; `table` makes an automaton of it, at compile time.
//!
//! What depends on gogeta's flags is not in here. A pair may be guarded only if the limits are not below
//! [`HEAD_MAX`] for heads and targets and [`grammar::FIELDS_MAX`] for fields, and no flag makes gogeta look at, or
//! set, a field that may pass here.

mod fields;
pub mod grammar;
mod request;
mod response;
mod table;

pub use request::{REQUEST_NEXT, RequestScan};
pub use response::{RESPONSE_NEXT, ResponseScan};
pub use table::{CLASS, CLASSES, Next, Plainly, Reader, STATES};

/// Longest head that is judged, in bytes.
pub const HEAD_MAX: usize = 2048;

/// Longest host that a pair may have, in bytes (a power of two).
pub const HOST_MAX: usize = 256;

/// What a request must have asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Method {
    /// GET (RFC 9110, 9.3.1).
    Get = 1,
    /// HEAD (RFC 9110, 9.3.2), whose answer has no body.
    Head = 2,
}

/// Where a response ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framing {
    /// 200 to 599.
    pub status: u16,
    /// Bytes of the head with its empty line.
    pub head: u32,
    /// Bytes of the body that follow.
    pub body: u64,
}

/// Judges a whole request head, behind which nothing may be; `host` is what the pair was routed by, lower case.
pub fn request(head: &[u8], host: &[u8]) -> Option<Method> {
    let (mut bytes, mut padded) = ([0; HEAD_MAX], [0; HOST_MAX]);
    bytes.get_mut(..head.len())?.copy_from_slice(head);
    padded.get_mut(..host.len())?.copy_from_slice(host);
    let (mut scan, len) = (RequestScan::new(), head.len() as u32);
    while scan.run::<Plainly, _>(&bytes, &len, &padded, host.len() as u32) {}
    scan.accepted()
}

/// Reads a response's head at the start of these bytes; `to` is the method that it answers.
pub fn response(start: &[u8], to: Method) -> Option<Framing> {
    // Of one byte more than a head may have nothing else is said, however many there are.
    let mut bytes = [0; 2 * HEAD_MAX];
    let start = &start[..start.len().min(bytes.len())];
    bytes[..start.len()].copy_from_slice(start);
    let (mut scan, len) = (ResponseScan::new(), start.len() as u32);
    while scan.run::<Plainly, _>(&bytes, &len) {}
    scan.framing(to)
}
