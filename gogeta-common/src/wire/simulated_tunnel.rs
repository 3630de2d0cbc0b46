//! A tunnel between two ends of TCP that both send at once, over links that lose, delay, reorder and duplicate: each
//! byte and each end gets to the other side once, while the pair is taken, given back and taken again on the way.

extern crate std;

use std::collections::BTreeMap;
use std::vec::Vec;

use super::drive::{Books, Hands, Outcome, of_socket};
use super::links::{Chance, Links, Packet, To};
use super::segment::{ACK, FIN, Segment};
use super::tunnel::{begin, is_over, is_quiet, of_tunnel};
use super::{Carriage, Place, Side};
use crate::guard::Framing;
use crate::pair::{Phase, Step, Word};

/// One end of a connection. What is sent ends with a FIN, which counts as a byte.
struct Tcp {
    iss: u32,
    irs: u32,
    written: Vec<u8>,
    closed: bool,
    acked: usize,
    sent: usize,
    got: Vec<u8>,
    got_end: bool,
    early: BTreeMap<usize, (Vec<u8>, bool)>,
    /// What had been acknowledged at the last look.
    seen: usize,
}

impl Tcp {
    fn new(iss: u32, irs: u32) -> Self {
        let (written, got, early) = Default::default();
        Self { iss, irs, written, closed: false, acked: 0, sent: 0, got, got_end: false, early, seen: 0 }
    }

    /// All that there is to send.
    fn all(&self) -> usize {
        self.written.len() + usize::from(self.closed)
    }

    fn received(&self) -> usize {
        self.got.len() + usize::from(self.got_end)
    }

    fn place(&self) -> Place {
        Place {
            received: self.irs.wrapping_add(self.received() as u32),
            sent: self.iss.wrapping_add(self.sent as u32),
        }
    }

    fn packet(&self, from: usize, to: usize) -> Packet {
        let data = self.written[from.min(self.written.len())..to.min(self.written.len())].to_vec();
        let fin = if to > self.written.len() && from < to { FIN } else { 0 };
        let seq = self.iss.wrapping_add(from as u32);
        let segment = Segment { seq, ack: self.place().received, len: data.len() as u32, flags: ACK | fin };
        Packet { segment, data }
    }

    fn send(&mut self, chance: &mut Chance) -> Vec<Packet> {
        let mut packets = Vec::new();
        while self.sent < self.all() {
            let end = (self.sent + 1 + chance.below(900)).min(self.all());
            packets.push(self.packet(self.sent, end));
            self.sent = end;
        }
        packets
    }

    /// What is sent again where nothing has been acknowledged for a while: in other pieces.
    fn tick(&mut self, chance: &mut Chance) -> Option<Packet> {
        let waits = self.acked < self.sent && self.acked == self.seen;
        self.seen = self.acked;
        let end = waits.then(|| (self.acked + 1 + chance.below(900)).min(self.sent))?;
        Some(self.packet(self.acked, end))
    }

    fn receive(&mut self, packet: &Packet) -> Option<Packet> {
        let Segment { seq, ack, len, .. } = packet.segment;
        let acked = ack.wrapping_sub(self.iss) as usize;
        if acked < 1 << 31 {
            assert!(acked <= self.sent, "{acked} are acknowledged, {} were sent", self.sent);
            self.acked = self.acked.max(acked);
        }
        let fin = packet.segment.has(FIN);
        if len == 0 && !fin {
            return None;
        }
        let at = i64::from(seq.wrapping_sub(self.irs.wrapping_add(self.got.len() as u32)).cast_signed());
        let at = usize::try_from(self.got.len() as i64 + at);
        if let Ok(at) = at {
            self.early.insert(at, (packet.data.clone(), fin));
        }
        while let Some((&from, _)) = self.early.first_key_value() {
            if from > self.got.len() {
                break;
            }
            let (data, fin) = self.early.remove(&from).unwrap();
            let is_end = from + data.len();
            if let Some(new) = data.get(self.got.len() - from..) {
                assert!(new.is_empty() || !self.got_end, "more came behind the end");
                self.got.extend_from_slice(new);
            }
            if fin {
                assert_eq!(is_end, self.got.len(), "the end is somewhere else");
                self.got_end = true;
            }
        }
        Some(self.packet(self.sent, self.sent))
    }
}

