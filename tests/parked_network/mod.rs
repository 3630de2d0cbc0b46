//! Parked connections over a network: clients, gogeta and backends on hosts of their own, with cables between them.

mod everything;
mod families;
mod fields;
mod outage;
mod pieces;
mod talk;
mod world;
