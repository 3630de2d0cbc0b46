//! Makes an automaton of a grammar, at compile time.
//!
//! An automaton is one flat array: the next state, by state and class of byte. Classes are few, since bytes that no
//! rule tells apart are one. So the kernel finds a next state by two loads and a shift, at places that its verifier
//! can see to be within the arrays.

use super::grammar::{ALONE, Set, is_one_of};

/// Most states of an automaton: what fits a byte.
pub const STATES: usize = 256;
/// Most classes of bytes (a power of two).
pub const CLASSES: usize = 1 << CLASS_BITS;
const CLASS_BITS: usize = 6;

/// Does that up to 16 times, which is what the automata take at once. Written out, since the kernel's verifier takes a
/// loop within a callback for an endless one.
macro_rules! repeat {
    ($step:block) => {{
        repeat!(@four $step);
        repeat!(@four $step);
        repeat!(@four $step);
        repeat!(@four $step);
    }};
    (@four $step:block) => {{
        $step
        $step
        $step
        $step
    }};
}
pub(super) use repeat;

/// The next state, by `state << 6 | class`.
pub type Next = [u8; STATES * CLASSES];

/// The state in which nothing can pass any more.
pub(super) const REFUSED: u8 = 0;

/// The class of each byte.
pub static CLASS: [u8; 256] = CLASS_OF;

const CLASS_OF: [u8; 256] = classes();

/// Where an automaton goes from a state.
#[inline(always)]
pub(super) fn next(table: &Next, state: u8, byte: u8) -> u8 {
    let class = CLASS[byte as usize] as usize & (CLASSES - 1);
    table[((state as usize) << CLASS_BITS) | class]
}

/// Takes up to 32 bytes of a value that are plain, from `place` on, and says by that how far it came. A few steps, each
/// of many bytes: the verifier follows whoever has no `CAP_PERFMON` also where no step leads.
#[inline(always)]
pub(super) fn skip<R: Reader, const N: usize>(bytes: &[u8; N], place: &mut u16, end: &u32) {
    let (mut at, end) = (u32::from(R::unknown(place)), R::unknown(end));
    if at + STRIDE <= end && are_plain::<R, N>(bytes, at) {
        at += STRIDE;
        if at + STRIDE <= end && are_plain::<R, N>(bytes, at) {
            at += STRIDE;
        }
    }
    *place = at as u16;
}

/// How memory is read. The kernel's programs have a way of their own.
pub trait Reader {
    /// What is there, of which the verifier had better know nothing: a number that it knows on one way here and not on
    /// another is no place in an array to whoever has no `CAP_PERFMON`.
    fn unknown<T: Copy>(of: &T) -> T;

    /// The eight bytes from that place on, wherever it is; all of them are there.
    fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u64;
}

/// As everybody does.
#[derive(Debug)]
pub struct Plainly;

impl Reader for Plainly {
    fn unknown<T: Copy>(of: &T) -> T {
        *of
    }

    fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
        let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).unwrap_or([0; 8]);
        u64::from_ne_bytes(word)
    }
}

/// Bytes of a field's value that are looked at together.
const STRIDE: u32 = 16;

/// Whether so many bytes from there on are all visible or spaces: within a value nothing comes of them.
#[inline(always)]
fn are_plain<R: Reader, const N: usize>(bytes: &[u8; N], at: u32) -> bool {
    let at = at as usize & (N - 1);
    let odd = odd(R::word(bytes, at)) | odd(R::word(bytes, at + 8));
    odd & (ALL * 0x80) == 0
}

/// In each byte the highest bit is set where it is below a space, DEL, or not ASCII. Where one borrows from the next, that
/// one may seem to be, too; but never does one not seem to be that is.
#[inline(always)]
fn odd(word: u64) -> u64 {
    word.wrapping_sub(ALL * 0x20) | word.wrapping_add(ALL) | word
}

/// A one in each byte.
const ALL: u64 = 0x0101_0101_0101_0101;

/// Bytes that no rule tells apart get one class.
const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut count = 0;
    let mut byte = 0;
    while byte < 256 {
        let mut like = 0;
        while like < byte && !are_alike(like as u8, byte as u8) {
            like += 1;
        }
        if like == byte {
            assert!(count < CLASSES, "there are more than 64 classes of bytes");
            classes[byte] = count as u8;
            count += 1;
        } else {
            classes[byte] = classes[like];
        }
        byte += 1;
    }
    classes
}

