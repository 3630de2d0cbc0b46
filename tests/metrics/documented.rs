//! docs/metrics.md against what is told.

use std::collections::BTreeSet;

use super::{Scene, families};

const DOCUMENT: &str = include_str!("../../docs/metrics.md");

#[tokio::test]
async fn every_metric_is_in_the_document_and_each_in_the_document_is_told() {
    let scene = Scene::played().await;
    let told = families(&scene.plain().await);
    let rows: Vec<Vec<&str>> = DOCUMENT
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let mut documented = BTreeSet::new();
    for row in &rows {
        let [name, kind, labels, help] = row[..] else { panic!("four columns: {row:?}") };
        let name = name.trim_matches('`');
        assert!(documented.insert(name.to_owned()), "{name} has one row");
        let Some(family) = told.get(name) else {
            assert!(name.starts_with("gogeta_splice_") && !scene.kernel, "{name} is not told");
            continue;
        };
        assert_eq!((kind, help), (&*family.kind, &*family.help), "{name}");
        let labels: BTreeSet<String> = labels
            .split(',')
            .map(|label| label.trim().trim_matches('`').to_owned())
            .filter(|label| !label.is_empty())
            .collect();
        // Of a family without samples nobody knows.
        assert!(
            family.labels.is_empty() && name.contains("resyncs") || family.labels == labels,
            "{name}: {family:?}"
        );
    }
    for (name, family) in &told {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let row = format!("| `{name}` | {} | {} | {} |", family.kind, labels.join(", "), family.help);
        assert!(documented.contains(name), "docs/metrics.md has no row\n{row}");
    }
}
