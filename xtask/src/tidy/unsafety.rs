//! Unsafe code: only where the kernel is talked to or allocations are counted, and never without a reason.

use super::lexer::{RustFile, numbers, words};

const HOME: [&str; 6] = [
    "gogeta/src/splice/kernel/",
    "gogeta-ebpf/",
    // A descriptor known by its number alone, as one that was inherited is, cannot be owned without.
    "gogeta/src/inherited.rs",
    // The runtime has to be promised that a descriptor which it watches stays open.
    "gogeta/src/watched.rs",
    // The crate that makes filters of system calls cannot ask for refusals to be logged.
    "gogeta/src/sandbox/install.rs",
    // An allocator is nothing else; this one is a benchmark's.
    "benches/counting/src/allocator.rs",
];

/// The keyword outside its home.
pub(super) fn confined(file: &RustFile<'_>) -> Vec<usize> {
    if HOME.iter().any(|path| file.path().starts_with(path)) {
        return Vec::new();
    }
    file.lines(|code| words(code).any(|(word, _)| word == "unsafe"))
}

/// Blocks and impls, which claim that something is sound, without saying why.
///
/// An `unsafe fn` claims nothing: its `# Safety` section, which clippy asks for, tells the caller
/// what to claim.
pub(super) fn explained(file: &RustFile<'_>) -> Vec<usize> {
    let lines = file.code.iter().enumerate();
    numbers(lines.map(|(index, code)| claims(file, index, code) && !is_explained(file, index)))
}

fn claims(file: &RustFile<'_>, index: usize, code: &str) -> bool {
    words(code).any(|(word, rest)| {
        let rest = rest.trim_start();
        // The brace may be in the next line.
        let next = file.code.get(index + 1).map_or("", |line| line.trim_start());
        let rest = if rest.is_empty() { next } else { rest };
        word == "unsafe" && (rest.starts_with('{') || rest.starts_with("impl"))
    })
}

/// Whether the comment that ends just above the statement, or is in its line, says so.
fn is_explained(file: &RustFile<'_>, index: usize) -> bool {
    if file.comments[index].contains("SAFETY:") {
        return true;
    }
    for above in (0..index).rev() {
        let code = file.code[above].trim();
        let is_comment = code.is_empty() && !file.comments[above].trim().is_empty();
        // An attribute, or the first lines of the statement that the block is in.
        let continues = !code.is_empty() && !code.ends_with([';', '{', '}', ',']);
        if !is_comment && !continues {
            return false;
        }
        if file.comments[above].contains("SAFETY:") {
            return true;
        }
    }
    false
}
