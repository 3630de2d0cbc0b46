//! The wire engine: packets of a parked pair, at the doors of devices.
//!
//! The rules are [`gogeta_common::wire`]'s; here is what they are applied to. A packet that belongs to no pair costs one
//! look into a map. `TCX_NEXT` lets it go on, also to others' programs.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_INGRESS, BPF_F_NO_PREALLOC, bpf_sock, bpf_sock_tuple},
    helpers::{
        bpf_ktime_get_ns,
        generated::{
            bpf_clone_redirect, bpf_redirect, bpf_redirect_neigh, bpf_sk_lookup_tcp, bpf_sk_release,
            bpf_skb_change_head, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
        },
    },
    macros::{classifier, map},
    maps::{HashMap, PerCpuArray},
    programs::TcContext,
};
use gogeta_common::{
    pair::{Flow, Pair, Phase},
    wire::{
        BLOCK_MAX, Numbers, Place, Side,
        drive::{self, Outcome},
        pair::{Tuple, Way, grown, window},
        segment::{FIN, PSH, RST, SYN, Segment, URG},
    },
};

use crate::{
    events::{self, PAIRS},
    guard, messages, notice,
    packet::{ETHERNET, Packet},
};

/// Whose packets those of a connection are. Userspace sets how many there may be before it loads this.
#[map]
pub(crate) static WAYS: HashMap<Tuple, Way> = HashMap::with_max_entries(2, BPF_F_NO_PREALLOC);

/// What a program reads of its packet.
#[map]
static PACKET: PerCpuArray<Packet> = PerCpuArray::with_max_entries(1, 0);

/// What becomes of a packet (`linux/pkt_cls.h`): others may look at it; nothing.
pub(crate) const NEXT: i32 = -1;
pub(crate) const DROP: i32 = 2;

/// What is written on a packet: that it was carried, so that it is not taken for one of gogeta's own; that it is
/// the acknowledgement in the packet that begins a carriage, for gogeta's socket. Nothing else in a network namespace uses
/// this field but queueing disciplines for differentiated services, and only theirs.
pub(crate) const CARRIED: u32 = 0x676f;
const COPY: u32 = 0x6765;
/// That it was carried, and that the Ethernet header which it leaves by is to be remembered.
const LEARN: u32 = 0x676c;

/// What is written there on a packet that was seen to, so that it is not once more at a device above or below that one
/// (a macvlan and what it is on). Userspace sets it, for it differs from one network namespace to another: what leaves
/// the one may come to another gogeta in the next.
#[unsafe(no_mangle)]
static DONE: u32 = 0;

#[inline(always)]
pub(crate) fn done() -> u32 {
    // SAFETY: a constant that userspace has set.
    unsafe { core::ptr::read_volatile(&raw const DONE) }
}

/// States of sockets (`linux/bpf.h`).
pub(crate) const ESTABLISHED: u32 = 1;
const LISTEN: u32 = 10;

#[classifier]
fn wire_in(ctx: TcContext) -> i32 {
    inward(ctx.skb.skb, ETHERNET)
}

#[classifier]
fn wire_out(ctx: TcContext) -> i32 {
    outward(ctx.skb.skb, ETHERNET)
}

/// The same of a device without Ethernet.
#[classifier]
fn wire_in_bare(ctx: TcContext) -> i32 {
    inward(ctx.skb.skb, 0)
}

/// The same of a device without Ethernet.
#[classifier]
fn wire_out_bare(ctx: TcContext) -> i32 {
    outward(ctx.skb.skb, 0)
}

/// The packet at hand, read as far as it matters to anybody.
#[inline(always)]
fn read<'a>(skb: *mut __sk_buff, l3: u32, inward: bool) -> Option<(&'a mut Packet, *mut Way)> {
    // SAFETY: the context is the kernel's own.
    if unsafe { (*skb).vlan_present } != 0 {
        // It is another device's.
        return None;
    }
    // SAFETY: a program is not interrupted by another of its kind on its CPU.
    let packet = unsafe { &mut *PACKET.get_ptr_mut(0)? };
    if !packet.read(skb, l3, inward) {
        return None;
    }
    let way = WAYS.get_ptr_mut(packet.tuple)?;
    Some((packet, way))
}

