//! `/api/status`: what an operator wants to see first, in one answer.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::Admin;

/// How gogeta is, in one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Always `gogeta`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What was built.
    pub build: Build,
    /// Its process.
    pub pid: u32,
    /// When it was started, in seconds since 1970.
    pub started_at: f64,
    /// For how many seconds it has been up.
    pub uptime_seconds: f64,
    /// Where it takes requests.
    pub listen: Vec<String>,
    /// Where this API is.
    pub admin: String,
    /// Whether it takes requests, and why not.
    pub ready: Readiness,
    /// Where routes come from, and how current they are.
    pub store: Store,
    /// How many there are of what.
    pub counts: Counts,
    /// The last ten seconds.
    pub traffic: Traffic,
    /// Who carries how much.
    pub engines: Vec<Engine>,
    /// How much there may be, by the flag's name in snake_case; 0 where there is no limit.
    pub limits: BTreeMap<String, u64>,
    /// What this process may do, and what not.
    pub sandbox: Sandbox,
    /// What is wrong now, the worst first: ten at most.
    pub worst: Vec<Wrong>,
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Build {
    /// The version.
    pub version: String,
    /// The commit, where it was known when gogeta was built.
    pub commit: Option<String>,
    /// `release` or `debug`.
    pub profile: String,
    /// For which system.
    pub target: String,
}

/// Whether gogeta takes requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether it does.
    pub ready: bool,
    /// Whether routes have been read at least once.
    pub routes_loaded: bool,
    /// Whether it is on its way out.
    pub draining: bool,
    /// Whether the store of the routes can be reached.
    pub store_connected: bool,
    /// All of that in one sentence.
    pub detail: String,
}

/// Where routes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = StoreKind)]
pub enum StoreKind {
    /// From etcd.
    Etcd,
    /// From a file (`--routes`).
    File,
    /// From the demo's file.
    Demo,
    /// The resolver needs none.
    None,
}

/// The store of the routes, and how current they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Store {
    /// What it is.
    pub kind: StoreKind,
    /// Whether it can be reached.
    pub connected: bool,
    /// The store's revision that is served.
    pub revision: i64,
    /// Seconds since the routes were last known to be current; none before there are any.
    pub config_age_seconds: Option<u64>,
    /// Whether they come from disk (`--state-dir`), and the store has not confirmed them yet.
    pub from_disk: bool,
    /// All of that in one sentence.
    pub detail: String,
}

/// How many there are of what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Domains, pending ones too.
    pub domains: usize,
    /// The same by state.
    pub domains_by_state: BTreeMap<String, usize>,
    /// Services.
    pub services: usize,
    /// The same by state.
    pub services_by_state: BTreeMap<String, usize>,
    /// Instances.
    pub instances: usize,
    /// The same by state.
    pub instances_by_state: BTreeMap<String, usize>,
    /// Instances that could not be connected to, and are left alone for a while.
    pub resting: usize,
    /// Instances that an operator has drained.
    pub drained: usize,
    /// Keys whose value is wrong.
    pub problems: usize,
}

/// What came and went in the last ten seconds, by whichever engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Traffic {
    /// Requests answered in a second.
    pub requests_per_second: f64,
    /// Of those, answers from 500 on.
    pub errors_per_second: f64,
    /// Their share, from 0 to 1.
    pub error_ratio: f64,
    /// Half of all answers took no longer, in seconds.
    pub p50_seconds: Option<f64>,
    /// Nine of ten took no longer.
    pub p90_seconds: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99_seconds: Option<f64>,
    /// Clients' connections open now.
    pub connections_open: u64,
    /// Idle connections to instances now.
    pub connections_idle_upstream: u64,
    /// Requests that were sent once more, in a second.
    pub retries_per_second: f64,
    /// Bytes from clients and to them, in a second.
    pub bytes_per_second: f64,
}

/// Who carries requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EngineName {
    /// gogeta's threads.
    Userspace,
    /// The kernel, from socket to socket.
    Sockmap,
    /// The kernel, packet by packet.
    Wire,
}

/// What an engine carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = EngineStatus)]
pub struct Engine {
    /// Which one.
    pub engine: EngineName,
    /// Whether it is there.
    pub loaded: bool,
    /// Pairs of connections that it has now; none for userspace, whose are the others.
    pub pairs: u64,
    /// Requests in a second, over the last ten.
    pub requests_per_second: f64,
    /// Bytes in a second, over the last ten.
    pub bytes_per_second: f64,
    /// Its share of all bytes of the last minute, from 0 to 1; 0 where there were none.
    pub share_of_bytes: f64,
    /// Requests since the start.
    pub requests_total: u64,
    /// Bytes since the start.
    pub bytes_total: u64,
}

/// What somebody who had taken this process over could do. It has no capability, and gets none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sandbox {
    /// Whether it makes only the system calls that it needs (seccomp).
    pub seccomp: bool,
    /// The version of the kernel's rules for files (Landlock), where they hold.
    pub landlock: Option<u32>,
    /// The user's number.
    pub uid: u32,
    /// And the group's.
    pub gid: u32,
    /// All of that in one line.
    pub detail: String,
}

/// What something that is wrong is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// gogeta itself.
    Gogeta,
    /// The store of the routes.
    Store,
    /// A service.
    Service,
    /// An instance of one: `service/index`.
    Instance,
    /// A domain.
    Domain,
    /// A key with a wrong value.
    Key,
}

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Wrong {
    /// What it is about.
    pub kind: About,
    /// That one's name.
    pub name: String,
    /// One sentence.
    pub what: String,
}

/// How gogeta is: ready or not and why, its store, counts, traffic, engines, and what is wrong.
#[utoipa::path(get, path = "/api/status", tag = "state", responses((status = 200, body = Status)))]
pub(super) async fn get(State(admin): State<Admin>) -> Json<Status> {
    Json((*admin.overview.status(&admin).await).clone())
}
