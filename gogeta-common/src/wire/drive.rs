//! What is done with each packet of a pair: the rules, and the steps that they ask for.

use super::segment::{FIN, RST, Segment};
use super::tunnel::Stream;
use super::{Act, Carriage, Numbers, Place, Side};
use crate::guard::Framing;
use crate::pair::{Phase, Step, Word};

/// What a packet's rules need besides its segment: the kernel's helpers, or a test's.
pub trait Hands {
    /// The pair's word.
    fn word(&self) -> Word;

    /// Replaces it by another if it is still that one.
    fn swap(&mut self, old: Word, new: Word) -> bool;

    /// Nobody else judges what comes of this pair from now on, until it is [let go](Self::let_go); false where somebody
    /// does. What is judged is kept in the pair, and packets of one connection may come on several processors at once.
    fn claim(&mut self) -> bool;

    /// Others may judge.
    fn let_go(&mut self);

    /// Adds a turn to the word, and gives it: whoever swaps it from now on has seen what was written before.
    fn pass(&mut self) -> Word;

    /// Where gogeta's sockets are: C and U. None where something is on its way to or from either, but for what one has
    /// sent and its other end has not acknowledged: C, or U where `is_upstream`.
    fn places(&mut self, is_upstream: bool) -> Option<(Place, Place)>;

    /// Bytes of the window that the segment tells of.
    fn window(&self) -> u32;

    /// Whether the client's segment is a request that may pass, and that one more may.
    fn judge(&mut self, segment: &Segment) -> bool;

    /// The framing of the response that begins with the upstream's segment, if it is a simple one.
    fn frame(&mut self, segment: &Segment) -> Option<Framing>;

    /// The pair is gogeta's sockets' again, and userspace has to look at it.
    fn back(&mut self, phase: Phase);

    /// The last byte of a response was sent on.
    fn answered(&mut self);

    /// A tunnel has ended, and userspace has to look at it.
    fn ended(&mut self);
}

/// The numbers that a pair is carried by: those that hold, and those that will.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Books {
    books: [Carriage; 2],
    /// Of tunnels: what goes up, and what goes down.
    streams: [[Stream; 2]; 2],
}

impl Books {
    /// Nothing is carried yet.
    pub const fn new(first: Carriage) -> Self {
        Self { books: [first, first], streams: [[Stream::NEW; 2]; 2] }
    }

    /// The numbers that hold under that word.
    #[inline(always)]
    pub const fn of(&self, word: Word) -> &Carriage {
        &self.books[word.book() & 1]
    }

    #[inline(always)]
    pub(super) const fn of_mut(&mut self, word: Word) -> &mut Carriage {
        &mut self.books[word.book() & 1]
    }

    /// How far a tunnel's directions are under that word: up, and down.
    #[inline(always)]
    pub const fn streams(&self, word: Word) -> &[Stream; 2] {
        &self.streams[word.book() & 1]
    }

    #[inline(always)]
    pub(super) const fn streams_mut(&mut self, word: Word) -> &mut [Stream; 2] {
        &mut self.streams[word.book() & 1]
    }

    /// Nothing was carried yet of what will hold next. The pair must be userspace's.
    pub const fn clear_next(&mut self, word: Word) {
        self.streams[(word.book() ^ 1) & 1] = [Stream::NEW; 2];
    }

    /// How far gogeta's sockets are behind under that word: C, and U.
    #[inline(always)]
    pub const fn sides(&self, word: Word) -> (Side, Side) {
        let is_broken = matches!(word.phase(), Phase::Broken);
        let (client, upstream) = self.of(word).sides(is_broken);
        let [up, down] = self.streams(word);
        let (up, down) = (up.carried(is_broken), down.carried(is_broken));
        (client.and(up, down), upstream.and(down, up))
    }
}

/// What a packet is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A packet to gogeta's own socket, with these numbers.
    Up(Numbers),
    /// A packet to the other end.
    On(On),
    /// Nothing.
    Drop,
}

