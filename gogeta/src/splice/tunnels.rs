//! Tunnels over real sockets.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd as _;

use super::counts::Reason;
use super::seat::{Back, Ledger, Unfit, WINDOW};
use super::testing::{Four, engine, narrow, pattern, some, take, text, until};

#[test]
fn whatever_comes_goes_to_the_other_side() {
    let Some(engine) = engine() else { return };
    let (mut four, seat) = Four::opened(&engine);
    let mut size = 1;
    for round in 0..200 {
        size = size * 7919 % 60_013;
        let bytes = pattern(size);
        let (from, to) = if round % 3 == 0 {
            (&mut four.backend, &mut four.client)
        } else {
            (&mut four.client, &mut four.backend)
        };
        from.write_all(&bytes).unwrap();
        assert!(take(to, size) == bytes, "round {round}: {size} bytes");
        assert!(four.is_parked(&seat), "round {round}");
    }
    assert_eq!(engine.parked(), 1);
}

#[test]
fn a_tunnel_holds_no_more_than_the_window_for_whoever_does_not_read() {
    let Some(engine) = engine() else { return };
    for side in 0..2 {
        let mut four = Four::narrow();
        four.theirs = narrow(four.theirs);
        four.backend = narrow(four.backend);
        let mut seat = four.seat(&engine);
        four.open(&mut seat, Default::default()).unwrap();
        let bytes = pattern(16_000);
        let mut sent = 0;
        while four.is_parked(&seat) {
            let from = if side == 0 { &mut four.client } else { &mut four.backend };
            from.write_all(&bytes).unwrap();
            sent += bytes.len();
            assert!(sent < 4 * WINDOW as usize, "side {side}: {sent} bytes");
            until("they are judged", || {
                let (up, down) = seat.bytes();
                up + down == sent as u64 || !four.is_parked(&seat)
            });
        }
        assert_eq!(four.back(&seat), (Back::Quiet, Reason::Refused));
        let (up, down) = seat.bytes();
        let carried = usize::try_from(up + down).unwrap();
        assert!(carried >= WINDOW as usize - bytes.len(), "side {side}: {carried}");
        let ledger = Ledger::default();
        let is_drained = |four: &Four| match side {
            0 => seat.is_upstream_drained(four.theirs.as_fd(), ledger).unwrap(),
            _ => seat.is_drained(four.ours.as_fd(), ledger).unwrap(),
        };
        assert!(!is_drained(&four), "side {side}");
        // What was passed up follows what was carried.
        let mut received = Vec::new();
        while !is_drained(&four) {
            received.extend(some([&mut four.backend, &mut four.client][side]));
        }
        let mut read = 0;
        while carried + read < sent {
            let passed = some([&mut four.ours, &mut four.theirs][side]);
            read += passed.len();
            let to = if side == 0 { &mut four.theirs } else { &mut four.ours };
            to.set_nonblocking(false).unwrap();
            to.write_all(&passed).unwrap();
            to.set_nonblocking(true).unwrap();
        }
        received.extend(take([&mut four.backend, &mut four.client][side], sent - received.len()));
        assert!(received.chunks(bytes.len()).all(|chunk| chunk == bytes), "side {side}");
        // Then the kernel has it again.
        let (read, written) = (read as u64, read as u64);
        let (reader, writer) = (Ledger { read, written: 0 }, Ledger { read: 0, written });
        let ledgers = if side == 0 { (reader, writer) } else { (writer, reader) };
        until("nothing is under way", || {
            let sockets = ((four.ours.as_fd(), ledgers.0), (four.theirs.as_fd(), ledgers.1));
            seat.is_quiet(sockets.0, sockets.1).unwrap()
        });
        four.open(&mut seat, ledgers).unwrap();
        four.client.write_all(b"up").unwrap();
        assert_eq!(text(&take(&mut four.backend, 2)), "up");
        four.backend.write_all(b"down").unwrap();
        assert_eq!(text(&take(&mut four.client, 4)), "down");
        drop(seat);
    }
}

#[test]
fn whoever_ends_its_half_or_breaks_off_gives_the_tunnel_back() {
    let Some(engine) = engine() else { return };
    for side in 0..2 {
        let (mut four, mut seat) = Four::opened(&engine);
        let from = if side == 0 { &mut four.client } else { &mut four.backend };
        from.write_all(b"last").unwrap();
        from.shutdown(Shutdown::Write).unwrap();
        assert_eq!(four.back(&seat), (Back::Quiet, Reason::Closed));
        assert_eq!(text(&take([&mut four.backend, &mut four.client][side], 4)), "last");
        assert_eq!(some([&mut four.ours, &mut four.theirs][side]), b"");
        // The other half goes on, by userspace.
        [&mut four.backend, &mut four.client][side].write_all(b"more").unwrap();
        assert_eq!(text(&some([&mut four.theirs, &mut four.ours][side])), "more");
        let ledgers = [Ledger { read: 4, written: 0 }, Ledger::default()];
        assert!(matches!(four.open(&mut seat, (ledgers[1 - side], ledgers[side])), Err(Unfit::Unquiet)));

        let (mut four, seat) = Four::opened(&engine);
        let (near, _far) = super::testing::connected();
        let gone = std::mem::replace([&mut four.client, &mut four.backend][side], near);
        let gone = tokio::net::TcpSocket::from_std_stream(gone);
        gone.set_zero_linger().unwrap();
        drop(gone);
        assert_eq!(four.back(&seat), (Back::Quiet, Reason::Closed));
        assert!([&mut four.ours, &mut four.theirs][side].read(&mut [0; 1]).is_err());
    }
}

#[test]
fn a_tunnel_comes_back_when_it_is_wanted() {
    let Some(engine) = engine() else { return };
    let (mut four, mut seat) = Four::opened(&engine);
    four.client.write_all(b"GET / HTTP/1.1").unwrap();
    assert_eq!(text(&take(&mut four.backend, 14)), "GET / HTTP/1.1");
    engine.close();
    assert_eq!(four.back(&seat), (Back::Quiet, Reason::Recalled));
    four.client.write_all(b"x").unwrap();
    assert_eq!(text(&some(&mut four.ours)), "x");
    assert_eq!(seat.bytes(), (14, 0));
    assert!(matches!(four.open(&mut seat, Default::default()), Err(Unfit::Closed)));
}
