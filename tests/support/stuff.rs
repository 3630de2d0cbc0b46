//! Bodies: bytes without an end, of which a seed tells each.

/// The body of that seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stuff(pub(crate) u64);

impl Stuff {
    /// So many of its bytes, from there on.
    pub(crate) fn bytes(self, from: u64, count: usize) -> Vec<u8> {
        let skipped = usize::try_from(from % 8).expect("it is small");
        let mut bytes = Vec::with_capacity(count + 16);
        for at in (from / 8).. {
            if bytes.len() >= skipped + count {
                break;
            }
            bytes.extend_from_slice(&self.word(at));
        }
        bytes.drain(..skipped);
        bytes.truncate(count);
        bytes
    }

    /// Panics where these are not its bytes from there on.
    pub(crate) fn assert_has(self, from: u64, bytes: &[u8], what: &impl std::fmt::Debug) {
        let own = self.bytes(from, bytes.len());
        if own != bytes {
            let at = own.iter().zip(bytes).take_while(|(own, byte)| own == byte).count();
            let (theirs, own) = (&bytes[at..bytes.len().min(at + 200)], &own[at..own.len().min(at + 16)]);
            let (theirs, own) = (theirs.escape_ascii(), own.escape_ascii());
            panic!("byte {} of the body of {what:?} is \"{theirs}\" instead of \"{own}\"", from + at as u64);
        }
    }

    fn word(self, at: u64) -> [u8; 8] {
        let mixed = (self.0 ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb).to_le_bytes()
    }
}
