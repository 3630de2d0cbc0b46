//! Each rule by itself.

extern crate std;

use super::segment::{ACK, FIN, PSH, RST, SYN, Segment};
use super::*;

const C: Place = Place { received: 1000, sent: 2000 };
const U: Place = Place { received: 5000, sent: 7000 };
const NONE: Side = Side { received: 0, sent: 0 };

/// One request of 50 bytes, 10 added; the response has 300, of which 100 were sent on.
fn carriage() -> Carriage {
    let mut it = Carriage::begin((C, NONE), (U, NONE), 10);
    it.request(50);
    it
}

fn answering() -> Carriage {
    let mut it = carriage();
    it.answer(300);
    assert_eq!(it.sent(5100), (100, false));
    it
}

fn over() -> Carriage {
    let mut it = answering();
    assert_eq!(it.sent(5300), (200, true));
    it
}

fn segment(seq: u32, ack: u32, len: u32, flags: u8) -> Segment {
    Segment { seq, ack, len, flags: flags | ACK }
}

#[test]
fn numbers_are_those_that_the_other_end_expects() {
    let it = over();
    let up = |seq, ack| {
        let numbers = it.to_upstream(seq, ack);
        (numbers.seq, numbers.ack)
    };
    let down = |seq, ack| {
        let numbers = it.to_client(seq, ack);
        (numbers.seq, numbers.ack)
    };
    assert_eq!(up(1000, 2000), (7000, 5000));
    assert_eq!(up(1047, 2300), (7047, 5300));
    // The block is before the last two bytes.
    assert_eq!([1048, 1049, 1050, 1051].map(|seq| up(seq, 2000).0), [7058, 7059, 7060, 7061]);
    assert_eq!(up(999, 1999), (6999, 4999));
    assert_eq!(down(5000, 7000), (2000, 1000));
    assert_eq!(down(5299, 7060), (2299, 1050));
    // Who has a part of a request has nothing of it, as far as the client is told.
    assert_eq!([7001, 7030, 7059].map(|ack| down(5000, ack).1), [1000; 3]);
    assert_eq!([6999, 7061].map(|ack| down(5000, ack).1), [999, 1051]);
}

#[test]
fn numbers_go_round_the_circle() {
    let far = |place: Place| Place {
        received: place.received.wrapping_sub(1020),
        sent: place.sent.wrapping_sub(7020),
    };
    let mut it = Carriage::begin((far(C), NONE), (far(U), NONE), 10);
    it.request(50);
    it.answer(300);
    let at = 0_u32.wrapping_sub(20);
    assert_eq!(it.to_upstream(at.wrapping_add(50), 0).seq, 40);
    assert_eq!(it.to_client(0, 40).ack, 30);
    assert_eq!(it.to_client(0, 39).ack, at);
}

#[test]
fn each_request_moves_those_behind_it_by_one_block_more() {
    let mut it = over();
    it.request(70);
    assert_eq!(it.to_upstream(1050, 2300), Numbers { seq: 7060, ack: 5300 });
    assert_eq!(it.to_upstream(1120, 2300).seq, 7140);
    assert_eq!(it.to_client(5300, 7140).ack, 1120);
    assert_eq!(it.to_client(5300, 7060).ack, 1050);
    assert_eq!((it.from, it.till, it.high), (5300, 5300, 5300));
}

#[test]
fn sockets_are_behind_by_what_was_carried_and_the_next_carriage_goes_on_from_there() {
    let (c, u) = over().sides(false);
    assert_eq!((c, u), (Side { received: 50, sent: 300 }, Side { received: 300, sent: 60 }));
    // The client's next byte, and what it acknowledges, are for C what it waits for.
    assert_eq!(c.inward(1050, 2300), Numbers { seq: 1000, ack: 2000 });
    assert_eq!(u.outward(7000, 5000), Numbers { seq: 7060, ack: 5300 });
    let next = Carriage::begin((C, c), (U, u), 20);
    assert_eq!(next.to_upstream(1050, 2300), Numbers { seq: 7060, ack: 5300 });
    assert_eq!(next.to_client(5300, 7060), Numbers { seq: 2300, ack: 1050 });
    assert_eq!(next.sides(false), (c, u));
    assert_eq!(Carriage::resting(c).sides(false), (c, NONE));
    // Before its head, a response has not begun; broken off, it is as long as what was sent on.
    assert_eq!(carriage().sides(false).0, Side { received: 50, sent: 0 });
    assert_eq!(answering().sides(true).0, Side { received: 50, sent: 100 });
}

