//! Parked connections over a network: clients, gogeta and backends on hosts of their own, with cables between them.

mod bridges;
mod devices;
mod docker;
mod everything;
mod families;
mod fields;
mod filters;
mod many;
mod outage;
mod pieces;
mod settings;
mod talk;
mod world;
