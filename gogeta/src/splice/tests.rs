//! The engine over real sockets. Each test needs the kernel's permission, and says so where it is not given.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;

use super::counts::Reason;
use super::kernel::Number;
use super::seat::{Back, Ledger, Seat, Unfit};
use super::testing::{Four, GET, OK, engine, some, take, text};

#[test]
fn simple_requests_and_their_responses_are_carried() {
    let Some(engine) = engine() else { return };
    let (mut four, seat) = Four::parked(&engine);
    for _ in 0..100 {
        four.exchange(GET, OK);
    }
    assert!(four.is_parked(&seat));
    assert_eq!(engine.carried(), [100 * GET.len() as u64, 100 * OK.len() as u64, 100]);
    assert_eq!(engine.parked(), 1);
    drop(seat);
    assert_eq!(engine.program.pairs.read(0, Number::Requests), 100, "kept until the slot is taken again");
    assert_eq!(engine.carried()[2], 100);
}

#[test]
fn what_the_guard_refuses_is_userspaces() {
    let Some(engine) = engine() else { return };
    for odd in [
        &b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.te",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        let (mut four, mut seat) = Four::parked(&engine);
        four.exchange(GET, OK);
        four.client.write_all(odd).unwrap();
        assert_eq!(four.back(&seat), (Back::Quiet, Reason::Refused));
        assert_eq!(text(&some(&mut four.ours)), text(odd));
        assert!(seat.is_upstream_clean(four.theirs.as_fd(), Ledger::default()));
        // Userspace answers it, and the pair is parked again.
        assert!(seat.is_drained(four.ours.as_fd(), Ledger::default()).unwrap());
        four.ours.write_all(OK).unwrap();
        assert_eq!(take(&mut four.client, OK.len()), OK);
        let client = Ledger { read: odd.len() as u64, written: OK.len() as u64 };
        four.park_with(&mut seat, client, Ledger::default()).unwrap();
        four.exchange(GET, OK);
    }
    assert_eq!(engine.counts.of(Reason::Refused), 4);
}

#[test]
fn a_response_that_is_not_simple_is_userspaces_with_its_requests_head() {
    let Some(engine) = engine() else { return };
    for odd in [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n12",
        b"HTTP/1.1 200 O",
        b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n",
    ] {
        let (mut four, seat) = Four::parked(&engine);
        four.client.write_all(GET).unwrap();
        assert_eq!(take(&mut four.backend, GET.len()), GET);
        four.backend.write_all(odd).unwrap();
        assert_eq!(four.back(&seat), (Back::Answer(GET.to_vec()), Reason::Answer));
        assert_eq!(text(&some(&mut four.theirs)), text(odd));
    }
}

