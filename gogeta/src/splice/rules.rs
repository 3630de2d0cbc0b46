//! The rules that the engine keeps for the kernel's sake, each by what would be lost without it. What the kernel does
//! otherwise is in `net/core/skmsg.c` and `net/ipv4/tcp_bpf.c`.
//!
//! Three of the rules are kept by what is not there: no program changes the length of what it judges, none asks for
//! a part of a message only (`bpf_msg_apply_bytes`), and no socket is in a second map.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};

use tokio::sync::watch;

use super::counts::Reason;
use super::seat::{Back, Ledger, Unfit, WINDOW};
use super::testing::{Four, GET, OK, connected, engine, loaded, pattern, some, take, text, until};

/// A response with a body of so many bytes, each of which tells where it stands.
fn response(length: usize) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes(), &pattern(length)].concat()
}

/// All that comes until there is so much of it.
fn all(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let more = some(stream);
        assert!(!more.is_empty(), "it ended after {} bytes", bytes.len());
        bytes.extend(more);
    }
    bytes
}

/// Bytes that have come to be read.
fn has_come(stream: &TcpStream, count: usize) -> bool {
    let mut space = vec![0; count];
    stream.peek(&mut space).is_ok_and(|come| come == count)
}

/// Another socket in this one's place, which is closed; gives that one's other side.
fn close(socket: &mut TcpStream) -> TcpStream {
    let (near, far) = connected();
    near.set_nonblocking(true).unwrap();
    *socket = near;
    far
}

#[test]
fn a_fin_without_data_does_not_break_the_other_socket() {
    let Some(engine) = engine() else { return };
    // The client's, while nothing is on its way.
    let (mut four, seat) = Four::parked(&engine);
    four.exchange(GET, OK);
    four.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(four.back(&seat), (Back::Quiet, Reason::Closed));
    four.theirs.write_all(b"to the upstream").unwrap();
    assert_eq!(text(&take(&mut four.backend, 15)), "to the upstream");
    four.backend.write_all(b"from it").unwrap();
    assert_eq!(text(&all(&mut four.theirs, 7)), "from it");
    assert!(four.theirs.take_error().unwrap().is_none());

    // The upstream's, in the midst of a response, where the kernel would send it on.
    let (mut four, seat) = Four::parked(&engine);
    four.client.write_all(GET).unwrap();
    take(&mut four.backend, GET.len());
    four.backend.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").unwrap();
    assert!(text(&take(&mut four.client, 44)).ends_with("12345"));
    four.backend.shutdown(Shutdown::Write).unwrap();
    assert_eq!(four.back(&seat).0, Back::Cut);
    assert!(four.ours.take_error().unwrap().is_none());
    four.ours.write_all(b"to the client").unwrap();
    assert_eq!(text(&take(&mut four.client, 13)), "to the client");
    four.client.write_all(b"from it").unwrap();
    assert_eq!(text(&all(&mut four.ours, 7)), "from it");
}

#[test]
fn what_has_nowhere_to_go_comes_to_userspace() {
    let Some(engine) = engine() else { return };
    // A request whose upstream is gone.
    let (mut four, seat) = Four::parked(&engine);
    let _far = close(&mut four.theirs);
    four.client.write_all(GET).unwrap();
    assert_eq!(four.back(&seat).0, Back::Quiet);
    assert_eq!(text(&all(&mut four.ours, GET.len())), text(GET));

    // A response whose client is gone: its head, and more of its body.
    for begun in [false, true] {
        let (mut four, seat) = Four::parked(&engine);
        four.client.write_all(GET).unwrap();
        take(&mut four.backend, GET.len());
        let (first, rest) = OK.split_at(OK.len() - 2);
        if begun {
            four.backend.write_all(first).unwrap();
            take(&mut four.client, first.len());
        }
        let _far = close(&mut four.ours);
        let left = if begun { rest } else { OK };
        four.backend.write_all(left).unwrap();
        assert_eq!(four.back(&seat).0, if begun { Back::Cut } else { Back::Answer(GET.to_vec()) });
        assert_eq!(text(&all(&mut four.theirs, left.len())), text(left));
    }
}