#[test]
fn what_a_clients_segment_becomes() {
    use Act::{Again, Ask, Drop, On, Up};
    use Phase::{Armed, Body, Broken, Busy, Idle, Local, Pending};
    let rows = [
        // Before the first request, and where the pair is gogeta's, all is for C.
        (Armed, segment(1000, 2000, 0, 0), Up, None),
        (Armed, segment(1000, 2000, 30, 0), Ask, None),
        (Armed, segment(1000, 2000, 0, FIN), Up, Some(Step::Refuse)),
        (Armed, segment(1000, 2000, 0, RST), Up, Some(Step::Refuse)),
        (Local, segment(1000, 2000, 30, FIN), Up, None),
        (Pending, segment(1000, 2000, 30, 0), Up, None),
        (Broken, segment(1000, 2000, 30, 0), Up, None),
        // The next request has all that was answered behind it.
        (Idle, segment(1050, 2300, 30, 0), Ask, None),
        (Idle, segment(1050, 2200, 30, 0), Drop, None),
        // Something before it is not there yet.
        (Idle, segment(1051, 2300, 30, 0), Up, Some(Step::Refuse)),
        (Idle, segment(1051, 2299, 30, 0), Drop, None),
        (Idle, segment(1025, 2300, 50, 0), Drop, None),
        (Idle, segment(1000, 2300, 50, 0), Drop, None),
        (Idle, segment(1050, 2300, 0, 0), On, None),
        (Idle, segment(1049, 2300, 0, 0), On, None),
        (Idle, segment(1049, 2300, 1, 0), On, None),
        (Idle, segment(1050, 2300, 0, FIN), Up, Some(Step::Refuse)),
        (Idle, segment(1050, 2300, 30, FIN), Up, Some(Step::Refuse)),
        (Idle, segment(1051, 2300, 0, FIN), Up, Some(Step::Refuse)),
        (Idle, segment(1050, 2300, 0, RST), Up, Some(Step::Refuse)),
        // Who guesses does not break the connection (RFC 5961, 3).
        (Idle, segment(1051, 2300, 0, RST), Drop, None),
        (Idle, segment(99, 0, 0, SYN), Up, Some(Step::Refuse)),
        (Busy, segment(1050, 2000, 0, 0), On, None),
        (Busy, segment(1000, 2000, 50, 0), Again, None),
        (Busy, segment(1000, 2000, 50, FIN), Again, Some(Step::Stop)),
        (Busy, segment(1000, 2000, 49, 0), Drop, None),
        // Half before it, half in it; from its middle to behind it.
        (Busy, segment(975, 2000, 50, 0), Drop, None),
        (Busy, segment(1000, 2000, 80, 0), Drop, None),
        (Busy, segment(1025, 2000, 50, 0), Drop, None),
        (Busy, segment(1020, 2000, 30, 0), Drop, None),
        (Body, segment(1049, 2100, 1, 0), On, None),
        (Body, segment(1000, 2100, 50, 0), Again, None),
        // Whoever cannot wait comes back to userspace.
        (Body, segment(1050, 2100, 30, 0), Drop, Some(Step::Stop)),
        (Body, segment(1080, 2100, 30, 0), Drop, None),
        (Body, segment(1050, 2100, 0, FIN), Drop, Some(Step::Stop)),
        (Body, segment(1040, 2100, 10, FIN), Drop, Some(Step::Stop)),
        (Body, segment(1051, 2100, 0, FIN), Drop, None),
        (Body, segment(1050, 2100, 0, RST), Up, Some(Step::Break)),
        (Body, segment(1049, 2100, 0, RST), Drop, None),
        (Body, segment(1050, 2100, 0, SYN), Drop, None),
    ];
    for (phase, segment, act, step) in rows {
        let it = match phase {
            Busy | Pending => carriage(),
            Body => answering(),
            _ => over(),
        };
        assert_eq!(it.of_client(phase, &segment), (act, step), "{phase:?} {segment:?}");
    }
}