#[inline(always)]
pub(crate) fn pair_of<'a>(way: &Way) -> Option<&'a mut Pair> {
    let pair = PAIRS.get_ptr_mut(Flow(way.flow).slot())?;
    // SAFETY: the map's values live as long as the map, and each field has one writer at a time.
    Some(unsafe { &mut *pair })
}

/// Whether it is the way of a tunnel that is over, of which gogeta has no sockets any more.
#[inline(always)]
fn is_over(way: &Way) -> bool {
    pair_of(way).is_some_and(|pair| matches!(events::load(pair).phase(), Phase::Over))
}

/// Nanoseconds, and the milliseconds that timestamps are made of.
#[inline(always)]
pub(crate) fn now() -> (u64, u32) {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    (now, (now / 1_000_000) as u32)
}

/// A packet that has come.
#[inline(always)]
fn inward(skb: *mut __sk_buff, l3: u32) -> i32 {
    // SAFETY: the context is the kernel's own.
    let (device, mark) = unsafe { ((*skb).ifindex, (*skb).tc_index) };
    if mark == done() {
        return NEXT;
    }
    let Some((packet, way)) = read(skb, l3, true) else { return notice::inward(skb, l3) };
    // SAFETY: it is there, and if it is deleted meanwhile, it is kept until this program ends.
    let way = unsafe { &mut *way };
    // SAFETY: the context is the kernel's own.
    unsafe { (*skb).tc_index = done() };
    way.devices[1] = device;
    if way.flow == Way::WATCHED {
        return NEXT;
    }
    if packet.segment.has(SYN) && !lives(skb, packet) {
        // Where userspace does not know yet that a pair's socket has gone, it comes too early.
        return if way.flow == Way::GONE || is_over(way) { begins(packet) } else { DROP };
    }
    if way.flow == Way::GONE {
        let numbers = way.side.inward(packet.segment.seq, packet.segment.ack);
        return up(skb, packet, numbers, way.shift);
    }
    let Some(pair) = pair_of(way) else { return NEXT };
    let is_upstream = Flow(way.flow).is_upstream();
    packet.side = u32::from(is_upstream);
    let end = &mut pair.wire.ends[packet.side()];
    if end.tuple != packet.tuple {
        return NEXT;
    }
    end.devices[1] = device;
    if mark == COPY {
        return if is_upstream { copy::<true>(skb, packet, pair) } else { copy::<false>(skb, packet, pair) };
    }
    let phase = events::load(pair).phase();
    if phase.is_carried() && !packet.is_sound(skb) {
        // Its sender sends it again.
        return DROP;
    }
    let mut hands = Kernel { skb, packet, pair };
    let becomes = match (phase, is_upstream) {
        (Phase::Ajar | Phase::Open | Phase::Over, _) => hands.of_tunnel(is_upstream),
        (_, false) => hands.of_client(),
        (_, true) => hands.of_upstream(),
    };
    hands.follow(becomes, l3, is_upstream)
}

/// A connection begins between the addresses of one that is over.
#[inline(always)]
fn begins(packet: &Packet) -> i32 {
    // Where it is not there, somebody else has removed it.
    let _ = WAYS.remove(packet.tuple);
    NEXT
}

/// Whether there is a socket for what has come, other than a listener: who guesses does not end its connection
/// (RFC 5961, 4).
#[inline(never)]
fn lives(skb: *mut __sk_buff, packet: &mut Packet) -> bool {
    let size = packet.look_up();
    // SAFETY: so many bytes are there, of this network namespace; what is found is released.
    unsafe {
        let tuple = packet.looked_up().cast::<bpf_sock_tuple>();
        let socket: *mut bpf_sock = bpf_sk_lookup_tcp(skb.cast(), tuple, size, u64::MAX, 0);
        if socket.is_null() {
            return false;
        }
        let is_one = (*socket).state != LISTEN;
        bpf_sk_release(socket.cast());
        is_one
    }
}

