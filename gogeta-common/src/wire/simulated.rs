//! Two ends of TCP, gogeta's two sockets, and links that lose, delay, reorder and duplicate: the rules carry requests
//! and responses between them byte for byte, and give the pair back and take it again on the way.

extern crate std;

use std::collections::BTreeMap;
use std::vec::Vec;
use std::{format, vec};

use super::drive::{Books, Hands, Outcome, of_client, of_socket, of_upstream};
use super::links::{Chance, Links, Packet, To};
use super::segment::{ACK, FIN, Segment};
use super::{Carriage, Place, Side};
use crate::guard::Framing;
use crate::pair::{Phase, Step, Word};

const BLOCK: &[u8] = b"[the block]";

/// One end of a connection.
struct Tcp {
    iss: u32,
    irs: u32,
    /// All that was written, and how much of it was acknowledged, and sent.
    written: Vec<u8>,
    acked: usize,
    sent: usize,
    /// Where a segment has to end: each request is one.
    ends: Vec<usize>,
    got: Vec<u8>,
    early: BTreeMap<usize, Vec<u8>>,
    /// What had been acknowledged at the last look.
    seen: usize,
}

impl Tcp {
    fn new(iss: u32, irs: u32) -> Self {
        let (written, got, early, ends) = Default::default();
        Self { iss, irs, written, acked: 0, sent: 0, ends, got, early, seen: 0 }
    }

    fn packet(&self, from: usize, to: usize) -> Packet {
        let seq = self.iss.wrapping_add(from as u32);
        let ack = self.irs.wrapping_add(self.got.len() as u32);
        let segment = Segment { seq, ack, len: (to - from) as u32, flags: ACK };
        Packet { segment, data: self.written[from..to].to_vec() }
    }

    /// Where a segment that begins there ends.
    fn cut(&self, from: usize, chance: &mut Chance) -> usize {
        let whole = self.ends.iter().copied().find(|end| *end > from);
        whole.unwrap_or_else(|| (from + 1 + chance.below(400)).min(self.written.len()))
    }

    fn send(&mut self, chance: &mut Chance) -> Vec<Packet> {
        let mut packets = Vec::new();
        while self.sent < self.written.len() {
            let end = self.cut(self.sent, chance);
            packets.push(self.packet(self.sent, end));
            self.sent = end;
        }
        packets
    }

    /// What is sent again where nothing has been acknowledged for a while.
    fn tick(&mut self, chance: &mut Chance) -> Option<Packet> {
        let waits = self.acked < self.sent && self.acked == self.seen;
        self.seen = self.acked;
        let end = waits.then(|| self.cut(self.acked, chance).min(self.sent))?;
        Some(self.packet(self.acked, end))
    }

    /// Takes a packet, and gives an acknowledgement where there is to be one.
    fn receive(&mut self, packet: &Packet) -> Option<Packet> {
        let Segment { seq, ack, len, .. } = packet.segment;
        let acked = ack.wrapping_sub(self.iss) as usize;
        if acked < 1 << 31 {
            assert!(acked <= self.sent, "{acked} are acknowledged, {} were sent", self.sent);
            self.acked = self.acked.max(acked);
        }
        if len == 0 {
            return None;
        }
        let at = i64::from(seq.wrapping_sub(self.irs.wrapping_add(self.got.len() as u32)).cast_signed());
        if at > 0 {
            self.early.insert(self.got.len() + at as usize, packet.data.clone());
        } else if let Some(new) = packet.data.get(at.unsigned_abs() as usize..) {
            self.got.extend_from_slice(new);
        }
        while let Some((&from, _)) = self.early.first_key_value() {
            if from > self.got.len() {
                break;
            }
            let data = self.early.remove(&from).unwrap();
            if let Some(new) = data.get(self.got.len() - from..) {
                self.got.extend_from_slice(new);
            }
        }
        Some(self.packet(self.sent, self.sent))
    }
}

/// A request: what is asked for, how long the answer is, and something to make it long.
fn request(kind: char, id: usize, length: usize, filler: usize) -> Vec<u8> {
    format!("{kind}{id:04x}{length:06x}{}\r\n", "-".repeat(filler)).into_bytes()
}

fn response(request: &[u8]) -> Vec<u8> {
    let length = usize::from_str_radix(core::str::from_utf8(&request[5..11]).unwrap(), 16).unwrap();
    // What answers an `H` is not simple.
    let kind = if request[0] == b'H' { b'Q' } else { b'R' };
    let mut response = vec![kind];
    response.extend_from_slice(&request[1..11]);
    response.extend((0..length).map(|at| request[at % 11] ^ at as u8));
    response
}

