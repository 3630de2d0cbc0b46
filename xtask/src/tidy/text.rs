//! Rules for every text file, whatever its language.

use super::{
    Finding,
    lexer::{is_word, numbers},
    tree::{File, Tree},
};

/// Folders of files that hold bytes as they are on the wire.
const VERBATIM: [&str; 3] = ["cases", "corpus", "fixtures"];

/// Absolute paths in somebody's home.
pub(super) fn machine_path(file: &File) -> Vec<usize> {
    numbers(file.text.lines().map(has_machine_path))
}

fn has_machine_path(line: &str) -> bool {
    // Written so that this file does not have them itself.
    let homes = [concat!("/", "root/"), concat!("/", "work/")];
    let is_home = |home: &str| starts_of(line, home).next().is_some();
    homes.iter().any(|home| is_home(home))
        || starts_of(line, concat!("/", "home/")).any(|rest| rest.starts_with(is_word))
}

/// What follows each `path` in `line` that is absolute, and not the end of a longer one or a URL's.
fn starts_of<'a>(line: &'a str, path: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(path).filter_map(move |(at, _)| {
        let before = line[..at].chars().next_back();
        let is_absolute = before.is_none_or(|c| !is_word(c) && !".-~}*/".contains(c));
        is_absolute.then(|| &line[at + path.len()..])
    })
}

/// White space that nobody sees, and that shows up in diffs.
pub(super) fn white_space(file: &File) -> Vec<usize> {
    if file.path.split('/').any(|part| VERBATIM.contains(&part)) || file.text.is_empty() {
        return Vec::new();
    }
    let lines = file.text.split_terminator('\n');
    let mut bad = numbers(lines.map(|line| line.ends_with([' ', '\t', '\r'])));
    if !file.text.ends_with('\n') || file.text.ends_with("\n\n") {
        bad.push(file.text.lines().count());
    }
    bad
}

/// A change that its user will notice is written down with the change, not at the release.
pub(super) fn changelog(tree: &Tree) -> Vec<Finding> {
    let path = "CHANGELOG.md";
    let file = tree.files().iter().find(|file| file.path == path);
    let has_section = |file: &File| (file.text.lines()).any(|line| line.starts_with("## [Unreleased]"));
    if file.is_some_and(has_section) {
        return Vec::new();
    }
    vec![Finding {
        path: path.to_owned(),
        line: 1,
        what: file.is_none().then(|| "there is no such file".to_owned()),
    }]
}
