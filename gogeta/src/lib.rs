//! gogeta: a dynamic HTTP reverse proxy whose routes live in etcd and change while it runs.
//!
//! This crate is the binary's inside; its API is for its own tests. Read it in this order:
//!
//! 1. **Routes** come from a [`store`], are applied by the [`control`] task to the [`routes`] registry, and are
//!    published as one immutable table; the last one is kept on disk as [`state`].
//! 2. **A request** goes down [`proxy`] once: vet, resolve, [`balance`], headers, forward, and back up.
//! 3. **Where no backend answers**, one of the [`pages`] does, by the instance's [`status`].
//! 4. **What requests have to say** to the store goes through [`feedback`], and never waits.
//! 5. **The operator** sees it all on the [`admin`] listener, in the [`telemetry`], the [`access_log`],
//!    [`metrics`] and [`trace`]s.
//! 6. **A new gogeta** takes over from the running one by [`handover`].
//! 7. **Whoever writes routes** can do it by one of the [`commands`].
//!
//! [`app`] wires it together and takes it down in order.

pub mod access_log;
pub mod admin;
pub mod app;
pub mod balance;
mod bound;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod demo;
pub mod explain;
pub mod feedback;
pub mod handover;
pub mod inherited;
pub mod journal;
pub mod metrics;
pub mod pages;
pub mod privilege;
pub mod profile;
pub mod proxy;
pub mod resources;
pub mod routes;
pub mod sandbox;
mod share;
pub mod signals;
mod source;
pub mod splice;
pub mod state;
pub mod status;
pub mod store;
pub mod systemd;
pub mod task_dump;
pub mod telemetry;
pub mod trace;
mod watched;