/// How long a request at the beginning of these bytes is.
fn first(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|two| two == b"\r\n").map(|at| at + 2)
}

/// What the kernel's part sees of gogeta's sockets, and the pair's word.
struct Kernel {
    word: Word,
    c: Place,
    u: Place,
    /// Whether nothing is on its way to or from U, nor to C.
    quiet: bool,
    data: Vec<u8>,
    wakes: usize,
    answered: usize,
    carried: usize,
}

impl Hands for Kernel {
    fn word(&self) -> Word {
        self.word
    }

    fn swap(&mut self, old: Word, new: Word) -> bool {
        let same = self.word == old;
        if same {
            self.word = new;
        }
        same
    }

    fn claim(&mut self) -> bool {
        true
    }

    fn let_go(&mut self) {}

    fn pass(&mut self) -> Word {
        unreachable!("it is no tunnel");
    }

    fn window(&self) -> u32 {
        unreachable!("it is no tunnel");
    }

    fn places(&mut self, _: bool) -> Option<(Place, Place)> {
        self.quiet.then_some((self.c, self.u))
    }

    fn judge(&mut self, _: &Segment) -> bool {
        let passes = matches!(self.data[0], b'G' | b'H') && first(&self.data) == Some(self.data.len());
        self.carried += usize::from(passes);
        passes
    }

    fn frame(&mut self, _: &Segment) -> Option<Framing> {
        let length = usize::from_str_radix(core::str::from_utf8(self.data.get(5..11)?).ok()?, 16).ok()?;
        (self.data[0] == b'R').then_some(Framing { status: 200, head: 11, body: length as u64 })
    }

    fn back(&mut self, _: Phase) {
        self.wakes += 1;
    }

    fn answered(&mut self) {
        self.answered += 1;
    }

    fn ended(&mut self) {
        unreachable!("it is no tunnel");
    }
}

struct World {
    links: Links,
    client: Tcp,
    upstream: Tcp,
    c: Tcp,
    u: Tcp,
    kernel: Kernel,
    books: Books,
    /// The last request that the kernel sent on, for whoever sends it again.
    head: Vec<u8>,
    /// Bytes that gogeta has read: from C, and from U.
    read: (usize, usize),
    /// The request that gogeta waits for an answer to.
    asked: Option<Vec<u8>>,
    /// Bytes of requests that the upstream has taken.
    taken: usize,
    /// What it was asked, without the block.
    heard: Vec<Vec<u8>>,
}

impl World {
    fn new(seed: u64, loss: usize) -> Self {
        let mut chance = Chance(seed);
        let mut number = || chance.next() as u32;
        let [a, c, u, b] = [number(), number(), number(), number()];
        let place = |tcp: &Tcp| Place { received: tcp.irs, sent: tcp.iss };
        let [client, mine, theirs, upstream] =
            [(a, c), (c, a), (u, b), (b, u)].map(|(iss, irs)| Tcp::new(iss, irs));
        let kernel = Kernel {
            word: Word(0).seated(),
            c: place(&mine),
            u: place(&theirs),
            quiet: false,
            data: Vec::new(),
            wakes: 0,
            answered: 0,
            carried: 0,
        };
        Self {
            links: Links::new(chance, loss),
            client,
            upstream,
            c: mine,
            u: theirs,
            kernel,
            books: Books::new(Carriage::resting(Side::default())),
            head: Vec::new(),
            read: (0, 0),
            asked: None,
            taken: 0,
            heard: Vec::new(),
        }
    }

    fn flush(&mut self) {
        for packet in self.client.send(&mut self.links.chance) {
            self.links.send(&packet, To::WireOfClient);
        }
        for packet in self.upstream.send(&mut self.links.chance) {
            self.links.send(&packet, To::WireOfUpstream);
        }
        for packet in self.c.send(&mut self.links.chance) {
            self.emit(packet, false);
        }
        for packet in self.u.send(&mut self.links.chance) {
            self.emit(packet, true);
        }
    }

    /// A packet of gogeta's own socket.
    fn emit(&mut self, mut packet: Packet, is_upstream: bool) {
        let side = of_socket(&mut self.kernel, &self.books, is_upstream, &packet.segment);
        let Some(side) = side else { return };
        let numbers = side.outward(packet.segment.seq, packet.segment.ack);
        (packet.segment.seq, packet.segment.ack) = (numbers.seq, numbers.ack);
        self.links.send(&packet, if is_upstream { To::Upstream } else { To::Client });
    }

