//! An etcd that asks who one is.

use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::etcd::{self, Etcd, location};
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

/// Runs etcdctl at an etcd.
async fn ctl(etcd: &Etcd, line: &[&str]) {
    etcd::ctl(&[&["--endpoints", &etcd.url()], line].concat()).await;
}

/// An etcd with a user `gogeta`, who may read and write both directories and nothing else.
async fn guarded() -> Option<Etcd> {
    let etcd = Etcd::start().await?;
    for line in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "proxy"],
        &["role", "grant-permission", "proxy", "--prefix=true", "readwrite", "/domains/"],
        &["role", "grant-permission", "proxy", "--prefix=true", "readwrite", "/services/"],
        &["user", "add", "gogeta:secret"],
        &["user", "grant-role", "gogeta", "proxy"],
        &["auth", "enable"],
    ] {
        ctl(&etcd, line).await;
    }
    Some(etcd)
}

#[tokio::test]
async fn a_user_of_the_two_directories_alone_is_enough() {
    let Some(etcd) = guarded().await else { return };
    let backend = Backend::named("a").await;
    let gogeta =
        Gogeta::etcd(&etcd).args(["--etcd-user", "gogeta", "--etcd-password", "secret"]).start().await;
    gogeta.log_has("each is watched for itself").await;
    for (key, value) in [
        ("/domains/a.test/type", "service"),
        ("/domains/a.test/value", "web"),
        ("/services/web/1/location", &location(backend.port)),
    ] {
        ctl(&etcd, &["--user", "root:secret", "put", key, value]).await;
    }
    until("it is routed", async || (get(gogeta.proxy, "a.test", "/").await.text() == "a").then_some(()))
        .await;
}

#[tokio::test]
async fn a_wrong_password_is_told_once_and_ends_nothing() {
    let Some(etcd) = guarded().await else { return };
    let gogeta =
        Gogeta::etcd(&etcd).args(["--etcd-user", "gogeta", "--etcd-password", "wrong"]).start().await;
    gogeta.log_has("authentication failed").await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 503);
    assert_eq!(gogeta.log().matches("authentication failed").count(), 1, "{}", gogeta.log());
}

#[tokio::test]
async fn commands_need_no_more_than_the_two_directories() {
    let Some(etcd) = guarded().await else { return };
    let user = |password: &'static str, line: &'static str| {
        let builder = Gogeta::etcd(&etcd).env("GOGETA_ETCD_USER", "gogeta");
        builder.env("GOGETA_ETCD_PASSWORD", password).command_line(line)
    };
    let watch =
        Gogeta::etcd(&etcd).args(["--etcd-user", "gogeta", "--etcd-password", "secret", "watch"]).spawn();
    watch.log_has("watching").await;
    user("secret", "route set a.test service web").await.well(&[]);
    user("secret", "service set web 1 --location a:1").await.well(&[]);
    user("secret", "check").await.well(&["0 errors"]);
    user("secret", "export").await.well(&["[services.web.1]"]);
    until("it is seen", async || watch.said().contains("/services/web/1/location").then_some(())).await;
    user("wrong", "route ls").await.badly(2, &["authentication failed"]);
    user("secret", "wait --revision 1 --timeout 1s").await.badly(1, &["permission denied"]);
}
