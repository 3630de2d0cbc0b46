//! The life of a request.
//!
//! ```text
//! server      a connection is accepted and goes to a worker: a thread with a runtime and pools of its own
//!   guests      who is connected: how many in all, from each address, on each worker
//! connection  its task: hyper reads a head, deadlines watch over it
//!   downstream  the client's socket; gate: judges every byte before hyper sees it
//! service     respond(): one straight way down, and a page for whatever went wrong on it
//!   vet         is the request one that may be routed, and for which host?
//!   local       what gogeta answers by itself; hold: waiting for what is starting
//!   routes      table.resolve(host) -> a service or a fixed place          (crate::routes)
//!   balance     pick(service) -> an instance, or the state to tell of      (crate::balance)
//!   headers     to_upstream(): what goes on, what does not, who asked
//!   forward     a pooled or a fresh connection, time-outs, a retry where that is safe
//!     reach       connecting, letting rest who cannot be connected to; budget: how many retries there are
//!     pool        idle connections; transport: TCP and TLS; copy: a head to be sent once more
//!     gated       what the upstream sends passes the gate too; interim: its 1xx go on by a way of their own
//!   headers     to_client()
//! body        the response streams; when it has been read to its end the upstream connection is free again
//! record      counted and logged
//! error_page  where something went wrong: served, logged, counted
//! upgrade     after a 101, or a CONNECT (connect: to whom): a tunnel
//!   conduit     one that the kernel carries while it can
//! ```
//!
//! Nothing of a request leaves its worker's thread, so nothing on its way is locked or atomic but the route
//! table's pointer, the service's cursor and the counters.

pub mod bell;
pub mod body;
pub mod budget;
pub mod client;
pub mod conduit;
pub mod connect;
pub mod connection;
pub mod copy;
pub mod downstream;
pub mod error;
pub mod error_page;
pub mod forward;
pub mod gate;
pub mod gated;
pub mod guests;
pub mod headers;
pub mod hold;
pub mod interim;
pub mod listener;
pub mod local;
pub mod pace;
pub mod parking;
pub mod patience;
pub mod pool;
pub mod reach;
pub mod record;
pub mod server;
pub mod service;
pub mod socket;
pub mod tenancy;
pub mod transport;
pub mod upgrade;
pub mod vet;
pub mod vitals;
pub mod worker;