#[test]
fn what_was_half_read_before_a_socket_got_its_seat_is_not_seen_twice() {
    let Some(engine) = engine() else { return };
    for side in 0..2 {
        let mut four = Four::new();
        [&mut four.client, &mut four.backend][side].write_all(b"HEAD|BODY").unwrap();
        until("it has come", || has_come([&four.ours, &four.theirs][side], 9));
        assert_eq!(take([&mut four.ours, &mut four.theirs][side], 5), b"HEAD|");
        let read = Ledger { read: 5, written: 0 };
        let ledgers = if side == 0 { (read, Ledger::default()) } else { (Ledger::default(), read) };
        let seat = four.seat_with(&engine, ledgers.0);
        let seat = seat.and_then(|mut seat| four.park_with(&mut seat, ledgers.0, ledgers.1).map(|()| seat));
        assert!(matches!(seat, Err(Unfit::Unquiet)), "side {side}: {seat:?}");
        assert_eq!(text(&all([&mut four.ours, &mut four.theirs][side], 4)), "BODY", "side {side}");
    }
}

#[test]
fn what_came_before_a_socket_got_its_seat_is_userspaces() {
    let Some(engine) = engine() else { return };
    let read = Ledger { read: 5, written: 0 };
    // The client's.
    let mut four = Four::new();
    four.client.write_all(b"early").unwrap();
    until("it has come", || has_come(&four.ours, 5));
    let seat = four.seat_with(&engine, Ledger::default());
    assert!(matches!(seat, Err(Unfit::Unquiet)), "{seat:?}");
    assert_eq!(text(&all(&mut four.ours, 5)), "early");
    // Read, it is in nobody's way.
    let mut seat = four.seat_with(&engine, read).unwrap();
    four.park_with(&mut seat, read, Ledger::default()).unwrap();
    four.exchange(GET, OK);

    // The upstream's.
    let mut four = Four::new();
    four.backend.write_all(b"early").unwrap();
    until("it has come", || has_come(&four.theirs, 5));
    let mut seat = four.seat(&engine);
    assert!(matches!(four.park(&mut seat), Err(Unfit::Unquiet)));
    assert_eq!(text(&all(&mut four.theirs, 5)), "early");
    four.park_with(&mut seat, Ledger::default(), read).unwrap();
    four.exchange(GET, OK);
}

#[test]
fn what_was_passed_up_and_not_read_outlives_the_seat() {
    let Some(engine) = engine() else { return };
    let (mut four, seat) = Four::parked(&engine);
    let odd = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\n";
    four.client.write_all(odd).unwrap();
    assert_eq!(four.back(&seat), (Back::Quiet, Reason::Refused));
    four.backend.write_all(b"unasked").unwrap();
    until("it has come", || has_come(&four.theirs, 7));
    drop(seat);
    four.client.write_all(b"body").unwrap();
    assert_eq!(text(&all(&mut four.ours, odd.len() + 4)), text(odd) + "body");
    assert_eq!(text(&all(&mut four.theirs, 7)), "unasked");
}

#[test]
fn what_userspace_writes_comes_behind_what_the_kernel_has_carried() {
    let Some(engine) = engine() else { return };
    let mut four = Four::narrow();
    let mut seat = four.seat(&engine);
    four.park(&mut seat).unwrap();
    let response = response(400_000);
    four.client.write_all(GET).unwrap();
    take(&mut four.backend, GET.len());
    four.backend.write_all(&response).unwrap();
    until("all of it is judged", || engine.carried()[1] == response.len() as u64);
    seat.recall();
    assert_eq!(four.back(&seat), (Back::Quiet, Reason::Recalled));
    // Most of it waits for a client who does not read.
    let is_drained = |four: &Four| seat.is_drained(four.ours.as_fd(), Ledger::default()).unwrap();
    assert!(!is_drained(&four));
    let mut received = Vec::new();
    while !is_drained(&four) {
        assert!(received.len() < response.len(), "the client has it all, and it is not drained");
        received.extend(some(&mut four.client));
    }
    four.ours.write_all(b"behind it").unwrap();
    received.extend(take(&mut four.client, response.len() + 9 - received.len()));
    assert_eq!(text(&received.split_off(response.len())), "behind it");
    assert!(received == response);
}

