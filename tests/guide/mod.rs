//! The user guide (`docs/guide/`) does what it says: its commands are run as they stand, its files, flags, metrics and
//! links are looked up. How a chapter says what is run is told in `docs/guide/contributing.md`.

mod chapter;
mod likeness;
mod links;
mod reference;
mod scene;

use std::path::{Path, PathBuf};

use gogeta::splice::{Engine, Kinds};

use crate::support::etcd::skip;

use chapter::{Chapter, Step};
use scene::Scene;

/// What is played on a machine where nothing may be skipped; each is a test of its own.
macro_rules! chapters {
    ($($test:ident: $file:literal;)*) => {
        const PLAYED: &[&str] = &[$($file),*];

        $(#[tokio::test]
        async fn $test() {
            play($file).await;
        })*
    };
}

chapters! {
    the_quick_start_works: "quick-start.md";
    the_concepts_are_as_they_are_told: "concepts.md";
    keys_and_commands_do_what_the_guide_says: "keys.md";
    flags_and_the_config_file_do_what_the_guide_says: "flags.md";
    pages_and_templates_are_as_the_guide_says: "pages.md";
    the_kernel_path_is_got_and_seen_as_the_guide_says: "kernel-path.md";
    operations_go_as_the_guide_says: "operations.md";
    what_the_guide_says_of_security_is_so: "security.md";
    each_symptom_has_the_message_that_the_guide_says: "troubleshooting.md";
    the_way_from_the_original_is_as_the_guide_says: "migrating.md";
}

/// The repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// All chapters, and the table of contents.
fn files() -> Vec<PathBuf> {
    let listed = std::fs::read_dir(root().join("docs/guide")).expect("the guide is there");
    let mut files: Vec<_> = listed.map(|entry| entry.expect("it is listed").path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "md"));
    files.sort();
    assert!(files.len() > PLAYED.len(), "{files:?}");
    files
}

/// A chapter's file name.
fn name(file: &Path) -> &str {
    file.file_name().and_then(|name| name.to_str()).expect("a name")
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Does all that a chapter does, in a place of its own.
async fn play(name: &str) {
    let chapter = Chapter::read(&text(&root().join("docs/guide").join(name)));
    if chapter.needs_kernel
        && let Err(why) = Engine::load(1, false, Kinds { sockmap: true, wire: false })
    {
        return skip(&why.to_string());
    }
    let Some(mut scene) = Scene::set().await else { return };
    for Step { line, what } in &chapter.steps {
        scene.play(&format!("docs/guide/{name}:{line}"), what).await;
    }
}

#[test]
fn every_chapter_with_commands_is_played() {
    for file in files() {
        let plays = !Chapter::read(&text(&file)).steps.is_empty();
        assert_eq!(plays, PLAYED.contains(&name(&file)), "{}: see chapters! in tests/guide", file.display());
    }
}

#[test]
fn what_cannot_be_run_is_well_formed() {
    for file in files() {
        for block in Chapter::read(&text(&file)).blocks {
            let place = format!("{}:{}", file.display(), block.line);
            match block.language.as_str() {
                "sh" => {
                    let bash = std::process::Command::new("bash").args(["-n", "-c", &block.text]).output();
                    let output = bash.expect("bash runs");
                    assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&output.stderr));
                }
                "toml" => {
                    let read = toml::from_str::<toml::Table>(&block.text);
                    assert!(read.is_ok(), "{place}: {read:?}");
                }
                "json" => {
                    let read = serde_json::from_str::<serde_json::Value>(&block.text);
                    assert!(read.is_ok(), "{place}: {read:?}");
                }
                "console" | "html" | "ini" | "nginx" | "python" | "text" | "yaml" => {}
                other => panic!("{place}: a block is of no language that is known here: {other:?}"),
            }
        }
    }
}