#[test]
fn what_an_upstreams_segment_becomes() {
    use Phase::{Armed, Body, Broken, Busy, Idle, Local};
    let rows = [
        (Armed, segment(5000, 7000, 0, 0), Act::Up, None),
        (Armed, segment(5000, 7000, 1, 0), Act::Up, Some(Step::Refuse)),
        (Armed, segment(5000, 7000, 0, FIN), Act::Up, Some(Step::Refuse)),
        (Local, segment(5000, 7000, 9, 0), Act::Up, None),
        (Broken, segment(5000, 7000, 9, 0), Act::Up, None),
        (Idle, segment(5300, 7060, 0, 0), Act::On, None),
        (Idle, segment(5200, 7060, 100, 0), Act::On, None),
        // Nobody has asked for that.
        (Idle, segment(5200, 7060, 101, 0), Act::Up, Some(Step::Refuse)),
        (Idle, segment(5300, 7060, 1, 0), Act::Up, Some(Step::Refuse)),
        (Idle, segment(5300, 7060, 0, FIN), Act::Up, Some(Step::Refuse)),
        (Idle, segment(5200, 7060, 100, FIN), Act::Up, Some(Step::Refuse)),
        (Idle, segment(5200, 7060, 50, FIN), Act::Drop, None),
        (Idle, segment(5300, 7060, 0, RST), Act::Up, Some(Step::Refuse)),
        (Idle, segment(5299, 7060, 0, RST), Act::Drop, None),
        (Busy, segment(5000, 7060, 0, 0), Act::On, None),
        (Busy, segment(5000, 7060, 80, 0), Act::Answer, None),
        // It answers what it says that it has not got.
        (Busy, segment(5000, 7059, 80, 0), Act::Drop, None),
        // Without its head, nothing tells how long a response is.
        (Busy, segment(5080, 7060, 80, 0), Act::Up, Some(Step::Answer)),
        (Busy, segment(5080, 7060, 80, FIN), Act::Up, Some(Step::Answer)),
        (Busy, segment(5080, 7059, 80, 0), Act::Drop, None),
        (Busy, segment(4900, 7060, 100, 0), Act::On, None),
        (Busy, segment(5000, 7060, 80, FIN), Act::Up, Some(Step::Answer)),
        (Busy, segment(5000, 7060, 0, FIN), Act::Up, Some(Step::Answer)),
        (Busy, segment(5000, 7060, 0, RST), Act::Up, Some(Step::Answer)),
        (Busy, segment(5001, 7060, 0, RST), Act::Drop, None),
        (Body, segment(5100, 7060, 100, 0), Act::On, None),
        // In any order.
        (Body, segment(5200, 7060, 100, 0), Act::On, None),
        (Body, segment(5000, 7060, 100, 0), Act::On, None),
        (Body, segment(5200, 7060, 101, 0), Act::Drop, Some(Step::Break)),
        (Body, segment(5200, 7060, 100, FIN), Act::Open, Some(Step::Spoil)),
        (Body, segment(5300, 7060, 0, FIN), Act::Drop, Some(Step::Spoil)),
        // What nobody has asked for, and nothing else.
        (Body, segment(5300, 7060, 100, 0), Act::Drop, Some(Step::Spoil)),
        (Body, segment(5301, 7060, 100, 0), Act::Drop, None),
        // And its acknowledgements behind that.
        (Body, segment(5301, 7060, 0, 0), Act::On, None),
        (Body, segment(5200, 7060, 50, FIN), Act::Drop, Some(Step::Break)),
        (Body, segment(5100, 7060, 0, RST), Act::Up, Some(Step::Break)),
        // Whether it is so, the client asks.
        (Body, segment(5200, 7060, 0, RST), Act::On, None),
        (Body, segment(5300, 7060, 0, RST), Act::On, None),
        (Body, segment(4999, 7060, 0, RST), Act::Drop, None),
    ];
    for (phase, segment, act, step) in rows {
        let it = match phase {
            Busy => carriage(),
            Body => answering(),
            _ => over(),
        };
        assert_eq!(it.of_upstream(phase, &segment), (act, step), "{phase:?} {segment:?}");
    }
}

#[test]
fn whoever_breaks_off_behind_its_response_has_sent_it() {
    let mut it = answering();
    it.sent(5300);
    assert_eq!(it.of_upstream(Phase::Body, &segment(5300, 7060, 0, RST)), (Act::Drop, Some(Step::Spoil)));
}

#[test]
fn a_response_is_over_when_the_client_has_all_of_it() {
    let it = answering();
    assert!(!it.is_over(2299));
    assert!(it.is_over(2300));
    // For a moment nobody knows where it ends.
    assert!(!carriage().is_over(2000));
    assert_eq!(Last::new(u32::MAX, 2048, 1_000_000).next(), 2047);
    assert_eq!(Last::new(9, 2048, 1_000_000).count(), 1_000_000);
}

/// Whoever is not on the way between the two ends has to guess: 4096 times here, all over the circle of numbers.
#[test]
fn who_guesses_numbers_neither_ends_a_pair_nor_gets_anything_through() {
    use Phase::{Body, Busy, Idle};
    for phase in [Idle, Busy, Body] {
        let it = match phase {
            Busy => carriage(),
            Body => answering(),
            _ => over(),
        };
        for guess in 0..4096_u32 {
            // Not near the right ones.
            let seq = (guess << 20).wrapping_add(300_000);
            for (ack, len) in
                [seq, 0, 1 << 31].into_iter().flat_map(|ack| [0, 1, 60, 1400].map(|len| (ack, len)))
            {
                for flags in [0, PSH, FIN, RST, FIN | PSH] {
                    let segment = segment(seq, ack, len, flags);
                    assert_eq!(it.of_client(phase, &segment), (Act::Drop, None), "{phase:?} {segment:?}");
                    assert_eq!(it.of_upstream(phase, &segment), (Act::Drop, None), "{phase:?} {segment:?}");
                }
            }
        }
    }
}
