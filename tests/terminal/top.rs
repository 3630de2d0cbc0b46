//! `gogeta top` in a terminal: what it shows, what keys do, and how it leaves the terminal.

use rustix::process::Signal;

use super::{BINARY, Scene, routes};
use crate::support::client::get;
use crate::support::gogeta::Gogeta;
use crate::support::tmux::Terminal;
use crate::support::wait::until;

/// The smallest terminal that there is, more or less.
const SMALL: (u16, u16) = (80, 24);

/// A shell that runs top, and says behind it how it ended and how the terminal is.
fn script(scene: &Scene, more: &str) -> String {
    format!(
        "echo this was before; {more} {BINARY} top --interval 200ms --admin {}; echo it ended with $?; \
         stty -a | tr ';' '\\n' | grep -ow -e '-*icanon' -e '-*echo'; exec cat",
        scene.gogeta.admin
    )
}

/// Waits for the end of top, and sees to it that the terminal is as it was.
async fn given_back(terminal: &Terminal, code: u8) {
    let shown = terminal.until_it_shows(&[&format!("it ended with {code}\n"), "icanon\n", "echo\n"]).await;
    assert!(shown.contains("this was before"), "{shown}");
    assert!(!shown.contains("-icanon") && !shown.contains("-echo"), "{shown}");
    assert!(!shown.contains("req/s"), "nothing of it stays: {shown}");
}

