//! An etcd that asks who one is.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use crate::support::backend::Backend;
use crate::support::client::{Client, get};
use crate::support::etcd::{self, Etcd, Op, free_port, location};
use crate::support::gogeta::Gogeta;
use crate::support::truth::{agrees, agrees_within};
use crate::support::wait::until;

/// Runs etcdctl at an etcd.
async fn ctl(etcd: &Etcd, line: &[&str]) {
    etcd::ctl(&[&["--endpoints", &etcd.url()], line].concat()).await;
}

/// An etcd with a user `gogeta`, who may read and write both directories and nothing else.
async fn guarded(arguments: &[&str]) -> Option<Etcd> {
    let mut etcd = Etcd::absent()?.with(arguments);
    etcd.restart().await;
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
    let Some(etcd) = guarded(&[]).await else { return };
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
    // It may say nowhere which revision it serves, and that hurts nobody.
    gogeta.log_has("cannot tell in etcd which revision is served").await;
    assert_eq!(gogeta.lines_with("permission denied").len(), 1, "{}", gogeta.log());
}

#[tokio::test]
async fn two_watchers_show_no_half_of_a_transaction() {
    let Some(etcd) = guarded(&[]).await else { return };
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let mut session = etcd.session_of("gogeta", "secret").await;
    session
        .txn(&[
            Op::Put("/domains/a.test/type", "service"),
            Op::Put("/domains/a.test/value", "one"),
            Op::Put("/services/one/1/location", &location(one.port)),
        ])
        .await;
    let gogeta =
        Gogeta::etcd(&etcd).args(["--etcd-user", "gogeta", "--etcd-password", "secret"]).start().await;
    gogeta.ready().await;
    let done = AtomicBool::new(false);
    let swapping = async {
        for turn in 0..500 {
            let (from, to, port) =
                if turn % 2 == 0 { ("one", "two", two.port) } else { ("two", "one", one.port) };
            session
                .txn(&[
                    Op::Put("/domains/a.test/value", to),
                    Op::Put(&format!("/services/{to}/1/location"), &location(port)),
                    Op::Del(&format!("/services/{from}/1/location")),
                ])
                .await;
        }
        done.store(true, Ordering::Relaxed);
    };
    let asking = async {
        let mut client = Client::connect(gogeta.proxy).await;
        while !done.load(Ordering::Relaxed) {
            let reply = client.get("a.test", "/").await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    };
    tokio::join!(swapping, asking);
}

#[tokio::test]
async fn a_token_that_expires_is_renewed() {
    let Some(etcd) = guarded(&["--auth-token-ttl=1"]).await else { return };
    let backend = Backend::named("a").await;
    let root = ["--user", "root:secret", "put"];
    for (key, value) in [
        ("/domains/a.test/type", "service"),
        ("/domains/a.test/value", "web"),
        ("/services/web/1/location", &location(backend.port)),
    ] {
        ctl(&etcd, &[&root[..], &[key, value]].concat()).await;
    }
    let gogeta = Gogeta::etcd(&etcd)
        .args(["--etcd-user", "gogeta", "--etcd-password", "secret", "--last-access-interval=3s"])
        .start()
        .await;
    gogeta.ready().await;
    // Between two writes it expires.
    let mut seen = std::collections::HashSet::new();
    until("lastAccess is written three times", async || {
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "a");
        let line = ["--user", "root:secret", "get", "--print-value-only", "/services/web/1/lastAccess"];
        let at = etcd::ctl(&[&["--endpoints", &etcd.url()], &line[..]].concat()).await;
        seen.insert(at);
        seen.remove("");
        (seen.len() >= 3).then_some(())
    })
    .await;
    for complaint in ["cannot read routes", "cannot write", "connecting anew"] {
        assert!(gogeta.lines_with(complaint).is_empty(), "{}", gogeta.log());
    }
    // And the watch goes on.
    ctl(&etcd, &[&root[..], &["/domains/a.test/value", "nobody"]].concat()).await;
    until("the change is served", async || {
        (get(gogeta.proxy, "a.test", "/").await.status == 500).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_told_once_and_ends_nothing() {
    let Some(etcd) = guarded(&[]).await else { return };
    let gogeta =
        Gogeta::etcd(&etcd).args(["--etcd-user", "gogeta", "--etcd-password", "wrong"]).start().await;
    gogeta.log_has("authentication failed").await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 503);
    assert_eq!(gogeta.log().matches("authentication failed").count(), 1, "{}", gogeta.log());
}

#[tokio::test]
async fn commands_need_no_more_than_the_two_directories() {
    let Some(etcd) = guarded(&[]).await else { return };
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

/// An authority, and what it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes a certificate and its key.
    fn issue(&self, folder: &Path, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        for (what, text) in [("crt", certificate.pem()), ("key", key.serialize_pem())] {
            let fresh = folder.join("new");
            std::fs::write(&fresh, text).expect("it is written");
            std::fs::rename(fresh, folder.join(format!("{name}.{what}"))).expect("it is put there");
        }
    }
}

#[tokio::test]
async fn certificates_may_change_while_it_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (ours, others) = (Authority::new(), Authority::new());
    std::fs::write(file("ca.pem"), &ours.pem).expect("the authority's certificate");
    ours.issue(folder.path(), "server");
    let secure = format!("https://127.0.0.1:{}", free_port());
    let Some(etcd) = Etcd::absent() else { return };
    let urls = format!("{},{secure}", etcd.url());
    let mut etcd = etcd.with(&[
        "--listen-client-urls",
        &urls,
        "--advertise-client-urls",
        &urls,
        "--client-cert-auth",
        "--trusted-ca-file",
        &file("ca.pem"),
        "--cert-file",
        &file("server.crt"),
        "--key-file",
        &file("server.key"),
    ]);
    etcd.restart().await;
    let backend = Backend::named("a").await;
    etcd.locate("web", "1", backend.port).await;
    etcd.route("a.test", "web").await;

    // One that etcd does not trust, at first.
    others.issue(folder.path(), "client");
    let gogeta = Gogeta::bare()
        .args(["--etcd-address", &secure, "--etcd-ca", &file("ca.pem")])
        .args(["--etcd-cert", &file("client.crt"), "--etcd-key", &file("client.key")])
        .start()
        .await;
    gogeta.log_has("cannot read routes from etcd").await;
    assert_eq!(get(gogeta.admin, "admin", "/readyz").await.status, 503);
    ours.issue(folder.path(), "client");
    agrees_within(Duration::from_secs(10), &gogeta, &etcd).await;

    // The next one is taken up by a new connection, and the watch goes on.
    let before = gogeta.lines_with("watching etcd from where it was left").len();
    ours.issue(folder.path(), "client");
    until("it is watched anew", async || {
        (gogeta.lines_with("watching etcd from where it was left").len() > before).then_some(())
    })
    .await;
    assert!(!gogeta.lines_with("the certificates for etcd are new").is_empty());
    etcd.route("b.test", "web").await;
    agrees(&gogeta, &etcd).await;
    assert_eq!(get(gogeta.proxy, "b.test", "/").await.text(), "a");
}
