//! Connections that the wire engine carries over bad cables on both sides: these lose, double, delay and reorder packets
//! as a seed says, and each exchange is right nevertheless, byte for byte.
//!
//! `GOGETA_TEST_EXCHANGES` sets how many there are, for each kind of cable; where it is set, the same is done in
//! userspace, too, and it is told how much faster which was.

mod behind;
mod cable;
mod exchanges;
mod terrains;
mod weather;
mod world;
