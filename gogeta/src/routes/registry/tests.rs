//! What changes do to the table.

use super::*;
use crate::balance::{Pick, pick};
use crate::routes::entries;
use crate::routes::key::KeySpace;
use crate::routes::splice::SpliceMode;
use crate::routes::table::Route;
use crate::status::State;
use proptest::prelude::*;

fn space() -> KeySpace {
    KeySpace::new("/domains", "/services")
}

fn key(text: &str) -> Key {
    space().parse(text).expect("a key that gogeta knows")
}

fn put(text: &str, value: &str) -> Op {
    Op::Put(key(text), value.into())
}

fn delta(ops: Vec<Op>) -> Change {
    Change::Delta { revision: 1, ops }
}

fn registry(entries: &[(&str, &str)]) -> Registry {
    let mut registry = Registry::default();
    registry.apply(snapshot(entries));
    registry
}

fn snapshot(entries: &[(&str, &str)]) -> Change {
    let entries = entries.iter().map(|(text, value)| (key(text), value.as_bytes().to_vec())).collect();
    Change::Snapshot { revision: 1, entries }
}

/// Where a host goes, in short: `-` unknown, `!name` without service, `uri`, `name/index` or `name(state)`.
fn route(registry: &Registry, host: &str) -> String {
    let table = registry.table();
    match table.resolve(host) {
        Route::Unknown => "-".to_owned(),
        Route::NoService { service, .. } => format!("!{service}"),
        Route::Uri { target, .. } => target.text.to_string(),
        Route::Service { service, .. } => match pick(service, 1) {
            Pick::Instance(instance, _) => format!("{}/{}", service.name, instance.index),
            Pick::Page(state, _) => format!("{}({})", service.name, state.as_str()),
        },
    }
}

/// What the route of a host says of splice, for its first instance.
fn splice(registry: &Registry, host: &str) -> Option<SpliceMode> {
    let table = registry.table();
    let route = table.resolve(host);
    match &route {
        Route::Service { service, .. } => route.splice(service.instances.first().map(Arc::as_ref)),
        _ => route.splice(None),
    }
}

/// Where a host goes, whoever is there.
fn target(registry: &Registry, host: &str) -> String {
    match registry.table().resolve(host) {
        Route::Unknown => "-".to_owned(),
        Route::NoService { service, .. } => service.to_string(),
        Route::Uri { target, .. } => target.text.to_string(),
        Route::Service { service, .. } => service.name.to_string(),
    }
}

