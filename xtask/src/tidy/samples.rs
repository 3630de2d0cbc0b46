//! For every rule of [`RULES`], files that it must find fault with and files that it must not.

use super::{RULES, tree::Tree, violations};

/// A rule, a file's path and text, and the lines where the rule is violated.
type Sample = (&'static str, &'static str, &'static str, &'static [usize]);

const SAMPLES: &[Sample] = &[
    ("etcd-confined", "gogeta/src/app.rs", "//! A.\nuse etcd_client::Client;\n", &[2]),
    (
        "etcd-confined",
        "gogeta/src/app.rs",
        "//! Not etcd_client.\nfn f(s: &str) -> bool {\n s == \"etcd_client\"\n}\n",
        &[],
    ),
    ("etcd-confined", "gogeta/src/store/etcd/watch.rs", "//! A.\nuse etcd_client::Client;\n", &[]),
    ("etcd-confined", "gogeta/src/store/etcd.rs", "//! A.\nuse etcd_client::Client;\n", &[]),
    (
        "tera-confined",
        "gogeta/src/proxy/error.rs",
        "//! A.\n\nfn f() {\n    tera::Tera::default();\n}\n",
        &[4],
    ),
    ("tera-confined", "gogeta/src/pages.rs", "//! A.\nuse tera::Tera;\n", &[]),
    ("tera-confined", "gogeta/src/pages/mod.rs", "//! A.\nuse tera::Tera;\n", &[]),
    ("aya-confined", "gogeta/src/splice/mod.rs", "//! A.\nuse aya::Ebpf;\n", &[2]),
    ("aya-confined", "gogeta/src/splice/mod.rs", "//! A.\nuse aya_log::EbpfLogger;\n", &[2]),
    ("aya-confined", "gogeta/src/splice/kernel/load.rs", "//! A.\nuse aya::Ebpf;\n", &[]),
    ("aya-confined", "gogeta-ebpf/src/main.rs", "//! A.\nuse aya_ebpf::macros::map;\n", &[]),
    (
        "pure-core",
        "gogeta/src/routes/table.rs",
        "//! A.\nuse tokio::time::Instant;\nuse tokio_util::x;\n",
        &[2, 3],
    ),
    ("pure-core", "gogeta/src/proxy/headers.rs", "//! A.\nuse tokio::time::Instant;\n", &[2]),
    ("pure-core", "gogeta/src/routes/table.rs", "//! Without tokio.\n/* tokio */ // tokio\n", &[]),
    ("pure-core", "gogeta/src/status_page.rs", "//! A.\nuse tokio::time::Instant;\n", &[]),
    ("pure-core", "gogeta/src/proxy/mod.rs", "//! A.\nuse tokio::time::Instant;\n", &[]),
    ("unsafe-confined", "gogeta/src/app.rs", "//! A.\nunsafe fn f() {}\n", &[2]),
    ("unsafe-confined", "gogeta/src/lib.rs", "//! Not unsafe.\n#![deny(unsafe_op_in_unsafe_fn)]\n", &[]),
    ("unsafe-confined", "gogeta/src/splice/kernel/wire.rs", "//! A.\nunsafe fn f() {}\n", &[]),
    ("unsafe-confined", "gogeta/src/inherited.rs", "//! A.\nunsafe fn f() {}\n", &[]),
    (
        "unsafe-explained",
        "gogeta-ebpf/src/main.rs",
        "//! A.\nfn f() {\n    let a = unsafe { g() };\n}\nunsafe impl A for B {}\n",
        &[3, 5],
    ),
    (
        "unsafe-explained",
        "gogeta-ebpf/src/main.rs",
        "//! A.\nfn f() {\n    // SAFETY: of another one.\n    a(); // SAFETY: too\n    unsafe { g() };\n}\n",
        &[5],
    ),
    (
        "unsafe-explained",
        "gogeta-ebpf/src/main.rs",
        "//! A.\nfn f() {\n    // SAFETY: g is fine\n    // with this.\n    #[cfg(x)]\n    let a =\n        unsafe { g() };\n    unsafe { g() } // SAFETY: too\n}\n",
        &[],
    ),
    (
        "unsafe-explained",
        "gogeta-ebpf/src/main.rs",
        "//! A.\n#[unsafe(no_mangle)]\nunsafe fn f() {}\nunsafe extern \"C\" fn g() {}\n",
        &[],
    ),
    ("exit-in-main", "gogeta/src/app.rs", "//! A.\nfn f() { std::process::exit(1) }\n", &[2]),
    ("exit-in-main", "gogeta/src/main.rs", "//! A.\nfn f() { std::process::exit(1) }\n", &[]),
    ("exit-in-main", "gogeta/src/app.rs", "//! Never process::exit.\nfn f() { process::id() }\n", &[]),
    (
        "print-in-commands",
        "gogeta/src/app.rs",
        "//! A.\nfn f() { println!(\"a\"); }\nfn g() { print!(\"a\") }\n",
        &[2, 3],
    ),
    ("print-in-commands", "gogeta/src/commands/check.rs", "//! A.\nfn f() { println!(\"a\") }\n", &[]),
    ("print-in-commands", "gogeta/src/demo/mod.rs", "//! A.\nfn f() { println!(\"a\") }\n", &[]),
    ("print-in-commands", "tests/main.rs", "//! A.\nfn f() { println!(\"a\") }\n", &[]),
    (
        "print-in-commands",
        "gogeta/src/app.rs",
        "//! A.\nfn f() { eprintln!(\"println!\"); print(1) }\n#[cfg(test)]\nmod tests {\n    fn f() { println!() }\n}\n",
        &[],
    ),
    (
        "no-ignored-test",
        "tests/a.rs",
        "//! A.\n#[test]\n#[ignore]\nfn f() {}\n#[ignore = \"slow\"]\nfn g() {}\n#[cfg_attr(miri, ignore)]\nfn h() {}\n",
        &[3, 5, 7],
    ),
    ("no-ignored-test", "tests/a.rs", "//! No #[ignore].\n#[test]\nfn ignore() { \"#[ignore]\"; }\n", &[]),
    ("file-doc", "gogeta/src/app.rs", "// A.\nfn f() {}\n", &[1]),
    ("file-doc", "gogeta/src/app.rs", "", &[1]),
    ("file-doc", "gogeta/src/app.rs", "//! A.\nfn f() {}\n", &[]),
    (
        "no-todo",
        "gogeta/src/app.rs",
        "//! A.\nfn f() {\n    todo!()\n    // TODO: b\n}\n/* FIXME */\n",
        &[3, 4, 6],
    ),
    ("no-todo", "deploy/gogeta.service", "# TODO\n", &[1]),
    ("no-todo", "gogeta/src/app.rs", "//! A.\nfn todo() { \"TODO\"; }\n", &[]),
    ("no-todo", "CONTRIBUTING.md", "No TODO is left.\n", &[]),
    (
        "no-machine-path",
        "docs/a.md",
        concat!("See /", "root/x.\ncd /", "home/me/gogeta\n`/", "work/main`\n"),
        &[1, 2, 3],
    ),
    (
        "no-machine-path",
        "docs/a.md",
        "See /roots/x, $HOME/work/x, https://a.example/work/x.\n/home/<you>\n",
        &[],
    ),
    ("white-space", "a.toml", "a \nb\t\nc\r\nd\n", &[1, 2, 3]),
    ("white-space", "a.toml", "a\nb", &[2]),
    ("white-space", "a.toml", "a\n\n", &[2]),
    ("white-space", "a.toml", "a\n\nb\n", &[]),
    ("white-space", "tests/cases/get.http", "GET / HTTP/1.1\r\n\r\n", &[]),
    ("changelog", "CHANGELOG.md", "# Changelog\n\n## [1.0.0]\n", &[1]),
    ("changelog", "README.md", "# gogeta\n", &[1]),
    ("changelog", "CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n", &[]),
    ("links", "docs/a.md", "# A\n\nSee [b](b.md) and\n[c](../README.md).\n", &[3, 4]),
    ("links", "docs/a.md", "[a](a.md#b), [me](#a), [docs](../docs/), [x](https://a.example/x)\n", &[]),
];

