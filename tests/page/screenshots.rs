//! The pictures of the page in the documents. `cargo xtask screenshots` draws them anew, after minutes of traffic; the
//! test sees that they can be drawn.

use std::path::Path;
use std::time::{Duration, Instant};

use super::browser::Browser;
use crate::support::backend::Backend;
use crate::support::client::Client;
use crate::support::etcd::{decode, free_port};
use crate::support::gogeta::Gogeta;
use crate::support::random::Random;

/// Where the pictures go, seen from the repository's root; nowhere where it is not set.
const FOLDER: &str = "GOGETA_TEST_SCREENSHOTS";
/// How long there is traffic before, in seconds.
const SECONDS: &str = "GOGETA_TEST_SECONDS";
/// A picture may have so many bytes.
const MOST: usize = 200_000;

const SERVED: [&str; 9] = ["api", "blog", "docs", "files", "mail", "search", "shop", "status", "wiki"];

/// An installation like others: most of it is well.
fn routes(port: u16, dead: u16) -> String {
    let up = "status = { current = \"started\", expected = \"started\", alive = \"1\" }";
    let mut text = String::new();
    for (at, name) in SERVED.iter().enumerate() {
        text += &format!("[domains.\"{name}.example.com\"]\ntype = \"service\"\nvalue = {name:?}\n");
        for index in 0..=at % 3 {
            text += &format!(
                "[services.{name}.{index}]\nlocation = {{ host = \"127.0.0.1\", port = {port} }}\n{up}\n"
            );
        }
    }
    for (name, current, expected) in [
        ("staging", "passivated", "passivated"),
        ("forum", "starting", "started"),
        ("archive", "stopped", "stopped"),
    ] {
        text += &format!(
            "[domains.\"{name}.example.com\"]\ntype = \"service\"\nvalue = {name:?}\n[services.{name}.0]\n\
             status = {{ current = {current:?}, expected = {expected:?} }}\n"
        );
    }
    text += &format!(
        "[domains.\"billing.example.com\"]\ntype = \"service\"\nvalue = \"billing\"\n\
         [services.billing.0]\nlocation = {{ host = \"127.0.0.1\", port = {dead} }}\n{up}\n\
         [domains.\"www.example.org\"]\ntype = \"uri\"\nvalue = \"http://127.0.0.1:{port}/site\"\n\
         [domains.\"new.example.com\"]\ntype = \"service\"\n"
    );
    text
}

/// Requests for all of it, some of which fail; more and fewer of them as time goes by.
async fn traffic(gogeta: &Gogeta, seconds: u64) {
    let begun = Instant::now();
    let mut random = Random(8);
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..4 {
        client.get("billing.example.com", "/").await;
    }
    while begun.elapsed() < Duration::from_secs(seconds) {
        let host = format!("{}.example.com", random.of(&SERVED));
        assert_eq!(client.get(&host, "/").await.status, 200);
        if random.once_in(400) {
            client.get("billing.example.com", "/").await;
        }
        let wave =
            (begun.elapsed().as_secs_f64() / 14.0).sin() + 0.4 * (begun.elapsed().as_secs_f64() / 3.7).sin();
        // This is how busy it is, and nothing is waited for.
        tokio::time::sleep(Duration::from_micros((4500.0 + 2500.0 * wave) as u64)).await;
    }
}

#[tokio::test]
async fn pictures_of_the_page_can_be_drawn() {
    let Some(browser) = Browser::start().await else { return };
    let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{}", "x".repeat(9000));
    let web = Backend::replying(&reply).await;
    let gogeta = Gogeta::routes(&routes(web.port, free_port())).start().await;
    let folder = std::env::var_os(FOLDER);
    let seconds = std::env::var(SECONDS).ok().filter(|_| folder.is_some()).and_then(|text| text.parse().ok());
    traffic(&gogeta, seconds.unwrap_or(1)).await;
    let tab = browser.tab().await;
    for (name, (width, height), is_dark, view, there) in [
        ("desktop-light", (1280, 1000), false, "/", "#worst li"),
        ("desktop-dark", (1280, 1000), true, "/", "#worst li"),
        ("service-light", (1280, 800), false, "/services/docs", "#detail .instance"),
        ("phone-dark", (360, 780), true, "/", "#worst li"),
    ] {
        tab.size(width, height).await;
        tab.dark(is_dark).await;
        tab.open(&gogeta, view).await;
        tab.until(view, &format!("document.querySelector({there:?})")).await;
        let drawn =
            "document.querySelector('#traffic').hidden || document.querySelectorAll('.line[d]').length >= 2";
        tab.until("the charts are drawn", drawn).await;
        let picture = tab.picture().await;
        assert!(picture.len() / 4 * 3 < MOST, "{name} has {} bytes", picture.len() / 4 * 3);
        if let Some(folder) = &folder {
            let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
            std::fs::write(root.join(folder).join(format!("{name}.png")), decode(&picture))
                .expect("it is written");
        }
    }
}
