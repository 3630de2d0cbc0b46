//! `gogeta check`: mistakes in etcd and in a file, each with its key, and a code that says how many.

use super::run;
use crate::support::etcd::{Etcd, Op};
use crate::support::gogeta::Gogeta;

#[tokio::test]
async fn a_good_tree() {
    let Some(etcd) = Etcd::start().await else { return };
    run(&etcd, "check").await.well(&["0 errors, 0 warnings in 0 keys"]);
    etcd.locate("web", "1", 80).await;
    etcd.route("a.test", "web").await;
    run(&etcd, "check --strict").await.well(&["0 errors, 0 warnings in 3 keys"]);
    assert_eq!(run(&etcd, "check --json").await.well(&[]).json()["good"], true);
}

#[tokio::test]
async fn each_mistake_names_its_key() {
    let Some(etcd) = Etcd::start().await else { return };
    let mistakes = [
        ("/domains/a.test/value", "nobody"),
        ("/domains/b.test:80/type", "uri"),
        ("/domains/c.test/config", "{"),
        ("/services/web/1/location", "{\"host\":\"a\",\"port\":70000}"),
        ("/services/web/1/config/gogeta", "{\"weight\":-1}"),
        ("/services/web/2/status/expected", "started"),
        ("/domains/d.test/config", "{\"splice\":\"on\"}"),
        ("/services/web/3/locatoin", "{}"),
    ];
    let mut ops = vec![Op::Put("/domains/a.test/type", "service")];
    ops.extend(mistakes.iter().map(|(key, value)| Op::Put(key, value)));
    etcd.txn(&ops).await;
    let said = run(&etcd, "check").await;
    assert_eq!(said.code, Some(1), "{said:?}");
    for (key, _) in mistakes {
        assert!(said.out.contains(key), "{key} is not in\n{}", said.out);
    }
}

#[tokio::test]
async fn warnings_count_only_where_one_is_strict() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.put("/domains/a.test/type", "service").await;
    run(&etcd, "check").await.well(&["warning", "/domains/a.test/type", "1 warning in 1 key"]);
    assert_eq!(run(&etcd, "check --strict").await.code, Some(1));
}

#[tokio::test]
async fn a_file_is_checked_line_by_line() {
    let builder = Gogeta::bare();
    let text = "[domains.\"a.test\"]\ntype = \"service\"\nvalue = \"web\"\nvlaue = 1\n[services.web.1]\n\
        location = { host = \"a\", port = 0 }\n";
    let file = builder.file("routes.toml", text);
    let said = builder.args(["check", "--json", "--routes"]).arg(file).said().await;
    let found: Vec<_> = said.json()["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|finding| {
            (finding["line"].as_u64().unwrap_or(0), finding["kind"].as_str().unwrap_or("").to_owned())
        })
        .collect();
    let wanted = [(3, "service-empty"), (4, "file"), (6, "location-port")];
    assert_eq!(found, wanted.map(|(line, kind)| (line, kind.to_owned())));
    assert_eq!(said.code, Some(1));
    let good = "[domains.\"a.test\"]\ntype = \"uri\"\nvalue = \"http://b.test\"\n";
    let builder = Gogeta::bare();
    let file = builder.file("routes.toml", good);
    builder.env("GOGETA_ROUTES", file).arg("check").said().await.well(&["0 errors"]);
    Gogeta::bare().command_line("check --routes /no/such.toml").await.badly(2, &["/no/such.toml"]);
}