/// The lines of violations that are printed for a tree of one file.
fn lines(rule: &str, path: &str, text: &str) -> Vec<usize> {
    violations(&Tree::single(path, text))
        .iter()
        .filter_map(|violation| {
            let mut parts = violation.split(':');
            let line = parts.nth(1)?.parse().ok()?;
            (parts.next()?.trim() == rule).then_some(line)
        })
        .collect()
}

#[test]
fn rules_find_violations_and_nothing_else() {
    for (rule, path, text, expected) in SAMPLES {
        assert_eq!(lines(rule, path, text), *expected, "{rule} in {path}:\n{text}");
    }
}

#[test]
fn every_rule_has_a_sample_of_either_kind() {
    // `file-size` has samples of its own, which are long.
    for rule in RULES.iter().filter(|rule| rule.name != "file-size") {
        let has = |fires: bool| {
            let samples = SAMPLES.iter();
            samples.filter(|(name, _, _, lines)| *name == rule.name && lines.is_empty() != fires).count()
        };
        assert!(has(true) > 0, "{} has no sample that violates it", rule.name);
        assert!(has(false) > 0, "{} has no sample that obeys it", rule.name);
    }
}

#[test]
fn only_code_counts_for_the_size_of_a_file() {
    let code = "fn f() {}\n".repeat(500);
    let rest = "\n// A comment.\n".repeat(500) + "#[cfg(test)]\nmod tests {\n" + &code + "}\n";
    let at_the_limit = format!("//! A.\n{code}{rest}");
    assert!(lines("file-size", "gogeta/src/app.rs", &at_the_limit).is_empty());
    let over_it = at_the_limit + "fn g() {}\n";
    assert_eq!(lines("file-size", "gogeta/src/app.rs", &over_it), [1]);
}

#[test]
fn a_violation_says_where_what_and_what_to_do() {
    let tree = Tree::single("CHANGELOG.md", "## [Unreleased]\n\nSee [x](y.md).\n");
    assert_eq!(violations(&tree), ["CHANGELOG.md:3: links: link to a file that is in the repository (y.md)"]);
}