    fn look(&mut self) {
        let place = |tcp: &Tcp| Place {
            received: tcp.irs.wrapping_add(tcp.got.len() as u32),
            sent: tcp.iss.wrapping_add(tcp.sent as u32),
        };
        self.kernel.c = place(&self.c);
        self.kernel.u = place(&self.u);
        let all_read = self.read == (self.c.got.len(), self.u.got.len());
        let early = !self.c.early.is_empty() || !self.u.early.is_empty();
        let all_sent = self.u.acked == self.u.written.len() && self.c.sent == self.c.written.len();
        self.kernel.quiet = all_read && !early && all_sent;
    }

    /// A packet at gogeta's door.
    fn wire(&mut self, mut packet: Packet, is_upstream: bool) {
        self.look();
        self.kernel.data.clone_from(&packet.data);
        let outcome = if is_upstream {
            of_upstream(&mut self.kernel, &mut self.books, &packet.segment)
        } else {
            of_client(&mut self.kernel, &mut self.books, BLOCK.len() as u32, &packet.segment)
        };
        match outcome {
            Outcome::Up(numbers) => {
                (packet.segment.seq, packet.segment.ack) = (numbers.seq, numbers.ack);
                let tcp = if is_upstream { &mut self.u } else { &mut self.c };
                if let Some(answer) = tcp.receive(&packet) {
                    self.emit(answer, is_upstream);
                }
            }
            Outcome::On(on) => {
                if on.is_first {
                    // C learns what the client acknowledges.
                    self.c.acked = self.c.sent;
                }
                (packet.segment.seq, packet.segment.ack) = (on.numbers.seq, on.numbers.ack);
                if on.is_request {
                    if on.new == 0 {
                        packet.data.clone_from(&self.head);
                    }
                    self.head.clone_from(&packet.data);
                    let end = packet.data.len() - 2;
                    packet.data.splice(end..end, BLOCK.iter().copied());
                    packet.segment.len += BLOCK.len() as u32;
                }
                self.links.send(&packet, if is_upstream { To::Client } else { To::Upstream });
            }
            Outcome::Drop => {}
        }
    }

    /// gogeta's userspace.
    fn serve(&mut self) {
        if self.kernel.word.phase() == Phase::Pending {
            self.kernel.word = self.kernel.word.after(Step::Resume).unwrap();
            self.asked = Some(self.head.clone());
        }
        if self.kernel.word.phase() != Phase::Local {
            return;
        }
        if self.asked.is_none()
            && let Some(length) = first(&self.c.got[self.read.0..])
        {
            let request = self.c.got[self.read.0..][..length].to_vec();
            self.read.0 += length;
            self.u.written.extend_from_slice(&request[..length - 2]);
            self.u.written.extend_from_slice(BLOCK);
            self.u.written.extend_from_slice(b"\r\n");
            self.asked = Some(request);
        }
        if let Some(request) = &self.asked {
            let response = response(request);
            if let Some(came) = self.u.got.get(self.read.1..self.read.1 + response.len()) {
                assert_eq!(came, response);
                self.read.1 += response.len();
                self.c.written.extend_from_slice(&response);
                self.asked = None;
            }
        }
        self.flush();
        let is_idle = self.asked.is_none() && self.read == (self.c.got.len(), self.u.got.len());
        if is_idle && self.links.chance.percent(50) {
            self.kernel.word = self.kernel.word.after(Step::Ready).unwrap();
        }
    }

    /// The upstream's own server.
    fn answer(&mut self) {
        while let Some(length) = first(&self.upstream.got[self.taken..]) {
            let mut request = self.upstream.got[self.taken..][..length].to_vec();
            self.taken += length;
            let block = length - 2 - BLOCK.len()..length - 2;
            assert_eq!(
                &request[block.clone()],
                BLOCK,
                "{:?}",
                std::string::String::from_utf8_lossy(&request)
            );
            request.drain(block);
            self.upstream.written.extend_from_slice(&response(&request));
            self.heard.push(request);
        }
    }

