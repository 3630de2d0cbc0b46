//! The seeds of the fuzz targets, as ordinary tests: each property holds of every file of its corpus. What a fuzz
//! target finds is put there, under a name that tells what it is.

use std::path::Path;

#[path = "../fuzz/properties/access_log.rs"]
mod access_log;
#[path = "../fuzz/properties/gate.rs"]
mod gate;
#[path = "../fuzz/properties/guard.rs"]
pub(crate) mod guard;
#[path = "../fuzz/properties/headers.rs"]
mod headers;
#[path = "../fuzz/properties/host.rs"]
mod host;

/// Runs a property over the corpus of its target.
fn holds(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let seeds = std::fs::read_dir(&corpus).expect("a corpus").map(|seed| seed.expect("a seed").path());
    let (mut count, mut failed) = (0, Vec::new());
    for seed in seeds {
        let bytes = std::fs::read(&seed).expect("the seed");
        count += 1;
        if std::panic::catch_unwind(|| check(&bytes)).is_err() {
            failed.push(seed.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    assert!(count > 0, "{} is empty", corpus.display());
    assert!(failed.is_empty(), "it does not hold of {failed:?}; the reasons are above");
}

#[test]
fn the_gate_holds_against_its_corpus() {
    holds("gate", gate::check);
}

#[test]
fn the_guard_holds_against_its_corpus() {
    holds("guard", guard::check);
}

#[test]
fn the_rule_for_hosts_holds_against_its_corpus() {
    holds("host", host::check);
}

#[test]
fn the_rules_for_headers_hold_against_their_corpus() {
    holds("headers", headers::check);
}

#[test]
fn the_access_log_holds_against_its_corpus() {
    holds("access_log", access_log::check);
}
