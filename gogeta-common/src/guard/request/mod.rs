//! Requests that may go by the kernel's way: plain GET and HEAD for the pair's own host.

use super::fields::{self, CONNECTION_NAMED, DONE, FIELD, KNOWN};
use super::grammar::{
    FIELDS_MAX, PICTURES, REFUSED_IN_REQUESTS, REFUSED_PREFIXES_IN_REQUESTS, ROBOTS, Set, VERSION,
};
use super::table::{self, Builder, Next, REFUSED, Reader, repeat};
use super::{HOST_MAX, Method};

/// Behind `GET `.
const GET: u8 = KNOWN;
/// Behind `HEAD `.
const HEAD: u8 = KNOWN + 1;
/// Behind `Host:`.
const HOST: u8 = KNOWN + 2;
/// Behind a byte of the host.
const HOST_BYTE: u8 = KNOWN + 3;
/// Behind the CR that ends the host.
const HOST_END: u8 = KNOWN + 4;
/// Before the request line. In this state and those behind it there is nothing to do but to go on.
const START: u8 = KNOWN + 5;
/// Within the value of a field that no rule knows.
const VALUE: u8 = KNOWN + 6;

/// The automaton of requests.
pub static REQUEST_NEXT: Next = automaton();

const fn automaton() -> Next {
    let mut builder = Builder::new(VALUE + 1);
    let b = &mut builder;

    // The request line (RFC 9112, 3), with its target in origin form (3.2.1).
    let method = b.text(START, "GET");
    b.on(method, b' ', GET);
    let method = b.text(START, "HEAD");
    b.on(method, b' ', HEAD);
    let (target, escape, half_escape) = (b.state(), b.state(), b.state());
    b.on_set(target, Set::Target, target);
    b.on(target, b'%', escape);
    b.on_set(escape, Set::Hex, half_escape);
    b.on_set(half_escape, Set::Hex, target);
    let before_version = b.state();
    b.on(target, b' ', before_version);
    let version = b.text(before_version, VERSION);
    let line_end = b.state();
    b.on(version, b'\r', line_end);
    b.on(line_end, b'\n', FIELD);
    // All targets begin with a slash, and so do the paths that are not for the backend.
    let root = b.copy_of(target);
    b.on(GET, b'/', root);
    b.on(HEAD, b'/', root);
    b.refuse_prefix(root, behind_slash(PICTURES), target);
    let robots = b.word(root, behind_slash(ROBOTS), target);
    b.on(robots, b' ', REFUSED);
    b.on(robots, b'?', REFUSED);

    let places = fields::add(b, VALUE, Set::Name, &REFUSED_PREFIXES_IN_REQUESTS, &REFUSED_IN_REQUESTS);
    let named = b.word(FIELD, "host", places.name);
    b.on(named, b':', HOST);
    b.on_set(HOST, Set::Visible, HOST_BYTE);
    b.on_set(HOST_BYTE, Set::Visible, HOST_BYTE);
    b.on(HOST_BYTE, b'\r', HOST_END);
    b.on(HOST_END, b'\n', FIELD);
    b.optional_space(HOST);
    builder.next
}

const fn behind_slash(path: &str) -> &str {
    let (slash, rest) = path.split_at(1);
    assert!(slash.as_bytes()[0] == b'/', "a path begins with a slash");
    rest
}

/// What has been seen that may be there once.
const HAS_HOST: u8 = 1;
const HAS_CONNECTION: u8 = 2;

/// Judges one request head, piece by piece.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct RequestScan {
    state: u8,
    /// 0 where it is not known.
    method: u8,
    seen: u8,
    /// Lines that have ended.
    lines: u8,
    /// Bytes of the host.
    host: u16,
    /// Bytes that [`run`](Self::run) has taken.
    taken: u16,
}

impl RequestScan {
    /// Before the first byte.
    pub const fn new() -> Self {
        Self { state: START, method: 0, seen: 0, lines: 0, host: 0, taken: 0 }
    }

    /// Takes the next bytes, up to 16 of them and 32 more within a value, and up to the first one where there is more to do than to go on; so the
    /// state is where the processor has it at hand, which halves what a byte costs. `bytes` is where they are, over and
    /// over, `end` where they end. `host` is what the pair was routed by, lower case, `host_len` of its bytes count.
    /// False: there are no more, or what was taken last is refused.
    #[inline(always)]
    pub fn run<R: Reader, const N: usize>(
        &mut self,
        bytes: &[u8; N],
        end: &u32,
        host: &[u8; HOST_MAX],
        host_len: u32,
    ) -> bool {
        if self.state == VALUE {
            table::skip::<R, N>(bytes, &mut self.taken, end);
        }
        let (mut state, mut at) = (R::unknown(&self.state), u32::from(R::unknown(&self.taken)));
        let end = R::unknown(end);
        let mut passes = true;
        'run: {
            repeat!({
                if at >= end {
                    break 'run;
                }
                let byte = bytes[at as usize & (N - 1)];
                at = at.wrapping_add(1);
                state = table::next(&REQUEST_NEXT, state, byte);
                if state < START {
                    passes = self.enters(state, byte, host, host_len);
                    break 'run;
                }
            });
        }
        self.state = if passes { state } else { REFUSED };
        self.taken = at as u16;
        passes && at < end
    }

    /// What the states cannot tell.
    #[inline(always)]
    fn enters(&mut self, state: u8, byte: u8, host: &[u8; HOST_MAX], host_len: u32) -> bool {
        match state {
            HOST_BYTE => {
                let at = self.host;
                self.host = at.wrapping_add(1);
                (at as u32) < host_len && byte.to_ascii_lowercase() == host[at as usize & (HOST_MAX - 1)]
            }
            HOST_END => self.host as u32 == host_len && host_len <= HOST_MAX as u32,
            FIELD => {
                self.lines = self.lines.wrapping_add(1);
                // One of them is the request line.
                self.lines <= FIELDS_MAX + 1
            }
            GET => self.is(Method::Get),
            HEAD => self.is(Method::Head),
            HOST => self.once(HAS_HOST),
            CONNECTION_NAMED => self.once(HAS_CONNECTION),
            state => state == DONE,
        }
    }

    #[inline(always)]
    fn is(&mut self, method: Method) -> bool {
        self.method = method as u8;
        true
    }

    #[inline(always)]
    fn once(&mut self, what: u8) -> bool {
        let is_new = self.seen & what == 0;
        self.seen |= what;
        is_new
    }

    /// Bytes that were taken; of a head that is refused, up to the one that it is refused for.
    #[inline(always)]
    pub const fn taken(&self) -> u16 {
        self.taken
    }

    /// The method, if exactly the bytes so far are a head that may pass.
    #[inline(always)]
    pub fn accepted(&self) -> Option<Method> {
        if self.state != DONE || self.seen & HAS_HOST == 0 {
            return None;
        }
        if self.method == Method::Get as u8 { Some(Method::Get) } else { Some(Method::Head) }
    }
}

impl Default for RequestScan {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