#[test]
fn nothing_passes_the_end_of_a_response() {
    let Some(engine) = engine() else { return };
    // In one piece with its end, behind it, and instead of nothing.
    let (mut four, seat) = Four::parked(&engine);
    four.client.write_all(GET).unwrap();
    assert_eq!(take(&mut four.backend, GET.len()), GET);
    four.backend.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").unwrap();
    let begun = take(&mut four.client, 40 + 4);
    assert!(text(&begun).ends_with("12345"), "{}", text(&begun));
    four.backend.write_all(b"67890SURPLUS").unwrap();
    assert_eq!(four.back(&seat).0, Back::Cut);

    let (mut four, seat) = Four::parked(&engine);
    four.exchange(GET, OK);
    four.backend.write_all(b"SURPLUS").unwrap();
    assert_eq!(four.back(&seat).0, Back::Quiet);
    assert!(!seat.is_upstream_clean(four.theirs.as_fd(), Ledger::default()));
    four.client.set_nonblocking(true).unwrap();
    assert_eq!(four.client.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_pair_with_bytes_that_nobody_has_read_is_not_parked() {
    let Some(engine) = engine() else { return };
    for side in 0..2 {
        let mut four = Four::new();
        let mut seat = four.seat(&engine);
        [&mut four.client, &mut four.backend][side].write_all(b"x").unwrap();
        let ours = [&mut four.ours, &mut four.theirs];
        let mut one = [0; 1];
        // It has come, and is not taken.
        while ours[side].peek(&mut one).is_err() {
            std::thread::yield_now();
        }
        assert!(matches!(four.park(&mut seat), Err(Unfit::Unquiet)), "side {side}");
        assert_eq!(some([&mut four.ours, &mut four.theirs][side]), b"x");
    }
}

#[test]
fn whoever_closes_gives_the_pair_back() {
    let Some(engine) = engine() else { return };
    for side in 0..2 {
        let (mut four, seat) = Four::parked(&engine);
        four.exchange(GET, OK);
        [&four.client, &four.backend][side].shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(four.back(&seat), (Back::Quiet, Reason::Closed));
        assert_eq!(some([&mut four.ours, &mut four.theirs][side]), b"");
        assert_eq!(seat.is_upstream_clean(four.theirs.as_fd(), Ledger::default()), side == 0);
    }
}

#[test]
fn an_upstream_that_closes_instead_of_answering_has_an_answer_pending_and_in_its_midst_it_is_cut() {
    let Some(engine) = engine() else { return };
    for begun in [false, true] {
        let (mut four, seat) = Four::parked(&engine);
        four.client.write_all(GET).unwrap();
        take(&mut four.backend, GET.len());
        if begun {
            four.backend.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1").unwrap();
        }
        four.backend.shutdown(std::net::Shutdown::Write).unwrap();
        let back = four.back(&seat).0;
        assert_eq!(back, if begun { Back::Cut } else { Back::Answer(GET.to_vec()) });
    }
}

#[test]
fn a_recalled_pair_comes_back_at_the_end_of_its_request() {
    let Some(engine) = engine() else { return };
    let (mut four, mut seat) = Four::parked(&engine);
    four.client.write_all(GET).unwrap();
    take(&mut four.backend, GET.len());
    seat.recall();
    assert!(four.is_parked(&seat), "its response is on its way");
    four.backend.write_all(OK).unwrap();
    assert_eq!(take(&mut four.client, OK.len()), OK);
    assert_eq!(four.back(&seat).0, Back::Quiet);
    four.park(&mut seat).unwrap();
    engine.close();
    assert_eq!(four.back(&seat), (Back::Quiet, Reason::Recalled));
    assert!(matches!(four.park(&mut seat), Err(Unfit::Closed)));
}

#[test]
fn a_pair_is_not_counted_before_the_kernel_has_it() {
    let Some(engine) = engine() else { return };
    let done = std::sync::atomic::AtomicBool::new(false);
    let is_done = || done.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| {
            let mut most = 0;
            while !is_done() {
                most = most.max(engine.parked());
            }
            most
        });
        let mut four = Four::new();
        let mut seat = four.seat(&engine);
        // What is read is not in the ledger that it is parked with.
        four.client.write_all(GET).unwrap();
        assert_eq!(text(&some(&mut four.ours)), text(GET));
        for _ in 0..1000 {
            assert!(matches!(four.park(&mut seat), Err(Unfit::Unquiet)));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(counting.join().unwrap(), 0);
    });
}

#[test]
fn slots_are_used_again() {
    let Some(engine) = engine() else { return };
    for _ in 0..100 {
        let (mut four, seat) = Four::parked(&engine);
        four.exchange(GET, OK);
        seat.recall();
        four.back(&seat);
    }
    assert_eq!((engine.parked(), engine.carried()[2]), (0, 100));
    let all: Vec<(Four, Seat)> = (0..16)
        .map(|_| {
            let four = Four::new();
            let seat = four.seat(&engine);
            (four, seat)
        })
        .collect();
    let four = Four::new();
    assert!(matches!(four.seat_with(&engine, Ledger::default()), Err(Unfit::Full)));
    drop(all);
    four.seat(&engine);
}
