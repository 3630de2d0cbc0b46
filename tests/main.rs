//! End-to-end tests: the real binary, driven over a harness of clients, backends and etcd. One file per promise.

mod support;

mod access_log;
mod admin;
mod bodies;
mod cases;
mod command_line;
mod connect;
mod corpus;
mod demo;
mod drain;
mod endless;
mod errors;
mod etcd_auth;
mod etcd_faults;
mod etcd_routes;
mod file_routes;
mod forwarding;
mod hops;
mod hostile;
mod hostile_bodies;
mod inherited;
mod interim;
mod limits;
mod pages;
mod resolvers;
mod retry;
mod signals;
mod stages;
mod status;
mod timeouts;
mod tls;
mod upgrade;
mod vtc;
mod wake;
mod websocket;
