//! `gogeta export` and `gogeta import`: nothing is lost on the way, and nobody sees half an entity.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{on_a_terminal, run};
use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::etcd::{Etcd, Op};
use crate::support::gogeta::Gogeta;

/// A tree with something of each kind, right and wrong.
const TREE: [(&str, &str); 19] = [
    ("/domains/*.a.test/config", "{\"splice\":\"sockmap\"}"),
    ("/domains/*.a.test/type", "uri"),
    ("/domains/*.a.test/value", "http://b.test/x?y=\"z\""),
    ("/domains/A.test/type", "service"),
    ("/domains/a.test/config", "{ \"forceSsl\" : true }"),
    ("/domains/a.test/tpye", "a typo"),
    ("/domains/a.test/type", "service"),
    ("/domains/a.test/value", "web"),
    ("/domains/b b/type", "no host"),
    ("/services/web/1/config/gogeta", "{\"robots\":\"User-agent: *\\nDisallow: /\\n\",\"weight\":2}"),
    ("/services/web/1/lastAccess", "2014-01-02 03:04:05"),
    ("/services/web/1/location", "{\"host\":\"10.0.0.1\",\"port\":80}"),
    ("/services/web/1/status/alive", ""),
    ("/services/web/1/status/current", "started"),
    ("/services/web/2/location", "{\"port\":\"80\",\"host\":\"10.0.0.2\"}"),
    ("/services/web/3/location", "nonsense"),
    ("/services/web/blue/config/gogeta", "{\"splice\":\"on\"}"),
    ("/services/web/blue/domain", "a.test"),
    ("/services/web/note", "somebody's"),
];

async fn plant(etcd: &Etcd) {
    let ops: Vec<Op<'_>> = TREE.iter().map(|(key, value)| Op::Put(key, value)).collect();
    etcd.txn(&ops).await;
    etcd.put_bytes("/services/web/1/binary", b"\x00\xff'\"\n").await;
}

#[tokio::test]
async fn an_import_of_an_export_is_the_identity() {
    let (Some(one), Some(other)) = (Etcd::start().await, Etcd::start().await) else { return };
    plant(&one).await;
    let builder = Gogeta::bare();
    let file = builder.file("routes.toml", "");
    let path = file.display();
    run(&one, &format!("export -o {path}")).await.well(&["20 keys"]);
    run(&other, &format!("import {path} --prune")).await.well(&["added", "0 changed, 0 removed"]);
    let before = one.everything().await;
    assert_eq!(other.everything().await, before);
    assert_eq!(before.len(), TREE.len() + 1);
    // And once more, on what is there already: nothing is written.
    let revision = one.revision().await;
    run(&one, &format!("import {path} --prune")).await.well(&["0 added, 0 changed, 0 removed"]);
    assert_eq!((one.revision().await, one.everything().await), (revision, before));
}

#[tokio::test]
async fn the_proxy_serves_an_export() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.put("/services/web/1/location", &format!("{{ \"port\": {}, \"host\": \"127.0.0.1\" }}", web.port))
        .await;
    etcd.route("a.test", "web").await;
    etcd.put("/domains/a.test/note", "somebody's").await;
    let said = run(&etcd, "export").await.well(&["[other.domains]"]);
    let gogeta = Gogeta::routes(&said.out).start().await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
}

#[tokio::test]
async fn what_would_be_done_and_what_is_pruned() {
    let Some(etcd) = Etcd::start().await else { return };
    plant(&etcd).await;
    etcd.lease("/services/web/9/status/alive", "1", 60).await;
    let builder = Gogeta::bare();
    let file = builder.file(
        "routes.toml",
        "[domains.\"a.test\"]\ntype = \"service\"\nvalue = \"blue\"\n[domains.\"new.test\"]\ntype = \"uri\"\n",
    );
    let before = etcd.everything().await;
    let dry = run(&etcd, &format!("import {} --dry-run", file.display())).await.well(&[
        "~ /domains/a.test/value = blue",
        "+ /domains/new.test/type = uri",
        "would be 1 added, 1 changed, 0 removed",
    ]);
    assert!(!dry.out.contains("/domains/a.test/type"), "{}", dry.out);
    assert_eq!(etcd.everything().await, before);
    run(&etcd, &format!("import {} --prune", file.display())).await.well(&["1 added, 1 changed, "]);
    let left: Vec<String> = etcd.everything().await.into_keys().collect();
    assert_eq!(
        left,
        [
            "/domains/a.test/tpye",
            "/domains/a.test/type",
            "/domains/a.test/value",
            "/domains/b b/type",
            "/domains/new.test/type",
            "/services/web/1/binary",
            "/services/web/9/status/alive",
            "/services/web/note",
        ],
        "others' keys and those under a lease stay"
    );
    run(&etcd, "export").await.badly(0, &["1 key under a lease"]);
    run(&etcd, "export --leased").await.well(&["alive"]);
}

#[tokio::test]
async fn a_broken_file_changes_nothing() {
    let Some(etcd) = Etcd::start().await else { return };
    let builder = Gogeta::bare();
    let file =
        builder.file("routes.toml", "[domains.\"a.test\"]\ntype = \"uri\"\n[domains.\"b c\"]\ntype = 1\n");
    run(&etcd, &format!("import {}", file.display()))
        .await
        .badly(1, &["line 3", "b c", "nothing was written"]);
    assert_eq!(etcd.everything().await, BTreeMap::new());
    run(&etcd, "import /no/such.toml").await.badly(2, &["/no/such.toml"]);
}

#[tokio::test]
async fn ten_thousand_routes_each_as_one_and_with_progress() {
    let Some(etcd) = Etcd::start().await else { return };
    let mut toml = String::new();
    for number in 0..10_000 {
        let _ = write!(toml, "[domains.\"h{number}.test\"]\ntype = \"service\"\nvalue = \"s{number}\"\n");
    }
    let builder = Gogeta::bare();
    let file = builder.file("routes.toml", &toml);
    let line = format!("import {}", file.display());
    let Some(said) = on_a_terminal(&etcd, &line, &[]).await else { return };
    assert!(said.contains("10000 added"), "{said}");
    assert!(said.contains("of 10000 written"), "no progress is shown: {said}");
    let revisions = etcd.all_revisions().await;
    assert_eq!(revisions.len(), 20_000);
    for number in 0..10_000 {
        let revision = |field: &str| revisions[&format!("/domains/h{number}.test/{field}")];
        assert_eq!(revision("type"), revision("value"), "h{number}.test came as one");
    }
}