struct Kernel {
    word: Word,
    places: (Place, Place),
    /// Whether nothing is on its way from C, and from U.
    quiet: [bool; 2],
    is_read: bool,
    /// Userspace has seen this word, and that nothing is on its way, and is about to take the pair.
    eager: Option<Word>,
    wakes: usize,
    ended: usize,
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
        unreachable!("it is a tunnel");
    }

    fn let_go(&mut self) {
        unreachable!("it is a tunnel");
    }

    fn window(&self) -> u32 {
        60_000
    }

    fn pass(&mut self) -> Word {
        if let Some(seen) = self.eager.take().filter(|seen| *seen == self.word) {
            self.word = seen.after(Step::Take).unwrap();
        }
        self.word = Word(self.word.0 + Word::PASSED);
        self.word
    }

    fn places(&mut self, is_upstream: bool) -> Option<(Place, Place)> {
        let other = usize::from(!is_upstream);
        (self.is_read && self.quiet[other]).then_some(self.places)
    }

    fn judge(&mut self, _: &Segment) -> bool {
        unreachable!("it is a tunnel");
    }

    fn frame(&mut self, _: &Segment) -> Option<Framing> {
        unreachable!("it is a tunnel");
    }

    fn back(&mut self, _: Phase) {
        self.wakes += 1;
    }

    fn answered(&mut self) {
        unreachable!("it is a tunnel");
    }

    fn ended(&mut self) {
        self.ended += 1;
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
    /// Bytes that gogeta has read: from C, and from U.
    read: (usize, usize),
    /// Bytes of both ends that were counted as carried.
    carried: usize,
    begun: usize,
    /// Times that userspace has taken it while new bytes were on their way through the rules.
    raced: usize,
}

impl World {
    fn new(seed: u64, loss: usize) -> Self {
        let mut chance = Chance(seed);
        let mut number = || chance.next() as u32;
        let [a, c, u, b] = [number(), number(), number(), number()];
        let [client, mine, theirs, upstream] =
            [(a, c), (c, a), (u, b), (b, u)].map(|(iss, irs)| Tcp::new(iss, irs));
        let kernel = Kernel {
            word: Word(0).seated(),
            places: (mine.place(), theirs.place()),
            quiet: [true; 2],
            is_read: true,
            eager: None,
            wakes: 0,
            ended: 0,
        };
        Self {
            links: Links::new(chance, loss),
            client,
            upstream,
            c: mine,
            u: theirs,
            kernel,
            books: Books::new(Carriage::resting(Side::default())),
            read: (0, 0),
            carried: 0,
            begun: 0,
            raced: 0,
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
        let Some(side) = side else {
            assert!(matches!(self.kernel.word.phase(), Phase::Open | Phase::Over));
            assert_eq!(packet.segment.len, 0, "it has nothing to say");
            return;
        };
        let numbers = side.outward(packet.segment.seq, packet.segment.ack);
        (packet.segment.seq, packet.segment.ack) = (numbers.seq, numbers.ack);
        self.links.send(&packet, if is_upstream { To::Upstream } else { To::Client });
    }

    fn look(&mut self) {
        self.kernel.places = (self.c.place(), self.u.place());
        let is_early = !self.c.early.is_empty() || !self.u.early.is_empty();
        self.kernel.is_read = self.read == (self.c.received(), self.u.received()) && !is_early;
        self.kernel.quiet = [&self.c, &self.u].map(|tcp| tcp.acked == tcp.all());
    }

    fn is_quiet(&self) -> bool {
        let word = self.kernel.word;
        word.phase() == Phase::Open && is_quiet(self.books.streams(word))
    }

    /// A packet at gogeta's door.
    fn wire(&mut self, mut packet: Packet, is_upstream: bool) {
        self.look();
        let word = self.kernel.word;
        self.kernel.eager = (self.is_quiet() && self.links.chance.percent(20)).then_some(word);
        let (kernel, books, segment) = (&mut self.kernel, &mut self.books, &packet.segment);
        let outcome = if is_upstream {
            let is_first = begin::<true, _>(kernel, books, segment);
            of_tunnel::<true, _>(kernel, books, segment, is_first)
        } else {
            let is_first = begin::<false, _>(kernel, books, segment);
            of_tunnel::<false, _>(kernel, books, segment, is_first)
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
                    self.begun += 1;
                    let tcp = if is_upstream { &mut self.u } else { &mut self.c };
                    tcp.acked = tcp.sent;
                }
                self.carried += on.new as usize;
                (packet.segment.seq, packet.segment.ack) = (on.numbers.seq, on.numbers.ack);
                self.links.send(&packet, if is_upstream { To::Client } else { To::Upstream });
            }
            Outcome::Drop => {
                self.raced += usize::from(word.phase() == Phase::Open);
            }
        }
    }

    /// gogeta's userspace.
    fn serve(&mut self) {
        let word = self.kernel.word;
        if word.phase() == Phase::Open && is_over(self.books.streams(word)) {
            self.kernel.word = word.after(Step::Close).unwrap();
        }
        if self.is_quiet() && word.is_stopped() {
            self.kernel.word = word.after(Step::Take).unwrap();
        }
        if self.kernel.word.phase() != Phase::Local {
            return;
        }
        self.u.written.extend_from_slice(&self.c.got[self.read.0.min(self.c.got.len())..]);
        self.c.written.extend_from_slice(&self.u.got[self.read.1.min(self.u.got.len())..]);
        self.u.closed |= self.c.got_end;
        self.c.closed |= self.u.got_end;
        self.read = (self.c.received(), self.u.received());
        self.flush();
        if !self.u.closed && !self.c.closed && self.links.chance.percent(50) {
            self.books.clear_next(self.kernel.word);
            self.kernel.word = self.kernel.word.after(Step::Unlatch).unwrap();
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
            }
            To::WireOfClient => self.wire(self.links.packets[packet].clone(), false),
            To::WireOfUpstream => self.wire(self.links.packets[packet].clone(), true),
            To::Tick => self.tick(),
        }
        self.serve();
        self.flush();
    }

    fn tick(&mut self) {
        if let Some(packet) = self.client.tick(&mut self.links.chance) {
            self.links.send(&packet, To::WireOfClient);
        }
        if let Some(packet) = self.upstream.tick(&mut self.links.chance) {
            self.links.send(&packet, To::WireOfUpstream);
        }
        if self.kernel.word.phase() != Phase::Over {
            if let Some(packet) = self.c.tick(&mut self.links.chance) {
                self.emit(packet, false);
            }
            if let Some(packet) = self.u.tick(&mut self.links.chance) {
                self.emit(packet, true);
            }
        }
        if self.links.chance.percent(2) {
            let step = self.kernel.word.after(Step::Stop);
            self.kernel.word = step.unwrap_or(self.kernel.word);
        }
        self.links.tick();
    }
}

