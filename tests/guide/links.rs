//! The guide's links lead somewhere: to a file of the repository, and to a heading where they name one.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{files, name, text};

#[test]
fn each_link_leads_to_a_file_and_to_a_heading_of_it() {
    let mut count = 0;
    for file in files() {
        for (line, link) in links(&text(&file)) {
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            if path.contains("://") {
                continue;
            }
            count += 1;
            let place = format!("{}:{line}: {link}", file.display());
            let target = if path.is_empty() { file.clone() } else { file.with_file_name(path) };
            let target = plain(&target);
            assert!(target.exists(), "{place}: there is no {}", target.display());
            if !heading.is_empty() {
                let headings = headings(&text(&target));
                assert!(headings.contains(heading), "{place}: no such heading; there are {headings:?}");
            }
        }
    }
    assert!(count > 50, "{count} links");
}

#[test]
fn the_table_of_contents_has_every_chapter() {
    let files = files();
    let contents = files.iter().find(|file| name(file) == "SUMMARY.md").expect("there is one");
    let listed: BTreeSet<_> = links(&text(contents)).into_iter().map(|(_, link)| link).collect();
    let there = files.iter().map(|file| name(file).to_owned()).filter(|name| name != "SUMMARY.md");
    assert_eq!(listed, there.collect());
}

/// Links of a document outside of its blocks, with their lines.
fn links(markdown: &str) -> Vec<(usize, String)> {
    let mut found = vec![];
    for (number, line) in prose(markdown) {
        // Of code in the midst of a line only what is outside.
        let line: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        found.extend(targets.map(|(target, _)| (number, target.to_owned())));
    }
    found
}

/// Lines with their numbers, but for those of blocks.
pub(super) fn prose(markdown: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(markdown.lines()).filter(move |(_, line)| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// A document's headings as links name them, by GitHub's rules.
fn headings(markdown: &str) -> BTreeSet<String> {
    let titles = prose(markdown).filter_map(|(_, line)| {
        let (marks, title) = line.split_once(' ')?;
        (!marks.is_empty() && marks.chars().all(|mark| mark == '#')).then_some(title)
    });
    let letter = |letter: char| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ => letter.is_alphanumeric().then_some(letter),
    };
    titles.map(|title| title.trim().to_lowercase().chars().filter_map(letter).collect()).collect()
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn headings_are_named_as_github_does() {
    let text = "# What's `new`?\n```\n# no\n```\n## A_b - c\n#no\n";
    assert!(headings(text).iter().eq(["a_b---c", "whats-new"]));
    assert_eq!(links("[a](b.md#c) `[d](e)` and [f](g)\n"), [(1, "b.md#c".into()), (1, "g".into())]);
}
