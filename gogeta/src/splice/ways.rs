//! Whose packets those of a connection are, to the wire engine: a socket's *way*.
//!
//! Each socket that might be parked has one from its first moment, so that it is known by which devices its packets
//! come and go. It leads to a pair's slot while there is a pair, and says after that how far the socket is behind. For
//! an open socket that holds without an end. When the socket is closed the kernel may have it for a while yet: until
//! its FIN is acknowledged, and in TIME_WAIT (RFC 9293, 3.6). For so long the way lingers; a reset leaves nothing
//! behind, nor does a socket past which nothing was carried. Where a tunnel is over that was carried to its end, the way
//! is its slot's (`late`).
//!
//! Where there is no room for another way, the one that has lingered the longest goes first. What that costs is a FIN,
//! or the acknowledgement of one, that is sent again and not understood: whoever waits for it gives up after a while,
//! as where a host has gone. Nothing that was sent before is lost by it.

use std::collections::{HashSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use gogeta_common::pair::Flow;
use gogeta_common::wire::pair::{Tuple, Way};

use super::engine::{Engine, lock};
use super::kernel::socket::{self, now};
use super::kernel::{Behind, Change};

/// How long nothing may have come by the way of a socket that was closed, until the kernel has forgotten it: it waits
/// for a minute (`TCP_TIMEWAIT_LEN`), and tries to send what is left for about as long from one time to the next.
const LINGER: Duration = Duration::from_secs(130);

/// Ways whose sockets are behind, and are no pair's.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    /// Of closed sockets, and when to look whether they can be forgotten, in that order.
    closed: VecDeque<(Duration, Tuple)>,
    /// Of open ones: between the same addresses there may have been one that is closed.
    open: HashSet<Tuple>,
}

/// A socket that has a way. It has to be dropped behind the socket.
#[derive(Debug)]
pub struct Watch {
    engine: Arc<Engine>,
    tuple: Tuple,
    is_reset: bool,
}

impl Watch {
    /// The socket is about to be closed by a reset.
    pub fn reset(&mut self) {
        self.is_reset = true;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.engine.close_way(&self.tuple, self.is_reset);
    }
}

fn watched(devices: [u32; 2]) -> Way {
    Way { flow: Way::WATCHED, devices, ..Way::default() }
}

/// The way of an open socket that is no pair's.
fn left(Behind { side, shift }: Behind, devices: [u32; 2]) -> Way {
    if (Behind { side, shift }) == Behind::default() {
        return watched(devices);
    }
    Way { flow: Way::GONE, shift, side, last: now(), devices }
}

impl Engine {
    /// Gives a socket a way, if there is an engine that needs to know. A pair's first request is not carried before
    /// packets of both its sockets were seen to come and to go.
    pub fn watch(self: &Arc<Self>, socket: BorrowedFd<'_>) -> Option<Watch> {
        let tuple = if self.kinds.wire { socket::tuple(socket).ok()?? } else { return None };
        self.watch_way(tuple)
    }

    fn watch_way(self: &Arc<Self>, tuple: Tuple) -> Option<Watch> {
        while self.program.lead(&tuple, watched([0; 2])).is_err() {
            if !self.forget_oldest_way() {
                return None;
            }
        }
        Some(Watch { engine: self.clone(), tuple, is_reset: false })
    }

    /// The way of an open socket does not lead to that slot any more, if it still does. Its packets are its own again.
    pub(super) fn leave(&self, tuple: &Tuple, flow: Flow, behind: Behind) {
        self.program.change_way(tuple, |way| {
            if way.flow != flow.0 {
                return Change::Leave;
            }
            let way = left(behind, way.devices);
            if way.flow == Way::GONE {
                lock(&self.lingering).open.insert(*tuple);
            }
            Change::Lead(way)
        });
    }

    /// The socket is closed.
    fn close_way(&self, tuple: &Tuple, is_reset: bool) {
        self.program.change_way(tuple, |way| {
            let way = match way.flow {
                Way::WATCHED | Way::GONE => way,
                flow if self.is_over(Flow(flow).slot()) => return Change::Leave,
                // Its seat has not noticed yet.
                flow => left(self.behind_of(Flow(flow)), way.devices),
            };
            let mut lingering = lock(&self.lingering);
            lingering.open.remove(tuple);
            if is_reset || way.flow == Way::WATCHED {
                return Change::Forget;
            }
            let now = now();
            lingering.closed.push_back((Duration::from_nanos(now) + LINGER, *tuple));
            Change::Lead(Way { last: now, ..way })
        });
    }

    /// How far the socket is behind that this leads to, which is closed: nothing of its pair is carried any more.
    fn behind_of(&self, flow: Flow) -> Behind {
        self.finish(flow.slot());
        let (client, upstream) = self.program.pairs.behind(flow.slot());
        if flow.is_upstream() { upstream } else { client }
    }