const WEB: [(&str, &str); 3] = [
    ("/domains/a.test/type", "service"),
    ("/domains/a.test/value", "web"),
    ("/services/web/1/location", r#"{"host":"127.0.0.1","port":80}"#),
];

#[test]
fn a_new_life_ends_a_rest() {
    let status = |value| delta(vec![put("/services/web/1/status/current", value)]);
    let mut registry = registry(&WEB);
    let rests = |registry: &Registry| {
        let upstream = registry.table().service("web").expect("a service").instances[0].upstream.clone();
        !upstream.expect("a location").rest.is_over()
    };
    registry.apply(delta(vec![
        put("/services/web/1/status/current", "started"),
        put("/services/web/1/status/expected", "started"),
        put("/services/web/1/status/alive", "1"),
    ]));
    registry.table().service("web").expect("a service").instances[0]
        .upstream
        .as_ref()
        .expect("one")
        .rest
        .begin(1);
    registry.apply(delta(vec![put("/services/web/1/status/alive", "2")]));
    assert!(rests(&registry), "a heartbeat is no new life");
    registry.apply(status("stopped"));
    assert!(!rests(&registry));
}

#[test]
fn a_domain_is_pending_until_both_keys_are_there() {
    for order in [["type", "value"], ["value", "type"]] {
        let mut registry = registry(&WEB[2..]);
        for (step, field) in order.into_iter().enumerate() {
            assert_eq!(route(&registry, "a.test"), "-");
            let value = if field == "type" { "service" } else { "web" };
            let applied = registry.apply(delta(vec![put(&format!("/domains/a.test/{field}"), value)]));
            assert_eq!(applied.domains.len(), 1, "step {step}");
        }
        assert_eq!(route(&registry, "a.test"), "web/1");
        assert_eq!(registry.table().problem_count(), 0);
        registry.apply(delta(vec![Op::Delete(key("/domains/a.test/type"))]));
        assert_eq!(route(&registry, "a.test"), "-");
        assert_eq!(registry.table().domains().count(), 1, "pending, and listed");
        registry.apply(delta(vec![Op::Delete(key("/domains/a.test/value"))]));
        assert_eq!(registry.table().domains().count(), 0);
    }
}

#[test]
fn the_last_good_value_stays() {
    let mut registry = registry(&WEB);
    let bad = [
        put("/domains/a.test/type", "servcie"),
        put("/services/web/1/location", "{"),
        put("/services/web/1/location", r#"{"host":"127.0.0.1","port":70000}"#),
        put("/services/web/1/config/gogeta", "[]"),
    ];
    for op in bad {
        let applied = registry.apply(delta(vec![op.clone()]));
        assert_eq!(applied.problems.len(), 1, "{op:?}");
        assert_eq!(route(&registry, "a.test"), "web/1", "{op:?}");
        let again = registry.apply(delta(vec![op.clone()]));
        assert!(again.problems.is_empty() && again.is_empty(), "told once: {op:?}");
        assert!(registry.table().problem_count() > 0, "and listed still: {op:?}");
    }
    registry.apply(snapshot(&WEB));
    assert_eq!(registry.table().problem_count(), 0, "mended");
    assert_eq!(route(&registry, "a.test"), "web/1");
}

#[test]
fn a_bad_value_without_a_good_one_is_undefined() {
    let mut registry = registry(&[("/services/web/1/location", "nonsense"), WEB[0], WEB[1]]);
    assert_eq!(route(&registry, "a.test"), "web(error)");
    registry.apply(delta(vec![put("/services/web/2/location", r#"{"host":"::1","port":"81"}"#)]));
    assert_eq!(route(&registry, "a.test"), "web/2", "a bad location beside a good one");
    registry.apply(delta(vec![Op::Delete(key("/services/web/1/location"))]));
    let table = registry.table();
    assert_eq!(table.service("web").map(|service| service.instances.len()), Some(1));
    assert_eq!(table.problem_count(), 0);
}

#[test]
fn changing_from_service_to_uri_key_by_key_never_unroutes() {
    let mut registry = registry(&WEB);
    registry.apply(delta(vec![put("/domains/a.test/type", "uri")]));
    assert_eq!(route(&registry, "a.test"), "web/1", "half a change");
    registry.apply(delta(vec![put("/domains/a.test/value", "http://b.test/")]));
    assert_eq!(route(&registry, "a.test"), "http://b.test/");
    assert_eq!(registry.table().problem_count(), 0);
}

#[test]
fn what_does_not_change_keeps_its_identity() {
    let mut registry = registry(&WEB);
    registry.apply(delta(vec![put("/services/web/2/location", r#"{"host":"127.0.0.1","port":81}"#)]));
    let before = registry.table();
    let old = before.service("web").expect("it is there");
    registry.apply(delta(vec![put("/services/web/2/status/current", "stopped")]));
    let after = registry.table();
    let new = after.service("web").expect("it is there");
    assert!(Arc::ptr_eq(&old.instances[0], &new.instances[0]), "an untouched instance");
    assert!(Arc::ptr_eq(&old.cursor, &new.cursor));
    let upstream = |service: &Service| service.instances[1].upstream.clone().expect("it has a location");
    assert!(Arc::ptr_eq(&upstream(old), &upstream(new)), "the pool of an instance whose status changed");
    assert_eq!(old.instances[1].state, State::Started, "a table once taken does not change");
    assert!(registry.apply(Change::Snapshot { revision: 9, entries: vec![] }).services.len() == 1);
    assert_eq!(registry.table().revision(), 9);
}

#[test]
fn the_cursor_survives_updates_of_others() {
    let mut registry = registry(&WEB);
    registry.apply(delta(vec![put("/services/web/2/location", r#"{"host":"127.0.0.1","port":81}"#)]));
    let mut served = String::new();
    for turn in 0..6 {
        served.push_str(route(&registry, "a.test").trim_start_matches("web/"));
        registry.apply(delta(vec![put("/services/web/9/status/current", &format!("nonsense {turn}"))]));
    }
    assert_eq!(served, "121212");
}

#[test]
fn hosts() {
    let uri = |host: &str| {
        [
            (format!("/domains/{host}/type"), "uri".to_owned()),
            (format!("/domains/{host}/value"), format!("http://{}/", host.replace('*', "any"))),
        ]
    };
    let mut registry = Registry::default();
    let hosts = ["a.test", "www.b.test", "b.test", "*.c.test", "*.d.c.test", "x.d.c.test", "www", "*.test"];
    let ops = hosts.iter().flat_map(|host| uri(host)).map(|(text, value)| put(&text, &value)).collect();
    registry.apply(delta(ops));
    let rows = [
        ("a.test", "http://a.test/"),
        ("www.a.test", "http://a.test/"),
        ("www.b.test", "http://www.b.test/"),
        ("b.test", "http://b.test/"),
        ("x.c.test", "http://any.c.test/"),
        ("y.x.c.test", "http://any.c.test/"),
        ("y.d.c.test", "http://any.d.c.test/"),
        ("x.d.c.test", "http://x.d.c.test/"),
        ("www.x.d.c.test", "http://x.d.c.test/"),
        ("www", "http://www/"),
        ("www.", "-"),
        ("c.test", "http://any.test/"),
        ("test", "-"),
        (".test", "-"),
        ("elsewhere", "-"),
    ];
    for (host, to) in rows {
        assert_eq!(route(&registry, host), to, "{host}");
    }
    registry.apply(delta(vec![Op::Delete(key("/domains/*.d.c.test/type"))]));
    assert_eq!(
        route(&registry, "y.d.c.test"),
        "http://any.c.test/",
        "a pending wildcard does not hide another"
    );
    registry.apply(delta(vec![Op::Delete(key("/domains/*.d.c.test/value"))]));
    assert_eq!(registry.table().domains().count(), hosts.len() - 1);
}

#[test]
fn other_resolvers() {
    let mut env = Registry::new(Resolver::Env);
    env.apply(snapshot(&[("/services/nxio-001/1/location", r#"{"host":"127.0.0.1","port":80}"#)]));
    assert_eq!(route(&env, "nxio-001.example.com"), "nxio-001/1");
    assert_eq!(route(&env, "www.nxio-001.example.com"), "nxio-001/1");
    assert_eq!(route(&env, "nxio-002.example.com"), "-");
    let target = parse::uri_target("http://localhost:8080/").expect("a good URI");
    let dummy = Registry::new(Resolver::Fixed(Arc::new(target)));
    assert_eq!(route(&dummy, "anything"), "http://localhost:8080/");
}

#[test]
fn a_service_that_is_not_there() {
    let registry = registry(&WEB[..2]);
    assert_eq!(route(&registry, "a.test"), "!web");
}

#[test]
fn last_access_brings_nothing_back() {
    let mut registry = registry(&[
        ("/services/web/1/lastAccess", "2026-01-01 00:00:00"),
        ("/services/web/1/domain", "a.test"),
    ]);
    assert!(registry.table().service("web").is_none());
    assert!(registry.apply(delta(vec![put("/services/web/1/lastAccess", "2026-01-01 00:00:10")])).is_empty());
}

#[test]
fn unknown_fields_are_told_and_the_others_in_force() {
    let mut registry = registry(&WEB);
    let applied =
        registry.apply(delta(vec![put("/services/web/1/config/gogeta", r#"{"robots":"x","wieght":2}"#)]));
    assert!(applied.problems[0].1.contains("wieght"), "{}", applied.problems[0].1);
    let table = registry.table();
    let instance = &table.service("web").expect("it is there").instances[0];
    assert_eq!(instance.config.robots.as_deref(), Some("x"));
}

#[test]
fn a_splice_that_is_none_counts_as_not_set_and_the_fields_beside_it_are_in_force() {
    let mut registry = registry(&WEB);
    let wrong = [
        put("/domains/a.test/config", r#"{"forceSsl":true,"splice":"on"}"#),
        put("/services/web/1/config/gogeta", r#"{"splice":7,"wieght":2}"#),
    ];
    let applied = registry.apply(delta(wrong.to_vec()));
    let said: Vec<&str> = applied.problems.iter().map(|(_, problem)| &**problem).collect();
    assert_eq!(
        said,
        [
            "splice is auto, wire, sockmap or off, not \"on\", which counts as not set; the others are in force",
            "gogeta knows no field wieght; splice is auto, wire, sockmap or off, not 7, which counts as not set; \
             the others are in force",
        ]
    );
    assert_eq!(splice(&registry, "a.test"), None);
    let domain = registry.table().domains().next().expect("it is there").clone();
    assert_eq!(domain.config.force_ssl, Some(true));
    assert!(
        registry.apply(delta(wrong.to_vec())).problems.is_empty(),
        "the same mistake once more is no news"
    );
    let again = made_of_entries(&registry.table());
    assert_eq!((facts(&again.table()), splice(&again, "a.test")), (facts(&registry.table()), None));
    let applied = registry.apply(delta(vec![put("/domains/a.test/config", r#"{"splice":"sockmap"}"#)]));
    assert_eq!(applied.domains, ["a.test".into()]);
    assert_eq!(
        (splice(&registry, "a.test"), registry.table().problem_count()),
        (Some(SpliceMode::Sockmap), 1)
    );
}

#[test]
fn a_route_knows_what_its_domain_and_its_instance_say_of_splice() {
    let mut registry = registry(&WEB);
    registry.apply(delta(vec![
        put("/domains/a.test/config", r#"{"splice":"sockmap"}"#),
        put("/domains/u.test/type", "uri"),
        put("/domains/u.test/value", "http://b.test"),
        put("/domains/u.test/config", r#"{"splice":"off"}"#),
        put("/domains/none.test/type", "service"),
        put("/domains/none.test/value", "web"),
        put("/domains/away.test/type", "service"),
        put("/domains/away.test/value", "nobody"),
        put("/domains/away.test/config", r#"{"splice":"auto"}"#),
    ]));
    let all = |registry: &Registry| {
        ["a.test", "u.test", "none.test", "away.test", "unknown.test"].map(|host| splice(registry, host))
    };
    use SpliceMode::{Auto, Off, Sockmap};
    assert_eq!(all(&registry), [Some(Sockmap), Some(Off), None, Some(Auto), None]);
    let applied = registry.apply(delta(vec![put("/services/web/1/config/gogeta", r#"{"splice":"off"}"#)]));
    assert_eq!((applied.services.len(), applied.domains.len()), (1, 0));
    assert_eq!(all(&registry), [Some(Off), Some(Off), Some(Off), Some(Auto), None]);
    let again = made_of_entries(&registry.table());
    assert_eq!(all(&again), all(&registry), "it is kept on disk");
    // A comparison with what the store has now finds what is gone.
    registry.apply(snapshot(&WEB));
    assert_eq!(all(&registry), [None; 5]);
}

#[test]
fn indexes_are_in_the_order_of_numbers() {
    let location = r#"{"host":"127.0.0.1","port":80}"#;
    let registry = registry(&[
        ("/services/web/10/location", location),
        ("/services/web/blue/location", location),
        ("/services/web/9/location", location),
    ]);
    let table = registry.table();
    let order: Vec<&str> =
        table.service("web").expect("it is there").instances.iter().map(|i| &*i.index).collect();
    assert_eq!(order, ["9", "10", "blue"]);
}

fn any_entry() -> impl Strategy<Value = (Key, Vec<u8>)> {
    let domain = ("[ab]\\.test|\\*\\.test", "type|value|config")
        .prop_map(|(host, field)| format!("/domains/{host}/{field}"));
    let fields = "location|status/current|status/expected|status/alive|config/gogeta|lastAccess";
    let instance =
        ("[st]", "[12]", fields).prop_map(|(name, index, field)| format!("/services/{name}/{index}/{field}"));
    let values = "service|uri|s|http://a.test/|started|passivated|stopped|\\{\"host\":\"h\",\"port\":[12]\\}|\\{\"weight\":[0-9]\\}|\\{\"x\":1\\}|\\{\"splice\":(\"off\"|\"on\"|1)\\}|\\{|";
    (prop_oneof![domain, instance], values).prop_map(|(text, value)| (key(&text), value.into_bytes()))
}

/// What the store says, as a table shows it; without the good values that are kept behind bad ones.
fn facts(table: &RouteTable) -> Vec<String> {
    let domains = table.domains().filter(|d| d.kind.is_some() || d.value.is_some());
    let instances = table.services().flat_map(|s| &s.instances).filter(|i| !i.status.is_absent());
    let mut facts: Vec<String> = domains
        .map(|d| format!("{} {:?} {:?}", d.host, d.kind, d.value))
        .chain(instances.map(|i| format!("{} {} {:?}", i.service, i.index, i.status)))
        .chain(table.problems().map(|(key, problem)| format!("{key:?} {problem}")))
        .collect();
    facts.sort();
    facts
}

/// A table made of another one's entries: the good ones, and then the wrong ones.
fn made_of_entries(table: &RouteTable) -> Registry {
    let (mut good, mut wrong) = (Vec::new(), Vec::new());
    let kept = entries::each::<()>(table, |key, value, is_wrong| {
        match is_wrong {
            true => wrong.push(Op::Put(key, value.into())),
            false => good.push((key, value.into())),
        }
        Ok(())
    });
    kept.expect("nothing can fail");
    let mut registry = Registry::default();
    registry.apply(Change::Snapshot { revision: 1, entries: good });
    registry.apply(delta(wrong));
    registry
}

#[test]
fn entries_keep_what_stays_in_force_behind_mistakes() {
    let mut registry = registry(&WEB);
    registry.apply(delta(vec![
        put("/domains/a.test/type", "servcie"),
        put("/services/web/1/location", "{"),
        put("/services/web/1/config/gogeta", r#"{"robots":"x","wieght":2}"#),
        put("/services/bad/1/location", "nonsense"),
    ]));
    let again = made_of_entries(&registry.table());
    assert_eq!(route(&again, "a.test"), "web/1");
    assert_eq!(facts(&again.table()), facts(&registry.table()));
    assert_eq!(again.table().problem_count(), 4);
}

#[test]
fn a_comparison_leaves_alone_what_changed_meanwhile() {
    let mut registry = registry(&WEB);
    let web = WEB.map(|(text, value)| (key(text), value.as_bytes().to_vec()));
    let changed = HashSet::from([key("/domains/a.test/value"), key("/services/new/1/location")]);
    registry.apply(Change::Delta {
        revision: 7,
        ops: vec![
            put("/domains/a.test/value", "b"),
            put("/services/new/1/location", r#"{"host":"h","port":1}"#),
        ],
    });
    assert!(registry.compare(web.to_vec(), &changed).is_empty());
    assert_eq!(registry.table().revision(), 7);
    let applied = registry.compare(web[..2].to_vec(), &changed);
    assert_eq!(
        (applied.domains.len(), applied.services.len()),
        (0, 1),
        "an instance that is not in the store"
    );
    assert_eq!(route(&registry, "a.test"), "!b");
}

proptest! {
    /// However a state came about, a snapshot of it is no change, and a snapshot of another leads there.
    #[test]
    fn deltas_and_snapshots_agree(first in prop::collection::vec(any_entry(), 0..20), second in prop::collection::vec(any_entry(), 0..20)) {
        let unique = |entries: &[(Key, Vec<u8>)]| entries.iter().cloned().collect::<BTreeMap<_, _>>().into_iter().collect::<Vec<_>>();
        let mut stepwise = Registry::default();
        for (key, value) in &first {
            stepwise.apply(delta(vec![Op::Put(key.clone(), value.clone())]));
        }
        let again = stepwise.apply(Change::Snapshot { revision: 2, entries: unique(&first) });
        prop_assert!(again.is_empty(), "the same state again: {again:?}");
        let mut direct = Registry::default();
        direct.apply(Change::Snapshot { revision: 1, entries: unique(&second) });
        stepwise.apply(Change::Snapshot { revision: 3, entries: unique(&second) });
        prop_assert_eq!(facts(&stepwise.table()), facts(&direct.table()));
        let again = made_of_entries(&stepwise.table());
        prop_assert_eq!(facts(&again.table()), facts(&stepwise.table()), "by its entries");
        let hosts = ["a.test", "b.test", "x.test"];
        prop_assert_eq!(hosts.map(|host| target(&again, host)), hosts.map(|host| target(&stepwise, host)));
    }
}
