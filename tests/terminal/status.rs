//! `gogeta status`: one screenful, or JSON; and what it says where nobody answers.

use super::{BINARY, Scene};
use crate::support::gogeta::Gogeta;
use crate::support::tmux::Terminal;
use crate::support::wait::until;

#[tokio::test]
async fn one_screenful_says_what_is_wrong() {
    let scene = Scene::start().await;
    let admin = scene.gogeta.admin.to_string();
    let run = async |line: &str| Gogeta::bare().env("GOGETA_ADMIN", &admin).command_line(line).await;
    let said = until("the refused instance rests", async || {
        let said = run("status").await.well(&["ready        yes"]);
        said.out.contains("1 cannot be connected to").then_some(said)
    })
    .await;
    let said = said.well(&[
        &format!("on {}, up ", scene.gogeta.proxy),
        "store        file, connected, revision 1",
        "domains      6: ",
        "services     3: 2 started, 1 passivated",
        "instances    6: ",
        "requests     ",
        "bytes        ",
        "key ",
        "the type must be service or uri",
    ]);
    assert!(said.out.lines().count() < 24 && !said.out.contains('\u{1b}'), "{said:?}");
    let said = run("status --json").await.well(&[]);
    assert_eq!(said.json()["counts"]["domains"], 6);
    assert_eq!(said.json()["ready"]["ready"], true);
}

#[tokio::test]
async fn who_is_not_ready_ends_it_with_1_and_who_is_not_there_with_2() {
    // No etcd answers there, so no routes come.
    let waiting = Gogeta::bare().args(["--etcd-address", "http://127.0.0.1:1"]).start().await;
    let admin = waiting.admin.to_string();
    let said = Gogeta::bare().args(["status", "--admin", &admin]).said().await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("ready        no: no routes have been read yet"), "{said:?}");
    let nobody = Gogeta::bare().command_line("status --admin http://127.0.0.1:1").await;
    nobody.badly(2, &["nothing answers at http://127.0.0.1:1 (--admin)", "is gogeta running"]);
    let proxy = waiting.proxy.to_string();
    let other = Gogeta::bare().args(["status", "--admin", &proxy]).said().await;
    other.badly(2, &["--admin"]);
}

#[tokio::test]
async fn colours_are_for_terminals() {
    let scene = Scene::start().await;
    let script = format!("{BINARY} status --admin {}; echo it said {}; exec cat", scene.gogeta.admin, "$?");
    let Some(terminal) = Terminal::run((100, 30), &script) else { return };
    terminal.until_it_shows(&["it said 0", "ready", "latency"]).await;
    assert!(terminal.shows_coloured().contains("\u{1b}[32m"), "{}", terminal.shows_coloured());
}
