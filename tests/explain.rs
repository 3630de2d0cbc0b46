//! `gogeta explain` and `/api/explain` say what the proxy then does: over made-up routes and requests, one after the
//! other, on the same gogeta.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::backend::Backend;
use crate::support::client::{Client, Reply, get};
use crate::support::etcd::Etcd;
use crate::support::gogeta::Gogeta;
use crate::support::random::{Random, number, seed};
use crate::support::wait::until;

/// Tables that are tried, and requests for each of them.
const TABLES: u64 = 25;
const REQUESTS: usize = 40;

const HOSTS: [&str; 7] = ["a.test", "www.a.test", "*.a.test", "b.a.test", "*.b.a.test", "*.test", "c.test"];
const ASKED: [&str; 12] = [
    "a.test",
    "A.Test.:8080",
    "www.a.test",
    "www.www.a.test",
    "b.a.test",
    "x.b.a.test",
    "c.test",
    "www.c.test",
    "other.test",
    "nowhere.example",
    "a..test",
    "[::1]:80",
];
const PATHS: [&str; 9] = [
    "/",
    "/x?y=z",
    "/robots.txt",
    "/favicon.ico",
    "/__static__/nothing.svg",
    "*",
    "/%zz",
    "/a b",
    "http://c.test/x",
];
const FIELDS: [&str; 12] = [
    "",
    "",
    "",
    "X-Forwarded-Proto: https",
    "User-Agent: kube-probe/1.30",
    "Accept: application/json",
    "Expect: tea",
    "Host: b.a.test",
    "Via: 1.1 gogeta, 1.0 gogeta",
    "Content-Length: 0\nTransfer-Encoding: chunked",
    "Connection: close",
    "X_Under: 1",
];

/// A word of the status, or none.
const CURRENT: [&str; 6] = ["", "started", "starting", "stopping", "stopped", "passivated"];
const EXPECTED: [&str; 4] = ["", "started", "stopped", "passivated"];