#[test]
fn no_more_than_the_window_is_carried_to_a_client_who_does_not_read() {
    let Some(engine) = engine() else { return };
    let mut four = Four::narrow();
    let mut seat = four.seat(&engine);
    four.park(&mut seat).unwrap();
    let response = response(50_000);
    let mut carried = 0;
    let back = loop {
        four.client.write_all(GET).unwrap();
        take(&mut four.backend, GET.len());
        four.backend.write_all(&response).unwrap();
        // It is carried, or passed up.
        until("it is judged", || {
            engine.carried()[1] == carried + response.len() as u64 || has_come(&four.theirs, 1)
        });
        if has_come(&four.theirs, 1) {
            break four.back(&seat);
        }
        assert!(four.is_parked(&seat));
        carried += response.len() as u64;
        assert!(carried < 4 * u64::from(WINDOW), "{carried} bytes for a client who does not read");
    };
    assert_eq!(back, (Back::Answer(GET.to_vec()), Reason::Answer));
    assert!(all(&mut four.theirs, response.len()) == response);
    for _ in 0..carried / response.len() as u64 {
        assert!(take(&mut four.client, response.len()) == response);
    }
    assert!(carried >= u64::from(WINDOW) - response.len() as u64, "{carried}");
}

#[derive(Debug, Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_message_that_the_kernel_carries_wakes_nobody() {
    let Some((engine, events)) = loaded() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (_routes, changed) = watch::channel(0);
    runtime.spawn(engine.clone().run(events, changed));
    let (mut four, seat) = Four::parked(&engine);
    let wakes = Arc::new(Wakes::default());
    seat.set_waker(&Waker::from(wakes.clone()));
    for _ in 0..1000 {
        four.exchange(GET, OK);
    }
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    // What it does not carry wakes.
    four.client.write_all(b"POST").unwrap();
    until("the pair is woken", || wakes.0.load(Ordering::Relaxed) > 0);
    // So does a close.
    let mut other = Four::new();
    let mut seat = other.seat(&engine);
    other.park(&mut seat).unwrap();
    let wakes = Arc::new(Wakes::default());
    seat.set_waker(&Waker::from(wakes.clone()));
    other.exchange(GET, OK);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    other.client.shutdown(Shutdown::Write).unwrap();
    until("the pair is woken", || wakes.0.load(Ordering::Relaxed) > 0);
    other.client.set_nonblocking(true).unwrap();
    assert_eq!(other.client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn what_comes_while_a_pair_is_armed_is_carried_or_told_of() {
    let Some(engine) = engine() else { return };
    let mut four = Four::new();
    let mut seat = four.seat(&engine);
    let mut client = four.client.try_clone().unwrap();
    four.backend.set_nonblocking(true).unwrap();
    let mut ledgers = (Ledger::default(), Ledger::default());
    std::thread::scope(|threads| {
        let (go, gone) = std::sync::mpsc::channel();
        threads.spawn(move || {
            for () in gone {
                client.write_all(GET).unwrap();
            }
        });
        for round in 0..20_000 {
            go.send(()).unwrap();
            for _ in 0..round % 50 {
                std::hint::spin_loop();
            }
            let is_parked = four.park_with(&mut seat, ledgers.0, ledgers.1).is_ok();
            if is_parked {
                until("it is carried, or passed up", || {
                    has_come(&four.backend, GET.len()) || !four.is_parked(&seat)
                });
            }
            if !is_parked || !has_come(&four.backend, GET.len()) {
                assert_eq!(text(&all(&mut four.ours, GET.len())), text(GET));
                ledgers.0.read += GET.len() as u64;
            } else {
                all(&mut four.backend, GET.len());
                four.backend.write_all(OK).unwrap();
                take(&mut four.client, OK.len());
                seat.recall();
            }
            if is_parked {
                four.back(&seat);
            }
        }
    });
}

#[test]
fn a_request_asks_for_room_where_an_answer_like_the_last_would_not_fit() {
    let Some((engine, mut events)) = loaded() else { return };
    let (mut four, seat) = Four::parked(&engine);
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n{}", "x".repeat(400_000));
    for round in 0..5 {
        while events.take().is_some() {}
        four.client.write_all(GET).unwrap();
        assert_eq!(text(&take(&mut four.backend, GET.len())), text(GET));
        assert_eq!(events.take().is_some(), round > 0, "round {round}");
        // Who is told looks.
        assert!(four.is_parked(&seat));
        let Four { client, backend, .. } = &mut four;
        std::thread::scope(|scope| {
            scope.spawn(|| backend.write_all(long.as_bytes()).unwrap());
            assert!(take(client, long.len()) == long.as_bytes());
        });
    }
    assert_eq!(engine.carried(), [5 * GET.len() as u64, 5 * long.len() as u64, 5]);
    assert!(four.is_parked(&seat));
}
