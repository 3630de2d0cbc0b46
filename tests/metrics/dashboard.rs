//! deploy/grafana: that the dashboard asks for what there is, in a language that Prometheus understands.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::promtool::is_clean_but_for_success;
use super::{Family, Scene, families};

const DASHBOARD: &str = include_str!("../../deploy/grafana/gogeta.json");

/// All words that are gogeta's metrics, or the process's.
pub(super) fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let is_ours = |word: &&str| word.starts_with("gogeta") || word.starts_with("process_");
    words.filter(is_ours).map(str::to_owned).collect()
}

/// Whether it is a metric, or a part of a histogram. What the kernel's part tells cannot be known without it.
pub(super) fn is_told(told: &BTreeMap<String, Family>, name: &str, kernel: bool) -> bool {
    let ends = ["", "_bucket", "_sum", "_count"];
    let is_there = |end: &str| name.strip_suffix(end).is_some_and(|family| told.contains_key(family));
    ends.into_iter().any(is_there) || (!kernel && name.starts_with("gogeta_splice_"))
}

/// All values under that key, wherever they are.
fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(key).and_then(Value::as_str));
            map.values().for_each(|value| all(value, key, found));
        }
        Value::Array(list) => list.iter().for_each(|value| all(value, key, found)),
        _ => {}
    }
}

fn found(key: &str) -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("it is JSON");
    let mut values = Vec::new();
    all(&dashboard, key, &mut values);
    values.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_dashboard_asks_for_metrics_that_there_are() {
    let scene = Scene::played().await;
    let told = families(&scene.plain().await);
    let asked: Vec<String> = found("expr").into_iter().chain(found("query")).collect();
    assert!(asked.len() > 50, "{}", asked.len());
    for question in &asked {
        for name in names(question) {
            assert!(is_told(&told, &name, scene.kernel), "{name} in {question}");
        }
    }
    // And for nearly all of them: what nobody sees is of no use.
    let seen = names(&asked.join(" "));
    let unseen: Vec<&String> = told
        .keys()
        .filter(|family| !seen.iter().any(|name| name.starts_with(family.as_str())))
        .filter(|family| {
            !["gogeta_config_from_disk", "gogeta_splice_engine_loaded", "process_virtual_memory_bytes"]
                .contains(&family.as_str())
        })
        .collect();
    assert!(unseen.is_empty(), "nobody sees {unseen:?}");
}

#[test]
fn prometheus_understands_all_that_the_dashboard_asks() {
    let exprs = found("expr");
    let rules = exprs.iter().enumerate().map(|(at, expr)| {
        // What Grafana fills in.
        let expr = expr.replace("$__rate_interval", "5m").replace("$job", ".*");
        let expr = expr.replace("$instance", ".*").replace("$service", ".*");
        // JSON is YAML.
        serde_json::json!({"record": format!("question:{at}"), "expr": expr})
    });
    let groups = serde_json::json!({"groups": [{"name": "all", "rules": rules.collect::<Vec<_>>()}]});
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("rules.yaml"), groups.to_string()).expect("it is written");
    is_clean_but_for_success(&["check", "rules", "rules.yaml"], folder.path());
}

#[test]
fn panels_have_places_and_descriptions_of_their_own() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        let at = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
        assert!(at("x") + at("w") <= 24, "{panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "two panels are at {x}, {y}: {}", panel["title"]);
            }
        }
        if panel["type"] != "row" {
            assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{panel}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}");
        }
    }
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let variables: Vec<&str> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(variables, ["datasource", "job", "instance", "service"]);
}
