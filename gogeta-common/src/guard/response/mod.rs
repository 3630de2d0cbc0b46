//! Responses whose end is known from their head.

use super::fields::{self, CONNECTION_NAMED, DONE, FIELD, KNOWN};
use super::grammar::{
    FIELDS_MAX, LENGTH_DIGITS, REFUSED_IN_RESPONSES, REFUSED_PREFIXES_IN_RESPONSES, Set, VERSION,
};
use super::table::{self, Builder, Next, REFUSED, Reader, repeat};
use super::{Framing, HEAD_MAX, Method};

/// Behind the digits of the status, one after the other.
const STATUS: [u8; 3] = [KNOWN, KNOWN + 1, KNOWN + 2];
/// Behind `Content-Length:`.
const LENGTH: u8 = KNOWN + 3;
/// Behind a digit of it.
const LENGTH_DIGIT: u8 = KNOWN + 4;
/// Before the status line. In this state and those behind it there is nothing to do but to go on.
const START: u8 = KNOWN + 5;
/// Within the value of a field that no rule knows.
const VALUE: u8 = KNOWN + 6;

/// The automaton of responses.
pub static RESPONSE_NEXT: Next = automaton();

const fn automaton() -> Next {
    let mut builder = Builder::new(VALUE + 1);
    let b = &mut builder;

    // The status line (RFC 9112, 4), with the space before a reason that is not there.
    let version = b.text(START, VERSION);
    let before_status = b.state();
    b.on(version, b' ', before_status);
    b.on_set(before_status, Set::Final, STATUS[0]);
    b.on_set(STATUS[0], Set::Digit, STATUS[1]);
    b.on_set(STATUS[1], Set::Digit, STATUS[2]);
    let reason = b.state();
    b.on(STATUS[2], b' ', reason);
    b.on_set(reason, Set::Value, reason);
    let line_end = b.state();
    b.on(reason, b'\r', line_end);
    b.on(line_end, b'\n', FIELD);

    let places = fields::add(b, VALUE, Set::Token, &REFUSED_PREFIXES_IN_RESPONSES, &REFUSED_IN_RESPONSES);
    let named = b.word(FIELD, "content-length", places.name);
    b.on(named, b':', LENGTH);
    b.on_set(LENGTH, Set::Digit, LENGTH_DIGIT);
    b.on_set(LENGTH_DIGIT, Set::Digit, LENGTH_DIGIT);
    b.on(LENGTH_DIGIT, b'\r', places.line_end);
    b.optional_space(LENGTH);
    builder.next
}

/// What has been seen that may be there once.
const HAS_LENGTH: u8 = 1;
const HAS_CONNECTION: u8 = 2;

/// Reads a response's head up to its empty line.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ResponseScan {
    state: u8,
    seen: u8,
    /// Lines that have ended.
    lines: u8,
    /// Digits of the length.
    digits: u8,
    status: u16,
    /// Bytes of the head, as far as they count.
    head: u16,
    /// Bytes of the body.
    length: u64,
}

impl ResponseScan {
    /// Before the first byte.
    pub const fn new() -> Self {
        Self { state: START, seen: 0, lines: 0, digits: 0, status: 0, head: 0, length: 0 }
    }

    /// Takes the next bytes, up to 16 of them and 32 more within a value, and up to the first one where there is more to do than to go on; so the
    /// state is where the processor has it at hand, which halves what a byte costs. `bytes` is where they are, over and
    /// over, `end` where they end. False: stop, there are no more, they are refused, or the head is over. A byte that
    /// is given to it after that is refused, and with it the head.
    #[inline(always)]
    pub fn run<R: Reader, const N: usize>(&mut self, bytes: &[u8; N], end: &u32) -> bool {
        if self.state == VALUE {
            table::skip::<R, N>(bytes, &mut self.head, end);
        }
        let (mut state, mut at) = (R::unknown(&self.state), u32::from(R::unknown(&self.head)));
        let end = R::unknown(end);
        let mut goes_on = true;
        'run: {
            repeat!({
                if at >= end {
                    break 'run;
                }
                let byte = bytes[at as usize & (N - 1)];
                at = at.wrapping_add(1);
                state = table::next(&RESPONSE_NEXT, state, byte);
                if state < START {
                    goes_on = self.enters(state, byte);
                    state = if goes_on { state } else { REFUSED };
                    goes_on = goes_on && state != DONE;
                    break 'run;
                }
            });
        }
        self.state = state;
        self.head = at as u16;
        goes_on && at < end
    }

    /// What the states cannot tell.
    #[inline(always)]
    fn enters(&mut self, state: u8, byte: u8) -> bool {
        let digit = byte.wrapping_sub(b'0');
        match state {
            FIELD => {
                self.lines = self.lines.wrapping_add(1);
                // One of them is the status line.
                self.lines <= FIELDS_MAX + 1
            }
            LENGTH_DIGIT => {
                self.digits = self.digits.wrapping_add(1);
                self.length = self.length.wrapping_mul(10).wrapping_add(digit as u64);
                self.digits <= LENGTH_DIGITS
            }
            LENGTH => self.once(HAS_LENGTH),
            CONNECTION_NAMED => self.once(HAS_CONNECTION),
            state if state >= STATUS[0] && state <= STATUS[2] => {
                self.status = self.status.wrapping_mul(10).wrapping_add(digit as u16);
                true
            }
            state => state == DONE,
        }
    }

    #[inline(always)]
    fn once(&mut self, what: u8) -> bool {
        let is_new = self.seen & what == 0;
        self.seen |= what;
        is_new
    }

    /// The framing, if the head is over and simple (RFC 9112, 6.3): its body's length is told, or there is none.
    /// `to` is the request's method.
    #[inline(always)]
    pub fn framing(&self, to: Method) -> Option<Framing> {
        if self.state != DONE || self.head as usize > HEAD_MAX {
            return None;
        }
        let has_length = self.seen & HAS_LENGTH != 0;
        let body = match self.status {
            // RFC 9110, 8.6: none is told of it.
            204 if has_length => return None,
            204 | 304 => 0,
            // Here it tells of the body that there would be.
            _ if matches!(to, Method::Head) => 0,
            _ if has_length => self.length,
            // It ends with its connection.
            _ => return None,
        };
        Some(Framing { status: self.status, head: self.head as u32, body })
    }
}

impl Default for ResponseScan {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
