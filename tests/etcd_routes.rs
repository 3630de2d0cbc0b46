//! Routes in etcd: what is written there is served within a second.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::etcd::{Etcd, Op, location};
use crate::support::gogeta::Gogeta;
use crate::support::wait::{until, within};

/// A change in etcd is served after so long at the latest.
const PROMISE: Duration = Duration::from_secs(1);

/// Waits until a host is answered with that status and body; not longer than promised.
async fn serves(gogeta: &Gogeta, host: &str, wanted: (u16, &str)) {
    within(PROMISE, &format!("{host} answers {wanted:?}"), async || {
        let reply = get(gogeta.proxy, host, "/").await;
        (reply.status == wanted.0 && reply.text().contains(wanted.1)).then_some(())
    })
    .await;
}

async fn api(gogeta: &Gogeta) -> Value {
    let reply = get(gogeta.admin, "localhost", "/api/routes").await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    serde_json::from_slice(&reply.body).expect("JSON")
}

fn find<'a>(list: &'a Value, name: &str, value: &str) -> &'a Value {
    let found = list.as_array().and_then(|list| list.iter().find(|item| item[name] == value));
    found.unwrap_or_else(|| panic!("no {name} is {value} in {list}"))
}

#[tokio::test]
async fn a_domain_appears_changes_and_disappears() {
    let Some(etcd) = Etcd::start().await else { return };
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let gogeta = Gogeta::etcd(&etcd).start().await;
    gogeta.ready().await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 404);
    etcd.locate("one", "1", one.port).await;
    etcd.locate("two", "1", two.port).await;
    etcd.route("a.test", "one").await;
    serves(&gogeta, "a.test", (200, "one")).await;
    serves(&gogeta, "www.a.test", (200, "one")).await;
    etcd.put("/domains/a.test/value", "two").await;
    serves(&gogeta, "a.test", (200, "two")).await;
    etcd.del_prefix("/domains/a.test/").await;
    serves(&gogeta, "a.test", (404, "")).await;
}

#[tokio::test]
async fn type_and_value_may_come_in_any_order() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.locate("web", "1", web.port).await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    for (host, first, second) in
        [("a.test", ("type", "service"), ("value", "web")), ("b.test", ("value", "web"), ("type", "service"))]
    {
        etcd.put(&format!("/domains/{host}/{}", first.0), first.1).await;
        let pending = until("the half domain is listed", async || {
            let api = api(&gogeta).await;
            api["domains"].as_array()?.iter().find(|domain| domain["host"] == host).cloned()
        })
        .await;
        assert_eq!(pending["state"], "pending");
        assert_eq!(pending["why"], format!("its {} is not set", second.0));
        assert_eq!(get(gogeta.proxy, host, "/").await.status, 404);
        etcd.put(&format!("/domains/{host}/{}", second.0), second.1).await;
        serves(&gogeta, host, (200, "web")).await;
    }
    assert_eq!(api(&gogeta).await["problems"], serde_json::json!([]));
}

