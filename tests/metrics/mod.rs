//! Metrics: what is told of traffic of all kinds, that the documents know it, and that Prometheus' own tools like it.

mod alerts;
mod dashboard;
mod documented;
mod promtool;
mod services;

use std::collections::{BTreeMap, BTreeSet};

use crate::support::backend::{Backend, Peer, ok, refusing};
use crate::support::client::{Client, get, request};
use crate::support::etcd::skip;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{parked, parking};
use crate::support::wait::until;

/// A family of a plain scrape.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    /// Labels of all of its samples, without a histogram's own.
    labels: BTreeSet<String>,
}

/// The families of a plain scrape, by their names.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            let old = families.insert(name.to_owned(), Family { help: help.to_owned(), ..Family::default() });
            assert!(old.is_none(), "it comes once: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            kind.clone_into(&mut families.get_mut(name).expect("help comes first").kind);
        } else {
            let (series, _) = line.rsplit_once(' ').expect("a sample");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let of = |name: &str| families.contains_key(name).then(|| name.to_owned());
            let histogram =
                || ["_bucket", "_sum", "_count"].iter().find_map(|end| of(name.strip_suffix(end)?));
            let family = of(name).or_else(histogram).unwrap_or_else(|| panic!("no family: {line}"));
            let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
            let names = labels.map(|label| label.split_once('=').expect("a value").0.to_owned());
            families.get_mut(&family).expect("found").labels.extend(names.filter(|name| name != "le"));
        }
    }
    families
}

fn routes(web: u16, broken: u16) -> String {
    let domain = |host: &str, kind: &str, value: &str| {
        format!("[domains.\"{host}\"]\ntype = \"{kind}\"\nvalue = \"{value}\"\n")
    };
    let at = |name: &str, port| {
        format!("[services.{name}.1]\nlocation = {{ host = \"127.0.0.1\", port = {port} }}\n")
    };
    domain("a.test", "service", "web")
        + &domain("broken.test", "service", "broken")
        + &domain("stopped.test", "service", "stopped")
        + &domain("nothing.test", "service", "nothing")
        + &domain("uri.test", "uri", &format!("http://127.0.0.1:{web}"))
        + "[domains.\"half.test\"]\ntype = \"service\"\n"
        + "[domains.\"wrong.test\"]\ntype = \"what\"\nvalue = \"web\"\n"
        + &at("web", web)
        + &at("broken", broken)
        + "[services.stopped.1]\nstatus = { current = \"stopped\", expected = \"stopped\" }\n"
}

/// Answers with the status that is the target's first part; upgrades what asks for it.
pub(crate) async fn web(mut peer: Peer) {
    while let Some(request) = peer.request().await {
        let target = request.line().split(' ').nth(1).unwrap_or("/").to_owned();
        let reply = match target.trim_start_matches('/').split('/').next().unwrap_or_default() {
            "tunnel" => {
                let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
                if peer.send(head).await.is_ok() {
                    peer.ended().await;
                }
                return;
            }
            "404" => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "500" => "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned(),
            _ => ok("hello"),
        };
        if peer.send(reply).await.is_err() {
            return;
        }
    }
}

/// A gogeta that has seen traffic of all kinds, that by the kernel too where it can be.
struct Scene {
    gogeta: Gogeta,
    /// Whether the kernel carries some.
    kernel: bool,
    _web: Backend,
    _tunnel: Client,
}

impl Scene {
    async fn played() -> Self {
        let backend = Backend::scripted(web).await;
        let (_held, broken) = refusing();
        let toml = routes(backend.port, broken);
        let (gogeta, kernel) = match parking(&toml).await {
            Some(gogeta) => (gogeta, true),
            None => (Gogeta::routes(&toml).args(["--splice", "off"]).start().await, false),
        };
        for (host, path, status) in [
            ("a.test", "/", 200),
            ("a.test", "/404", 404),
            ("a.test", "/500", 500),
            ("uri.test", "/", 200),
            ("broken.test", "/", 502),
            ("stopped.test", "/", 503),
            ("nothing.test", "/", 500),
            ("half.test", "/", 404),
            ("nobody.test", "/", 404),
        ] {
            assert_eq!(get(gogeta.proxy, host, path).await.status, status, "{host}{path}");
        }
        assert_eq!(request(gogeta.proxy, "nonsense\r\n\r\n").await.status, 400);
        if kernel {
            let mut client = Client::connect(gogeta.proxy).await;
            client.get("a.test", "/").await;
            parked(&gogeta, 1.0).await;
            for (path, status) in [("/", 200), ("/", 200), ("/404", 404), ("/500", 500)] {
                assert_eq!(client.get("a.test", path).await.status, status);
            }
        } else {
            skip("the kernel carries nothing here");
        }
        let mut tunnel = Client::connect(gogeta.proxy).await;
        tunnel
            .send("GET /tunnel HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            .await;
        assert_eq!(tunnel.reply().await.status, 101);
        let scene = Self { gogeta, kernel, _web: backend, _tunnel: tunnel };
        // A request is counted when its last byte is on its way, which the client may see first.
        until("all are counted", async || {
            let text = scene.plain().await;
            let is_counted = ["service=\"broken\",code=\"5xx\"} 1", "target=\"none\",code=\"400\"} 1"];
            is_counted.iter().all(|sample| text.contains(sample)).then_some(())
        })
        .await;
        scene
    }

    /// A scrape in plain text.
    async fn plain(&self) -> String {
        let reply = get(self.gogeta.admin, "admin", "/metrics").await;
        let kind = reply.header("content-type").expect("a type").to_owned();
        assert_eq!((reply.status, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
        reply.text()
    }

    /// A sample of it.
    async fn sample(&self, series: &str) -> f64 {
        let text = self.plain().await;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().expect("a number")
    }
}
