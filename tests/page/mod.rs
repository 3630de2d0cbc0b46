//! The dashboard, as a browser shows it: it tells the truth within a second, works by keyboard and for whoever does not
//! see it, and asks nobody but its gogeta.

mod access;
mod browser;
mod control;
mod hostile;
mod keyboard;
mod lost;
mod many;
mod screenshots;
mod tab;
mod truth;

use std::net::SocketAddr;

use crate::support::client::{get, request};
use crate::support::gogeta::Gogeta;

#[tokio::test]
async fn the_page_says_what_it_may_do_and_is_sent_once() {
    let gogeta = Gogeta::routes("").start().await;
    let page = get(gogeta.admin, "127.0.0.1", "/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").expect("a policy");
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.split("; ").any(|one| one == rule), "{rule}: {policy}");
    }
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let script = get(gogeta.admin, "127.0.0.1", "/page/app.js").await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    for (path, reply) in [("/", page), ("/page/app.js", script)] {
        let tag = reply.header("etag").expect("a tag").to_owned();
        assert_eq!(known(gogeta.admin, path, &tag).await, 304);
        assert_eq!(known(gogeta.admin, path, &format!("\"other\", W/{tag}")).await, 304);
        assert_eq!(known(gogeta.admin, path, "\"other\"").await, 200);
    }
    assert_eq!(get(gogeta.admin, "127.0.0.1", "/page/mod.rs").await.status, 404);
    assert_eq!(get(gogeta.admin, "127.0.0.1", "/page/..%2Fmod.rs").await.status, 404);
}

/// The status that who has the bytes of that tag is answered with.
async fn known(admin: SocketAddr, path: &str, tag: &str) -> u16 {
    let fields = format!("Host: 127.0.0.1\r\nConnection: close\r\nIf-None-Match: {tag}\r\n");
    request(admin, &format!("GET {path} HTTP/1.1\r\n{fields}\r\n")).await.status
}
