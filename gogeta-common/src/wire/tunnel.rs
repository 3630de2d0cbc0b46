//! Tunnels: packets of two connections, between which all numbers are moved by the same, whatever is in them.
//!
//! Neither the guard nor a history is needed: ends, resets, retransmissions and what comes in any order go on as they
//! are. Of each direction is known how far it was carried and how far that is acknowledged ([`Stream`]); where both are
//! the same in both directions, nothing is on its way, and the pair may go back to gogeta's sockets.
//!
//! Two directions are two processors. Whoever carries new bytes writes down how far they go, adds a turn to the word,
//! and sends them on only if the word still lets it; whoever takes the pair back swaps a word that it has seen before it
//! looked at the directions. So nothing new is on its way that it has not seen.

use super::Carriage;
use super::drive::{Books, Hands, On, Outcome, PLAIN, take};
use super::segment::{ACK, FIN, RST, SYN, Segment, after};
use super::{Numbers, Side};
use crate::pair::{Phase, Step, Word};

/// How far a segment may be from what is acknowledged before a window was told: the largest one (RFC 7323, 2.3).
const REACH: u32 = 1 << 30;

/// How far it may be in any case: who was told of one window may be told of a smaller one.
const NEAR: u32 = 4 << 20;

/// How far one direction is, in bytes since the carriage has begun; they go round. The end counts as one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Stream {
    /// How far it was carried.
    pub high: u32,
    /// How far that was acknowledged.
    pub acked: u32,
    /// Whether its end was carried: 0 or 1.
    pub ended: u32,
    /// Whether a reset was: 0 or 1.
    pub broken: u32,
    /// The largest window that its receiver has told of, in bytes; 0 where it has not.
    pub window: u32,
}

impl Stream {
    pub(super) const NEW: Self = Self { high: 0, acked: 0, ended: 0, broken: 0, window: 0 };

    #[inline(always)]
    const fn reach(&self) -> u32 {
        if self.window == 0 {
            REACH
        } else if self.window < NEAR {
            NEAR
        } else {
            self.window
        }
    }

    /// Whether something there may be its sender's. Who guesses is not heard: the ends would not be taken in, but what
    /// is known here would (RFC 5961, 3 and 5).
    #[inline(always)]
    const fn may_be_at(&self, at: u32) -> bool {
        let reach = self.reach();
        at.wrapping_sub(self.acked.wrapping_sub(reach)) <= 2 * reach
    }

    /// Whether its receiver may wait for that.
    #[inline(always)]
    const fn may_wait_for(&self, ack: u32) -> bool {
        let reach = self.reach();
        ack.wrapping_sub(self.acked.wrapping_sub(reach)) <= self.high.wrapping_sub(self.acked) + reach
    }

    /// A segment of it is carried, of which the first byte is there; gives how many of its bytes are new. None: it says
    /// nothing new.
    #[inline(always)]
    const fn carry(&mut self, at: u32, segment: &Segment) -> Option<u32> {
        let fin = segment.has(FIN) as u32;
        let end = at.wrapping_add(segment.len).wrapping_add(fin);
        if !after(end, self.high) || self.ended != 0 {
            return None;
        }
        let new = end.wrapping_sub(self.high).wrapping_sub(fin);
        self.high = end;
        self.ended = fin;
        Some(new)
    }

    /// It is reset by a segment there; whether whoever gets that is to believe it (RFC 5961, 3.2), as far as can be told.
    #[inline(always)]
    const fn reset(&mut self, at: u32) -> bool {
        let is_within = !after(self.acked, at) && !after(at, self.high);
        self.broken |= is_within as u32;
        is_within
    }

    /// It is acknowledged up to there; whether that is new.
    #[inline(always)]
    const fn acknowledge(&mut self, ack: u32) -> bool {
        let is_new = after(ack, self.acked) && !after(ack, self.high);
        if is_new {
            self.acked = ack;
        }
        is_new
    }

    /// How far its sender's socket is behind by it: what is acknowledged, or where it is broken off, what was carried.
    #[inline(always)]
    pub(super) const fn carried(&self, is_broken: bool) -> u32 {
        // As in `Carriage::sides`.
        let mask = 0_u32.wrapping_sub(is_broken as u32);
        (self.high & mask) | (self.acked & !mask)
    }

