//! Whether what gogeta serves is what etcd has.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::get;
use super::etcd::Etcd;
use super::gogeta::Gogeta;

/// Routes are right so long after etcd is back.
pub(crate) const BACK: Duration = Duration::from_secs(2);

/// Waits until gogeta has what etcd has: each domain, each instance, up to the revision of the last change.
pub(crate) async fn agrees(gogeta: &Gogeta, etcd: &Etcd) {
    agrees_within(BACK, gogeta, etcd).await;
}

pub(crate) async fn agrees_within(limit: Duration, gogeta: &Gogeta, etcd: &Etcd) {
    let (mut wanted, domains) = etcd.all("/domains/").await;
    let (services, instances) = etcd.all("/services/").await;
    wanted.extend(services);
    wanted.retain(|key, _| !key.ends_with("/lastAccess"));
    // A config is its fields, in whatever order.
    for (_, config) in
        wanted.iter_mut().filter(|(key, _)| key.ends_with("/config") || key.ends_with("/config/gogeta"))
    {
        *config = serde_json::from_str::<Value>(config).expect("JSON").to_string();
    }
    let last = domains.max(instances);
    let until = Instant::now() + limit;
    loop {
        let (revision, found) = served(gogeta).await;
        if found == wanted && revision >= last {
            return;
        }
        if Instant::now() >= until {
            let ours = found.iter().filter(|(key, value)| wanted.get(*key) != Some(value));
            let theirs = wanted.iter().filter(|(key, value)| found.get(*key) != Some(value));
            panic!(
                "after {limit:?} gogeta is at revision {revision}, etcd's last change at {last}; gogeta has {:?}, etcd {:?}",
                ours.take(10).collect::<Vec<_>>(),
                theirs.take(10).collect::<Vec<_>>()
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What gogeta serves, as keys and values, and its revision.
async fn served(gogeta: &Gogeta) -> (i64, BTreeMap<String, String>) {
    let api = get(gogeta.admin, "localhost", "/api/routes").await;
    let api: Value = serde_json::from_slice(&api.body).expect("JSON");
    let mut keys = BTreeMap::new();
    let mut put = |key: String, value: &Value| {
        if let Some(value) = value.as_str() {
            keys.insert(key, value.to_owned());
        }
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for domain in list(&api["domains"]) {
        let host = domain["host"].as_str().expect("a host");
        put(format!("/domains/{host}/type"), &domain["type"]);
        put(format!("/domains/{host}/value"), &domain["value"]);
        put(format!("/domains/{host}/config"), &config(&domain["config"]));
    }
    for service in list(&api["services"]) {
        let name = service["name"].as_str().expect("a name");
        for instance in list(&service["instances"]) {
            let key = format!("/services/{name}/{}", instance["index"].as_str().expect("an index"));
            let place = instance["location"].as_str().and_then(|place| place.rsplit_once(':'));
            let place = place.map(|(host, port)| format!("{{\"host\":\"{host}\",\"port\":{port}}}"));
            put(format!("{key}/location"), &place.into());
            put(format!("{key}/config/gogeta"), &config(&instance["config"]));
            for field in ["current", "expected", "alive"] {
                put(format!("{key}/status/{field}"), &instance[field]);
            }
        }
    }
    (api["revision"].as_i64().expect("a revision"), keys)
}

/// A config as its key has it; none where it has no field.
fn config(fields: &Value) -> Value {
    let is_empty = fields.as_object().is_none_or(serde_json::Map::is_empty);
    if is_empty { Value::Null } else { fields.to_string().into() }
}

/// A sample of a metric; 0 where it is not there yet.
pub(crate) async fn metric(gogeta: &Gogeta, series: &str) -> f64 {
    let text = get(gogeta.admin, "admin", "/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

/// The sum of a metric's samples that have this among their labels.
pub(crate) async fn sum(gogeta: &Gogeta, name: &str, label: &str) -> f64 {
    let text = get(gogeta.admin, "admin", "/metrics").await.text();
    let samples =
        text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} "));
    let samples = samples.filter(|(labels, _)| labels.contains(label));
    samples.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
}

/// How often everything was read anew, for that reason.
pub(crate) async fn resyncs(gogeta: &Gogeta, reason: &str) -> f64 {
    metric(gogeta, &format!("gogeta_store_resyncs_total{{reason=\"{reason}\"}}")).await
}
