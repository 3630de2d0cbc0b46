//! Habits: who ends the process, who prints, and what is left undone.

use super::{
    lexer::{RustFile, numbers, words},
    tree::File,
};

/// Ending the process elsewhere skips the orderly way out, and cannot be tested.
pub(super) fn process_exit(file: &RustFile<'_>) -> Vec<usize> {
    if is_main(file.path()) {
        return Vec::new();
    }
    file.lines(|code| code.contains("process::exit"))
}

/// Standard output belongs to whoever asked for it; a proxy at work logs.
pub(super) fn print(file: &RustFile<'_>) -> Vec<usize> {
    let path = file.path();
    let is_output = is_main(path)
        || path.contains("src/demo/")
        || path.contains("/commands/")
        // Programs of developers: a test says why it is skipped, a build script talks to cargo.
        || ["xtask/", "tests/", "benches/"].iter().any(|home| path.starts_with(home))
        || path.ends_with("/build.rs");
    if is_output {
        return Vec::new();
    }
    let lines = file.code.iter().zip(&file.is_test);
    numbers(lines.map(|(code, is_test)| {
        !is_test && words(code).any(|(word, rest)| is_print(word) && rest.starts_with('!'))
    }))
}

fn is_print(word: &str) -> bool {
    word == "print" || word == "println"
}

fn is_main(path: &str) -> bool {
    path.ends_with("/main.rs")
}

/// A test that nobody runs is not a test.
pub(super) fn ignored_test(file: &RustFile<'_>) -> Vec<usize> {
    file.lines(|code| {
        let is_attribute = code.contains("#[ignore") || code.contains("#[cfg_attr(");
        is_attribute && words(code).any(|(word, _)| word == "ignore")
    })
}

/// Whoever opens a file wants to know first whether it is the right one.
pub(super) fn file_doc(file: &RustFile<'_>) -> Vec<usize> {
    if file.text().starts_with("//!") { Vec::new() } else { vec![1] }
}

/// Notes to oneself, in the comments of Rust and anywhere in other files.
///
/// Prose may speak of them.
pub(super) fn todo(file: &File) -> Vec<usize> {
    let is_note = |text: &str| words(text).any(|(word, _)| word == "TODO" || word == "FIXME");
    if let Some(rust) = RustFile::new(file) {
        let is_macro = |(word, rest): (&str, &str)| word == "todo" && rest.starts_with('!');
        let lines = rust.code.iter().zip(&rust.comments);
        return numbers(
            lines.map(|(code, comment)| is_note(comment) || is_note(code) || words(code).any(is_macro)),
        );
    }
    if file.is("md") {
        return Vec::new();
    }
    numbers(file.text.lines().map(is_note))
}
