//! The wire engine's trial: packets that never were on a wire go through its programs (`BPF_PROG_TEST_RUN`), between
//! addresses that nobody has (RFC 5737; RFC 3849), and have to come out as they should, to the last bit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use gogeta_common::pair::{Flow, Phase, Step};
use gogeta_common::wire::pair::{Hop, Tuple, Way};
use gogeta_common::wire::{Carriage, ETHERNET, Place, Side};

use super::frame::{ACK, FIN, Frame, PSH};
use super::{Engine, GET, HOST, OK, POST, Trouble, wrong};
use crate::splice::Kind;
use crate::splice::kernel::socket::{self, Agreed};
use crate::splice::kernel::{Armed, Behind, Wired};

/// What programs say of a packet: it goes on elsewhere, nowhere, or here (`linux/pkt_cls.h`).
const REDIRECT: u32 = 7;
const DROP: u32 = 2;
const NEXT: u32 = u32::MAX;

/// What is added to requests.
const BLOCK: &[u8] = b"X-Trial: yes\r\n";

/// Where the client and gogeta's socket to it are, and gogeta's socket to the upstream and that, in a trial.
const CLIENT: Place = Place { received: 1_000, sent: 5_000 };
const UPSTREAM: Place = Place { received: 90_000, sent: 0xffff_fff0 };

/// By what the upstream is reached, when that is known.
const LINK: [u16; 6] = [0x1102, 0x2233, 0x3344, 0x0a02, 0x0b0c, 0x0d0e];

/// Longer than the trial takes, in nanoseconds.
const LONG: u64 = 60_000_000_000;

/// Any device will do: nothing is sent.
const DEVICE: u32 = 1;

const AGREED: Agreed =
    Agreed { has_times: false, has_ecn: false, scales: [2, 2], sizes: [1400, 1400], clock: 0 };

/// A pair of connections that are none.
struct Packets<'a> {
    engine: &'a Engine,
    slot: u32,
    /// The client and gogeta, gogeta and the upstream.
    client: [SocketAddr; 2],
    upstream: [SocketAddr; 2],
}

/// Tries both families. The programs know of no pair where `is_deaf`.
pub(super) fn run(engine: &Engine, is_deaf: bool) -> Result<(), Trouble> {
    let v4 = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    let v6 = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
    for ips in [[v4(1), v4(2), v4(3), v4(4)], [v6(1), v6(2), v6(3), v6(4)]] {
        let [one, two, three, four] = ips;
        let client = [(one, 40_000).into(), (two, 80).into()];
        let upstream = [(three, 50_000).into(), (four, 8080).into()];
        let Some(slot) = engine.seat(0, Kind::Wire) else { return wrong("there is no slot") };
        let packets = Packets { engine, slot, client, upstream };
        let outcome = packets.lay(is_deaf).and_then(|()| packets.check());
        packets.clear();
        outcome?;
    }
    Ok(())
}

fn reverse([from, to]: [SocketAddr; 2]) -> [SocketAddr; 2] {
    [to, from]
}