/// How a packet goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct On {
    /// With these numbers.
    pub numbers: Numbers,
    /// With the block added: a request.
    pub is_request: bool,
    /// With the bytes that the guard has judged: whoever has sent it may have pages of it, and write to them.
    pub is_judged: bool,
    /// Without its FIN.
    pub open: bool,
    /// Bytes of it that were not sent on before.
    pub new: u32,
    /// Whether this begins a carriage: the sender's socket has not seen what it acknowledges.
    pub is_first: bool,
    /// Whether it is a tunnel's: there, all numbers are moved by the same.
    pub is_tunnel: bool,
    /// Whether that has ended.
    pub is_late: bool,
}

pub(super) const PLAIN: On = On {
    numbers: Numbers { seq: 0, ack: 0 },
    is_request: false,
    is_judged: false,
    open: false,
    new: 0,
    is_first: false,
    is_tunnel: false,
    is_late: false,
};

/// Takes a step, and gives the word behind it. Who leaves the pair to gogeta's sockets tells userspace.
#[inline(always)]
pub(super) fn take<H: Hands>(hands: &mut H, word: Word, step: Step) -> Option<Word> {
    let next = word.after(step)?;
    if !hands.swap(word, next) {
        return None;
    }
    if !next.phase().is_carried() {
        hands.back(next.phase());
    }
    Some(next)
}

/// What a packet of the client becomes; `block` is what would be added to its requests.
#[inline(always)]
pub fn of_client<H: Hands>(hands: &mut H, books: &mut Books, block: u32, segment: &Segment) -> Outcome {
    let mut word = hands.word();
    if matches!(word.phase(), Phase::Body) && books.of(word).is_over(segment.ack) {
        let Some(next) = take(hands, word, Step::End) else { return Outcome::Drop };
        word = next;
    }
    let (act, step) = books.of(word).of_client(word.phase(), segment);
    match act {
        Act::Ask => {
            if !hands.claim() {
                return Outcome::Drop;
            }
            // Before that, somebody else may have been here.
            let outcome =
                if hands.word() == word { ask(hands, books, block, word, segment) } else { Outcome::Drop };
            hands.let_go();
            outcome
        }
        Act::Drop | Act::Answer => {
            if let Some(step) = step {
                take(hands, word, step);
            }
            Outcome::Drop
        }
        Act::Up => {
            if let Some(step) = step {
                let Some(next) = take(hands, word, step) else { return Outcome::Drop };
                word = next;
            }
            Outcome::Up(books.sides(word).0.inward(segment.seq, segment.ack))
        }
        Act::On | Act::Open | Act::Again => {
            if let Some(step) = step {
                take(hands, word, step);
            }
            let numbers = books.of(word).to_upstream(segment.seq, segment.ack);
            let is_again = matches!(act, Act::Again);
            let open = is_again && segment.has(FIN);
            Outcome::On(On { numbers, is_request: is_again, is_judged: is_again, open, ..PLAIN })
        }
    }
}

/// What becomes of a packet that may be a request.
#[inline(always)]
fn ask<H: Hands>(hands: &mut H, books: &mut Books, block: u32, word: Word, segment: &Segment) -> Outcome {
    let is_first = matches!(word.phase(), Phase::Armed);
    let next = if is_first { start(hands, books, block, word, segment) } else { word.after(Step::Request) };
    let passes = if let Some(next) = next { hands.judge(segment) && hands.swap(word, next) } else { false };
    let (Some(next), true) = (next, passes) else {
        // Userspace may have been faster, and then it has it.
        let seen = hands.word();
        let word = if seen.phase().is_carried() { take(hands, seen, Step::Refuse) } else { Some(seen) };
        let Some(word) = word else { return Outcome::Drop };
        return Outcome::Up(books.sides(word).0.inward(segment.seq, segment.ack));
    };
    let book = books.of_mut(next);
    book.request(segment.len);
    let numbers = book.to_upstream(segment.seq, segment.ack);
    Outcome::On(On { numbers, is_request: true, is_judged: true, new: segment.len, is_first, ..PLAIN })
}

