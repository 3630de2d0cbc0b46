//! What gogeta is made of, as a CycloneDX document: every crate in the binary and in the kernel's program, with its
//! licence and checksum, and which of them needs which.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{command, workspace};

/// A crate's name and version.
type Crate = (String, String);

/// The document, for gogeta on this platform, of a commit that was made so many seconds after 1970.
///
/// # Errors
/// When cargo does not tell what is needed.
pub(super) fn of(target: &str, epoch: &str) -> Result<String> {
    let mut crates = linked("gogeta", target)?;
    // Its object is within gogeta.
    crates.extend(linked("gogeta-ebpf", target)?);
    let metadata = workspace::cargo().args(["metadata", "--locked", "--format-version=1"]).output()?;
    ensure!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata = serde_json::from_slice(&metadata.stdout).context("cargo's metadata")?;
    let lock = fs::read_to_string(workspace::root().join("Cargo.lock"))?;
    let date = command::output(Command::new("date").args(["-u", "+%FT%TZ", "-d", &format!("@{epoch}")]))?;
    let document = document(&crates, &metadata, &checksums(&lock), &date)?;
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// The crates that are linked into this one, it included. Unlike cargo's metadata, this knows which features are on.
fn linked(package: &str, target: &str) -> Result<BTreeSet<Crate>> {
    let mut tree = workspace::cargo();
    tree.args(["tree", "--locked", "-p", package, "--target", target]);
    tree.args(["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]);
    let text = command::output(&mut tree)?;
    Ok(text.lines().filter_map(name_and_version).collect())
}

/// Of a line of `cargo tree`, such as `bytes v1.10.1 (*)`.
fn name_and_version(line: &str) -> Option<Crate> {
    let mut words = line.split_whitespace();
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    Some((name.to_owned(), version.to_owned()))
}

/// The checksums of `Cargo.lock`: SHA-256 of what the registry sent.
fn checksums(lock: &str) -> BTreeMap<Crate, String> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|block| {
            Some(((field(block, "name")?, field(block, "version")?), field(block, "checksum")?))
        })
        .collect()
}

fn purl((name, version): &Crate) -> String {
    // A version's "+" stands for a space there, unless it is written so.
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

fn document(
    crates: &BTreeSet<Crate>,
    metadata: &Value,
    checksums: &BTreeMap<Crate, String>,
    date: &str,
) -> Result<Value> {
    let packages = metadata["packages"].as_array().context("no packages in cargo's metadata")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let by_id: BTreeMap<String, (Crate, &Value)> = packages
        .iter()
        .map(|package| (text(&package["id"]), ((text(&package["name"]), text(&package["version"])), package)))
        .filter(|(_, (one, _))| crates.contains(one))
        .collect();
    let (mut components, mut dependencies, mut root) = (Vec::new(), BTreeMap::new(), Value::Null);
    for (one, package) in by_id.values() {
        let component = component(one, package, checksums.get(one));
        if one.0 == "gogeta" { root = component } else { components.push(component) }
    }
    ensure!(!root.is_null(), "gogeta is not in cargo's metadata");
    for node in metadata["resolve"]["nodes"].as_array().into_iter().flatten() {
        let Some((one, _)) = by_id.get(&text(&node["id"])) else { continue };
        let is_normal = |edge: &Value| {
            edge["dep_kinds"].as_array().into_iter().flatten().any(|kind| kind["kind"].is_null())
        };
        let edges = node["deps"].as_array().into_iter().flatten().filter(|edge| is_normal(edge));
        let mut needs: BTreeSet<String> =
            edges.filter_map(|edge| by_id.get(&text(&edge["pkg"]))).map(|(other, _)| purl(other)).collect();
        if one.0 == "gogeta" {
            let program = by_id.values().map(|(other, _)| other).find(|other| other.0 == "gogeta-ebpf");
            needs.extend(program.map(purl));
        }
        dependencies.insert(purl(one), needs);
    }
    components.sort_by_key(|component| text(&component["bom-ref"]));
    let dependencies: Vec<Value> =
        dependencies.into_iter().map(|(one, needs)| json!({"ref": one, "dependsOn": needs})).collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": date,
            "tools": {"components": [{"type": "application", "name": "cargo xtask dist"}]},
            "component": root,
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn component(one: &Crate, package: &Value, checksum: Option<&String>) -> Value {
    let kind = if one.0 == "gogeta" { "application" } else { "library" };
    let mut component = json!({
        "type": kind, "bom-ref": purl(one), "name": one.0, "version": one.1, "purl": purl(one),
    });
    if let Some(description) = package["description"].as_str() {
        component["description"] = description.trim().into();
    }
    if let Some(licence) = package["license"].as_str() {
        // Crates from before SPDX's grammar have a slash.
        component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
    }
    if let Some(repository) = package["repository"].as_str() {
        component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
    }
    if let Some(checksum) = checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"abc\"\n\n\
        [[package]]\nname = \"gogeta\"\nversion = \"0.1.0\"\ndependencies = [\n \"a\",\n]\n";

    #[test]
    fn what_is_linked_is_there_with_what_it_needs_and_nothing_else_is() {
        let package = |name: &str, version: &str, licence: &str| json!({"id": name, "name": name, "version": version, "license": licence});
        let metadata = json!({
            "packages": [package("gogeta", "0.1.0", "MIT"), package("a", "1.0.0", "MIT/Apache-2.0"),
                package("builder", "2.0.0", "MIT"), package("off", "3.0.0", "MIT")],
            "resolve": {"nodes": [
                {"id": "gogeta", "deps": [
                    {"pkg": "a", "dep_kinds": [{"kind": null}]},
                    {"pkg": "builder", "dep_kinds": [{"kind": "build"}]},
                    {"pkg": "off", "dep_kinds": [{"kind": null}]},
                ]},
                {"id": "a", "deps": []},
            ]},
        });
        let tree = "gogeta v0.1.0 (/somewhere/gogeta)\na v1.0.0\na v1.0.0 (*)\n";
        let crates: BTreeSet<Crate> = tree.lines().filter_map(name_and_version).collect();
        let document =
            document(&crates, &metadata, &checksums(LOCK), "2026-01-01T00:00:00Z").expect("a document");
        assert_eq!(document["metadata"]["component"]["purl"], "pkg:cargo/gogeta@0.1.0");
        let a = json!({
            "type": "library", "bom-ref": "pkg:cargo/a@1.0.0", "name": "a", "version": "1.0.0",
            "purl": "pkg:cargo/a@1.0.0", "licenses": [{"expression": "MIT OR Apache-2.0"}],
            "hashes": [{"alg": "SHA-256", "content": "abc"}],
        });
        assert_eq!(document["components"], json!([a]));
        assert_eq!(
            document["dependencies"],
            json!([
                {"ref": "pkg:cargo/a@1.0.0", "dependsOn": []},
                {"ref": "pkg:cargo/gogeta@0.1.0", "dependsOn": ["pkg:cargo/a@1.0.0"]},
            ])
        );
    }
}
