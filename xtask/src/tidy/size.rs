//! How long a file may be.

use super::lexer::RustFile;

/// Lines of code, with neither blank lines, comments nor unit tests.
const LIMIT: usize = 500;

/// Files that may be longer, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// One file, one noun: past the limit it is likely to be several.
pub(super) fn too_long(file: &RustFile<'_>) -> Vec<usize> {
    let is_excepted = EXCEPTIONS.iter().any(|(path, _)| *path == file.path());
    if is_excepted || lines_of_code(file) <= LIMIT { Vec::new() } else { vec![1] }
}

fn lines_of_code(file: &RustFile<'_>) -> usize {
    let lines = file.code.iter().zip(&file.is_test);
    lines.filter(|(code, is_test)| !**is_test && !code.trim().is_empty()).count()
}
