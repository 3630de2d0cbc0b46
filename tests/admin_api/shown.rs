//! What is shown is what is so.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json as value};

use super::{assert_problem, shown};
use crate::support::backend::{Backend, refusing, service, uri};
use crate::support::client::{get, request};
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

fn texts(list: &Value, name: &str) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|item| item[name].as_str().unwrap_or("-").to_owned()).collect()
}

#[tokio::test]
async fn the_status_counts_what_there_is_and_what_comes() {
    let web = Backend::named("web").await;
    let routes = service("a.test", &[web.port, 1])
        + &uri("u.test", "http://127.0.0.1:9")
        + "[domains.\"half.test\"]\ntype = \"service\"\n";
    let gogeta = Gogeta::routes(&routes).args(["--splice", "off"]).start().await;
    let status = shown(&gogeta, "/api/status").await;
    assert_eq!((&status["name"], &status["pid"]), (&"gogeta".into(), &gogeta.pid().into()));
    assert_eq!(
        (&status["listen"][0], &status["admin"]),
        (&gogeta.proxy.to_string().into(), &gogeta.admin.to_string().into())
    );
    assert_eq!((&status["ready"]["ready"], &status["store"]["kind"]), (&true.into(), &"file".into()));
    assert_eq!(status["counts"]["domains_by_state"], value!({ "started": 1, "uri": 1, "pending": 1 }));
    assert_eq!((&status["counts"]["instances"], &status["counts"]["problems"]), (&2.into(), &0.into()));
    assert_eq!(texts(&status["engines"], "engine"), ["userspace", "sockmap", "wire"]);
    assert_eq!((&status["limits"]["max_connections"], &status["worst"]), (&10_000.into(), &value!([])));
    for _ in 0..5 {
        get(gogeta.proxy, "nobody.test", "/").await;
    }
    until("the requests are shown", async || {
        let status = shown(&gogeta, "/api/status").await;
        let engine = &status["engines"][0];
        let is_shown = status["traffic"]["requests_per_second"].as_f64() > Some(0.0)
            && status["traffic"]["p50_seconds"].as_f64() > Some(0.0)
            && engine["requests_total"] == 5
            && engine["bytes_total"].as_u64() > Some(0)
            && engine["share_of_bytes"] == 1.0;
        is_shown.then_some(())
    })
    .await;
    let history = shown(&gogeta, "/api/history").await;
    let points = history["points"].as_array().expect("points");
    let requests: f64 = points.iter().filter_map(|point| point["requests_per_second"].as_f64()).sum();
    assert!(requests > 3.0, "{history}");
    assert!(points.iter().any(|point| point["bytes"]["userspace"].as_f64() > Some(0.0)), "{history}");
}

#[tokio::test]
async fn what_is_wrong_comes_first() {
    let (_socket, dead) = refusing();
    let routes =
        service("a.test", &[dead]) + "[domains.\"lost.test\"]\ntype = \"service\"\nvalue = \"nobody\"\n";
    let gogeta = Gogeta::routes(&routes).start().await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 502);
    let worst = until("the instance rests", async || {
        let status = shown(&gogeta, "/api/status").await;
        (status["counts"]["resting"] == 1).then(|| status["worst"].clone())
    })
    .await;
    let names = texts(&worst, "name");
    assert!(names.contains(&"lost.test".to_owned()), "{worst}");
    assert!(names.iter().any(|name| name.ends_with("/1")), "{worst}");
    let changes = shown(&gogeta, "/api/changes").await;
    let rests = changes["items"].as_array().expect("a list").iter().find(|change| change["kind"] == "error");
    let rests = rests.unwrap_or_else(|| panic!("{changes}"));
    assert!(
        rests["level"] == "error" && rests["text"].as_str().is_some_and(|text| text.contains("rests")),
        "{rests}"
    );
}

