//! Parked connections over a network: clients, gogeta and backends on hosts of their own, with cables between them.

mod bridges;
mod changes;
mod devices;
mod docker;
mod everything;
mod families;
mod fields;
mod filters;
mod log;
mod manners;
mod many;
mod neighbours;
pub(crate) mod outage;
mod paths;
mod pieces;
mod settings;
pub(crate) mod talk;
pub(crate) mod world;
