//! What `docs/terminal.md` shows: `status`, `explain` and `top`, as they are seen in a terminal.
//!
//! The document has a place for each, behind a comment that names it. `cargo xtask captures` fills them anew.

use std::path::PathBuf;

use super::{BINARY, Scene};
use crate::support::tmux::Terminal;

/// Set by `cargo xtask captures`: write what is seen into the document.
const UPDATE: &str = "GOGETA_TEST_CAPTURES";
const SIZE: (u16, u16) = (100, 26);

/// A name, gogeta's command line without its address, keys to press (and what must be seen between them), and what
/// must be seen at the end.
type Capture = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const CAPTURES: [Capture; 7] = [
    ("status", "status", &[], &["ready        yes", "latency      p50", "it said 0"]),
    (
        "explain",
        "explain www.example.com /shop?q=1",
        &[],
        &["instance   2 at", "=> it is sent on", "it said 0"],
    ),
    (
        "explain-page",
        "explain night.example.com",
        &[],
        &["stop  turn", "wake", "=| gogeta itself answers 503", "it said 1"],
    ),
    ("top", "top", &[], &["SERVICE", "night", "0 %"]),
    ("top-service", "top", &["Down", "Enter"], &["service    shop", "could not be connected to"]),
    ("top-domains", "top", &["3", "Down"], &["HOST", "typo.example.com", "pending"]),
    (
        "top-domain",
        "top",
        &["3", "until typo.example.com", "/", "gone", "Enter", "until [/gone 1 of 6]", "Enter"],
        &["verdict", "answers 500"],
    ),
];

fn document() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/terminal.md"))
}

/// The place of a capture in the document: from the line behind its fence to the fence's end.
fn place(document: &str, name: &str) -> (usize, usize) {
    let mark = format!("<!-- capture: {name} -->\n\n```text\n");
    let from =
        document.find(&mark).unwrap_or_else(|| panic!("docs/terminal.md has no {mark:?}")) + mark.len();
    let to = document[from..].find("```\n").expect("the fence ends") + from;
    (from, to)
}

#[tokio::test]
async fn the_document_shows_what_is_seen() {
    let scene = Scene::start().await;
    let mut text = std::fs::read_to_string(document()).expect("the document");
    // By others of the same length: columns stay where they are.
    let [one, two] = scene.ports().map(|port| port.to_string());
    let (proxy, admin) = (scene.gogeta.proxy.port().to_string(), scene.gogeta.admin.port().to_string());
    let file = scene.gogeta.routes_file().display().to_string();
    let names = [
        (&file, "/etc/gogeta/routes.toml"),
        (&one, "18081"),
        (&two, "18082"),
        (&proxy, "17777"),
        (&admin, "17778"),
    ];
    // Bars need some seconds to be of any height.
    let bars = |shown: &str| shown.contains('\u{2588}');
    for (name, line, keys, wanted) in CAPTURES {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let script =
            format!("{BINARY} {command} --admin {} {rest}; echo it said $?; exec cat", scene.gogeta.admin);
        let Some(terminal) = Terminal::run(SIZE, &script) else { return };
        if !keys.is_empty() {
            terminal.until_it_shows(&["SERVICE", "night"]).await;
        }
        for key in keys {
            match key.strip_prefix("until ") {
                Some(text) => drop(terminal.until_it_shows(&[text]).await),
                None => terminal.press(&[key]),
            }
        }
        let shown = terminal
            .until(&format!("{name}: {wanted:?}"), |shown| {
                wanted.iter().all(|text| shown.contains(text)) && (command != "top" || bars(shown))
            })
            .await;
        let shown =
            shown.lines().take_while(|line| !line.starts_with("it said")).collect::<Vec<_>>().join("\n");
        let shown = names.iter().fold(shown, |shown, (here, there)| shown.replace(*here, there));
        let (from, to) = place(&text, name);
        if std::env::var_os(UPDATE).is_some() {
            text.replace_range(from..to, &format!("{}\n", shown.trim_end()));
        } else {
            let missing = wanted
                .iter()
                .find(|wanted| !text[from..to].contains(**wanted) && !wanted.starts_with("it said"));
            assert_eq!(missing, None, "docs/terminal.md is old: cargo xtask captures");
        }
    }
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(document(), text).expect("the document is written");
    }
}