/// A packet on its way to gogeta's own socket.
#[inline(never)]
fn up(skb: *mut __sk_buff, packet: &mut Packet, numbers: Numbers, shift: u32) -> i32 {
    let Segment { seq, ack, .. } = packet.segment;
    if numbers == (Numbers { seq, ack }) && shift == 0 {
        return NEXT;
    }
    let is_known = packet.look();
    packet.begin();
    packet.set_numbers(numbers);
    if is_known {
        packet.move_sack(ack.wrapping_sub(numbers.ack));
        if let Some((time, echo)) = packet.times() {
            packet.set_times(time, if echo == 0 { 0 } else { echo.wrapping_sub(shift) });
        }
    } else if !packet.segment.has(SYN) {
        return DROP;
    }
    // Whoever has forgotten the connection begins anew, with options of its own: that it is there, the socket says.
    if packet.renumber(skb) { NEXT } else { DROP }
}

/// What is acknowledged by the packet that began a carriage, for gogeta's socket.
#[inline(never)]
fn copy<const UPSTREAM: bool>(skb: *mut __sk_buff, packet: &mut Packet, pair: &mut Pair) -> i32 {
    let book = pair.wire.books.of(events::load(pair));
    let Place { received, sent } = if UPSTREAM { book.upstream } else { book.client };
    if !packet.look() {
        return DROP;
    }
    packet.begin();
    packet.set_numbers(Numbers { seq: received, ack: sent });
    // Whoever has said that it is a copy, it is no more than that.
    packet.clear_flags(PSH | FIN | SYN | RST | URG);
    if let Some((time, echo)) = packet.times() {
        packet.set_times(time, echo.wrapping_sub(pair.wire.clocks[usize::from(UPSTREAM)].shift));
    }
    if packet.trim(skb) { NEXT } else { DROP }
}

/// A packet that leaves.
#[inline(always)]
fn outward(skb: *mut __sk_buff, l3: u32) -> i32 {
    // SAFETY: the context is the kernel's own.
    let skb_ref = unsafe { &mut *skb };
    if skb_ref.tc_index == CARRIED {
        skb_ref.tc_index = done();
        return NEXT;
    }
    if skb_ref.tc_index == LEARN {
        skb_ref.tc_index = done();
        if l3 == ETHERNET {
            learn(skb);
        }
        return NEXT;
    }
    if skb_ref.tc_index == done() {
        return NEXT;
    }
    if skb_ref.ingress_ifindex != 0 {
        // Somebody else's, on its way through this host, whatever its addresses say.
        return NEXT;
    }
    let Some((packet, way)) = read(skb, l3, false) else { return NEXT };
    // SAFETY: it is there, and if it is deleted meanwhile, it is kept until this program ends.
    let way = unsafe { &mut *way };
    skb_ref.tc_index = done();
    way.devices[0] = skb_ref.ifindex;
    if way.flow == Way::WATCHED {
        return NEXT;
    }
    if way.flow == Way::GONE && packet.segment.has(SYN) {
        return begins(packet);
    }
    let (side, shift, is_broken) = if way.flow == Way::GONE {
        // What anybody sends there does not keep it, nor what the kernel says to those whom it does not know.
        if !packet.segment.has(RST) {
            way.last = now().0;
        }
        (way.side, way.shift, false)
    } else {
        let Some(pair) = pair_of(way) else { return NEXT };
        let is_upstream = Flow(way.flow).is_upstream();
        packet.side = u32::from(is_upstream);
        let end = &mut pair.wire.ends[packet.side()];
        if end.tuple != packet.tuple {
            return NEXT;
        }
        end.devices[0] = skb_ref.ifindex;
        if packet.segment.has(SYN) && is_over(way) {
            return begins(packet);
        }
        let mut hands = Kernel { skb, packet, pair };
        let Some(side) = hands.of_socket(is_upstream) else {
            messages::silenced(events::slot(hands.pair), is_upstream.into(), hands.packet.segment.len.into());
            return DROP;
        };
        let is_broken = matches!(events::load(hands.pair).phase(), Phase::Broken);
        (side, hands.pair.wire.clocks[hands.packet.side()].shift, is_broken)
    };
    // A response that was broken off must not look like one that ends, and whoever has no room hears of no end.
    let breaks = is_broken && packet.segment.has(FIN);
    if side == Side::default() && shift == 0 && !breaks {
        return NEXT;
    }
    if !packet.look() {
        return DROP;
    }
    packet.begin();
    if breaks {
        packet.reset();
    }
    packet.set_numbers(side.outward(packet.segment.seq, packet.segment.ack));
    if let Some((time, echo)) = packet.times() {
        packet.set_times(time.wrapping_add(shift), echo);
    }
    // Its first gap is among what its own socket has not got.
    packet.move_sack(0_u32.wrapping_sub(side.received));
    if packet.renumber(skb) { NEXT } else { DROP }
}