/// Writes the numbers of a carriage that begins here, and gives the word under which they hold.
#[inline(always)]
fn start<H: Hands>(
    hands: &mut H,
    books: &mut Books,
    block: u32,
    word: Word,
    segment: &Segment,
) -> Option<Word> {
    let next = word.after(Step::Start)?;
    let (client, upstream) = hands.places(false)?;
    let (c, u) = books.sides(word);
    let book = Carriage::begin((client, c), (upstream, u), block);
    // It goes on where C is, in the client's numbers.
    if book.last.next() != segment.seq || !book.has_all(segment.ack) {
        return None;
    }
    *books.of_mut(next) = book;
    Some(next)
}

/// What a packet of the upstream becomes.
#[inline(always)]
pub fn of_upstream<H: Hands>(hands: &mut H, books: &mut Books, segment: &Segment) -> Outcome {
    let mut word = hands.word();
    let (act, step) = books.of(word).of_upstream(word.phase(), segment);
    match act {
        Act::Answer => {
            if !hands.claim() {
                return Outcome::Drop;
            }
            let outcome =
                if hands.word() == word { answer(hands, books, word, segment) } else { Outcome::Drop };
            hands.let_go();
            outcome
        }
        Act::Up => {
            if let Some(step) = step {
                let Some(next) = take(hands, word, step) else { return Outcome::Drop };
                word = next;
            }
            Outcome::Up(books.sides(word).1.inward(segment.seq, segment.ack))
        }
        Act::On | Act::Open => {
            if let Some(step) = step {
                take(hands, word, step);
            }
            on(hands, books, word, segment, On { open: matches!(act, Act::Open), ..PLAIN })
        }
        Act::Drop | Act::Ask | Act::Again => {
            if let Some(step) = step {
                take(hands, word, step);
            }
            Outcome::Drop
        }
    }
}

/// What becomes of the beginning of a response.
#[inline(always)]
fn answer<H: Hands>(hands: &mut H, books: &mut Books, word: Word, segment: &Segment) -> Outcome {
    let framing = hands.frame(segment);
    let bytes = match framing {
        Some(Framing { head, body, .. }) if body < LONGEST => head + body as u32,
        _ => 0,
    };
    if bytes < segment.len || bytes == 0 {
        // Not simple, or with more behind it than it has.
        let Some(word) = take(hands, word, Step::Answer) else { return Outcome::Drop };
        return Outcome::Up(books.sides(word).1.inward(segment.seq, segment.ack));
    }
    let Some(next) = take(hands, word, Step::Head) else { return Outcome::Drop };
    books.of_mut(next).answer(bytes);
    on(hands, books, next, segment, On { is_judged: true, ..PLAIN })
}

/// Longest body that is carried, in bytes: numbers tell before from behind over half of their circle.
pub const LONGEST: u64 = 1 << 30;

#[inline(always)]
fn on<H: Hands>(hands: &mut H, books: &mut Books, word: Word, segment: &Segment, how: On) -> Outcome {
    let book = books.of_mut(word);
    let numbers = book.to_client(segment.seq, segment.ack);
    let mut new = 0;
    if segment.len > 0 && matches!(word.phase(), Phase::Body) {
        let (more, is_all) = book.sent(segment.end());
        new = more;
        if is_all {
            hands.answered();
        }
    }
    Outcome::On(On { numbers, new, ..how })
}

/// How far gogeta's own socket C, or U where `is_upstream`, is behind when it sends that; none while the pair is
/// carried: then it is from another time. Only if gogeta has gone, and the kernel closes its sockets, that is said.
#[inline(always)]
pub fn of_socket<H: Hands>(
    hands: &mut H,
    books: &Books,
    is_upstream: bool,
    segment: &Segment,
) -> Option<Side> {
    let mut word = hands.word();
    let step = match word.phase() {
        Phase::Idle => Some(Step::Take),
        Phase::Busy | Phase::Body | Phase::Open => Some(Step::Break),
        // gogeta has closed its sockets, and others have not heard it.
        Phase::Over => return None,
        _ => None,
    };
    if let Some(step) = step {
        if !segment.has(FIN | RST) {
            return None;
        }
        word = take(hands, word, step)?;
    }
    let (client, upstream) = books.sides(word);
    Some(if is_upstream { upstream } else { client })
}
