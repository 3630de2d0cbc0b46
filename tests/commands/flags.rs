//! Where commands find etcd, and what they say where there is none.

use super::run;
use crate::support::etcd::Etcd;
use crate::support::gogeta::Gogeta;

#[tokio::test]
async fn etcd_by_flag_environment_and_file() {
    let Some(etcd) = Etcd::start().await else { return };
    let url = etcd.url();
    let dead = "http://127.0.0.1:1";
    Gogeta::bare()
        .command_line(&format!("route set a.test service web --etcd-address {url}"))
        .await
        .well(&[]);
    Gogeta::bare().command_line(&format!("-etcdAddress={url} route ls a.test")).await.well(&["a.test"]);
    let builder = Gogeta::bare().env("GOGETA_ETCD_ADDRESS", dead);
    builder.command_line(&format!("--etcd-address {url} route ls a.test")).await.well(&["a.test"]);
    let builder = Gogeta::bare();
    let file = builder.file("gogeta.toml", &format!("etcd-address = [\"{url}\"]\nthreads = 2\n"));
    builder.command_line(&format!("route ls a.test --config {}", file.display())).await.well(&["a.test"]);
    let two = format!("route ls a.test --etcd-address {dead},{url}");
    Gogeta::bare().command_line(&two).await.well(&["a.test"]);
    run(&etcd, "route ls a.test --domain-dir /elsewhere").await.badly(1, &["no route for a.test"]);
}

#[tokio::test]
async fn no_etcd_and_wrong_usage() {
    let dead = "--etcd-address http://127.0.0.1:1";
    Gogeta::bare()
        .command_line(&format!("route ls {dead}"))
        .await
        .badly(2, &["127.0.0.1:1", "--etcd-address"]);
    Gogeta::bare().command_line("route").await.badly(2, &["set", "rm", "ls"]);
    Gogeta::bare()
        .command_line("route set a.test carrier web")
        .await
        .badly(2, &["carrier", "service", "uri"]);
    Gogeta::bare().command_line("--port 1 route ls").await.badly(2, &["--port is for serving"]);
    Gogeta::bare().command_line("--listen 127.0.0.1:0 demo").await.badly(2, &["--listen is for serving"]);
    Gogeta::routes("").args(["route", "ls"]).said().await.badly(2, &["--routes"]);
    let from_file = Gogeta::bare().env("GOGETA_ROUTES", "routes.toml");
    from_file.command_line("route ls").await.badly(2, &["routes.toml", "editor"]);
}
