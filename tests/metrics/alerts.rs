//! deploy/prometheus: that Prometheus takes it, and that each alert fires when it should.

use std::path::PathBuf;

use super::promtool::is_clean_but_for_success;
use super::{Scene, families};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).expect("it is there")
}

#[test]
fn prometheus_takes_the_alerts_and_each_fires_when_it_should() {
    for arguments in [
        &["check", "rules", "alerts.yaml"][..],
        &["check", "config", "prometheus.yaml"],
        &["test", "rules", "alerts_test.yaml"],
    ] {
        is_clean_but_for_success(arguments, &folder());
    }
    let (rules, tests) = (read("alerts.yaml"), read("alerts_test.yaml"));
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        for what in ["fires", "keeps quiet"] {
            assert!(tests.contains(&format!("- name: {alert} {what}\n")), "{alert} {what}");
        }
    }
}

#[tokio::test]
async fn alerts_go_by_metrics_that_there_are() {
    let scene = Scene::played().await;
    let told = families(&scene.plain().await);
    // Not the texts for people, which name options and files.
    let rules = read("alerts.yaml");
    let rules: Vec<&str> =
        rules.lines().filter(|line| !line.contains("summary:") && !line.contains("description:")).collect();
    let names = super::dashboard::names(&rules.join("\n"));
    assert!(names.len() > 15, "{names:?}");
    for name in names.into_iter().filter(|name| name != "gogeta") {
        assert!(super::dashboard::is_told(&told, &name, scene.kernel), "{name}");
    }
}
