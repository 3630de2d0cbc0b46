//! What somebody may try who makes packets by hand, against connections that the wire engine carries: each of these is
//! a line of `docs/threat-model.md`.

mod backend;
mod cable;
mod client;
mod pages;
mod raw;
mod scene;
mod segment;
mod spoof;
