//! What operators can do.

use rustix::process::Signal;

use super::{act, assert_problem, json, shown, with_token};
use crate::support::backend::{Backend, service};
use crate::support::client::{Client, get};
use crate::support::gogeta::Gogeta;
use crate::support::parking::{parked, parking_with};
use crate::support::wait::{all, until};

#[tokio::test]
async fn what_is_logged_can_be_changed() {
    let gogeta = with_token(Gogeta::routes("")).start().await;
    assert_eq!(shown(&gogeta, "/api/log").await["filter"], "info");
    assert!(!gogeta.log().contains("\"DEBUG\""));
    let reply = act(&gogeta, "PUT /api/log", r#"{"filter":"debug"}"#).await;
    assert_eq!((reply.status, &json(&reply)["filter"]), (200, &"debug".into()));
    get(gogeta.proxy, "nobody.test", "/").await;
    gogeta.log_has("\"DEBUG\"").await;
    assert_eq!(shown(&gogeta, "/api/log").await["filter"], "debug");
    assert_problem(&act(&gogeta, "PUT /api/log", r#"{"filter":"gogeta=loud"}"#).await, 400, "filter");
    assert_problem(&act(&gogeta, "PUT /api/log", r#"{"level":"debug"}"#).await, 400, "level");
    assert_problem(&act(&gogeta, "PUT /api/log", "[]").await, 400, "body");
    assert_eq!(shown(&gogeta, "/api/log").await["filter"], "debug", "what is wrong changes nothing");
    gogeta.signal(Signal::HUP);
    until("the configuration is in force again", async || {
        (shown(&gogeta, "/api/log").await["filter"] == "info").then_some(())
    })
    .await;
}

#[tokio::test]
async fn tasks_are_dumped_while_others_ask() {
    let gogeta = with_token(Gogeta::routes("")).start().await;
    let asks = (0..40).map(|number| {
        let gogeta = &gogeta;
        async move {
            if number % 8 != 0 {
                return assert_eq!(get(gogeta.admin, "localhost", "/api/domains").await.status, 200);
            }
            let dump = act(gogeta, "POST /api/tasks", "").await;
            assert_eq!((dump.status, dump.header("content-type")), (200, Some("text/plain; charset=utf-8")));
            for part in ["=== worker-0: ", "=== worker-1: ", "=== control: "] {
                assert!(dump.text().contains(part), "{part} is not in {}", dump.text());
            }
            assert!(!dump.text().contains("did not answer"), "{}", dump.text());
        }
    });
    all(asks).await;
    assert!(!gogeta.log().contains("panicked"));
}

#[tokio::test]
async fn a_profile_is_taken_and_shown() {
    let web = Backend::named("web").await;
    let builder = with_token(Gogeta::routes(&service("a.test", &[web.port])));
    let file = builder.file("cpu.prof", "");
    // The flag profiles from the start.
    let gogeta = builder.arg("--cpu-profile").arg(&file).start().await;
    assert_problem(&act(&gogeta, "POST /api/profile/start", "").await, 409, "running already");
    assert_problem(&get(gogeta.admin, "localhost", "/api/profile/flamegraph.svg").await, 404, "no profile");
    for _ in 0..200 {
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 200);
    }
    let written = act(&gogeta, "POST /api/profile/stop", "").await;
    assert_eq!(written.status, 200, "{}", written.text());
    assert_eq!(json(&written)["files"][0], file.display().to_string());
    let picture = get(gogeta.admin, "localhost", "/api/profile/flamegraph.svg").await;
    assert_eq!((picture.status, picture.header("content-type")), (200, Some("image/svg+xml")));
    assert!(picture.text().contains("<svg"));
    assert!(picture.header("content-security-policy").is_some_and(|policy| policy.contains("sandbox")));
    assert_problem(&act(&gogeta, "POST /api/profile/stop", "").await, 409, "no CPU profile");
    assert_eq!(act(&gogeta, "POST /api/profile/start", "").await.status, 200);
}

#[tokio::test]
async fn parked_pairs_are_taken_back() {
    let web = Backend::named("web").await;
    let routes = service("a.test", &[web.port]) + &service("b.test", &[web.port]);
    let Some(gogeta) = parking_with(with_token(Gogeta::routes(&routes))).await else { return };
    let (mut one, mut other) = (Client::connect(gogeta.proxy).await, Client::connect(gogeta.proxy).await);
    one.get("a.test", "/").await;
    other.get("b.test", "/").await;
    parked(&gogeta, 2.0).await;
    let unpark = async |body: &str| json(&act(&gogeta, "POST /api/unpark", body).await)["unparked"].clone();
    assert_eq!(unpark(r#"{"host":"nobody.test"}"#).await, 0);
    let pairs = shown(&gogeta, "/api/pairs").await;
    let services: Vec<_> =
        pairs["pairs"].as_array().expect("a list").iter().map(|pair| pair["service"].clone()).collect();
    assert!(services.len() == 2 && services[0] != services[1], "{pairs}");
    assert_eq!(unpark(r#"{"host":"a.test"}"#).await, 1);
    parked(&gogeta, 1.0).await;
    assert_eq!(
        unpark(&format!(r#"{{"service":{}}}"#, shown(&gogeta, "/api/domains/b.test").await["value"])).await,
        1
    );
    parked(&gogeta, 0.0).await;
    // They are as good as before.
    one.get("a.test", "/").await;
    other.get("b.test", "/").await;
    parked(&gogeta, 2.0).await;
    assert_eq!(unpark("{}").await, 2);
    let changes = shown(&gogeta, "/api/changes").await;
    let last = changes["items"].as_array().and_then(|items| items.last()).expect("a change").clone();
    assert_eq!((&last["kind"], &last["name"]), (&"action".into(), &"all".into()));
    assert!(last["text"].as_str().is_some_and(|text| text.contains("by 127.0.0.1")), "{last}");
    gogeta.log_has("an operator has done something").await;
}
