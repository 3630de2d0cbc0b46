//! The files for Compose and Kubernetes, as checkers of their schemas see them, and as one part has to fit the other.

use std::path::Path;

use tokio::process::Command;

use super::{read, repository};
use crate::support::etcd::skip;

const COMPOSE: [&str; 3] =
    ["deploy/compose.yaml", "deploy/compose.capabilities.yaml", "deploy/compose.privileged.yaml"];
const VARIANTS: [&str; 3] = [
    "deploy/kubernetes/daemonset-unprivileged.yaml",
    "deploy/kubernetes/daemonset-capabilities.yaml",
    "deploy/kubernetes/daemonset-privileged.yaml",
];

/// Has a program from PyPI look at files; gives whether it is content, and what it says. None where it is not there.
async fn checks(program: &str, arguments: &[&str], files: &[&Path]) -> Option<(bool, String)> {
    let path = repository("target").join(program).join("bin").join(program);
    if !path.is_file() {
        skip(&format!("there is no {program}; cargo xtask test installs it"));
        return None;
    }
    let output = Command::new(path).args(arguments).args(files).output().await.expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[tokio::test]
async fn compose_takes_the_files_by_their_schema() {
    let schema = ["--builtin-schema", "vendor.compose-spec"];
    let files = COMPOSE.map(repository);
    let files = files.each_ref().map(|file| file.as_path());
    let Some((is_content, said)) = checks("check-jsonschema", &schema, &files).await else { return };
    assert!(is_content, "{said}");
    // And would say so.
    let directory = tempfile::tempdir().expect("a directory");
    let wrong = directory.path().join("compose.yaml");
    std::fs::write(&wrong, read(COMPOSE[0]).replace("cap_drop:", "cap_dorp:")).expect("a file");
    let Some((is_content, said)) = checks("check-jsonschema", &schema, &[&wrong]).await else { return };
    assert!(!is_content && said.contains("cap_dorp"), "{said}");
}

#[tokio::test]
async fn kubernetes_takes_the_files_by_its_schemas() {
    let strict = ["--strict", "--quiet"];
    for file in VARIANTS.into_iter().chain(["deploy/kubernetes/gogeta.yaml"]) {
        let Some((is_content, said)) = checks("kubernetes-validate", &strict, &[&repository(file)]).await
        else {
            return;
        };
        assert!(is_content, "{file}: {said}");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let wrong = directory.path().join("daemonset.yaml");
    std::fs::write(&wrong, read(VARIANTS[0]).replace("hostPort:", "hostDoor:")).expect("a file");
    let Some((is_content, said)) = checks("kubernetes-validate", &strict, &[&wrong]).await else { return };
    assert!(!is_content && said.contains("hostDoor"), "{said}");
}

/// The value that a line of YAML has behind this name, each time that there is one.
fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(name)?.strip_prefix(": "))
        .collect()
}

/// No schema knows the kind of the Prometheus operator, nor which name means what elsewhere.
#[test]
fn what_prometheus_scrapes_is_what_gogeta_has() {
    let monitor = read("deploy/kubernetes/servicemonitor.yaml");
    let common = read("deploy/kubernetes/gogeta.yaml");
    assert_eq!(values(&monitor, "apiVersion"), ["monitoring.coreos.com/v1"]);
    assert_eq!(values(&monitor, "kind"), ["ServiceMonitor"]);
    assert_eq!(values(&monitor, "path"), ["/metrics"]);
    let [port] = values(&monitor, "port")[..] else { panic!("one port is scraped") };
    assert!(values(&common, "name").contains(&port), "the service has a port {port}");
    for label in ["app.kubernetes.io/name: gogeta", "app.kubernetes.io/component: admin"] {
        assert!(monitor.contains(label) && common.contains(label), "{label}");
    }
    for variant in VARIANTS {
        let text = read(variant);
        assert!(values(&text, "name").contains(&port), "{variant} has a port {port}");
        assert_eq!(values(&text, "automountServiceAccountToken"), ["false"], "{variant}");
        assert!(text.contains("app.kubernetes.io/name: gogeta"), "{variant}");
    }
}