    /// Whether all of it was acknowledged.
    #[inline(always)]
    const fn is_acknowledged(&self) -> bool {
        self.high == self.acked
    }
}

/// Whether nothing is on its way in a tunnel of these directions, and more may come of both.
#[inline(always)]
pub const fn is_quiet([up, down]: &[Stream; 2]) -> bool {
    let is_at_rest = up.is_acknowledged() && down.is_acknowledged();
    is_at_rest && up.ended | down.ended | up.broken | down.broken == 0
}

/// Whether it is broken off.
#[inline(always)]
pub const fn is_broken([up, down]: &[Stream; 2]) -> bool {
    up.broken | down.broken != 0
}

/// Whether it is over: broken off, or both ends were acknowledged.
#[inline(always)]
pub const fn is_over(streams: &[Stream; 2]) -> bool {
    let [up, down] = streams;
    let have_ended = up.ended & down.ended != 0;
    is_broken(streams) || (have_ended && up.is_acknowledged() && down.is_acknowledged())
}

/// A tunnel's carriage: nothing is added, and there is no request.
impl Carriage {
    /// What a segment's numbers become, of the upstream or of the client.
    #[inline(always)]
    const fn across<const UPSTREAM: bool>(&self, segment: &Segment) -> Numbers {
        let Segment { seq, ack, .. } = *segment;
        if UPSTREAM {
            Numbers { seq: seq.wrapping_add(self.down), ack: ack.wrapping_sub(self.up) }
        } else {
            Numbers { seq: seq.wrapping_add(self.up), ack: ack.wrapping_sub(self.down) }
        }
    }

    /// Where a segment is in the two directions: its first byte in its own, and what it waits for in the other.
    #[inline(always)]
    const fn within<const UPSTREAM: bool>(&self, segment: &Segment) -> (u32, u32) {
        let Segment { seq, ack, .. } = *segment;
        let (up, down) = (self.last.seq(), self.from);
        if UPSTREAM {
            (seq.wrapping_sub(down), ack.wrapping_sub(self.up).wrapping_sub(up))
        } else {
            (seq.wrapping_sub(up), ack.wrapping_sub(self.down).wrapping_sub(down))
        }
    }
}

/// Begins a tunnel's carriage with a packet of the upstream or of the client, if that can; whether it has. What becomes of
/// the packet, [`of_tunnel`] says.
///
/// Both directions may begin at once. They write the same, for where sockets are that are at rest does not change, and
/// how far the directions are was written before.
#[inline(always)]
pub fn begin<const UPSTREAM: bool, H: Hands>(hands: &mut H, books: &mut Books, segment: &Segment) -> bool {
    let word = hands.word();
    if !matches!(word.phase(), Phase::Ajar) || segment.len == 0 || segment.has(FIN | RST | SYN) {
        return false;
    }
    let Some(next) = word.after(Step::Open) else { return false };
    let Some((client, upstream)) = hands.places(UPSTREAM) else { return false };
    let (c, u) = books.sides(word);
    let book = Carriage::begin((client, c), (upstream, u), 0);
    // It goes on where its socket is, and has all that that has sent.
    if book.within::<UPSTREAM>(segment) != (0, 0) {
        return false;
    }
    *books.of_mut(next) = book;
    hands.swap(word, next)
}

/// What a packet of a tunnel becomes, that is of the upstream or of the client; `is_first` says whether it has begun the
/// carriage.
#[inline(always)]
pub fn of_tunnel<const UPSTREAM: bool, H: Hands>(
    hands: &mut H,
    books: &mut Books,
    segment: &Segment,
    is_first: bool,
) -> Outcome {
    let word = hands.word();
    match word.phase() {
        Phase::Open | Phase::Over => carry::<UPSTREAM, H>(hands, books, word, segment, is_first),
        Phase::Ajar if segment.len > 0 || segment.has(FIN | RST | SYN) => {
            refuse::<UPSTREAM, H>(hands, books, segment)
        }
        phase if phase.is_carried() && !matches!(phase, Phase::Ajar) => Outcome::Drop,
        _ => up::<UPSTREAM>(books, word, segment),
    }
}

