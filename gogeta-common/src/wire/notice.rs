//! What is told of a packet that a router could not send on, for it was too long (RFC 1191, RFC 8201): whom that
//! concerns.
//!
//! The router knows the packet's addresses, which are gogeta's, and its first number. Whoever has sent what is in it has to
//! make it smaller: gogeta's own socket, or while the pair is carried, the other end.

use super::drive::Books;
use crate::pair::{Phase, Word};

/// Whose packet it was, and by which number that knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// gogeta's own socket.
    Socket(u32),
    /// The other end.
    End(u32),
    /// Nobody who could do anything about it.
    Nobody,
}

/// Who has sent what went to the client under this number, or to the upstream where `to_upstream`.
///
/// Whether there is such a packet, the sender looks: it has to have something on its way there (RFC 5927, 4).
#[inline(always)]
pub fn sender(books: &Books, word: Word, to_upstream: bool, seq: u32) -> Sender {
    let book = books.of(word);
    // As in `Carriage::sides`, what one or the other would be read by.
    let mask = 0_u32.wrapping_sub(to_upstream as u32);
    match word.phase() {
        // A request is one segment, and stays one.
        Phase::Idle | Phase::Busy | Phase::Body if to_upstream => Sender::Nobody,
        Phase::Idle | Phase::Busy | Phase::Body | Phase::Open | Phase::Over => {
            Sender::End(seq.wrapping_sub((book.up & mask) | (book.down & !mask)))
        }
        _ => {
            let (client, upstream) = books.sides(word);
            Sender::Socket(seq.wrapping_sub((upstream.sent & mask) | (client.sent & !mask)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Carriage, Last, Place, Side};
    use super::*;

    #[test]
    fn whoever_has_sent_it_hears_of_its_own_numbers() {
        let (client, upstream) = (Place { received: 100, sent: 200 }, Place { received: 1000, sent: 2000 });
        let behind = Side { received: 7, sent: 9 };
        let mut book = Carriage::begin((client, behind), (upstream, Side::default()), 50);
        // The client waits for what U waits for of the upstream.
        assert_eq!((book.down, book.up), (209_u32.wrapping_sub(1000), 2000 - 107));
        let books = Books::new(book);
        let word = |phase: Phase| Word(phase as u64);
        for phase in [Phase::Idle, Phase::Busy, Phase::Body, Phase::Open, Phase::Over] {
            assert_eq!(sender(&books, word(phase), false, 209), Sender::End(1000), "{phase:?}");
        }
        for phase in [Phase::Idle, Phase::Busy, Phase::Body] {
            assert_eq!(sender(&books, word(phase), true, 2000), Sender::Nobody, "{phase:?}");
        }
        assert_eq!(sender(&books, word(Phase::Open), true, 2000), Sender::End(107));
        // What was carried the sockets have not sent: 30 bytes of a request with its block, and 400 of an answer.
        book.last = Last::new(107, 30, 1);
        book.answer(400);
        book.sent(1400);
        let books = Books::new(book);
        for phase in [Phase::Local, Phase::Pending, Phase::Armed, Phase::Ajar] {
            assert_eq!(sender(&books, word(phase), false, 609), Sender::Socket(200), "{phase:?}");
            assert_eq!(sender(&books, word(phase), true, 2080), Sender::Socket(2000), "{phase:?}");
        }
    }
}
