//! Links between the documents.

use super::{
    Finding,
    tree::{File, Tree},
};

/// Relative links in Markdown that lead nowhere.
pub(super) fn dead(tree: &Tree) -> Vec<Finding> {
    let documents = tree.files().iter().filter(|file| file.is("md"));
    documents
        .flat_map(|file| {
            let dead = links(&file.text).filter(|(_, link)| !leads_somewhere(tree, file, link));
            dead.map(|(line, link)| Finding { path: file.path.clone(), line, what: Some(link.to_owned()) })
        })
        .collect()
}

fn leads_somewhere(tree: &Tree, file: &File, link: &str) -> bool {
    let path = link.split(['#', '?']).next().unwrap_or_default();
    let is_elsewhere = link.contains("://") || link.starts_with("mailto:");
    is_elsewhere || path.is_empty() || resolve(&file.path, path).is_some_and(|p| tree.has(&p))
}

/// `link`, seen from the document at `from`, as a path from the repository's root.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    if link.starts_with('/') {
        parts.clear();
    }
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The targets of `[text](target)` and `[name]: target`, with their lines, but for those in code.
fn links(markdown: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    let lines = markdown.lines().zip(1..).filter(move |(line, _)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.flat_map(|(line, number)| {
        let inline = inline_targets(line).into_iter();
        inline.chain(definition(line)).map(move |link| (number, link))
    })
}

fn inline_targets(line: &str) -> Vec<&str> {
    let ends = line.match_indices("](");
    ends.filter(|(at, _)| line[..*at].matches('`').count().is_multiple_of(2))
        .filter_map(|(at, end)| target(line[at + end.len()..].split(')').next()?))
        .collect()
}

fn definition(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix('[')?.split_once("]:")?;
    // `[^1]:` is a footnote.
    if name.starts_with('^') {
        return None;
    }
    target(rest)
}

/// The first word, which a title in quotes may follow.
fn target(text: &str) -> Option<&str> {
    let word = text.split_whitespace().next()?;
    Some(word.trim_start_matches('<').trim_end_matches('>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_document() {
        assert_eq!(resolve("docs/a.md", "b.md").unwrap(), "docs/b.md");
        assert_eq!(resolve("docs/a.md", "../README.md").unwrap(), "README.md");
        assert_eq!(resolve("docs/a.md", "./img/").unwrap(), "docs/img");
        assert_eq!(resolve("docs/a.md", "/README.md").unwrap(), "README.md");
        assert_eq!(resolve("a.md", "../outside.md"), None);
    }

    #[test]
    fn links_are_found_outside_of_code_only() {
        let text = "[a](x.md) ![b](y.png \"title\") `[c](no)`\n```\n[d](no)\n```\n[e]: <z.md>\n";
        let links: Vec<_> = links(text).collect();
        assert_eq!(links, [(1, "x.md"), (1, "y.png"), (5, "z.md")]);
    }
}
