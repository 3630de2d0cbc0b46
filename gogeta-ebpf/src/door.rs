//! What keeps new connections out of the queue of a listener that is about to close.

use aya_ebpf::{macros::socket_filter, programs::SkBuffContext};

/// Where the flags are in a TCP header, with which such a packet begins here, and which of them says SYN (RFC 9293, 3.1).
const FLAGS: usize = 13;
const SYN: u8 = 0x02;

/// Drops who knocks, and passes what completes a handshake: gives how much of a packet is kept.
#[socket_filter]
fn gogeta_door(ctx: SkBuffContext) -> i64 {
    match ctx.load::<u8>(FLAGS) {
        Ok(flags) if flags & SYN != 0 => 0,
        _ => i64::from(u32::MAX),
    }
}
