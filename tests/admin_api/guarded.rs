//! Nobody else's page reads the API, and nobody without the token does anything.

use super::{TOKEN, act, act_with, assert_problem, shown, with_token};
use crate::support::client::{get, request};
use crate::support::gogeta::Gogeta;

#[tokio::test]
async fn a_page_of_another_origin_can_ask_for_nothing() {
    let gogeta = with_token(Gogeta::routes("")).args(["--admin-host", "gogeta.test"]).start().await;
    let own = format!("Host: {}", gogeta.admin);
    for (path, fields, status, says) in [
        // A name of the attacker's that points here (DNS rebinding).
        ("/api/status", "Host: evil.test:7778".to_owned(), 421, "--admin-host"),
        ("/", "Host: evil.test".to_owned(), 421, "--admin-host"),
        ("/api/status", format!("{own}\r\nOrigin: http://evil.test"), 403, "origin"),
        ("/api/status", format!("{own}\r\nOrigin: null"), 403, "origin"),
        ("/api/live", format!("{own}\r\nSec-Fetch-Site: cross-site"), 403, "another site"),
        ("/", format!("{own}\r\nOrigin: http://evil.test"), 403, "origin"),
    ] {
        let reply = request(gogeta.admin, &format!("GET {path} HTTP/1.1\r\n{fields}\r\n\r\n")).await;
        assert_problem(&reply, status, says);
        assert!(!reply.headers.iter().any(|(name, _)| name.starts_with("access-control")), "{reply:?}");
    }
    for fields in
        [own.clone(), format!("{own}\r\nOrigin: http://{}", gogeta.admin), "Host: gogeta.test".to_owned()]
    {
        let reply = request(gogeta.admin, &format!("GET /api/status HTTP/1.1\r\n{fields}\r\n\r\n")).await;
        assert_eq!(reply.status, 200, "{fields}");
    }
    // A form can be sent from anywhere, by a browser that says nothing of it.
    let form = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: text/plain\r\n");
    let raw = format!("POST /api/unpark HTTP/1.1\r\n{own}\r\n{form}Content-Length: 2\r\n\r\n{{}}");
    assert_problem(&request(gogeta.admin, &raw).await, 415, "application/json");
    // And it cannot ask beforehand whether it may.
    let preflight = format!(
        "OPTIONS /api/unpark HTTP/1.1\r\n{own}\r\nOrigin: http://evil.test\r\nAccess-Control-Request-Method: POST\r\n\r\n"
    );
    let reply = request(gogeta.admin, &preflight).await;
    assert_eq!(reply.status, 405);
    assert!(!reply.headers.iter().any(|(name, _)| name.starts_with("access-control")), "{reply:?}");
}

#[tokio::test]
async fn supervisors_and_prometheus_ask_by_any_name() {
    let gogeta = Gogeta::routes("").start().await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        let reply = get(gogeta.admin, "gogeta:7778", path).await;
        assert_eq!(reply.status, 200, "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}");
        }
        assert!(
            reply
                .header("content-security-policy")
                .is_some_and(|policy| policy.contains("default-src 'none'"))
        );
    }
}

/// Each action of the document, with something in the place of what it is done to.
async fn actions(gogeta: &Gogeta) -> Vec<String> {
    let document = shown(gogeta, "/api/openapi.json").await;
    let mut actions = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let path = path.replace("{name}", "web").replace("{index}", "1");
        for method in item.as_object().expect("operations").keys().filter(|method| *method != "get") {
            actions.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    assert!(actions.len() >= 6, "{actions:?}");
    actions
}

#[tokio::test]
async fn actions_without_the_token_are_refused() {
    let gogeta = with_token(Gogeta::routes("")).start().await;
    for what in actions(&gogeta).await {
        for fields in
            ["", "Authorization: Bearer something-else-entirely\r\n", "Authorization: Basic YTpi\r\n"]
        {
            let reply = act_with(&gogeta, &what, fields, "{}").await;
            assert_problem(&reply, 401, "token");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{what}");
        }
        let foreign = format!("Authorization: Bearer {TOKEN}\r\nOrigin: http://evil.test\r\n");
        assert_problem(&act_with(&gogeta, &what, &foreign, "{}").await, 403, "origin");
    }
    gogeta.log_has("an action with a wrong token was refused").await;
    assert!(!gogeta.log().contains("an operator has done something"));
    assert!(!gogeta.log().contains("something-else-entirely"), "nobody's secrets are logged");
}

#[tokio::test]
async fn where_there_is_no_token_nobody_can_do_anything() {
    let gogeta = Gogeta::routes("").start().await;
    for what in actions(&gogeta).await {
        assert_problem(&act(&gogeta, &what, "{}").await, 403, "--admin-token-file");
    }
}

#[tokio::test]
async fn a_token_comes_from_a_file_and_changes_with_it() {
    let builder = Gogeta::routes("");
    let file = builder.file("token", "the-first-token-of-all\n");
    let gogeta = builder.arg("--admin-token-file").arg(&file).start().await;
    let unparks = async |token: &str| {
        act_with(&gogeta, "POST /api/unpark", &format!("Authorization: Bearer {token}\r\n"), "{}")
            .await
            .status
    };
    assert_eq!(
        (unparks("the-first-token-of-all").await, unparks("the-second-token-of-all").await),
        (200, 401)
    );
    std::fs::write(&file, "the-second-token-of-all\n").expect("it is written");
    gogeta.signal(rustix::process::Signal::HUP);
    gogeta.log_has("the configuration is read anew").await;
    assert_eq!(
        (unparks("the-first-token-of-all").await, unparks("the-second-token-of-all").await),
        (401, 200)
    );
}

#[tokio::test]
async fn an_admin_listener_for_everybody_is_warned_of() {
    let gogeta = Gogeta::routes("").args(["--admin", "0.0.0.0:0"]).start().await;
    gogeta.log_has("the admin listener is not on loopback alone").await;
    let own = Gogeta::routes("").start().await;
    own.log_has("gogeta is up").await;
    get(own.admin, "localhost", "/healthz").await;
    assert!(!own.log().contains("not on loopback"));
}