const fn are_alike(one: u8, other: u8) -> bool {
    if is_one_of(ALONE, one) || is_one_of(ALONE, other) {
        return false;
    }
    if one.is_ascii_alphabetic() || other.is_ascii_alphabetic() {
        return one.eq_ignore_ascii_case(&other);
    }
    let mut at = 0;
    while at < Set::ALL.len() {
        if Set::ALL[at].has(one) != Set::ALL[at].has(other) {
            return false;
        }
        at += 1;
    }
    true
}

/// An automaton in the making. Whatever is not said leads to [`REFUSED`].
pub(super) struct Builder {
    /// What has been made of it.
    pub(super) next: Next,
    /// How many states there are.
    states: usize,
}

impl Builder {
    /// With so many states that are known by their number, of which [`REFUSED`] is the first.
    pub(super) const fn new(known: u8) -> Self {
        Self { next: [REFUSED; STATES * CLASSES], states: known as usize }
    }

    /// A new state.
    pub(super) const fn state(&mut self) -> u8 {
        assert!(self.states < STATES, "there are more than 256 states");
        self.states += 1;
        (self.states - 1) as u8
    }

    const fn place(state: u8, byte: u8) -> usize {
        ((state as usize) << CLASS_BITS) | CLASS_OF[byte as usize] as usize
    }

    /// From a state, this byte leads there.
    pub(super) const fn on(&mut self, from: u8, byte: u8, to: u8) {
        assert!(is_one_of(ALONE, byte), "a byte that counts by itself is not listed in ALONE");
        self.next[Self::place(from, byte)] = to;
    }

    /// From a state, all of these lead there.
    pub(super) const fn on_set(&mut self, from: u8, set: Set, to: u8) {
        let mut byte = 0;
        while byte < 128 {
            if set.has(byte) {
                self.next[Self::place(from, byte)] = to;
            }
            byte += 1;
        }
    }

    /// From a state, this text, letter by letter, leads to a state that is given.
    pub(super) const fn text(&mut self, mut from: u8, text: &str) -> u8 {
        let text = text.as_bytes();
        let mut at = 0;
        while at < text.len() {
            let to = self.state();
            self.on(from, text[at], to);
            from = to;
            at += 1;
        }
        from
    }

    /// From a state, this text, in any letter case and without exception, leads to a state that is given.
    pub(super) const fn text_in_any_case(&mut self, mut from: u8, text: &str) -> u8 {
        let text = text.as_bytes();
        let mut at = 0;
        while at < text.len() {
            let to = self.state();
            self.on_letter(from, text[at], to);
            from = to;
            at += 1;
        }
        from
    }

    /// From a state that leads to `others`, this word in any letter case leads to a state that is given: one like
    /// `others`, until more is said of it.
    pub(super) const fn word(&mut self, from: u8, word: &str, others: u8) -> u8 {
        let word = word.as_bytes();
        self.part(from, word, word.len(), others)
    }

    /// From a state that leads to `others`, whatever begins with this word, in any letter case, is refused.
    pub(super) const fn refuse_prefix(&mut self, from: u8, word: &str, others: u8) {
        let word = word.as_bytes();
        let last = word.len() - 1;
        let state = self.part(from, word, last, others);
        assert!(self.next[Self::place(state, word[last])] == others, "prefixes come first");
        self.on_letter(state, word[last], REFUSED);
    }

    const fn part(&mut self, mut from: u8, word: &[u8], length: usize, others: u8) -> u8 {
        let mut at = 0;
        while at < length {
            let mut to = self.next[Self::place(from, word[at])];
            assert!(to != REFUSED, "a word begins as another that is refused");
            if to == others {
                to = self.copy_of(others);
                self.on_letter(from, word[at], to);
            }
            from = to;
            at += 1;
        }
        from
    }

    /// One space that makes no difference: for when all else has been said of a state.
    pub(super) const fn optional_space(&mut self, from: u8) {
        let behind = self.copy_of(from);
        self.on(from, b' ', behind);
    }

    const fn on_letter(&mut self, from: u8, letter: u8, to: u8) {
        assert!(
            letter.is_ascii_alphabetic() || is_one_of(ALONE, letter),
            "a byte that counts by itself is not listed in ALONE"
        );
        self.next[Self::place(from, letter.to_ascii_lowercase())] = to;
        self.next[Self::place(from, letter.to_ascii_uppercase())] = to;
    }

    /// A new state that leads where `model` does.
    pub(super) const fn copy_of(&mut self, model: u8) -> u8 {
        let state = self.state();
        let mut class = 0;
        while class < CLASSES {
            self.next[((state as usize) << CLASS_BITS) | class] =
                self.next[((model as usize) << CLASS_BITS) | class];
            class += 1;
        }
        state
    }
}
