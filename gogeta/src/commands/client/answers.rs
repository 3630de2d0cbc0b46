//! What a running gogeta says, as far as commands show it. What another version does not say is left out.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `GET /api/status`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) build: Build,
    pub(crate) pid: u32,
    pub(crate) started_at: f64,
    pub(crate) uptime_seconds: f64,
    pub(crate) listen: Vec<String>,
    pub(crate) ready: Ready,
    pub(crate) store: Store,
    pub(crate) counts: Counts,
    pub(crate) traffic: Traffic,
    pub(crate) engines: Vec<Engine>,
    pub(crate) limits: Limits,
    pub(crate) sandbox: Sandbox,
    pub(crate) worst: Vec<Worst>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Sandbox {
    pub(crate) detail: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Build {
    pub(crate) commit: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ready {
    pub(crate) ready: bool,
    pub(crate) draining: bool,
    pub(crate) detail: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Store {
    pub(crate) kind: String,
    pub(crate) connected: bool,
    pub(crate) revision: i64,
    pub(crate) config_age_seconds: Option<f64>,
    pub(crate) from_disk: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    pub(crate) domains: u64,
    pub(crate) domains_by_state: BTreeMap<String, u64>,
    pub(crate) services: u64,
    pub(crate) services_by_state: BTreeMap<String, u64>,
    pub(crate) instances: u64,
    pub(crate) instances_by_state: BTreeMap<String, u64>,
    pub(crate) resting: u64,
    pub(crate) problems: u64,
}

/// Of the last seconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Traffic {
    pub(crate) requests_per_second: f64,
    pub(crate) errors_per_second: f64,
    pub(crate) error_ratio: f64,
    pub(crate) p50_seconds: Option<f64>,
    pub(crate) p90_seconds: Option<f64>,
    pub(crate) p99_seconds: Option<f64>,
    pub(crate) connections_open: f64,
    pub(crate) connections_idle_upstream: f64,
    pub(crate) retries_per_second: f64,
    pub(crate) bytes_per_second: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Engine {
    pub(crate) engine: String,
    pub(crate) loaded: bool,
    pub(crate) pairs: u64,
    pub(crate) share_of_bytes: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    pub(crate) max_connections: Option<f64>,
}

/// Something that is wrong now.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Worst {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) what: String,
}

/// `GET /api/history`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct History {
    pub(crate) points: Vec<Point>,
}

/// A second of the past.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Point {
    pub(crate) requests_per_second: f64,
    pub(crate) errors_per_second: f64,
    pub(crate) p99_seconds: Option<f64>,
    pub(crate) bytes: BTreeMap<String, f64>,
}

/// A part of a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Page<T> {
    pub(crate) total: usize,
    pub(crate) matched: usize,
    pub(crate) items: Vec<T>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { total: 0, matched: 0, items: Vec::new() }
    }
}

/// Of `GET /api/domains`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Domain {
    pub(crate) host: String,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) state: String,
    pub(crate) why: String,
    pub(crate) config: serde_json::Value,
    pub(crate) requests_per_second: Option<f64>,
}

/// Of `GET /api/services`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) why: String,
    pub(crate) instances: Vec<Instance>,
    pub(crate) requests_per_second: Option<f64>,
    pub(crate) error_ratio: Option<f64>,
    pub(crate) p99_seconds: Option<f64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Instance {
    pub(crate) index: String,
    pub(crate) location: Option<String>,
    pub(crate) state: String,
    pub(crate) why: String,
    pub(crate) current: Option<String>,
    pub(crate) expected: Option<String>,
    pub(crate) alive: Option<String>,
    pub(crate) resting: bool,
    pub(crate) drained: bool,
    pub(crate) open_requests: Option<u64>,
    pub(crate) config: serde_json::Value,
}

/// `GET /api/changes`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Changes {
    pub(crate) items: Vec<Change>,
}

/// Something that happened.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Change {
    pub(crate) seq: u64,
    pub(crate) at: f64,
    pub(crate) kind: String,
    pub(crate) level: String,
    pub(crate) name: String,
    pub(crate) text: String,
}

/// `GET /api/problems`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problems {
    pub(crate) problems: Vec<WrongKey>,
}

/// A key with a wrong value.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WrongKey {
    pub(crate) key: String,
    pub(crate) problem: String,
}
