//! The raw HTTP cases: requests as no client should send them, and what each must get.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::support::etcd::{free_port, skip};
use crate::support::gogeta::Gogeta;

/// Where the cases are, beside this repository.
pub(crate) const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/cases/run.py");

#[tokio::test]
async fn every_raw_case_gets_what_it_must() {
    if !Path::new(RUN).is_file() {
        return skip("there is no ../shared/cases beside this repository");
    }
    let origin = free_port();
    let gogeta = Gogeta::routes(&format!(
        "[domains.\"a.test\"]\ntype = \"service\"\nvalue = \"web\"\n\
         [services.web.1]\nlocation = {{ host = \"127.0.0.1\", port = {origin} }}\n"
    ))
    .start()
    .await;
    let outcome = Command::new("python3")
        .args([RUN, &gogeta.proxy.to_string(), &format!("127.0.0.1:{origin}"), "-v"])
        .stdin(Stdio::null())
        .output()
        .await
        .expect("python3 runs");
    let told = String::from_utf8_lossy(&outcome.stdout);
    assert!(outcome.status.success(), "{told}{}", String::from_utf8_lossy(&outcome.stderr));
    assert!(told.contains(" passed, 0 failed"), "{told}");
}