#[tokio::test]
async fn two_instances_take_turns() {
    let Some(etcd) = Etcd::start().await else { return };
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    etcd.locate("web", "1", one.port).await;
    etcd.locate("web", "2", two.port).await;
    etcd.route("a.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    serves(&gogeta, "a.test", (200, "")).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(get(gogeta.proxy, "a.test", "/").await.text());
        // Another instance's update is nobody's turn.
        etcd.put("/services/other/1/status/alive", "1").await;
    }
    for pair in answers.windows(2) {
        assert_ne!(pair[0], pair[1], "{answers:?}");
    }
    etcd.del_prefix("/services/web/1/").await;
    within(PROMISE, "the first instance gets nothing", async || {
        let both = (get(gogeta.proxy, "a.test", "/").await, get(gogeta.proxy, "a.test", "/").await);
        (both.0.text() == "two" && both.1.text() == "two").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_bad_location_hurts_nobody_else() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.txn(&[
        Op::Put("/services/bad/1/location", "{\"host\":\"127.0.0.1\",\"port\":70000}"),
        Op::Put("/services/web/1/location", &location(web.port)),
        Op::Put("/services/web/2/location", "nonsense"),
    ])
    .await;
    etcd.route("bad.test", "bad").await;
    etcd.route("good.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    serves(&gogeta, "good.test", (200, "web")).await;
    serves(&gogeta, "good.test", (200, "web")).await;
    assert_eq!(get(gogeta.proxy, "bad.test", "/").await.status, 500);
    let said = gogeta.lines_with("/services/bad/1/location");
    assert_eq!(said.len(), 1, "it is logged once with its key: {said:?}");
    assert!(said[0].contains("70000"), "{said:?}");
    assert_eq!(gogeta.lines_with("/services/web/2/location").len(), 1);
    // A good location that turns bad stays in force.
    etcd.put("/services/web/1/location", "{\"host\":\"127.0.0.1\"}").await;
    gogeta.log_has("/services/web/1/location").await;
    serves(&gogeta, "good.test", (200, "web")).await;
    let problems = async |count: usize| {
        within(PROMISE, &format!("{count} problems are listed"), async || {
            (api(&gogeta).await["problems"].as_array()?.len() == count).then_some(())
        })
        .await;
    };
    problems(3).await;
    // Mended, it is no problem any more.
    etcd.locate("bad", "1", web.port).await;
    serves(&gogeta, "bad.test", (200, "web")).await;
    problems(2).await;
}

#[tokio::test]
async fn a_domain_turns_from_service_to_uri() {
    let Some(etcd) = Etcd::start().await else { return };
    let (web, uri) = (Backend::named("web").await, Backend::named("uri").await);
    etcd.locate("web", "1", web.port).await;
    etcd.route("a.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    serves(&gogeta, "a.test", (200, "web")).await;
    // In between, type and value do not fit; the last good pair stays.
    etcd.put("/domains/a.test/type", "uri").await;
    gogeta.log_has("/domains/a.test/value").await;
    serves(&gogeta, "a.test", (200, "web")).await;
    etcd.put("/domains/a.test/value", &format!("http://127.0.0.1:{}/", uri.port)).await;
    serves(&gogeta, "a.test", (200, "uri")).await;
    let api = api(&gogeta).await;
    assert_eq!(find(&api["domains"], "host", "a.test")["state"], "uri");
}

#[tokio::test]
async fn a_transaction_over_both_directories_is_one_change() {
    let Some(etcd) = Etcd::start().await else { return };
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    etcd.locate("one", "1", one.port).await;
    etcd.route("a.test", "one").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    serves(&gogeta, "a.test", (200, "one")).await;
    // To and fro; the service that is left goes at the same moment, so a half change would show an error.
    let asking = async {
        let mut answers = Vec::new();
        for _ in 0..200 {
            answers.push(get(gogeta.proxy, "a.test", "/").await);
        }
        answers
    };
    let moving = async {
        for turn in 0..20 {
            let (from, to, port) =
                if turn % 2 == 0 { ("one", "two", two.port) } else { ("two", "one", one.port) };
            etcd.txn(&[
                Op::Put("/domains/a.test/value", to),
                Op::Put(&format!("/services/{to}/1/location"), &location(port)),
                Op::Del(&format!("/services/{from}/1/location")),
            ])
            .await;
        }
    };
    let (answers, ()) = tokio::join!(asking, moving);
    let wrong: Vec<_> =
        answers.iter().filter(|reply| reply.status != 200).map(|reply| reply.status).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    serves(&gogeta, "a.test", (200, "one")).await;
}

#[tokio::test]
async fn the_last_access_is_written_once_per_interval() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.locate("web", "1", web.port).await;
    etcd.route("a.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).arg("--last-access-interval=1h").start().await;
    let key = "/services/web/1/lastAccess";
    serves(&gogeta, "a.test", (200, "web")).await;
    let text = until("lastAccess is written", async || {
        get(gogeta.proxy, "a.test", "/").await;
        etcd.get(key).await
    })
    .await;
    let form = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let now = time::OffsetDateTime::now_utc();
    let lately = (0..60).map(|ago| (now - Duration::from_secs(ago)).format(form).expect("a text"));
    assert!(lately.into_iter().any(|at| at == text), "{text} is not the time of lately, in UTC");
    // A second instance's line is behind whatever the first one had to say.
    etcd.locate("web", "2", web.port).await;
    until("the second instance's lastAccess is written", async || {
        get(gogeta.proxy, "a.test", "/").await;
        etcd.get("/services/web/2/lastAccess").await
    })
    .await;
    assert_eq!(etcd.version(key).await, 1);
}

#[tokio::test]
async fn the_last_access_of_a_short_interval_is_written_again() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.locate("web", "1", web.port).await;
    etcd.route("a.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).args(["-lastAccessInterval", "1"]).start().await;
    until("lastAccess is written twice", async || {
        get(gogeta.proxy, "a.test", "/").await;
        (etcd.version("/services/web/1/lastAccess").await >= 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deleted_instance_does_not_come_back_by_its_last_access() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.locate("gone", "1", web.port).await;
    etcd.locate("web", "1", web.port).await;
    etcd.route("gone.test", "gone").await;
    etcd.route("a.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    serves(&gogeta, "gone.test", (200, "web")).await;
    // What that request had to say still waits for its batch.
    etcd.del_prefix("/services/gone/").await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 200);
    until("the batch is written", async || etcd.get("/services/web/1/lastAccess").await).await;
    assert_eq!(etcd.get("/services/gone/1/lastAccess").await, None);
    let api = api(&gogeta).await;
    let services = api["services"].as_array().expect("a list");
    assert!(services.iter().all(|service| service["name"] != "gone"), "{services:?}");
}

#[tokio::test]
async fn keys_of_others_do_no_harm() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    for (key, value) in [
        ("/domains", "x"),
        ("/domains/", "x"),
        ("/domains/a.test", "x"),
        ("/domains/a.test/notes/by/someone", "x"),
        ("/domains/no host/type", "service"),
        ("/domains/no host/value", "web"),
        ("/domainsandmore/a.test/type", "uri"),
        ("/services/web", "x"),
        ("/services/web/1", "x"),
        ("/services/web/1/status", "x"),
        ("/services/web/1/status/more", "x"),
        ("/services/web/1/config/other", "{"),
        ("/services/web/1/domain", "a.test"),
        ("/services/web/1/lastAccess", "nonsense"),
        ("/other/a.test/type", "uri"),
    ] {
        etcd.put(key, value).await;
    }
    etcd.locate("web", "1", web.port).await;
    etcd.route("a.test", "web").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    serves(&gogeta, "a.test", (200, "web")).await;
    let api = api(&gogeta).await;
    assert_eq!(api["domains"].as_array().map(Vec::len), Some(1), "{api}");
    assert_eq!(api["services"][0]["instances"].as_array().map(Vec::len), Some(1), "{api}");
    // A host that is none is worth a word, once.
    assert_eq!(gogeta.lines_with("/domains/no host/type").len(), 1);
    // They come and go as updates, too.
    etcd.put("/services/web/1/status/more", "y").await;
    etcd.put("/domains/a.test/notes/by/someone", "y").await;
    etcd.del("/services/web/1").await;
    etcd.route("b.test", "web").await;
    serves(&gogeta, "b.test", (200, "web")).await;
    serves(&gogeta, "a.test", (200, "web")).await;
}

#[tokio::test]
async fn the_api_tells_states_and_why() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.route("a.test", "web").await;
    etcd.route("nobody.test", "missing").await;
    etcd.locate("web", "1", 1).await;
    etcd.status("web", "1", ["started", "started", "1"]).await;
    etcd.locate("web", "2", 1).await;
    etcd.status("web", "2", ["started", "started", "-"]).await;
    etcd.status("web", "10", ["stopped", "passivated", "-"]).await;
    etcd.put("/domains/a.test/config", "{\"colour\":\"red\"}").await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    gogeta.ready().await;
    let api = api(&gogeta).await;
    let domain = find(&api["domains"], "host", "a.test");
    assert_eq!((&domain["type"], &domain["value"]), (&"service".into(), &"web".into()));
    assert_eq!(
        (&domain["state"], &domain["why"]),
        (&"started".into(), &"1 of 3 instances of web take requests".into())
    );
    let nobody = find(&api["domains"], "host", "nobody.test");
    assert_eq!(
        (&nobody["state"], &nobody["why"]),
        (&"error".into(), &"the service missing does not exist".into())
    );
    let instances = &find(&api["services"], "name", "web")["instances"];
    let rows: Vec<(&str, &str)> = instances
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["index"].as_str().expect("text"), one["state"].as_str().expect("text")))
        .collect();
    assert_eq!(rows, [("1", "started"), ("2", "error"), ("10", "passivated")]);
    assert!(find(instances, "index", "2")["why"].as_str().is_some_and(|why| why.contains("heartbeat")));
    assert_eq!(find(instances, "index", "1")["location"], "127.0.0.1:1");
    let problem = &api["problems"][0];
    assert!(problem["problem"].as_str().is_some_and(|text| text.contains("colour")), "{problem}");
}

#[tokio::test]
async fn a_change_of_splice_is_shown_and_a_wrong_one_is_told_and_harms_nothing() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.route("a.test", "web").await;
    etcd.locate("web", "1", web.port).await;
    let gogeta = Gogeta::etcd(&etcd).start().await;
    gogeta.ready().await;
    let shows = async |domain: Value, instance: Value, problems: &[&str]| {
        within(PROMISE, &format!("{domain} and {instance}, {problems:?}"), async || {
            let api = api(&gogeta).await;
            let told: Vec<&Value> =
                api["problems"].as_array().expect("a list").iter().map(|one| &one["key"]).collect();
            (find(&api["domains"], "host", "a.test")["config"] == domain
                && api["services"][0]["instances"][0]["config"] == instance
                && told == problems)
                .then_some(())
        })
        .await;
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
    };
    etcd.put("/domains/a.test/config", "{\"splice\":\"sockmap\"}").await;
    etcd.put("/services/web/1/config/gogeta", "{\"splice\":\"off\"}").await;
    shows(json!({ "splice": "sockmap" }), json!({ "splice": "off" }), &[]).await;
    etcd.put("/domains/a.test/config", "{\"forceSsl\":false,\"splice\":\"on\"}").await;
    let problem = ["domains.\"a.test\".config"];
    shows(json!({ "forceSsl": false, "splice": "on" }), json!({ "splice": "off" }), &problem).await;
    gogeta.log_has("splice is auto, wire, sockmap or off, not \\\"on\\\"").await;
    let said = gogeta.lines_with("splice is auto").concat();
    assert!(said.contains("/domains/a.test/config"), "{said}");
    etcd.del("/domains/a.test/config").await;
    shows(json!({}), json!({ "splice": "off" }), &[]).await;
}

#[tokio::test]
async fn it_is_ready_once_routes_are_read() {
    let Some(mut etcd) = Etcd::absent() else { return };
    let gogeta = Gogeta::etcd(&etcd).start().await;
    let before = get(gogeta.admin, "admin", "/readyz").await;
    assert_eq!((before.status, before.text().contains("\"ready\":false")), (503, true), "{}", before.text());
    assert_eq!(get(gogeta.admin, "admin", "/healthz").await.status, 200);
    etcd.restart().await;
    until("it is ready", async || {
        let ready = get(gogeta.admin, "admin", "/readyz").await;
        (ready.status == 200 && ready.text().contains("\"store_connected\":true")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_directories_may_be_others() {
    let Some(etcd) = Etcd::start().await else { return };
    let (ours, others) = (Backend::named("ours").await, Backend::named("others").await);
    for (domains, services, port) in
        [("/x/domains", "/x/services", ours.port), ("/domains", "/services", others.port)]
    {
        etcd.put(&format!("{domains}/a.test/type"), "service").await;
        etcd.put(&format!("{domains}/a.test/value"), "web").await;
        etcd.put(&format!("{services}/web/1/location"), &location(port)).await;
    }
    let gogeta =
        Gogeta::etcd(&etcd).args(["--domain-dir=/x/domains/", "--service-dir=/x/services"]).start().await;
    gogeta.ready().await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "ours");
    etcd.put("/x/domains/b.test/type", "service").await;
    etcd.put("/x/domains/b.test/value", "web").await;
    serves(&gogeta, "b.test", (200, "ours")).await;
    // What gogeta writes goes there as well.
    until("lastAccess is written", async || etcd.get("/x/services/web/1/lastAccess").await).await;
}

#[tokio::test]
async fn changes_leave_nothing_behind() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    let gogeta = Gogeta::etcd(&etcd).arg("--log=warn,gogeta::app=info").start().await;
    let churn = async |turns: std::ops::Range<u16>| {
        for turn in turns {
            // Another host, another service, another place each time; the ones before go.
            let (host, service) = (format!("h{turn}.test"), format!("s{turn}"));
            etcd.route(&host, &service).await;
            etcd.locate(&service, "1", web.port).await;
            serves(&gogeta, &host, (200, "web")).await;
            etcd.del_prefix(&format!("/domains/{host}/")).await;
            etcd.del_prefix(&format!("/services/{service}/")).await;
        }
        within(PROMISE, "all is gone", async || {
            let api = api(&gogeta).await;
            (api["domains"] == serde_json::json!([]) && api["services"] == serde_json::json!([]))
                .then_some(())
        })
        .await;
    };
    churn(0..100).await;
    let before = gogeta.rss_kib();
    churn(100..400).await;
    let grown = gogeta.rss_kib().saturating_sub(before);
    assert!(grown < 4096, "300 domains that came and went left {grown} KiB");
}

/// How many changes have been applied.
async fn changes(gogeta: &Gogeta) -> u64 {
    let text = get(gogeta.admin, "admin", "/metrics").await.text();
    let count = text.lines().find_map(|line| line.strip_prefix("gogeta_config_changes_total "));
    count.and_then(|count| count.parse().ok()).expect("a number")
}

#[tokio::test]
async fn what_two_watchers_tell_of_one_transaction_is_applied_at_once() {
    let Some(etcd) = Etcd::start().await else { return };
    let gogeta = Gogeta::etcd(&etcd).start().await;
    gogeta.ready().await;
    for turn in 0..20_u16 {
        let before = changes(&gogeta).await;
        // While it stands still, the events of both directories get as far as its socket.
        gogeta.signal(Signal::STOP);
        etcd.txn(&[
            Op::Put(&format!("/domains/h{turn}.test/value"), "x"),
            Op::Put(&format!("/services/s{turn}/1/location"), &location(turn + 1)),
        ])
        .await;
        assert!(etcd.get(&format!("/domains/h{turn}.test/value")).await.is_some());
        gogeta.signal(Signal::CONT);
        within(PROMISE, "both are there", async || {
            let api = get(gogeta.admin, "localhost", "/api/routes").await.text();
            let both = api.contains(&format!("\"h{turn}.test\"")) && api.contains(&format!("\"s{turn}\""));
            both.then_some(())
        })
        .await;
        assert_eq!(changes(&gogeta).await, before + 1);
    }
}
