//! A TCP header's options (RFC 9293, 3.2): where those are that have numbers in them.

/// Most bytes of options that a header has.
pub const OPTIONS_MAX: usize = 40;

/// No option, one byte long.
pub const NOP: u8 = 1;
const END: u8 = 0;
/// RFC 2018, 3.
const SACK: u8 = 5;
/// RFC 7323, 3.2.
const TIMES: u8 = 8;
const TIMES_LEN: u8 = 10;

/// What most segments have: two fillers, then the times.
const USUAL: [u8; 4] = [NOP, NOP, TIMES, TIMES_LEN];
const USUAL_LEN: u8 = 12;

/// A look at a header's options, one after the other: a loop that the kernel's verifier believes in. It is one word,
/// for what a program writes in pieces becomes a call of `memset`, whose steps through memory the verifier lets only
/// `CAP_PERFMON` do.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Options(u64);

/// Where in the word each is: bytes of all options; where the next one begins; and what is found.
const LEN: u32 = 0;
const AT: u32 = 8;
const FOUND_TIMES: u32 = 16;
const FOUND_SACK: u32 = 24;
const BLOCKS: u32 = 32;
const ODD: u32 = 40;

impl Options {
    #[inline(always)]
    const fn get(self, place: u32) -> u8 {
        (self.0 >> place) as u8
    }

    #[inline(always)]
    const fn with(self, place: u32, value: u8) -> Self {
        Self(self.0 & !(0xff << place) | (value as u64) << place)
    }

    /// Where the times are: the sender's, and the one that it echoes; 0 where there are none.
    #[inline(always)]
    pub const fn times(self) -> u8 {
        self.get(FOUND_TIMES)
    }

    /// Where the first block of selective acknowledgements is, of two numbers each; 0 where there are none.
    #[inline(always)]
    pub const fn sack(self) -> u8 {
        self.get(FOUND_SACK)
    }

    /// How many there are.
    #[inline(always)]
    pub const fn blocks(self) -> u8 {
        self.get(BLOCKS)
    }

    /// Whether there is something that no carried segment has.
    #[inline(always)]
    pub const fn is_odd(self) -> bool {
        self.get(ODD) != 0
    }

    /// Before the first of so many bytes. Mostly that is all.
    #[inline(always)]
    pub const fn new(bytes: &[u8; OPTIONS_MAX], len: u8) -> Self {
        let none = Self(len as u64);
        let is_usual = len == USUAL_LEN
            && bytes[0] == USUAL[0]
            && bytes[1] == USUAL[1]
            && bytes[2] == USUAL[2]
            && bytes[3] == USUAL[3];
        if is_usual { none.with(AT, len).with(FOUND_TIMES, 4) } else { none }
    }

    /// Whether all were looked at.
    #[inline(always)]
    pub const fn is_over(self) -> bool {
        self.get(AT) >= self.get(LEN) || self.is_odd()
    }

    /// Looks at the next one. False: there is none.
    #[inline(always)]
    pub const fn step(&mut self, bytes: &[u8; OPTIONS_MAX]) -> bool {
        let at = self.get(AT);
        if self.is_over() || at as usize >= OPTIONS_MAX {
            return false;
        }
        let kind = bytes[at as usize];
        if kind == NOP {
            *self = self.with(AT, at + 1);
            return true;
        }
        if kind == END {
            *self = self.with(AT, self.get(LEN));
            return false;
        }
        let behind = at as usize + 1;
        let length = if behind < OPTIONS_MAX { bytes[behind] } else { 0 };
        if length < 2 || at as u32 + length as u32 > self.get(LEN) as u32 {
            *self = self.with(ODD, 1);
            return false;
        }
        let found = match kind {
            TIMES if length == TIMES_LEN && self.times() == 0 => self.with(FOUND_TIMES, at + 2),
            SACK if length % 8 == 2 && self.sack() == 0 => {
                self.with(FOUND_SACK, at + 2).with(BLOCKS, length / 8)
            }
            _ => self.with(ODD, 1),
        };
        *self = found.with(AT, at + length);
        true
    }

    /// Looks at all of them.
    pub fn read(bytes: &[u8; OPTIONS_MAX], len: u8) -> Self {
        let mut options = Self::new(bytes, len);
        while options.step(bytes) {}
        options
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn read(options: &[u8]) -> Options {
        let mut bytes = [0; OPTIONS_MAX];
        bytes[..options.len()].copy_from_slice(options);
        Options::read(&bytes, u8::try_from(options.len()).unwrap())
    }

    #[test]
    fn what_has_numbers_is_found_wherever_it_is() {
        const T: [u8; 10] = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        let one = [5, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        type Found = (u8, u8, u8, bool);
        let rows: [(Vec<u8>, Found); 9] = [
            (vec![], (0, 0, 0, false)),
            ([&[1, 1][..], &T].concat(), (4, 0, 0, false)),
            ([&T[..], &[1, 1]].concat(), (2, 0, 0, false)),
            ([&[1, 1][..], &T, &[1, 1], &one].concat(), (4, 16, 1, false)),
            ([&[1, 1][..], &one].concat(), (0, 4, 1, false)),
            ([&T[..], &[0, 99]].concat(), (2, 0, 0, false)),
            // Cut off, of a wrong length, twice, of another kind (RFC 2385).
            (vec![1, 1, 1, 8], (0, 0, 0, true)),
            (vec![8, 0, 1, 1], (0, 0, 0, true)),
            (vec![19, 4, 0, 0], (0, 0, 0, true)),
        ];
        for (bytes, expected) in rows {
            let it = read(&bytes);
            assert_eq!((it.times(), it.sack(), it.blocks(), it.is_odd()), expected, "{bytes:?}");
        }
        let four: Vec<u8> = [&[1, 1, 5, 34][..], &[0; 32]].concat();
        assert_eq!((read(&four).sack(), read(&four).blocks()), (4, 4));
    }

    #[test]
    fn whatever_is_there_is_read_within_its_bytes() {
        for kind in 0..=u8::MAX {
            for length in 0..=u8::MAX {
                for len in 0..=40 {
                    let mut bytes = [NOP; OPTIONS_MAX];
                    bytes[38] = kind;
                    bytes[39] = length;
                    let it = Options::read(&bytes, len);
                    assert!(it.times() == 0 || it.times() + 8 <= len);
                    assert!(it.sack() == 0 || it.sack() + 8 * it.blocks() <= len);
                }
            }
        }
    }
}
