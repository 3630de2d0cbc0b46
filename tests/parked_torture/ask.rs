//! What is asked for: a request's target tells its backend how to answer it.

use std::str::FromStr;

use crate::support::random::Random;
use crate::support::stuff::Stuff;

/// How a backend answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// With a length.
    Plain,
    /// The head, and then the body.
    Late,
    /// In small pieces.
    Drip,
    /// Chunked.
    Chunked,
    /// 204.
    Nothing,
    /// 304.
    Unchanged,
    /// A 103 before.
    Early,
    /// With `Connection: close`, and closes.
    Last,
    /// By closing, without an answer: the first of those that only a bad backend does.
    Die,
    /// By a reset, without an answer.
    Reset,
    /// A part, and closes.
    Cut,
    /// A part, and a reset.
    Tear,
    /// Chunked, and closes before the last chunk.
    Short,
    /// More than it says, in one segment.
    Surplus,
    /// As it should, and a moment later something that nobody asked for.
    Later,
    /// As it should, and closes without having said so.
    Leave,
    /// The same by a reset.
    Break,
}

const WELL: [Kind; 12] = [
    Kind::Plain,
    Kind::Plain,
    Kind::Plain,
    Kind::Plain,
    Kind::Plain,
    Kind::Late,
    Kind::Drip,
    Kind::Nothing,
    Kind::Unchanged,
    Kind::Chunked,
    Kind::Early,
    Kind::Last,
];

/// The first so many of them are what the kernel carries.
const SIMPLY: usize = 9;

const BADLY: [Kind; 9] = [
    Kind::Die,
    Kind::Reset,
    Kind::Cut,
    Kind::Tear,
    Kind::Short,
    Kind::Surplus,
    Kind::Later,
    Kind::Leave,
    Kind::Break,
];

/// The domain whose backends may do as they like.
pub(super) const BAD: &str = "bad.test";

/// The domain whose backends answer so that the kernel can carry it: others are left to userspace for a while.
pub(super) const SIMPLE: &str = "b.test";

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) host: &'static str,
    pub(super) kind: Kind,
    /// Bytes of the response's body.
    pub(super) size: u64,
    pub(super) seed: u64,
    /// Bytes of the request's body, and whether it is chunked.
    pub(super) up: Option<(usize, bool)>,
    /// Whether the client says that it is the last.
    pub(super) last: bool,
}

/// What a target says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) seed: u64,
    pub(super) up: usize,
}

impl Ask {
    /// Any.
    pub(super) fn any(random: &mut Random) -> Self {
        let host = random.of(&["a.test", "a.test", SIMPLE, SIMPLE, SIMPLE, BAD]);
        let kind = if host == BAD && random.once_in(2) {
            BADLY[random.below(BADLY.len())]
        } else if host == SIMPLE {
            WELL[random.below(SIMPLY)]
        } else {
            WELL[random.below(WELL.len())]
        };
        let method = random.of(&["GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "PUT"]);
        let up = (method == "POST" || method == "PUT").then(|| {
            let most = if random.once_in(5) { 200_000 } else { 2000 };
            (random.below(most), random.once_in(2))
        });
        let most = match random.below(1000) {
            0..600 => 300,
            600..900 => 40_000,
            900..985 => 800_000,
            985..999 => 8 << 20,
            _ => 50 << 20,
        };
        let most = if kind == Kind::Surplus { 8000 } else { most };
        let size = random.below(most) as u64;
        Self { method, host, kind, size, seed: random.next(), up, last: false }
    }

    /// A simple one.
    pub(super) fn simple(host: &'static str, size: u64, seed: u64) -> Self {
        Self { method: "GET", host, kind: Kind::Plain, size, seed, up: None, last: false }
    }

    /// Its bytes on the wire.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let Self { method, host, kind, size, seed, .. } = self;
        let up = self.up.map_or(0, |(count, _)| count);
        let mut head = format!("{method} /{}/{size}/{seed}/{up} HTTP/1.1\r\nHost: {host}\r\n", *kind as u8);
        if self.last {
            head += "Connection: close\r\n";
        }
        let Some((count, chunked)) = self.up else { return (head + "\r\n").into() };
        let body = Stuff(!seed).bytes(0, count);
        if !chunked {
            return [format!("{head}Content-Length: {count}\r\n\r\n").as_bytes(), &body].concat();
        }
        let mut bytes = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for chunk in body.chunks(5000) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    }

    /// Whether its backend behaves, so that its answer must be whole.
    pub(super) fn is_safe(&self) -> bool {
        self.host != BAD
    }
}

impl FromStr for Told {
    type Err = ();

    /// From a request line.
    fn from_str(line: &str) -> Result<Self, ()> {
        let target = line.split(' ').nth(1).ok_or(())?;
        let mut numbers = target.split('/').skip(1).map(|part| part.parse::<u64>().map_err(drop));
        let mut next = || numbers.next().ok_or(())?;
        let kind = next()?;
        let kind = WELL.into_iter().chain(BADLY).find(|known| *known as u64 == kind).ok_or(())?;
        let (size, seed) = (next()?, next()?);
        Ok(Self { kind, size, seed, up: usize::try_from(next()?).map_err(drop)? })
    }
}