#[tokio::test]
async fn domains_and_services_are_found_a_page_at_a_time() {
    let mut routes: String =
        (0..250).map(|number| uri(&format!("{number:03}.many.test"), "http://127.0.0.1:9")).collect();
    routes += &service("web.test", &[8081, 8082]);
    routes += "[services.asleep.1]\nstatus = { current = \"passivated\", expected = \"passivated\" }\n\
               [domains.\"asleep.test\"]\ntype = \"service\"\nvalue = \"asleep\"\n";
    let gogeta = Gogeta::routes(&routes).start().await;
    let page = shown(&gogeta, "/api/domains?q=MANY&offset=200&limit=20").await;
    assert_eq!((&page["total"], &page["matched"], &page["offset"]), (&252.into(), &250.into(), &200.into()));
    let hosts = texts(&page["items"], "host");
    assert_eq!((hosts.len(), &*hosts[0], &*hosts[19]), (20, "200.many.test", "219.many.test"));
    assert_eq!(shown(&gogeta, "/api/domains").await["items"].as_array().map(Vec::len), Some(100));
    assert_eq!(shown(&gogeta, "/api/domains?offset=9000").await["items"], value!([]));
    let asleep = shown(&gogeta, "/api/domains?state=passivated").await;
    assert_eq!(texts(&asleep["items"], "host"), ["asleep.test"]);
    assert_eq!(
        texts(&shown(&gogeta, "/api/domains?q=asleep").await["items"], "host"),
        ["asleep.test"],
        "by its value"
    );
    let one = shown(&gogeta, "/api/domains/WEB.test").await;
    assert_eq!((&one["state"], &one["service"]["state"]), (&"started".into(), &"started".into()));
    let instances = &one["service"]["instances"];
    assert_eq!(texts(instances, "location"), ["127.0.0.1:8081", "127.0.0.1:8082"]);
    assert_eq!((&instances[0]["drained"], &instances[0]["resting"]), (&false.into(), &false.into()));
    let found = shown(&gogeta, "/api/services?q=8082").await;
    assert_eq!((found["total"].as_u64(), found["matched"].as_u64()), (Some(2), Some(1)), "by a location");
    let name = found["items"][0]["name"].as_str().expect("a name");
    assert_eq!(shown(&gogeta, &format!("/api/services/{name}")).await["instances"], *instances);
    for (path, status, says) in [
        ("/api/domains?limit=0", 400, "1 to 1000"),
        ("/api/domains?limit=1001", 400, "1 to 1000"),
        ("/api/domains?limit=many", 400, "limit"),
        ("/api/services?state=odd", 400, "state"),
        ("/api/changes?after=-1", 400, "after"),
        ("/api/changes?after=18446744073709551615", 400, "after"),
        ("/api/domains/nobody.test", 404, "nobody.test"),
        ("/api/domains/%ff", 400, "UTF-8"),
        ("/api/services/nobody", 404, "nobody"),
        ("/api/nothing", 404, "/api/openapi.json"),
    ] {
        assert_problem(&get(gogeta.admin, "localhost", path).await, status, says);
    }
    let wrong = request(gogeta.admin, "DELETE /api/domains HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_problem(&wrong, 405, "method");
    assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
}

#[tokio::test]
async fn the_journal_follows_an_instance_through_its_states() {
    let routes = |current: &str, alive: &str| {
        format!(
            "[services.web.1]\nlocation = {{ host = \"127.0.0.1\", port = 9 }}\n\
             status = {{ current = \"{current}\", expected = \"started\", alive = \"{alive}\" }}\n"
        )
    };
    let gogeta = Gogeta::routes(&routes("starting", "")).start().await;
    let seen = async |what: &str| {
        until(what, async || {
            let changes = shown(&gogeta, "/api/changes").await;
            let items = changes["items"].as_array()?;
            items
                .iter()
                .rev()
                .find(|item| item["text"].as_str().is_some_and(|text| text.contains(what)))
                .cloned()
        })
        .await
    };
    let new = seen("it is new, in state starting").await;
    assert_eq!(
        (&new["kind"], &new["name"], &new["level"]),
        (&"instance".into(), &"web/1".into(), &"info".into())
    );
    gogeta.edit_routes(&routes("started", "1"));
    let started = seen("it is started, and was starting").await;
    gogeta.edit_routes(&routes("started", ""));
    assert_eq!(seen("it is error, and was started").await["level"], "error");
    gogeta.edit_routes(&routes("odd", "1"));
    let wrong = seen("its value is wrong").await;
    assert_eq!((&wrong["kind"], &wrong["level"]), (&"problem".into(), &"warning".into()));
    let problems = shown(&gogeta, "/api/problems").await;
    assert_eq!(problems["problems"][0]["key"], "services.web.1.status.current");
    let later = shown(&gogeta, &format!("/api/changes?after={}", started["seq"])).await;
    assert!(
        later["items"]
            .as_array()
            .is_some_and(|items| !items.is_empty() && items[0]["seq"].as_u64() > started["seq"].as_u64())
    );
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let gogeta = Gogeta::routes("")
        .args(["--idle-timeout", "7s", "--admin-token", "secret-0123456789", "--admin-host", "Admin.test"])
        .start()
        .await;
    let reply = get(gogeta.admin, "localhost", "/api/config").await;
    assert!(!reply.text().contains("secret"), "{}", reply.text());
    let config = super::json(&reply);
    assert_eq!((&config["idle-timeout"], &config["threads"]), (&7.0.into(), &2.into()));
    assert_eq!(
        (&config["admin-token"], &config["admin-host"][0]),
        (&"(hidden)".into(), &"admin.test".into())
    );
    assert!(!gogeta.log().contains("secret"));
}

#[tokio::test]
async fn readiness_says_why_not() {
    let lost = Gogeta::bare().args(["--etcd-address", "http://127.0.0.1:1"]).start().await;
    let reply = get(lost.admin, "gogeta:7778", "/readyz").await;
    let said = super::json(&reply);
    assert_eq!((reply.status, &said["ready"], &said["routes_loaded"]), (503, &false.into(), &false.into()));
    assert!(said["reasons"][0].as_str().is_some_and(|reason| reason.starts_with("routes: ")), "{said}");
    let mut gogeta = Gogeta::routes("").args(["--drain-delay", "30s"]).start().await;
    let said = super::json(&get(gogeta.admin, "gogeta:7778", "/readyz").await);
    assert_eq!(
        (&said["ready"], &said["reasons"], &said["checks"][2]["check"]),
        (&true.into(), &value!([]), &"store".into())
    );
    gogeta.signal(Signal::TERM);
    let said = until("it is not ready", async || {
        let reply = get(gogeta.admin, "gogeta:7778", "/readyz").await;
        (reply.status == 503).then(|| super::json(&reply))
    })
    .await;
    assert!(said["reasons"][0].as_str().is_some_and(|reason| reason.contains("stopping")), "{said}");
    assert_eq!(shown(&gogeta, "/api/status").await["worst"][0]["kind"], "gogeta");
    gogeta.signal(Signal::TERM);
    assert!(tokio::time::timeout(Duration::from_secs(10), gogeta.wait()).await.is_ok());
}
