//! What `deploy/` has for running gogeta for real: as good as who reads it says, and true of the gogeta at hand.

mod package;
mod schemas;
mod units;

use std::path::{Path, PathBuf};

/// What is in the repository at this path.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The lines of a unit that set this, in their order.
fn settings<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}
