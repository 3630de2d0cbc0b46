//! Which module may know which crate.
//!
//! A name counts wherever it stands in code, with or without a `use`: `::` paths do not need one.

use super::lexer::{RustFile, words};

/// etcd can be replaced, and is absent from most tests.
pub(super) fn etcd(file: &RustFile<'_>) -> Vec<usize> {
    let home = ["gogeta/src/store/etcd/", "gogeta/src/store/etcd.rs"];
    confined(file, "etcd_client", &home)
}

/// Templates are how an error looks, which only pages decide.
pub(super) fn templates(file: &RustFile<'_>) -> Vec<usize> {
    confined(file, "tera", &["gogeta/src/pages/", "gogeta/src/pages.rs"])
}

/// The boundary to the kernel is one module, to be read with care.
pub(super) fn kernel(file: &RustFile<'_>) -> Vec<usize> {
    let home = ["gogeta/src/splice/kernel/"];
    [confined(file, "aya", &home), confined(file, "aya_log", &home)].concat()
}

/// What decides does not wait: it can be tested, and reasoned about, without a clock or a runtime.
pub(super) fn runtime(file: &RustFile<'_>) -> Vec<usize> {
    let pure = ["routes", "status", "balance", "proxy/headers"];
    let is_pure = pure.iter().any(|module| {
        let rest = file.path().strip_prefix("gogeta/src/");
        let rest = rest.and_then(|rest| rest.strip_prefix(module));
        rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    });
    if !is_pure {
        return Vec::new();
    }
    file.lines(|code| words(code).any(|(word, _)| word.starts_with("tokio")))
}

fn confined(file: &RustFile<'_>, name: &str, home: &[&str]) -> Vec<usize> {
    if home.iter().any(|path| file.path().starts_with(path)) {
        return Vec::new();
    }
    file.lines(|code| words(code).any(|(word, _)| word == name))
}
