//! A drained instance gets no new requests, whatever else is said of it.

use super::{act, assert_problem, json, shown, with_token};
use crate::support::backend::Backend;
use crate::support::client::{Client, get};
use crate::support::gogeta::Gogeta;
use crate::support::parking::{parked, parking_with};
use crate::support::wait::until;

fn routes(ports: [u16; 2], more: &str) -> String {
    let [one, two] = ports;
    format!(
        "[domains.\"a.test\"]\ntype = \"service\"\nvalue = \"web\"\n\
         [services.web.1]\nlocation = {{ host = \"127.0.0.1\", port = {one} }}\n{more}\
         [services.web.2]\nlocation = {{ host = \"127.0.0.1\", port = {two} }}\n"
    )
}

async fn answers(gogeta: &Gogeta) -> String {
    let mut answers = String::new();
    for _ in 0..6 {
        let reply = get(gogeta.proxy, "a.test", "/").await;
        answers += &if reply.status == 200 { reply.text() } else { format!("({})", reply.status) };
    }
    answers
}

#[tokio::test]
async fn requests_pass_a_drained_instance_by_until_it_is_put_back() {
    let (one, two) = (Backend::named("1").await, Backend::named("2").await);
    let ports = [one.port, two.port];
    let gogeta = with_token(Gogeta::routes(&routes(ports, ""))).start().await;
    assert_eq!(answers(&gogeta).await.matches('1').count(), 3);
    let drained = act(&gogeta, "POST /api/services/web/instances/1/drain", "").await;
    assert_eq!(drained.status, 200, "{}", drained.text());
    let drained = json(&drained);
    assert_eq!((&drained["drained"], &drained["state"]), (&true.into(), &"started".into()));
    assert!(drained["why"].as_str().is_some_and(|why| why.contains("drained")), "{drained}");
    assert_eq!(answers(&gogeta).await, "222222");
    // Another key of that instance changes.
    gogeta.edit_routes(&routes(ports, "config = { weight = 9 }\n"));
    until("the change is served", async || {
        let service = shown(&gogeta, "/api/services/web").await;
        (service["instances"][0]["config"]["weight"] == 9).then_some(())
    })
    .await;
    assert_eq!(answers(&gogeta).await, "222222");
    let status = shown(&gogeta, "/api/routes").await;
    assert_eq!(status["services"][0]["instances"][0]["drained"], true);
    // With nobody left, the page is that of a service that was stopped.
    act(&gogeta, "POST /api/services/web/instances/2/drain", "").await;
    assert_eq!(answers(&gogeta).await, "(503)".repeat(6));
    assert_eq!(shown(&gogeta, "/api/services/web").await["state"], "stopped");
    for index in [1, 2] {
        let back = act(&gogeta, &format!("POST /api/services/web/instances/{index}/undrain"), "").await;
        assert_eq!((back.status, &json(&back)["drained"]), (200, &false.into()));
    }
    assert!(answers(&gogeta).await.contains('1'));
    let changes = shown(&gogeta, "/api/changes").await.to_string();
    for text in ["drained, by 127.0.0.1", "drained no longer, by 127.0.0.1", "it is drained; it is started"] {
        assert!(changes.contains(text), "{text} is not in {changes}");
    }
    for nobody in ["web/instances/3", "nobody/instances/1"] {
        assert_problem(
            &act(&gogeta, &format!("POST /api/services/{nobody}/drain"), "").await,
            404,
            "no instance",
        );
    }
}

#[tokio::test]
async fn parked_pairs_come_back_from_a_drained_instance() {
    let (one, two) = (Backend::named("1").await, Backend::named("2").await);
    let builder = with_token(Gogeta::routes(&routes([one.port, two.port], ""))).args(["--threads", "1"]);
    let Some(gogeta) = parking_with(builder).await else { return };
    let mut clients = [Client::connect(gogeta.proxy).await, Client::connect(gogeta.proxy).await];
    let mut parked_to = Vec::new();
    for client in &mut clients {
        parked_to.push(client.get("a.test", "/").await.text());
    }
    parked_to.sort();
    assert_eq!(parked_to, ["1", "2"]);
    parked(&gogeta, 2.0).await;
    for client in &mut clients {
        let (own, again) = (client.get("a.test", "/").await.text(), client.get("a.test", "/").await.text());
        assert_eq!(own, again, "the kernel carries them where they were");
    }
    assert_eq!(act(&gogeta, "POST /api/services/web/instances/1/drain", "").await.status, 200);
    until("its pair is back", async || {
        let pairs = shown(&gogeta, "/api/pairs").await;
        let gone = format!(":{}", one.port);
        let pairs = pairs["pairs"].as_array().expect("a list").clone();
        pairs.iter().all(|pair| !pair["upstream"].as_str().unwrap_or_default().ends_with(&gone)).then_some(())
    })
    .await;
    let before = one.count();
    for client in &mut clients {
        for _ in 0..5 {
            assert_eq!(client.get("a.test", "/").await.text(), "2");
        }
    }
    assert_eq!(one.count(), before, "no request goes there any more");
}