    fn step(&mut self) {
        let Some((to, packet)) = self.links.next() else { return };
        match to {
            To::Client | To::Upstream => {
                let packet = self.links.packets[packet].clone();
                let is_client = to == To::Client;
                let tcp = if is_client { &mut self.client } else { &mut self.upstream };
                if let Some(answer) = tcp.receive(&packet) {
                    self.links.send(&answer, if is_client { To::WireOfClient } else { To::WireOfUpstream });
                }
                self.answer();
            }
            To::WireOfClient | To::WireOfUpstream => {
                let packet = self.links.packets[packet].clone();
                self.wire(packet, to == To::WireOfUpstream);
            }
            To::Tick => {
                for (of, is_upstream) in [(0, false), (1, true), (2, false), (3, true)] {
                    let tcp = match of {
                        0 => &mut self.client,
                        1 => &mut self.upstream,
                        2 => &mut self.c,
                        _ => &mut self.u,
                    };
                    let Some(packet) = tcp.tick(&mut self.links.chance) else { continue };
                    match of {
                        0 => self.links.send(&packet, To::WireOfClient),
                        1 => self.links.send(&packet, To::WireOfUpstream),
                        _ => self.emit(packet, is_upstream),
                    }
                }
                if self.links.chance.percent(5) {
                    // Userspace wants it back, or its patience ends.
                    let step = if self.links.chance.percent(50) { Step::Stop } else { Step::Take };
                    if let Some(next) = self.kernel.word.after(step) {
                        self.kernel.word = next;
                    }
                }
                self.links.tick();
            }
        }
        self.serve();
        self.flush();
    }
}

/// Whoever asks does it that often.
const REQUESTS: usize = 40;

fn run(seed: u64, loss: usize) -> World {
    let mut world = World::new(seed, loss);
    let (mut asked, mut expected) = (Vec::new(), Vec::new());
    for id in 0.. {
        let steps = 200_000;
        for _ in 0..steps {
            if world.client.got.len() >= expected.len() {
                break;
            }
            world.step();
        }
        assert_eq!(
            world.client.got.len(),
            expected.len(),
            "seed {seed}: stuck at {:?} in request {id}",
            world.kernel.word.phase()
        );
        if id >= REQUESTS {
            break;
        }
        // Now and then two at once.
        for _ in 0..=usize::from(world.links.chance.percent(5)) {
            let kind = ['G', 'G', 'G', 'G', 'G', 'G', 'G', 'G', 'H', 'P'][world.links.chance.below(10)];
            let length = [0, 1, 30, 3000][world.links.chance.below(4)];
            let filler = world.links.chance.below(40);
            let request = request(kind, id, length, filler);
            expected.extend_from_slice(&response(&request));
            world.client.written.extend_from_slice(&request);
            world.client.ends.push(world.client.written.len());
            asked.push(request);
        }
        world.flush();
        if world.links.chance.percent(30) {
            // It takes its time.
            let until = world.links.now + 500;
            while world.links.now < until {
                world.step();
            }
        }
    }
    assert!(world.client.got == expected, "seed {seed}: something else came");
    assert_eq!(world.heard, asked, "seed {seed}");
    world
}

#[test]
fn whatever_the_links_do_each_request_is_answered_once_and_byte_for_byte() {
    let (mut carried, mut wakes, mut answered) = (0, 0, 0);
    for seed in 0..200 {
        let world = run(seed, [0, 1, 5, 20][seed as usize % 4]);
        carried += world.kernel.carried;
        wakes += world.kernel.wakes;
        answered += world.kernel.answered;
    }
    // So the rules were used.
    assert!(carried > 200 * REQUESTS / 4, "{carried} were carried");
    assert!(answered > carried / 2 && answered <= carried, "{answered} of {carried} were answered");
    assert!(wakes > 200, "{wakes} times it went back");
}

#[test]
fn what_gogetas_own_sockets_say_while_a_pair_is_carried_is_nothing_but_that_they_are_closed() {
    let mut world = World::new(7, 0);
    let request = request('G', 1, 30, 3);
    world.client.written.extend_from_slice(&request);
    world.client.ends.push(request.len());
    world.kernel.word = world.kernel.word.after(Step::Ready).unwrap();
    world.flush();
    while world.client.acked < request.len() {
        world.step();
    }
    let (word, books) = (world.kernel.word, world.books);
    assert!(matches!(word.phase(), Phase::Busy | Phase::Body), "{:?}", word.phase());
    let say = |flags| Segment { seq: 0, ack: 0, len: 0, flags: ACK | flags };
    for is_upstream in [false, true] {
        world.kernel.word = word;
        assert_eq!(of_socket(&mut world.kernel, &books, is_upstream, &say(0)), None);
        assert_eq!(world.kernel.word, word);
        let side = of_socket(&mut world.kernel, &books, is_upstream, &say(FIN)).expect("it goes on");
        assert_eq!(world.kernel.word.phase(), Phase::Broken);
        let skipped = if is_upstream { side.sent as usize - BLOCK.len() } else { side.received as usize };
        assert_eq!(skipped, request.len());
    }
}
