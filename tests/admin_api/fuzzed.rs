//! The API, asked by Schemathesis for whatever its document allows, and for what it does not.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;

use super::{TOKEN, with_token};
use crate::support::backend::{Backend, service, uri};
use crate::support::etcd::skip;
use crate::support::gogeta::Gogeta;

/// Where `cargo xtask test` puts it.
const SCHEMATHESIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/schemathesis/bin/schemathesis");

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_asked_is_a_server_error_or_breaks_the_document() {
    if !Path::new(SCHEMATHESIS).is_file() {
        return skip("schemathesis is not installed: cargo xtask test does it");
    }
    let web = Backend::named("web").await;
    let routes = service("a.test", &[web.port])
        + &uri("u.test", "http://127.0.0.1:9/p?q")
        + "[domains.\"half.test\"]\ntype = \"service\"\n[services.odd.x]\nstatus = { current = \"odd\" }\n";
    let builder = with_token(Gogeta::routes(&routes));
    let profile = builder.file("cpu.prof", "");
    let mut gogeta = builder.arg("--cpu-profile").arg(profile).start().await;
    let document = format!("http://{}/api/openapi.json", gogeta.admin);
    let seed = std::env::var("GOGETA_TEST_SEED").unwrap_or_else(|_| "1".to_owned());
    let asking = Command::new(SCHEMATHESIS)
        .args(["run", &document, "--seed", &seed, "--max-examples", "15", "--phases", "coverage,fuzzing"])
        .args(["-H", &format!("Authorization: Bearer {TOKEN}")])
        // A stream without an end, which `live.rs` listens to.
        .args(["--exclude-path", "/api/live"])
        .args(["--request-timeout", "10", "--generation-database", "none", "--no-color"])
        .current_dir(gogeta.directory())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        tokio::time::timeout(Duration::from_secs(120), asking).await.expect("it ends").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // It has found what to ask.
    assert!(said.contains("Fuzzing"), "{said}");
    assert!(!gogeta.log().contains("panicked"), "{said}");
    gogeta.signal(Signal::TERM);
    assert_eq!(gogeta.wait().await.code(), Some(0));
}