/// Remembers how a packet leaves that was carried, for those behind it: to look the route up takes longer than all else.
#[inline(never)]
fn learn(skb: *mut __sk_buff) -> i32 {
    let Some((packet, way)) = read(skb, ETHERNET, false) else { return 0 };
    // SAFETY: as above.
    let way = unsafe { &mut *way };
    let Some(pair) = pair_of(way) else { return 0 };
    packet.side = u32::from(Flow(way.flow).is_upstream());
    let end = &mut pair.wire.ends[packet.side()];
    // SAFETY: the context is the kernel's own.
    let device = unsafe { (*skb).ifindex };
    if end.tuple != packet.tuple || end.devices[0] != device {
        return 0;
    }
    let hop = &mut end.hop;
    let (seen, header) = (&raw mut hop.seen, &raw mut hop.header);
    // SAFETY: they are there. Whoever reads it at this moment had better not believe it.
    unsafe {
        seen.write_volatile(0);
        if bpf_skb_load_bytes(skb.cast(), 0, header.cast(), ETHERNET) == 0 {
            seen.write_volatile(now().0);
        }
    }
    0
}

/// A packet of a pair, and the pair.
pub(crate) struct Kernel<'a> {
    pub(crate) skb: *mut __sk_buff,
    pub(crate) packet: &'a mut Packet,
    pub(crate) pair: &'a mut Pair,
}

/// What a packet becomes; how, is in the packet.
const ON: u32 = 1;
const UP: u32 = 2;

