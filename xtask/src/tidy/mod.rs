//! `cargo xtask tidy`: the rules of this repository that no compiler checks.
//!
//! They are the lines in ARCHITECTURE.md and CONTRIBUTING.md that would erode if only people
//! watched them. Each is a row of [`RULES`]: a name, the function that looks for violations, and
//! what to do about one.

mod imports;
mod lexer;
mod links;
mod manners;
mod size;
mod text;
mod tree;
mod unsafety;

#[cfg(test)]
mod samples;

use anyhow::{Result, bail};

use crate::workspace;
use lexer::RustFile;
use tree::{File, Tree};

/// A line of a file, and what is wrong there if the rule's name does not say it all.
struct Finding {
    path: String,
    line: usize,
    what: Option<String>,
}

/// What a rule looks at.
enum Look {
    /// A Rust file; gives line numbers.
    Rust(fn(&RustFile<'_>) -> Vec<usize>),
    /// Any text file; gives line numbers.
    Text(fn(&File) -> Vec<usize>),
    /// All files together.
    Tree(fn(&Tree) -> Vec<Finding>),
}

/// An invariant of the repository.
struct Rule {
    name: &'static str,
    look: Look,
    /// What to do about a violation.
    advice: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        name: "etcd-confined",
        look: Look::Rust(imports::etcd),
        advice: "only gogeta/src/store/etcd knows etcd_client; go through the store",
    },
    Rule {
        name: "tera-confined",
        look: Look::Rust(imports::templates),
        advice: "only gogeta/src/pages knows tera; go through pages",
    },
    Rule {
        name: "aya-confined",
        look: Look::Rust(imports::kernel),
        advice: "only gogeta/src/splice/kernel knows aya; go through splice",
    },
    Rule {
        name: "pure-core",
        look: Look::Rust(imports::runtime),
        advice: "this module is pure: take what it needs as an argument, and keep tokio outside",
    },
    Rule {
        name: "unsafe-confined",
        look: Look::Rust(unsafety::confined),
        advice: "only gogeta/src/splice/kernel, gogeta/src/inherited.rs, gogeta/src/watched.rs, \
                 gogeta/src/sandbox/install.rs, gogeta-ebpf and the allocator of benches/counting may have unsafe code",
    },
    Rule {
        name: "unsafe-explained",
        look: Look::Rust(unsafety::explained),
        advice: "say in a `// SAFETY:` comment just above why this is sound",
    },
    Rule {
        name: "exit-in-main",
        look: Look::Rust(manners::process_exit),
        advice: "return an error or an exit code to main.rs, which alone ends the process",
    },
    Rule {
        name: "print-in-commands",
        look: Look::Rust(manners::print),
        advice: "log with tracing, or print where a command's output is made",
    },
    Rule {
        name: "no-ignored-test",
        look: Look::Rust(manners::ignored_test),
        advice: "let the test say `SKIPPED: reason` where it cannot run",
    },
    Rule {
        name: "file-doc",
        look: Look::Rust(manners::file_doc),
        advice: "open the file with `//!` lines that say what it is for",
    },
    Rule {
        name: "file-size",
        look: Look::Rust(size::too_long),
        advice: "over 500 lines of code; split it, or list it with a reason in xtask/src/tidy/size.rs",
    },
    Rule { name: "no-todo", look: Look::Text(manners::todo), advice: "do it now, or open an issue" },
    Rule {
        name: "no-machine-path",
        look: Look::Text(text::machine_path),
        advice: "this path exists on one machine only",
    },
    Rule {
        name: "white-space",
        look: Look::Text(text::white_space),
        advice: "no white space at the end of a line, and one line end at the end of the file",
    },
    Rule {
        name: "changelog",
        look: Look::Tree(text::changelog),
        advice: "CHANGELOG.md has a section `## [Unreleased]`",
    },
    Rule { name: "links", look: Look::Tree(links::dead), advice: "link to a file that is in the repository" },
];

/// Checks every file that git has, or would take.
///
/// # Errors
/// When a rule is violated.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::of_git(&workspace::root())?;
    let violations = violations(&tree);
    for violation in &violations {
        println!("{violation}");
    }
    let files = tree.files().len();
    if !violations.is_empty() {
        bail!("tidy: {} violation(s) in {files} files", violations.len());
    }
    println!("tidy: {} rules hold in {files} files", RULES.len());
    Ok(())
}

/// One line for each violation: where, which rule, and what to do.
fn violations(tree: &Tree) -> Vec<String> {
    let rust: Vec<_> = tree.files().iter().filter_map(RustFile::new).collect();
    let mut found = Vec::new();
    for rule in RULES {
        for Finding { path, line, what } in rule.findings(tree, &rust) {
            let what = what.map(|what| format!(" ({what})")).unwrap_or_default();
            let Rule { name, advice, .. } = rule;
            found.push(format!("{path}:{line}: {name}: {advice}{what}"));
        }
    }
    found
}

impl Rule {
    fn findings(&self, tree: &Tree, rust: &[RustFile<'_>]) -> Vec<Finding> {
        match self.look {
            Look::Rust(look) => rust.iter().flat_map(|file| at(file.path(), look(file))).collect(),
            Look::Text(look) => tree.files().iter().flat_map(|file| at(&file.path, look(file))).collect(),
            Look::Tree(look) => look(tree),
        }
    }
}

fn at(path: &str, lines: Vec<usize>) -> impl Iterator<Item = Finding> {
    lines.into_iter().map(move |line| Finding { path: path.to_owned(), line, what: None })
}
