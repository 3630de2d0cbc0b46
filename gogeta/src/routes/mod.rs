//! Where a request goes: the pure core. No I/O, no runtime; time is an argument.
//!
//! ```text
//! store ── Change ──> registry.apply ──> RouteTable (immutable) ──> resolve(host) ──> Route
//! ```
//!
//! - [`key`]: the text of a key in etcd, and what it names
//! - [`model`]: hosts' targets, services, instances
//! - [`host`]: the rules for host names in requests and keys
//! - [`rest`]: how long an upstream that cannot be connected to is left alone
//! - [`registry`]: the half-filled state that changes are applied to
//! - [`splice`]: what a domain or an instance says about the kernel carrying its connections
//! - [`table`]: the immutable snapshot that requests are resolved by
//! - [`entries`]: a table as the keys that lead to it
//! - [`loss`]: how much a change takes away
//! - [`census`]: how many there are in each state
//! - [`series`]: where a service's requests are counted

pub mod census;
pub mod entries;
pub mod host;
pub mod key;
pub mod loss;
pub mod model;
pub mod parse;
pub mod registry;
pub mod rest;
pub mod series;
pub mod splice;
pub mod strikes;
pub mod table;