    /// Forgets the ways of sockets that the kernel has forgotten.
    pub(super) fn forget_ways(&self) {
        let now = Duration::from_nanos(now());
        let is_due = |(due, _): &mut (Duration, Tuple)| *due <= now;
        let next = || lock(&self.lingering).closed.pop_front_if(is_due);
        while let Some((_, tuple)) = next() {
            if !self.forget_closed(&tuple, |last| Duration::from_nanos(last) + LINGER <= now) {
                lock(&self.lingering).closed.push_back((now + LINGER, tuple));
            }
        }
    }

    /// Forgets the way that has lingered the longest; false where there is none.
    fn forget_oldest_way(&self) -> bool {
        let oldest = lock(&self.lingering).closed.pop_front();
        match oldest {
            Some((_, tuple)) => self.forget_closed(&tuple, |_| true),
            None => self.end_oldest().map(|slot| self.free(slot)).is_some(),
        }
    }

    /// Forgets the way of a closed socket, unless packets have come by it too lately: false then.
    fn forget_closed(&self, tuple: &Tuple, may: impl FnOnce(u64) -> bool) -> bool {
        let mut is_over = true;
        self.program.change_way(tuple, |way| {
            // It may be another connection's by now.
            if way.flow != Way::GONE || lock(&self.lingering).open.contains(tuple) {
                return Change::Leave;
            }
            is_over = may(way.last);
            if is_over { Change::Forget } else { Change::Leave }
        });
        is_over
    }
}

#[cfg(test)]
mod tests {
    use gogeta_common::wire::Side;

    use super::*;
    use crate::splice::testing::engine;

    const BEHIND: Behind = Behind { side: Side { received: 3, sent: 5 }, shift: 7 };

    fn tuple(number: u16) -> Tuple {
        Tuple { far_port: number, ..Tuple::default() }
    }

    /// A socket that is behind by what a pair has carried that is no more.
    fn behind(engine: &Arc<Engine>, number: u16) -> Watch {
        let watch = engine.watch_way(tuple(number)).unwrap();
        let flow = Flow::client(3);
        engine.program.lead(&watch.tuple, Way { flow: flow.0, ..Way::default() }).unwrap();
        engine.leave(&watch.tuple, flow, BEHIND);
        watch
    }

    fn flow(engine: &Engine, number: u16) -> Option<u32> {
        engine.program.way(&tuple(number)).map(|way| way.flow)
    }

    #[test]
    fn a_way_is_there_for_as_long_as_its_socket_and_longer_only_where_that_is_behind() {
        let Some(engine) = engine() else { return };
        let watch = engine.watch_way(tuple(1)).unwrap();
        assert_eq!(flow(&engine, 1), Some(Way::WATCHED));
        engine.leave(&tuple(1), Flow::client(3), BEHIND);
        assert_eq!(flow(&engine, 1), Some(Way::WATCHED), "it did not lead there");
        drop(watch);
        assert_eq!(flow(&engine, 1), None);

        let watch = behind(&engine, 2);
        let way = engine.program.way(&tuple(2)).unwrap();
        assert_eq!((way.flow, way.side, way.shift), (Way::GONE, BEHIND.side, BEHIND.shift));
        drop(watch);
        assert_eq!(flow(&engine, 2), Some(Way::GONE));

        let mut watch = behind(&engine, 3);
        watch.reset();
        drop(watch);
        assert_eq!(flow(&engine, 3), None);
    }

    #[test]
    fn where_there_is_no_room_the_oldest_of_the_closed_ones_goes_and_never_that_of_an_open_one() {
        let Some(engine) = engine() else { return };
        let open: Vec<_> = (0..10).map(|number| behind(&engine, number)).collect();
        let mut count = 10;
        while engine.program.lead(&tuple(9999), Way::default()).is_ok() {
            engine.program.forget_way(&tuple(9999));
            drop(behind(&engine, count));
            count += 1;
        }
        // The first of the closed ones are between addresses that are an open socket's again.
        let again = [behind(&engine, 10), behind(&engine, 11)];
        let more: Vec<_> = (100..105).map(|number| engine.watch_way(tuple(number)).unwrap()).collect();
        let are_there = |numbers: &[u16]| numbers.iter().all(|number| flow(&engine, *number).is_some());
        assert!(are_there(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 100, 101, 102, 103, 104, count - 1]));
        assert!((12..17).all(|number| flow(&engine, number).is_none()));
        let rest: Vec<_> = (200..).map_while(|number| engine.watch_way(tuple(number))).collect();
        assert!(are_there(&[0, 9, 10, 11, 100, 104]) && flow(&engine, count - 1).is_none());
        drop((open, again, more, rest));
    }
}
