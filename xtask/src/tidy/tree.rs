//! The files to check: what git has, and what it would take.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::command;

/// A text file.
pub(super) struct File {
    /// From the repository's root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    /// Whether the file's name ends in a dot and `extension`.
    pub(super) fn is(&self, extension: &str) -> bool {
        let end = self.path.rsplit_once('.');
        end.is_some_and(|(_, end)| end == extension)
    }
}

/// All files of the repository.
pub(super) struct Tree {
    files: Vec<File>,
    /// Every file, text or not, and every folder.
    paths: BTreeSet<String>,
}

impl Tree {
    /// Reads the files of the repository at `root`.
    ///
    /// # Errors
    /// When git fails, or a file cannot be read.
    pub(super) fn of_git(root: &Path) -> Result<Self> {
        let list = command::output(
            Command::new("git")
                .current_dir(root)
                .args(["ls-files", "-z", "--cached", "--others"])
                .args(["--exclude-standard", "--deduplicate"]),
        )?;
        let mut files = Vec::new();
        for path in list.split_terminator('\0') {
            let file = root.join(path);
            // What was removed is listed until git is told; a link's target is listed itself.
            if !file.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
                continue;
            }
            let bytes = fs::read(&file).with_context(|| format!("cannot read {path}"))?;
            files.push((path.to_owned(), bytes));
        }
        Ok(Self::new(files))
    }

    fn new(files: Vec<(String, Vec<u8>)>) -> Self {
        let mut paths = BTreeSet::new();
        for (path, _) in &files {
            let ends = path.match_indices('/').map(|(end, _)| end);
            paths.extend(ends.map(|end| path[..end].to_owned()));
            paths.insert(path.clone());
        }
        let files = files
            .into_iter()
            .filter_map(|(path, bytes)| {
                let text = text(bytes)?;
                Some(File { path, text })
            })
            .collect();
        Self { files, paths }
    }

    /// The text files.
    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    /// Whether there is such a file or folder.
    pub(super) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path)
    }

    /// A tree with this one file.
    #[cfg(test)]
    pub(super) fn single(path: &str, text: &str) -> Self {
        Self::new(vec![(path.to_owned(), text.as_bytes().to_vec())])
    }
}

/// The text in `bytes`, unless they are something else.
fn text(bytes: Vec<u8>) -> Option<String> {
    let is_binary = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    if bytes.iter().any(is_binary) {
        return None;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_in_the_tree() {
        let tree = Tree::single("docs/images/a.svg", "<svg/>\n");
        for path in ["", "docs", "docs/images", "docs/images/a.svg"] {
            assert!(tree.has(path), "{path}");
        }
        assert!(!tree.has("docs/images/b.svg"));
        assert!(!tree.has("doc"));
    }

    #[test]
    fn what_is_not_text_is_listed_but_not_read() {
        let tree = Tree::new(vec![
            ("a.o".to_owned(), b"\x7fELF\0".to_vec()),
            ("b.bin".to_owned(), vec![0xff, 0xfe]),
        ]);
        assert!(tree.files().is_empty());
        assert!(tree.has("a.o") && tree.has("b.bin"));
    }
}