impl Packets<'_> {
    fn tuples(&self) -> [Tuple; 2] {
        [
            socket::tuple_of(self.client[1], self.client[0]),
            socket::tuple_of(self.upstream[0], self.upstream[1]),
        ]
    }

    /// A pair that waits for its next request.
    fn lay(&self, is_deaf: bool) -> Result<(), Trouble> {
        let (program, slot) = (&self.engine.program, self.slot);
        let wired = self.tuples().map(|tuple| Wired { tuple, agreed: AGREED, devices: [DEVICE; 2] });
        program.pairs.lay(slot, &wired, Behind::default());
        let terms = Armed {
            upstream: 0,
            limit: 0,
            limit_up: 0,
            allowance: u64::MAX,
            margin: 0,
            now: socket::now(),
            host: HOST,
        };
        program.pairs.set(slot, &terms);
        program.pairs.wire(slot, BLOCK, [(0, 0); 2]);
        let (client, upstream) = ((CLIENT, Side::default()), (UPSTREAM, Side::default()));
        program.pairs.carry(slot, Carriage::begin(client, upstream, BLOCK.len() as u32));
        if self.engine.step(slot, Step::Arm).is_none() {
            return wrong("the pair cannot be armed");
        }
        let flows = [Flow::client(slot), Flow::upstream(slot)];
        for (tuple, flow) in self.tuples().into_iter().zip(flows).filter(|_| !is_deaf) {
            program.lead(&tuple, Way { flow: flow.0, devices: [DEVICE; 2], ..Way::default() })?;
        }
        Ok(())
    }

    fn clear(&self) {
        for tuple in self.tuples() {
            self.engine.program.forget_way(&tuple);
        }
        self.engine.vacate(self.slot);
    }

    /// A request, its response, what the client says to that, and a request for userspace.
    fn check(&self) -> Result<(), Trouble> {
        let (get, ok) = (GET.len() as u32, OK.len() as u32);
        let plain = Frame {
            link: [0; 6],
            way: self.client,
            seq: CLIENT.received,
            ack: CLIENT.sent,
            flags: ACK | PSH,
            window: 1_000,
            hops: 64,
            options: &[],
            payload: GET,
        };
        let carried = Frame { hops: 63, ..plain };
        let [inward, outward] = ETHERNET;

        let head = [&GET[..GET.len() - 2], BLOCK, b"\r\n"].concat();
        let (seq, ack) = (UPSTREAM.sent, UPSTREAM.received);
        let request = Frame { way: self.upstream, seq, ack, payload: &head, ..carried };
        self.expect_no_damaged(inward, &plain)?;
        self.expect("a request", inward, (REDIRECT, &plain, &request))?;
        self.expect("a request that is sent again", inward, (REDIRECT, &plain, &request))?;
        let (pairs, slot) = (&self.engine.program.pairs, self.slot);
        pairs.lead_by(slot, self.hop());
        let known = Frame { link: LINK, ..request };
        self.expect("a request by a known hop", inward, (REDIRECT, &plain, &known))?;
        pairs.lead_by(slot, Hop::default());

        // Of the first bytes of a response the upstream's number has gone round.
        let got = UPSTREAM.sent.wrapping_add(get + BLOCK.len() as u32);
        let theirs = reverse(self.upstream);
        let response = Frame { way: theirs, seq: UPSTREAM.received, ack: got, payload: OK, ..plain };
        let (seq, ack) = (CLIENT.sent, CLIENT.received + get);
        let told = Frame { way: reverse(self.client), seq, ack, payload: OK, ..carried };
        self.expect("a response", inward, (REDIRECT, &response, &told))?;

        // What it has beyond a gap is told in the other's numbers as well (RFC 2018).
        let sack = |from: u32| [&[1, 1, 5, 10][..], &from.to_be_bytes(), &(from + 5).to_be_bytes()].concat();
        let (here, there) = (sack(CLIENT.sent + 2), sack(UPSTREAM.received + 2));
        let heard = Frame { seq: CLIENT.received + get, flags: ACK, options: &here, payload: b"", ..plain };
        let passed = Frame {
            way: self.upstream,
            seq: got,
            ack: UPSTREAM.received,
            flags: ACK,
            options: &there,
            payload: b"",
            ..carried
        };
        self.expect("an acknowledgement", inward, (REDIRECT, &heard, &passed))?;

        let post = Frame { seq: CLIENT.received + get, ack: CLIENT.sent + ok, payload: POST, ..plain };
        let own = Frame { payload: POST, ..plain };
        self.expect("a request for userspace", inward, (NEXT, &post, &own))?;
        if self.engine.program.pairs.load(self.slot).phase() != Phase::Local {
            return wrong("a request for userspace does not end it");
        }

        let answer = Frame {
            way: reverse(self.client),
            seq: CLIENT.sent,
            ack: CLIENT.received,
            flags: ACK | FIN,
            payload: b"end",
            ..plain
        };
        let sent = Frame { seq: CLIENT.sent + ok, ack: CLIENT.received + get, ..answer };
        self.expect("a response of userspace's", outward, (NEXT, &answer, &sent))
    }

    fn hop(&self) -> Hop {
        let [a, b, c, d, e, f] = LINK;
        let kind = if self.client[0].is_ipv4() { 0x0800_u16 } else { 0x86dd };
        // It is believed for as long as the trial may take.
        Hop { seen: socket::now() + LONG, header: [a, b, c, d, e, f, kind.to_be()], unused: 0 }
    }

    /// A frame of which one bit is not as it was sent.
    fn expect_no_damaged(&self, name: &'static str, frame: &Frame<'_>) -> Result<(), Trouble> {
        let mut bytes = frame.bytes();
        let at = bytes.len() - 5;
        bytes[at] ^= 1;
        match self.engine.program.pass(name, &bytes)? {
            (DROP, _) => Ok(()),
            (said, _) => wrong(format!("a damaged request is taken for one ({said})")),
        }
    }

    /// Sends a frame through that program: what is said of it, and what has to come out.
    fn expect(
        &self,
        what: &str,
        name: &'static str,
        (verdict, frame, expected): (u32, &Frame<'_>, &Frame<'_>),
    ) -> Result<(), Trouble> {
        let (said, bytes) = self.engine.program.pass(name, &frame.bytes())?;
        if said != verdict {
            return wrong(format!("{what} is taken for something else ({said})"));
        }
        let expected = expected.bytes();
        if bytes != expected {
            return wrong(format!("{what} becomes {bytes:02x?} instead of {expected:02x?}"));
        }
        Ok(())
    }
}
