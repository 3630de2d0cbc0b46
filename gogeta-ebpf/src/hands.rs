//! What the wire engine's rules ask of the kernel.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock, bpf_sock_tuple},
    helpers::generated::{bpf_sk_lookup_tcp, bpf_sk_release, bpf_tcp_sock},
};
use gogeta_common::{
    guard::Framing,
    pair::{Phase, Word},
    wire::{
        Place,
        drive::Hands,
        pair::End,
        segment::{Segment, URG},
    },
};

use crate::{
    events, guard, messages,
    wire::{ESTABLISHED, Kernel, now},
};

impl Hands for Kernel<'_> {
    #[inline(always)]
    fn word(&self) -> Word {
        events::load(self.pair)
    }

    #[inline(always)]
    fn swap(&mut self, old: Word, new: Word) -> bool {
        events::swap(self.pair, old, new)
    }

    #[inline(always)]
    fn claim(&mut self) -> bool {
        events::claim(self.pair)
    }

    #[inline(always)]
    fn let_go(&mut self) {
        events::let_go(self.pair);
    }

    #[inline(always)]
    fn pass(&mut self) -> Word {
        events::pass(self.pair)
    }

    #[inline(always)]
    fn window(&self) -> u32 {
        let scale = self.pair.wire.ends[self.packet.side()].scales[0];
        u32::from(self.packet.window()) << (scale & 15)
    }

    #[inline(always)]
    fn places(&mut self, is_upstream: bool) -> Option<(Place, Place)> {
        let wire = &mut self.pair.wire;
        if wire.ends[0].devices[0] == 0 || wire.ends[1].devices[0] == 0 || wire.ends[1].devices[1] == 0 {
            // Whether packets to the upstream look like this to it is not known yet.
            messages::not_begun(events::slot(self.pair), 2, 0);
            return None;
        }
        let Some((client, behind)) = place(self.skb, &mut wire.ends[0]) else {
            messages::not_begun(events::slot(self.pair), 0, 0);
            return None;
        };
        let Some((upstream, behind_too)) = place(self.skb, &mut wire.ends[1]) else {
            messages::not_begun(events::slot(self.pair), 1, 0);
            return None;
        };
        let (own, other) = if is_upstream { (behind_too, behind) } else { (behind, behind_too) };
        if other != 0 {
            messages::not_begun(events::slot(self.pair), u64::from(!is_upstream), other.into());
            return None;
        }
        self.pair.behind = own;
        Some((client, upstream))
    }

    #[inline(always)]
    fn judge(&mut self, segment: &Segment) -> bool {
        let skb = self.skb;
        // SAFETY: the context is the kernel's own.
        let is_one = unsafe { (*skb).gso_segs } <= 1;
        let fits = segment.len + self.pair.wire.block_len <= self.pair.wire.ends[1].mss;
        if !is_one || !fits || segment.has(URG) || self.pair.requests >= self.pair.allowance {
            messages::due(events::slot(self.pair), self.pair.requests);
            return false;
        }
        match guard::judge(skb, self.packet.payload(), self.pair, segment.len) {
            Some(method) => {
                self.pair.carried.method = method as u32;
                true
            }
            None => false,
        }
    }

    #[inline(always)]
    fn frame(&mut self, segment: &Segment) -> Option<Framing> {
        guard::frame(self.skb, self.packet.payload(), self.pair, segment.len)
    }

    #[inline(always)]
    fn back(&mut self, _: Phase) {
        let (_, now) = now();
        let [client, upstream] = &mut self.pair.wire.clocks;
        client.end(now);
        upstream.end(now);
        events::wake(self.pair);
    }

    #[inline(always)]
    fn answered(&mut self) {
        self.pair.last = now().0;
        events::carried(self.pair);
    }

    #[inline(always)]
    fn ended(&mut self) {
        events::wake(self.pair);
    }
}

/// Where gogeta's socket at that end is, and how many bytes it sent that it does not know to have arrived; none where
/// it has something that userspace has not read, or something to send.
#[inline(always)]
fn place(skb: *mut __sk_buff, end: &mut End) -> Option<(Place, u32)> {
    let size = (end.lookup_len.wrapping_sub(1) & 63) + 1;
    // SAFETY: so many bytes are there, of this network namespace; what is found is released.
    unsafe {
        let tuple = (&raw mut end.lookup).cast::<bpf_sock_tuple>();
        let socket: *mut bpf_sock = bpf_sk_lookup_tcp(skb.cast(), tuple, size, u64::MAX, 0);
        if socket.is_null() {
            return None;
        }
        let tcp = bpf_tcp_sock(socket);
        let place = if tcp.is_null() {
            None
        } else {
            let behind = (*tcp).snd_nxt.wrapping_sub((*tcp).snd_una);
            let is_all =
                (*tcp).bytes_received == end.received && (*tcp).bytes_acked + u64::from(behind) == end.acked;
            let place = Place { received: (*tcp).rcv_nxt, sent: (*tcp).snd_nxt };
            // Whose other end has closed takes no request.
            if is_all && (*socket).state == ESTABLISHED { Some((place, behind)) } else { None }
        };
        bpf_sk_release(socket.cast());
        place
    }
}