/// What judges a packet is each a function of its own, and ends before the packet is changed: either needs a good part of
/// the stack.
impl Kernel<'_> {
    #[inline(never)]
    fn of_client(&mut self) -> u32 {
        let (block, segment) = (self.pair.wire.block_len, self.packet.segment);
        let books = &raw mut self.pair.wire.books;
        // SAFETY: nothing else of the pair is reached by it.
        let outcome = drive::of_client(self, unsafe { &mut *books }, block, &segment);
        self.note(outcome)
    }

    #[inline(never)]
    fn of_socket(&mut self, is_upstream: bool) -> Option<Side> {
        let segment = self.packet.segment;
        let books = &raw const self.pair.wire.books;
        // SAFETY: nothing that is written is reached by it.
        drive::of_socket(self, unsafe { &*books }, is_upstream, &segment)
    }

    #[inline(never)]
    fn of_upstream(&mut self) -> u32 {
        let segment = self.packet.segment;
        let books = &raw mut self.pair.wire.books;
        // SAFETY: as above.
        let outcome = drive::of_upstream(self, unsafe { &mut *books }, &segment);
        self.note(outcome)
    }

    /// Notes how the packet goes on; not on the stack, for the compiler would put it where pointers were.
    #[inline(always)]
    pub(crate) fn note(&mut self, outcome: Outcome) -> u32 {
        match outcome {
            Outcome::Up(numbers) => {
                self.packet.on.numbers = numbers;
                UP
            }
            Outcome::On(on) => {
                self.packet.on = on;
                ON
            }
            Outcome::Drop => 0,
        }
    }

    /// Does what was noted.
    #[inline(always)]
    fn follow(&mut self, becomes: u32, l3: u32, is_upstream: bool) -> i32 {
        match becomes {
            ON => self.on(l3),
            UP => self.up(self.packet.on.numbers),
            _ => {
                let phase = events::load(self.pair).phase() as u64;
                let side = is_upstream.into();
                messages::dropped(events::slot(self.pair), phase, side, self.packet.segment.len.into());
                DROP
            }
        }
    }

    #[inline(always)]
    fn up(&mut self, numbers: Numbers) -> i32 {
        let shift = self.pair.wire.clocks[self.packet.side()].shift;
        up(self.skb, self.packet, numbers, shift)
    }

    #[inline(never)]
    fn on(&mut self, l3: u32) -> i32 {
        let from = self.packet.side();
        let on = &raw const self.packet.on;
        // SAFETY: it is there, and nobody writes it.
        let on = unsafe { &*on };
        let (skb, wire) = (self.skb, &mut self.pair.wire);
        let (nanoseconds, milliseconds) = now();
        if on.is_first && self.pair.behind != 0 {
            // SAFETY: the context is the kernel's own. The copy comes back to where this packet came.
            unsafe {
                (*skb).tc_index = COPY;
                let device = (*skb).ifindex;
                bpf_clone_redirect(skb, device, u64::from(BPF_F_INGRESS));
            }
        }
        let packet = &mut *self.packet;
        if !packet.look() {
            return DROP;
        }
        let (near, far) = (&wire.ends[from], &wire.ends[(from ^ 1) & 1]);
        packet.begin();
        packet.set_numbers(on.numbers);
        packet.set_window(window(packet.window(), near.scales[0], far.scales[1]));
        // Whoever does not ask for urgent data does not get that byte: it would read something else than the guard.
        if !on.is_tunnel {
            packet.clear_flags(if on.open { FIN | URG } else { URG });
        }
        let [clock_of_client, clock_of_upstream] = &mut wire.clocks;
        let (mine, theirs) = if from == 0 {
            (clock_of_client, clock_of_upstream)
        } else {
            (clock_of_upstream, clock_of_client)
        };
        if on.is_first && !on.is_tunnel {
            mine.begin();
            theirs.begin();
        }
        if let Some((time, echo)) = packet.times() {
            packet.set_times(theirs.tell(time, milliseconds), mine.echo(echo));
        }
        if from == 0 || on.is_tunnel {
            packet.move_sack(packet.segment.ack.wrapping_sub(on.numbers.ack));
        } else {
            packet.drop_sack();
        }
        let device = far.devices[0];
        let more = if on.is_request { wire.block_len } else { 0 };
        if !packet.address(far, more) {
            return DROP;
        }
        let is_known = l3 == ETHERNET && far.hop.is_fresh(nanoseconds);
        if is_known {
            packet.set_link(&far.hop);
        }
        let mut sum = 0;
        if on.is_request {
            let at = packet.payload();
            let len = packet.segment.len;
            sum = grown(wire.block_sum, len);
            // SAFETY: so many bytes are there: the masks are as large as the room.
            let grew = unsafe {
                let is_longer = bpf_skb_change_tail(skb, at + len + more, 0) == 0;
                // What the guard has let pass, and nothing else that came by the same numbers.
                let is_same = guard::keep(skb, at, &self.pair.carried);
                let count = ((more + 1) & (BLOCK_MAX as u32 - 1)) + 1;
                let block = (&raw const wire.block).cast();
                is_longer && is_same && bpf_skb_store_bytes(skb, at + len - 2, block, count, 0) == 0
            };
            if !grew {
                return DROP;
            }
        }
        if on.is_judged && !on.is_request && !guard::keep_answer(skb, packet.payload(), self.pair) {
            return DROP;
        }
        if !packet.write(skb, more, sum) {
            return DROP;
        }
        if packet.segment.len > 0 {
            tally(self.pair, packet.segment.len, on.new);
        }
        if on.is_late {
            self.pair.last = nanoseconds;
        } else if on.new > 0 {
            self.pair.last = nanoseconds;
            if from == 0 && on.is_tunnel {
                self.pair.up += u64::from(on.new);
            } else if from == 0 {
                self.pair.up += u64::from(on.new + more);
                self.pair.requests += 1;
                self.pair.carried.begun = nanoseconds;
            } else {
                self.pair.down += u64::from(on.new);
            }
        }
        // SAFETY: the context is the kernel's own.
        unsafe {
            if l3 == 0 && bpf_skb_change_head(skb, ETHERNET, 0) != 0 {
                return DROP;
            }
            if is_known {
                (*skb).tc_index = CARRIED;
                bpf_redirect(device, 0) as i32
            } else {
                (*skb).tc_index = LEARN;
                bpf_redirect_neigh(device, core::ptr::null_mut(), 0, 0) as i32
            }
        }
    }
}

/// Counts how much is sent once more; `new` bytes of so many were not. A function of its own, for its stack is not the
/// caller's.
#[inline(never)]
fn tally(pair: &mut Pair, len: u32, new: u32) {
    let kilobytes = u64::from((len + 1023) >> 10);
    pair.sent += kilobytes;
    if new == 0 {
        pair.again += kilobytes;
    }
}