/// Each end says something that often.
const WORDS: usize = 60;
const SEEDS: u64 = 120;

fn run(seed: u64, loss: usize) -> World {
    let mut world = World::new(seed, loss);
    let mut left = [WORDS; 2];
    // In how many steps it says something: at once, or when all is quiet.
    let pace = [4, 100, 300][seed as usize % 3];
    for step in 0.. {
        assert!(
            step < 500_000,
            "seed {seed}: stuck at {:?}, {:?}",
            world.kernel.word.phase(),
            world.books.streams(world.kernel.word)
        );
        let World { client, upstream, links, .. } = &mut world;
        for (tcp, left) in [client, upstream].into_iter().zip(&mut left) {
            if *left > 0 && links.chance.below(pace) == 0 {
                *left -= 1;
                let length = [1, 100, 5000][links.chance.below(3)];
                tcp.written.extend((0..length).map(|_| links.chance.next() as u8));
                // One side has said all, and goes on listening.
                tcp.closed = *left == 0;
            }
        }
        world.flush();
        world.step();
        let is_done = |tcp: &Tcp| tcp.got_end && tcp.closed && tcp.acked == tcp.all();
        if is_done(&world.client) && is_done(&world.upstream) {
            break;
        }
    }
    assert!(world.client.got == world.upstream.written, "seed {seed}: the client got something else");
    assert!(world.upstream.got == world.client.written, "seed {seed}: the upstream got something else");
    world
}

#[test]
fn whatever_the_links_do_each_byte_and_each_end_gets_to_the_other_side_once() {
    let (mut carried, mut begun, mut ended, mut over, mut wakes, mut raced) = (0, 0, 0, 0, 0, 0);
    for seed in 0..SEEDS {
        let world = run(seed, [0, 1, 5, 20][seed as usize % 4]);
        carried += world.carried;
        begun += world.begun;
        ended += usize::from(world.kernel.ended > 0);
        over += usize::from(world.kernel.word.phase() == Phase::Over);
        wakes += world.kernel.wakes;
        raced += world.raced;
    }
    // So the rules were used.
    assert!(carried > 40_000 * SEEDS as usize && begun > 1000, "{carried} bytes in {begun} carriages");
    assert!(wakes > 200 && raced > 100, "{wakes} times it went back, {raced} times in a race");
    assert!(ended > 20 && over > 20, "{ended} tunnels were told to have ended, and {over} were over");
}
