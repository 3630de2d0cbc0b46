//! `gogeta completions`, `gogeta man` and the helps: written by the command line itself.

use crate::support::gogeta::Gogeta;

#[tokio::test]
async fn completions_of_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let line = format!("completions {shell}");
        Gogeta::bare().command_line(&line).await.well(&["gogeta", "register", "etcd-address"]);
    }
    Gogeta::bare().command_line("completions csh").await.badly(2, &["csh", "zsh"]);
}

#[tokio::test]
async fn a_manual_page_for_each_command() {
    Gogeta::bare().command_line("man").await.well(&[".TH gogeta 1", "GOGETA_LISTEN"]);
    let directory = tempfile::tempdir().expect("a directory");
    let pages = directory.path().join("new");
    Gogeta::bare().arg("man").arg(&pages).said().await.well(&[]);
    let page = std::fs::read_to_string(pages.join("gogeta-route-set.1")).expect("it is there");
    assert!(page.contains("shop.example.com"), "with its examples: {page}");
    assert!(pages.join("gogeta.1").exists() && pages.join("gogeta-register.1").exists());
    Gogeta::bare().command_line("man /proc/no/such").await.badly(1, &["/proc/no/such"]);
}

#[tokio::test]
async fn each_help_has_an_example_and_the_exit_codes() {
    let commands = [
        "route set",
        "route rm",
        "route ls",
        "service ls",
        "service set",
        "service status",
        "service rm",
        "watch",
        "check",
        "export",
        "import",
        "wait",
        "register",
        "explain",
        "status",
        "top",
    ];
    for command in commands {
        let line = format!("{command} --help");
        Gogeta::bare().command_line(&line).await.well(&[
            "Example",
            &format!("gogeta {command}"),
            "Exit codes: ",
        ]);
    }
}
