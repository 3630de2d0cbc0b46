//! The strict gate: what both sides send is judged here, byte by byte, before the HTTP library sees it.
//!
//! RFC 9112, read strictly, and the stricter reading where it leaves a choice: whatever two parsers could take for
//! two different things is refused. A refused request is hidden whole from the library, so not one byte of it goes
//! anywhere; of a refused response no client sees anything, or, behind its head, that it is broken. What passes,
//! passes as it came.
//!
//! Pure: bytes in, verdicts out.

mod chunks;
mod grammar;
mod request;
mod response;

pub use request::{Gate, Head, Verdict, check_head};
pub use response::{Asked, Piece, ResponseGate, ResponseLimits};

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

const TARGET_TOO_LONG: Refusal = too_much(414, "the target is too long");
const HEAD_TOO_LARGE: Refusal = too_much(431, "the head is too large");
const TOO_MANY_FIELDS: Refusal = too_much(431, "there are too many fields");
const OLD_CHUNKS: Refusal = bad_framing("HTTP/1.0 has no Transfer-Encoding");
const TWO_FRAMINGS: Refusal = bad_framing("there are both Content-Length and Transfer-Encoding");
const TOO_MUCH_BODY: Refusal = too_much(413, "the body is too large");
