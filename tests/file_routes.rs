//! Routes in a file: what is saved there is served, as one change, and a mistake harms nothing.

use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::gogeta::Gogeta;
use crate::support::wait::within;

async fn serves(gogeta: &Gogeta, host: &str, wanted: (u16, &str)) {
    within(Duration::from_secs(2), &format!("{host} answers {wanted:?}"), async || {
        let reply = get(gogeta.proxy, host, "/").await;
        (reply.status == wanted.0 && reply.text().contains(wanted.1)).then_some(())
    })
    .await;
}

/// A domain and its service, of one instance.
fn route(host: &str, service: &str, port: u16) -> String {
    format!(
        "[domains.\"{host}\"]\ntype = \"service\"\nvalue = \"{service}\"\n\
         [services.{service}.1]\nlocation = {{ host = \"127.0.0.1\", port = {port} }}\n"
    )
}

#[tokio::test]
async fn a_save_is_served() {
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let gogeta = Gogeta::routes(&route("a.test", "web", one.port)).start().await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "one", "from the first request on");
    assert_eq!(get(gogeta.admin, "admin", "/readyz").await.status, 200);
    // By a new file in its place, as many editors do.
    gogeta.edit_routes(&route("a.test", "web", two.port));
    serves(&gogeta, "a.test", (200, "two")).await;
    // In place, as the others do.
    std::fs::write(gogeta.routes_file(), route("b.test", "web", one.port)).expect("it is written");
    serves(&gogeta, "b.test", (200, "one")).await;
    serves(&gogeta, "a.test", (404, "")).await;
    // By a link to another file, as a config map does.
    let other = gogeta.directory().join("other.toml");
    std::fs::write(&other, route("c.test", "web", two.port)).expect("it is written");
    std::fs::remove_file(gogeta.routes_file()).expect("it is gone");
    std::os::unix::fs::symlink(other, gogeta.routes_file()).expect("it is linked");
    serves(&gogeta, "c.test", (200, "two")).await;
}

#[tokio::test]
async fn a_save_is_one_change() {
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let versions = [route("a.test", "one", one.port), route("a.test", "two", two.port)];
    let gogeta = Gogeta::routes(&versions[0]).start().await;
    let proxy = gogeta.proxy;
    // The old service goes as the domain turns to the new one: half a change would be an error.
    let asking = tokio::spawn(async move {
        let mut answers = Vec::new();
        for _ in 0..300 {
            answers.push(get(proxy, "a.test", "/").await.status);
        }
        answers
    });
    for turn in 1..=10 {
        gogeta.edit_routes(&versions[turn % 2]);
        serves(&gogeta, "a.test", (200, ["one", "two"][turn % 2])).await;
    }
    let answers = asking.await.expect("answers");
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
}

#[tokio::test]
async fn a_broken_save_changes_nothing() {
    let web = Backend::named("web").await;
    let good = route("a.test", "web", web.port);
    let gogeta = Gogeta::routes(&good).start().await;
    for (number, (broken, line)) in [
        (format!("{good}\n[domains\n"), "line 7"),
        (format!("{good}\n[domains.\"b.test\"]\ntpye = \"uri\"\n"), "line 8"),
        (format!("{good}\n[domains.\"b c\"]\ntype = \"uri\"\n"), "line 7"),
        ("[domains.x]\ntype = 1\n".to_owned(), "line 2"),
    ]
    .into_iter()
    .enumerate()
    {
        gogeta.edit_routes(&broken);
        within(Duration::from_secs(2), "the mistake is told", async || {
            (gogeta.lines_with("the routes stay as they were").len() == number + 1).then_some(())
        })
        .await;
        let said = gogeta.lines_with("the routes stay as they were").pop().expect("a line");
        assert!(said.contains("routes.toml") && said.contains(line), "{line}: {said}");
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web", "the old routes stay");
    }
    gogeta.edit_routes(&format!("{good}\n{}", route("b.test", "more", web.port)));
    serves(&gogeta, "b.test", (200, "web")).await;
    serves(&gogeta, "a.test", (200, "web")).await;
}

#[tokio::test]
async fn a_file_that_is_gone_changes_nothing() {
    let web = Backend::named("web").await;
    let good = route("a.test", "web", web.port);
    let gogeta = Gogeta::routes(&good).start().await;
    std::fs::remove_file(gogeta.routes_file()).expect("it is gone");
    gogeta.log_has("cannot read the routes file").await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
    gogeta.edit_routes(&route("b.test", "web", web.port));
    serves(&gogeta, "b.test", (200, "web")).await;
}

#[tokio::test]
async fn a_bad_value_names_its_line() {
    let web = Backend::named("web").await;
    let good = route("a.test", "web", web.port);
    let gogeta = Gogeta::routes(&good).start().await;
    let bad = format!(
        "{good}\n[domains.\"b.test\"]\ntype = \"uri\"\nvalue = \"nonsense\"\n\
         \n[services.bad.1]\nlocation = {{ host = \"127.0.0.1\", port = 70000 }}\n\
         \n[services.web.1.config]\nsplice = \"on\"\n"
    );
    gogeta.edit_routes(&bad);
    gogeta.log_has("routes.toml:9: domains.\\\"b.test\\\".value").await;
    gogeta.log_has("routes.toml:12: services.bad.1.location").await;
    gogeta.log_has("routes.toml:14: services.web.1.config").await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web", "the others are served");
    assert_eq!(get(gogeta.proxy, "b.test", "/").await.status, 404, "it never had a good value");
}

#[tokio::test]
async fn a_passivated_instance_is_told_of_once() {
    let routes = "[domains.\"a.test\"]\ntype = \"service\"\nvalue = \"web\"\n\
                  [services.web.1]\nstatus = { current = \"passivated\", expected = \"passivated\" }\n";
    let gogeta = Gogeta::routes(routes).start().await;
    for _ in 0..3 {
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.header("x-gogeta-page"), Some("passivated"));
    }
    gogeta.log_has("which gogeta does not write").await;
    assert_eq!(gogeta.lines_with("which gogeta does not write").len(), 1);
    assert_eq!(std::fs::read_to_string(gogeta.routes_file()).expect("it is there"), routes);
}

#[tokio::test]
async fn a_log_in_the_same_folder_does_no_harm() {
    let web = Backend::named("web").await;
    let builder = Gogeta::bare();
    // The harness logs into this folder as well.
    let file = builder.file("routes.toml", &route("a.test", "web", web.port));
    let gogeta = builder.arg("--routes").arg(&file).args(["--access-log=access.log"]).start().await;
    for _ in 0..20 {
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
    }
    std::fs::write(&file, route("b.test", "web", web.port)).expect("it is written");
    serves(&gogeta, "b.test", (200, "web")).await;
    let applied = gogeta.lines_with("routes applied").len();
    assert!(applied <= 2, "each version is applied once: {}", gogeta.log());
}