#[tokio::test]
async fn what_is_routed_where_and_why() {
    let scene = Scene::start().await;
    let Some(terminal) = Terminal::run(SMALL, &script(&scene, "")) else { return };
    let shown = terminal
        .until_it_shows(&["SERVICE", "req/s", "err/s", "p99", "userspace", "night", "passivated", "1/3"])
        .await;
    assert!(shown.lines().next().is_some_and(|line| line.contains("ready")), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    // A row, and why it is so.
    terminal.press(&["Down", "Enter"]);
    terminal.until_it_shows(&["service    shop", "could not be connected to"]).await;
    terminal.press(&["End"]);
    terminal.until_it_shows(&["its heartbeat is gone"]).await;
    terminal.press(&["Escape"]);
    // Another view, searched.
    terminal.press(&["3"]);
    terminal.until_it_shows(&["HOST", "*.shop.example.com", "typo.example.com", "pending"]).await;
    terminal.press(&["/", "gone"]);
    let is_found = |shown: &str| shown.contains("gone.example.com") && !shown.contains("typo.example.com");
    terminal.until("what is searched for", is_found).await;
    terminal.press(&["Enter", "Enter"]);
    terminal.until_it_shows(&["goes to    service gone", "verdict", "answers 500"]).await;
    terminal.press(&["End"]);
    terminal.until_it_shows(&["domains.\"gone.example.com\".value", "which does not exist"]).await;
    // What is wrong, and help.
    terminal.press(&["5"]);
    terminal.until_it_shows(&["typo.example.com", "the type must be service"]).await;
    terminal.press(&["?"]);
    terminal.until_it_shows(&["Ctrl-Z", "any key goes back"]).await;
    terminal.press(&["x", "q"]);
    given_back(&terminal, 0).await;
}

#[tokio::test]
async fn changes_are_seen_as_they_happen_and_not_while_it_is_paused() {
    let scene = Scene::start().await;
    let Some(terminal) = Terminal::run(SMALL, &script(&scene, "")) else { return };
    terminal.until_it_shows(&["SERVICE", "night"]).await;
    terminal.press(&["4"]);
    terminal.until_it_shows(&["HAPPENED"]).await;
    let [one, two] = scene.ports();
    let add = |name: &str| {
        let more = format!("[services.{name}.1]\nlocation = {{ host = \"127.0.0.1\", port = {one} }}\n");
        scene.gogeta.edit_routes(&(routes([one, two, one]) + &more));
    };
    add("fresh");
    terminal.until_it_shows(&["fresh"]).await;
    terminal.press(&["p", "1"]);
    terminal.until_it_shows(&["paused", "SERVICE", "fresh"]).await;
    add("later");
    let is_served = async || {
        let services = get(scene.gogeta.admin, "localhost", "/api/services").await;
        services.text().contains("later").then_some(())
    };
    until("the change is served", is_served).await;
    let shown = terminal.shows();
    assert!(shown.contains("fresh") && !shown.contains("later"), "{shown}");
    terminal.press(&["p"]);
    terminal.until_it_shows(&["later", "every 200ms"]).await;
    terminal.press(&["q"]);
    given_back(&terminal, 0).await;
}

#[tokio::test]
async fn it_takes_any_size() {
    let scene = Scene::start().await;
    let Some(terminal) = Terminal::run(SMALL, &script(&scene, "")) else { return };
    terminal.until_it_shows(&["SERVICE", "WHY"]).await;
    terminal.resize((40, 12));
    terminal.until("a small one", |shown| shown.contains("SERVICE") && !shown.contains("WHY")).await;
    terminal.resize((140, 40));
    terminal.until_it_shows(&["WHY", "q quit", "userspace"]).await;
    terminal.press(&["q"]);
    given_back(&terminal, 0).await;
}

#[tokio::test]
async fn it_goes_on_when_gogeta_is_back() {
    let mut scene = Scene::start().await;
    let Some(terminal) = Terminal::run(SMALL, &script(&scene, "")) else { return };
    terminal.until_it_shows(&["SERVICE", "night"]).await;
    let admin = scene.gogeta.admin.to_string();
    scene.gogeta.signal(Signal::KILL);
    scene.gogeta.wait().await;
    terminal.until_it_shows(&["away", "asking again", "--admin"]).await;
    let [one, two] = scene.ports();
    let again =
        routes([one, two, one]) + "[services.reborn.1]\nlocation = { host = \"127.0.0.1\", port = 1 }\n";
    scene.gogeta = Gogeta::routes(&again).args(["--admin", &admin]).start().await;
    terminal.until("it is back", |shown| shown.contains("reborn") && !shown.contains("asking again")).await;
    terminal.press(&["q"]);
    given_back(&terminal, 0).await;
}

#[tokio::test]
async fn a_signal_a_panic_and_a_stop_give_the_terminal_back() {
    let scene = Scene::start().await;
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let Some(terminal) = Terminal::run(SMALL, &script(&scene, "")) else { return };
        terminal.until_it_shows(&["SERVICE", "night"]).await;
        terminal.signal(signal).await;
        given_back(&terminal, code).await;
    }
    let Some(terminal) = Terminal::run(SMALL, &script(&scene, "GOGETA_FAIL_TOP=1 RUST_BACKTRACE=0")) else {
        return;
    };
    terminal.until_it_shows(&["panicked at", "GOGETA_FAIL_TOP"]).await;
    given_back(&terminal, 101).await;
    // A shell with jobs, to be stopped below.
    let Some(terminal) = Terminal::run(SMALL, "exec env PS1='shell: ' sh -i") else { return };
    terminal.until_it_shows(&["shell:"]).await;
    terminal.press(&[&format!("{BINARY} top --admin {}", scene.gogeta.admin), "Enter"]);
    terminal.until_it_shows(&["SERVICE", "night"]).await;
    terminal.press(&["C-z"]);
    terminal.until("it is stopped", |shown| shown.contains("Stopped") && !shown.contains("req/s")).await;
    terminal.press(&["fg", "Enter"]);
    terminal.until_it_shows(&["SERVICE", "night"]).await;
    terminal.press(&["C-l", "2"]);
    terminal.until_it_shows(&["LOCATION", "night"]).await;
    terminal.press(&["C-c"]);
    terminal.until("the shell is back", |shown| !shown.contains("req/s") && shown.contains("shell:")).await;
}

#[tokio::test]
async fn without_a_terminal_it_says_what_else_there_is() {
    let scene = Scene::start().await;
    let admin = scene.gogeta.admin.to_string();
    let top = |more: &[&str]| Gogeta::bare().args(["top", "--admin", &admin]).args(more.iter()).said();
    top(&[]).await.badly(2, &["needs a terminal", "gogeta status --json"]);
    top(&["--interval", "1ms"]).await.badly(2, &["--interval", "100ms"]);
    top(&["--admin", "ftp://x"]).await.badly(2, &["--admin"]);
    let script = format!("{BINARY} top --admin http://127.0.0.1:1; echo it ended with $?; exec cat");
    let Some(terminal) = Terminal::run(SMALL, &script) else { return };
    terminal.until_it_shows(&["nothing answers at http://127.0.0.1:1 (--admin)", "it ended with 2"]).await;
}