/// Routes that chance has made; instances are at these ports.
fn routes(random: &mut Random, ports: &[u16]) -> String {
    let mut toml = String::new();
    for host in HOSTS {
        if random.once_in(3) {
            continue;
        }
        let _ = writeln!(toml, "[domains.{host:?}]");
        let kind = random.of(&["service", "service", "service", "uri", "servcie"]);
        if !random.once_in(8) {
            let _ = writeln!(toml, "type = {kind:?}");
        }
        if !random.once_in(8) {
            let port = ports[random.below(ports.len())];
            let value = match kind {
                "uri" => format!("http://127.0.0.1:{port}/base?k=v"),
                _ => (*random.of(&["one", "two", "three", "gone"])).to_owned(),
            };
            let _ = writeln!(toml, "value = {value:?}");
        }
        if random.once_in(4) {
            let _ = writeln!(toml, "config = {{ forceSsl = {} }}", random.once_in(2));
        }
    }
    for service in ["one", "two", "three"] {
        for index in 1..=1 + random.below(4) {
            let _ = writeln!(toml, "[services.{service}.{index}]");
            if !random.once_in(6) {
                let port = ports[random.below(ports.len())];
                let _ = writeln!(toml, "location = {{ host = \"127.0.0.1\", port = {port} }}");
            }
            let (current, expected) = (random.of(&CURRENT), random.of(&EXPECTED));
            let mut status = Vec::new();
            for (name, word) in [("current", current), ("expected", expected)] {
                if !word.is_empty() {
                    status.push(format!("{name} = {word:?}"));
                }
            }
            if random.once_in(2) {
                status.push("alive = \"1\"".to_owned());
            }
            if !random.once_in(3) {
                let _ = writeln!(toml, "status = {{ {} }}", status.join(", "));
            }
            let config = random.of(&["", "", "weight = 0", "weight = 3", "robots = \"none\""]);
            let _ = writeln!(toml, "config = {{ {config} }}");
        }
    }
    toml
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What would happen, as gogeta says.
async fn told(gogeta: &Gogeta, method: &str, host: &str, path: &str, headers: &str) -> Value {
    let query = [("host", host), ("path", path), ("method", method), ("headers", headers)];
    let query: Vec<String> = query.iter().map(|(name, text)| format!("{name}={}", encoded(text))).collect();
    let reply = get(gogeta.admin, "localhost", &format!("/api/explain?{}", query.join("&"))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).expect("JSON")
}

/// What happens.
async fn done(gogeta: &Gogeta, method: &str, host: &str, path: &str, headers: &str) -> Reply {
    let mut client = Client::connect(gogeta.proxy).await;
    let fields: String = headers.lines().map(|line| format!("{line}\r\n")).collect();
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await;
    if method == "HEAD" { client.bodiless_reply().await } else { client.reply().await }
}

#[tokio::test]
async fn what_is_explained_is_what_is_done() {
    let mut random = Random(seed());
    let mut backends = Vec::new();
    for name in ["first", "second", "third"] {
        backends.push(
            Backend::replying(&format!("HTTP/1.1 207 Ok\r\nX-Is: {name}\r\nContent-Length: 0\r\n\r\n")).await,
        );
    }
    let ports: Vec<u16> = backends.iter().map(|backend| backend.port).collect();
    // One thread: whose turn it is cannot change between the question and the request.
    let gogeta = Gogeta::routes("").args(["--threads", "1"]).start().await;
    let (mut forwarded, mut statuses) = (0, std::collections::BTreeMap::<u64, usize>::new());
    for table in 1..=number("COUNT").unwrap_or(TABLES) {
        let toml = format!(
            "{}\n[domains.\"table-{table}.mark\"]\ntype = \"service\"\n",
            routes(&mut random, &ports)
        );
        gogeta.edit_routes(&toml);
        let mark = format!("table-{table}.mark");
        until("the routes are read", async || {
            let seen = told(&gogeta, "GET", &mark, "/", "").await;
            seen.to_string().contains(&format!("{mark} matches, but is pending")).then_some(())
        })
        .await;
        for _ in 0..REQUESTS {
            let (host, path) = (random.of(&ASKED), random.of(&PATHS));
            let (method, fields) = (
                random.of(&["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "TRACE", "CONNECT"]),
                random.of(&FIELDS),
            );
            let explanation = told(&gogeta, method, host, path, fields).await;
            // Of a tunnel only its refusal is one request's: nobody allows any here.
            let path = if method == "CONNECT" { host } else { path };
            let reply = done(&gogeta, method, host, path, fields).await;
            let verdict = &explanation["verdict"];
            let what = || {
                format!(
                    "{method} {path} at {host}, {fields:?}: {reply:?}\nis not {explanation:#}\nby\n{toml}"
                )
            };
            let wanted = verdict["status"].as_u64().unwrap_or(207);
            assert_eq!(u64::from(reply.status), wanted, "{}", what());
            assert_eq!(verdict["forwarded"] == true, reply.status == 207, "{}", what());
            assert_eq!(reply.header("x-gogeta-page"), verdict["page"].as_str(), "{}", what());
            if let Some(url) = verdict["goes_to"].as_str() {
                let name = reply.header("x-is").expect("a backend answers");
                let at =
                    ["first", "second", "third"].iter().position(|known| *known == name).expect("a name");
                assert!(url.starts_with(&format!("http://127.0.0.1:{}", ports[at])), "{}", what());
                let line = backends[at].request().line().to_owned();
                backends[at].forget();
                let asked = url.split_once(&format!(":{}", ports[at])).map_or("", |(_, path)| path);
                let asked = if asked.is_empty() { "*" } else { asked };
                assert_eq!(line, format!("{method} {asked} HTTP/1.1"), "{}", what());
                forwarded += 1;
            }
            *statuses.entry(wanted).or_default() += 1;
        }
    }
    assert!(forwarded > 50 && statuses.len() > 6, "there was something to see: {forwarded}, {statuses:?}");
}

const ROUTES: &str = "[domains.\"a.test\"]\ntype = \"service\"\nvalue = \"web\"\n\
    [domains.\"safe.test\"]\ntype = \"service\"\nvalue = \"web\"\nconfig = { forceSsl = true }\n\
    [domains.\"gone.test\"]\ntype = \"service\"\nvalue = \"gone\"\n\
    [services.web.1]\nlocation = { host = \"127.0.0.1\", port = 8080 }\n\
    [services.web.2]\nlocation = { host = \"127.0.0.1\", port = 8081 }\nconfig = { weight = 0 }\n";

#[tokio::test]
async fn a_running_gogeta_and_its_routes_file_tell_the_same() {
    let gogeta = Gogeta::routes(ROUTES).start().await;
    let admin = gogeta.admin.to_string();
    for (arguments, code) in [
        (vec!["a.test"], 0),
        (vec!["https://safe.test/x"], 0),
        (vec!["safe.test", "/x"], 1),
        (vec!["gone.test"], 1),
        (vec!["nobody.test", "-X", "HEAD", "-H", "Accept: text/html"], 1),
    ] {
        let ask = async |more: &[&str]| {
            Gogeta::bare().arg("explain").args(&arguments).args(more).args(["--json"]).said().await
        };
        let running = ask(&["--admin", &admin]).await;
        let file = ask(&["--routes", gogeta.routes_file().to_str().expect("a path")]).await;
        assert_eq!((running.code, file.code), (Some(code), Some(code)), "{running:?}\n{file:?}");
        assert_eq!(running.json()["verdict"], file.json()["verdict"]);
        let steps = running.json()["steps"].as_array().map(Vec::len);
        assert_eq!(steps, file.json()["steps"].as_array().map(Vec::len));
    }
}

#[tokio::test]
async fn what_people_read_names_keys_and_ends_in_the_verdict() {
    let gogeta = Gogeta::routes(ROUTES).start().await;
    let admin = gogeta.admin.to_string();
    let run = async |line: &str| Gogeta::bare().env("GOGETA_ADMIN", &admin).command_line(line).await;
    let said = run("explain a.test /x").await.well(&[
        "GET a.test/x, by the routes of revision 1\n",
        "   ok  domain     a.test matches exactly\n",
        "routes.toml: domains.\"a.test\".type",
        "       instance   2 at 127.0.0.1:8081 is skipped: started (it has no status, so it counts as started; but its weight is 0)\n",
        "=> it is sent on to http://127.0.0.1:8080/x, whose answer is the client's\n",
    ]);
    assert!(!said.out.contains('\u{1b}'), "no colours where nobody looks: {said:?}");
    let said = run("explain gone.test").await;
    assert_eq!(said.code, Some(1));
    assert!(
        said.out.ends_with(
            "=| gogeta itself answers 500 with the page \"error\": The service gone does not exist.\n"
        ),
        "{said:?}"
    );
    run("explain a.test -H nothing").await.badly(2, &["--header"]);
    run("explain http://a.test/x /y").await.badly(2, &["two paths"]);
    run("explain a.test --admin https://x").await.badly(2, &["--admin", "plain http"]);
    run("explain a.test --routes /no/such/file").await.badly(2, &["--routes", "/no/such/file"]);
    let nobody = "explain a.test --admin http://127.0.0.1:1";
    run(nobody).await.badly(2, &["http://127.0.0.1:1 (--admin)", "--etcd-address", "--routes"]);
    Gogeta::bare().env("GOGETA_ADMIN", "off").command_line("explain a.test").await.badly(2, &["--admin"]);
}

#[tokio::test]
async fn etcd_itself_can_be_asked() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.locate("web", "1", 8080).await;
    etcd.route("a.test", "web").await;
    etcd.status("asleep", "1", ["passivated", "passivated", "-"]).await;
    etcd.route("asleep.test", "asleep").await;
    let url = etcd.url();
    let said = Gogeta::bare().args(["explain", "a.test", "--etcd-address", &url]).said().await;
    said.well(&[
        "/domains/a.test/type\n",
        "/services/web/1/location\n",
        "=> it is sent on to http://127.0.0.1:8080/",
    ]);
    // In front of the command, too.
    let said = Gogeta::bare().args(["--etcd-address", &url, "explain", "asleep.test", "--json"]).said().await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let (verdict, steps) = (&said.json()["verdict"], &said.json()["steps"]);
    assert_eq!((verdict["status"].as_u64(), verdict["page"].as_str()), (Some(503), Some("passivated")));
    let wake =
        steps.as_array().and_then(|steps| steps.iter().find(|step| step["step"] == "wake")).expect("a step");
    assert_eq!(wake["key"], "/services/asleep/1/status/expected");
    let status = etcd.get("/services/asleep/1/status/expected").await;
    assert_eq!(status.as_deref(), Some("passivated"), "to ask wakes nobody");
    let nobody = ["explain", "a.test", "--etcd-address", "http://127.0.0.1:1"];
    Gogeta::bare().args(nobody).said().await.badly(2, &["--etcd-address"]);
}