/// What does not begin a carriage is for the sockets, and userspace's.
#[inline(always)]
fn refuse<const UPSTREAM: bool, H: Hands>(hands: &mut H, books: &Books, segment: &Segment) -> Outcome {
    let seen = hands.word();
    let word = match seen.phase() {
        Phase::Ajar => take(hands, seen, Step::Refuse),
        Phase::Local => Some(seen),
        // The other direction was faster.
        _ => None,
    };
    match word {
        Some(word) => up::<UPSTREAM>(books, word, segment),
        None => Outcome::Drop,
    }
}

#[inline(always)]
fn up<const UPSTREAM: bool>(books: &Books, word: Word, segment: &Segment) -> Outcome {
    let (client, upstream): (Side, Side) = books.sides(word);
    let side = if UPSTREAM { upstream } else { client };
    Outcome::Up(side.inward(segment.seq, segment.ack))
}

#[inline(always)]
fn carry<const UPSTREAM: bool, H: Hands>(
    hands: &mut H,
    books: &mut Books,
    word: Word,
    segment: &Segment,
    is_first: bool,
) -> Outcome {
    if segment.has(SYN) {
        return Outcome::Drop;
    }
    let book = books.of(word);
    let (numbers, (at, ack)) = (book.across::<UPSTREAM>(segment), book.within::<UPSTREAM>(segment));
    let is_late = matches!(word.phase(), Phase::Over);
    let [up, down] = books.streams_mut(word);
    let (own, other) = if UPSTREAM { (down, up) } else { (up, down) };
    let acknowledges = segment.has(ACK);
    if !own.may_be_at(at) || (acknowledges && !other.may_wait_for(ack)) {
        return Outcome::Drop;
    }
    let window = hands.window();
    if acknowledges && window > other.window {
        other.window = window;
    }
    let (mut new, mut told, mut word) = (0, false, word);
    if segment.has(RST) {
        told = own.reset(at);
    } else if let Some(count) = own.carry(at, segment) {
        new = count;
        word = hands.pass();
        if !matches!(word.phase(), Phase::Open | Phase::Over) {
            return Outcome::Drop;
        }
    }
    if acknowledges && other.acknowledge(ack) {
        told = true;
    }
    if told && matches!(word.phase(), Phase::Open) {
        let streams = books.streams(word);
        if is_over(streams) {
            hands.ended();
        } else if word.is_stopped() && is_quiet(streams) {
            // Where that fails, something comes.
            take(hands, word, Step::Take);
        }
    }
    Outcome::On(On { numbers, new, is_first, is_tunnel: true, is_late, ..PLAIN })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::guard::Framing;
    use crate::wire::Place;

    const C: Place = Place { received: 1000, sent: 2000 };
    const U: Place = Place { received: 5000, sent: 7000 };

    const WINDOW: u32 = 5 << 20;

    struct Kernel {
        word: Word,
        places: Option<(Place, Place)>,
        ended: usize,
        back: usize,
    }

    impl Hands for Kernel {
        fn word(&self) -> Word {
            self.word
        }

        fn swap(&mut self, old: Word, new: Word) -> bool {
            let same = self.word == old;
            self.word = if same { new } else { self.word };
            same
        }

        fn pass(&mut self) -> Word {
            self.word.0 += Word::PASSED;
            self.word
        }

        fn claim(&mut self) -> bool {
            unreachable!()
        }

        fn let_go(&mut self) {
            unreachable!()
        }

        fn window(&self) -> u32 {
            WINDOW
        }

        fn places(&mut self, _: bool) -> Option<(Place, Place)> {
            self.places
        }

        fn judge(&mut self, _: &Segment) -> bool {
            unreachable!()
        }

        fn frame(&mut self, _: &Segment) -> Option<Framing> {
            unreachable!()
        }

        fn back(&mut self, _: Phase) {
            self.back += 1;
        }

        fn answered(&mut self) {
            unreachable!()
        }

        fn ended(&mut self) {
            self.ended += 1;
        }
    }

    /// A tunnel that is ready, whose sockets are so far behind already: C 100 and 200 bytes, U 300 and 400.
    struct Pair {
        kernel: Kernel,
        books: Books,
    }

    impl Pair {
        fn new() -> Self {
            let word = Word(0).seated().after(Step::Unlatch).unwrap();
            let (client, upstream) = (Side { received: 100, sent: 200 }, Side { received: 300, sent: 400 });
            let mut before = Carriage::resting(client);
            before.upstream = Place { received: 0_u32.wrapping_sub(300), sent: 0_u32.wrapping_sub(400) };
            let kernel = Kernel { word, places: Some((C, U)), ended: 0, back: 0 };
            let this = Self { kernel, books: Books::new(before) };
            assert_eq!(this.books.sides(word), (client, upstream));
            this
        }

        /// One that 10 bytes of the client have begun.
        fn open() -> Self {
            let mut this = Self::new();
            assert_eq!(this.client(1100, 2200, 10, 0), on(7400, 5300, 10, true));
            this
        }

        fn client(&mut self, seq: u32, ack: u32, len: u32, flags: u8) -> Outcome {
            let segment = Segment { seq, ack, len, flags: flags | ACK };
            let first = begin::<false, _>(&mut self.kernel, &mut self.books, &segment);
            of_tunnel::<false, _>(&mut self.kernel, &mut self.books, &segment, first)
        }

        fn upstream(&mut self, seq: u32, ack: u32, len: u32, flags: u8) -> Outcome {
            let segment = Segment { seq, ack, len, flags: flags | ACK };
            let first = begin::<true, _>(&mut self.kernel, &mut self.books, &segment);
            of_tunnel::<true, _>(&mut self.kernel, &mut self.books, &segment, first)
        }

        fn phase(&self) -> Phase {
            self.kernel.word.phase()
        }

        fn step(&mut self, step: Step) {
            self.kernel.word = self.kernel.word.after(step).unwrap();
        }
    }

    fn on(seq: u32, ack: u32, new: u32, is_first: bool) -> Outcome {
        Outcome::On(On { numbers: Numbers { seq, ack }, new, is_first, is_tunnel: true, ..PLAIN })
    }

    fn to_socket(seq: u32, ack: u32) -> Outcome {
        Outcome::Up(Numbers { seq, ack })
    }

    #[test]
    fn it_begins_with_the_first_bytes_of_either_side_where_the_sockets_are() {
        let mut pair = Pair::new();
        // What the sockets are told is not its beginning.
        assert_eq!(pair.client(1100, 2200, 0, 0), to_socket(1000, 2000));
        assert_eq!(pair.upstream(5300, 7400, 0, 0), to_socket(5000, 7000));
        assert_eq!(pair.phase(), Phase::Ajar);
        assert_eq!(pair.upstream(5300, 7400, 30, 0), on(2200, 1100, 30, true));
        assert_eq!(pair.phase(), Phase::Open);
        assert_eq!(pair.client(1100, 2230, 5, 0), on(7400, 5330, 5, false));
        for (seq, ack, len, flags) in [
            (1101, 2200, 5, 0),
            (1099, 2200, 5, 0),
            (1100, 2199, 5, 0),
            (1100, 2200, 0, FIN),
            (1100, 2200, 5, FIN),
            (1100, 2200, 0, RST),
        ] {
            let mut pair = Pair::new();
            assert_eq!(pair.client(seq, ack, len, flags), to_socket(seq - 100, ack - 200));
            assert_eq!((pair.phase(), pair.kernel.back), (Phase::Local, 1), "{seq} {ack} {len} {flags}");
        }
        let mut pair = Pair::new();
        pair.kernel.places = None;
        assert_eq!(pair.upstream(5300, 7400, 30, 0), to_socket(5000, 7000));
        assert_eq!((pair.phase(), pair.kernel.back), (Phase::Local, 1));
        let mut pair = Pair::new();
        pair.step(Step::Stop);
        assert_eq!(pair.upstream(5300, 7400, 30, 0), to_socket(5000, 7000));
    }

    #[test]
    fn all_numbers_are_moved_by_the_same_whatever_is_in_it() {
        let mut pair = Pair::open();
        let rows = [
            (1110, 0, 0),
            (1100, 10, 0),
            (1109, 1, 0),
            (1000, 50, 0),
            (1200, 100, 90 + 100),
            (1110, 90, 0),
            (1300, 0, 0),
        ];
        for (seq, len, new) in rows {
            assert_eq!(pair.client(seq, 2200, len, 0), on(seq + 6300, 5300, new, false), "{seq} {len}");
        }
        // What begins nothing goes nowhere.
        assert_eq!(pair.client(1300, 2200, 0, SYN), Outcome::Drop);
        assert_eq!(pair.upstream(5300, 7401, 20, 0), on(2200, 1101, 20, false));
        assert_eq!(
            pair.books.streams(pair.kernel.word),
            &[
                Stream { high: 200, acked: 1, ended: 0, broken: 0, window: WINDOW },
                Stream { high: 20, acked: 0, ended: 0, broken: 0, window: WINDOW },
            ]
        );
    }

    #[test]
    fn nobody_acknowledges_what_was_not_carried() {
        let mut pair = Pair::open();
        for (ack, acked) in [(7300, 0), (7411, 0), (7405, 5), (7402, 5), (7411, 5), (7410, 10)] {
            let becomes = if ack > 7410 { Outcome::Drop } else { on(2200, ack - 6300, 0, false) };
            assert_eq!(pair.upstream(5300, ack, 0, 0), becomes);
            assert_eq!(pair.books.streams(pair.kernel.word)[0].acked, acked, "{ack}");
        }
    }

    /// Who is not on the way between the two ends has to guess, all over the circle of numbers.
    #[test]
    fn who_guesses_numbers_is_not_heard() {
        let mut pair = Pair::open();
        pair.upstream(5300, 7404, 20, 0);
        let (word, streams) = (pair.kernel.word, *pair.books.streams(pair.kernel.word));
        // Not within a window of the right ones.
        for guess in 6..4090_u32 {
            let away = guess << 20;
            for (len, flags) in [0, 1, 60, 1400].into_iter().flat_map(|len| [0, FIN, RST].map(|it| (len, it)))
            {
                for (seq, ack) in [(away, 0), (0, away), (away, away)] {
                    assert_eq!(pair.client(1110 + seq, 2200 + ack, len, flags), Outcome::Drop);
                    assert_eq!(pair.upstream(5320 + seq, 7404 + ack, len, flags), Outcome::Drop);
                }
            }
        }
        assert_eq!((pair.kernel.word, pair.kernel.ended), (word, 0));
        assert_eq!(*pair.books.streams(word), streams);
    }

    #[test]
    fn wanted_back_it_goes_back_when_all_is_acknowledged_and_the_sockets_are_as_far_behind() {
        let mut pair = Pair::open();
        pair.upstream(5300, 7400, 20, 0);
        pair.step(Step::Stop);
        assert_eq!(pair.client(1110, 2220, 0, 0), on(7410, 5320, 0, false));
        assert_eq!(pair.phase(), Phase::Open);
        assert_eq!(pair.upstream(5320, 7410, 0, 0), on(2220, 1110, 0, false));
        assert_eq!((pair.phase(), pair.kernel.back), (Phase::Local, 1));
        let sides = (Side { received: 110, sent: 220 }, Side { received: 320, sent: 410 });
        assert_eq!(pair.books.sides(pair.kernel.word), sides);
        assert_eq!(pair.client(1110, 2220, 7, 0), to_socket(1000, 2000));
        // And is carried again from there.
        pair.books.clear_next(pair.kernel.word);
        pair.step(Step::Unlatch);
        assert_eq!(pair.client(1110, 2220, 7, 0), on(7410, 5320, 7, true));
    }

    #[test]
    fn whoever_takes_it_while_new_bytes_come_has_them_not() {
        let mut pair = Pair::open();
        pair.upstream(5300, 7410, 0, 0);
        let seen = pair.kernel.word;
        assert!(is_quiet(pair.books.streams(seen)));
        assert_eq!(pair.client(1110, 2200, 7, 0), on(7410, 5300, 7, false));
        assert!(!pair.kernel.swap(seen, seen.after(Step::Take).unwrap()));

        // Faster than that, it has the pair before them: they are dropped, and count nowhere.
        struct Fast(Kernel);
        impl Hands for Fast {
            fn word(&self) -> Word {
                self.0.word()
            }
            fn swap(&mut self, old: Word, new: Word) -> bool {
                self.0.swap(old, new)
            }
            fn pass(&mut self) -> Word {
                self.0.word = self.0.word.after(Step::Take).unwrap();
                self.0.pass()
            }
            fn claim(&mut self) -> bool {
                false
            }
            fn let_go(&mut self) {}
            fn window(&self) -> u32 {
                WINDOW
            }
            fn places(&mut self, _: bool) -> Option<(Place, Place)> {
                None
            }
            fn judge(&mut self, _: &Segment) -> bool {
                false
            }
            fn frame(&mut self, _: &Segment) -> Option<Framing> {
                None
            }
            fn back(&mut self, _: Phase) {}
            fn answered(&mut self) {}
            fn ended(&mut self) {}
        }
        let Pair { kernel, mut books } = Pair::open();
        let mut fast = Fast(kernel);
        let ack = Segment { seq: 5300, ack: 7410, len: 0, flags: ACK };
        of_tunnel::<true, _>(&mut fast, &mut books, &ack, false);
        let segment = Segment { seq: 1110, ack: 2200, len: 7, flags: ACK };
        assert_eq!(of_tunnel::<false, _>(&mut fast, &mut books, &segment, false), Outcome::Drop);
        assert_eq!(books.sides(fast.word()).0, Side { received: 110, sent: 200 });
    }

    #[test]
    fn it_is_over_when_both_ends_are_acknowledged() {
        let mut pair = Pair::open();
        assert_eq!(pair.client(1110, 2200, 3, FIN), on(7410, 5300, 3, false));
        pair.upstream(5300, 7414, 0, 0);
        // One half goes on, and the other does not come back.
        assert!(!is_quiet(pair.books.streams(pair.kernel.word)));
        assert_eq!(pair.upstream(5300, 7414, 50, 0), on(2200, 1114, 50, false));
        assert_eq!(pair.upstream(5350, 7414, 0, FIN), on(2250, 1114, 0, false));
        assert_eq!(pair.client(1114, 2250, 0, 0), on(7414, 5350, 0, false));
        assert_eq!(pair.kernel.ended, 0);
        assert_eq!(pair.client(1114, 2251, 0, 0), on(7414, 5351, 0, false));
        assert_eq!((pair.kernel.ended, pair.phase()), (1, Phase::Open));
        assert!(
            is_over(pair.books.streams(pair.kernel.word)) && !is_broken(pair.books.streams(pair.kernel.word))
        );
        pair.step(Step::Close);
        // Who has not heard the last word says its own again.
        let Outcome::On(late) = pair.upstream(5350, 7414, 0, FIN) else { panic!("it goes on") };
        assert!(late.is_late && late.numbers == Numbers { seq: 2250, ack: 1114 });
    }

    #[test]
    fn a_reset_that_is_to_be_believed_ends_it() {
        // 10 bytes were carried up, of which 4 are acknowledged, and none down.
        for (seq, believed) in [(1103, false), (1104, true), (1110, true), (1111, false)] {
            let mut pair = Pair::open();
            pair.upstream(5300, 7404, 0, 0);
            assert_eq!(pair.client(seq, 2200, 0, RST), on(seq + 6300, 5300, 0, false));
            assert_eq!(pair.kernel.ended, usize::from(believed), "{seq}");
            assert_eq!(is_broken(pair.books.streams(pair.kernel.word)), believed);
        }
    }

    #[test]
    fn broken_off_the_sockets_are_behind_by_all_that_was_carried() {
        let mut pair = Pair::open();
        pair.upstream(5300, 7404, 20, 0);
        pair.step(Step::Break);
        let sides = (Side { received: 110, sent: 220 }, Side { received: 320, sent: 410 });
        assert_eq!(pair.books.sides(pair.kernel.word), sides);
        assert_eq!(pair.upstream(5310, 7410, 10, 0), to_socket(4990, 7000));
    }
}
