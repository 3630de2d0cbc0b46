//! Each kind of mistake, and no other.

use super::*;
use crate::commands::document::Entry;

fn entries(pairs: &[(&str, &str)]) -> Vec<Entry> {
    let entry =
        |(key, value): &(&str, &str)| Entry { key: (*key).into(), value: (*value).into(), line: None };
    pairs.iter().map(entry).collect()
}

/// What is found in these, beside a good service `web`.
fn found(pairs: &[(&str, &str)]) -> Vec<(String, &'static str, Severity)> {
    let mut all = entries(&[("/services/web/1/location", r#"{"host":"10.0.0.1","port":80}"#)]);
    all.extend(entries(pairs));
    look_at(&all)
}

fn look_at(entries: &[Entry]) -> Vec<(String, &'static str, Severity)> {
    let own = Own { ports: vec![([0, 0, 0, 0].into(), 7777)] };
    let found = look(&KeySpace::new("/domains", "/services"), entries, &own);
    assert!(found.iter().all(|finding| !finding.problem.is_empty()), "{found:?}");
    found.into_iter().map(|finding| (finding.key, finding.kind, finding.severity)).collect()
}

/// The key at fault, its value, what else is there, and what is found.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, Severity);

#[test]
fn the_table_of_mistakes() {
    use Severity::{Error, Warning};
    const SERVICE: (&str, &str) = ("/domains/a.test/type", "service");
    const URI: (&str, &str) = ("/domains/a.test/type", "uri");
    const STARTED: (&str, &str) = ("/services/x/1/status/current", "started");
    const PLACE: (&str, &str) = ("/services/x/1/location", r#"{"host":"10.0.0.2","port":80}"#);
    #[rustfmt::skip]
    let rows: &[Row] = &[
        ("/services/x/1/location", "{", &[], "location", Error),
        ("/services/x/1/location", r#"{"port":80}"#, &[], "location-host", Error),
        ("/services/x/1/location", r#"{"host":"a b","port":80}"#, &[], "location-host", Error),
        ("/services/x/1/location", r#"{"host":"a"}"#, &[], "location-port", Error),
        ("/services/x/1/location", r#"{"host":"a","port":0}"#, &[], "location-port", Error),
        ("/services/x/1/location", r#"{"host":"a","port":70000}"#, &[], "location-port", Error),
        ("/services/x/1/location", r#"{"host":"a","port":"abc"}"#, &[], "location-port", Error),
        ("/services/x/1/location", r#"{"host":"127.0.0.1","port":7777}"#, &[], "itself", Warning),
        ("/services/x/2/location", r#"{"host":"10.0.0.2","port":"80"}"#, &[PLACE], "location-twice", Warning),
        ("/domains/a.test/type", "carrier", &[("/domains/a.test/value", "web")], "type", Error),
        ("/domains/a.test/type", "service", &[], "value-missing", Warning),
        ("/domains/a.test/value", "web", &[], "type-missing", Warning),
        ("/domains/a.test/config", "{}", &[], "type-missing", Warning),
        ("/domains/a.test/value", "ftp://b.test", &[URI], "uri", Error),
        ("/domains/a.test/value", "http://localhost:7777/", &[URI], "itself", Warning),
        ("/domains/a.test/value", "a/b", &[SERVICE], "service-name", Error),
        ("/domains/a.test/value", "nobody", &[SERVICE], "service-unknown", Error),
        ("/domains/a.test/value", "x", &[SERVICE, ("/services/x/1/config/gogeta", "{}")], "service-empty", Error),
        ("/domains/a.test/value", "x", &[SERVICE,
            ("/services/x/1/status/current", "stopped"), ("/services/x/1/status/expected", "stopped")],
            "service-nowhere", Warning),
        ("/domains/a b/type", "uri", &[], "host", Error),
        ("/domains/a.test:80/type", "uri", &[], "host", Error),
        ("/domains/a.*.test/type", "uri", &[], "host", Error),
        ("/domains/A.test/type", "uri", &[("/domains/A.test/value", "http://b.test")], "host-spelling", Warning),
        ("/domains/a.test/config", "{", &[URI, ("/domains/a.test/value", "http://b.test")], "config", Error),
        ("/domains/a.test/config", r#"{"forceSSL":true}"#, &[URI, ("/domains/a.test/value", "http://b.test")],
            "config-field", Warning),
        ("/domains/a.test/config", r#"{"splice":"on"}"#, &[URI, ("/domains/a.test/value", "http://b.test")],
            "splice", Error),
        ("/domains/a.test/config", r#"{"splice":false}"#, &[URI, ("/domains/a.test/value", "http://b.test")],
            "splice", Error),
        ("/domains/a.test/tpye", "service", &[], "unknown-key", Warning),
        ("/services/web/location", "{}", &[], "unknown-key", Warning),
        ("/services/x/1/status/current", "sleeping", &[PLACE], "current", Error),
        ("/services/x/1/status/expected", "starting", &[PLACE, STARTED], "expected", Error),
        ("/services/x/1/status/expected", "started", &[PLACE], "current-missing", Error),
        ("/services/x/1/status/current", "started", &[PLACE], "expected-missing", Error),
        ("/services/x/1/status/alive", "1", &[PLACE], "current-missing", Error),
        ("/services/x/1/status/current", "started", &[PLACE, ("/services/x/1/status/expected", "started")],
            "alive-missing", Error),
        ("/services/x/1/status/current", "started", &[PLACE, ("/services/x/1/status/expected", "stopped")],
            "contradiction", Warning),
        ("/services/x/1/status/current", "started",
            &[("/services/x/1/status/expected", "started"), ("/services/x/1/status/alive", "1")],
            "location-missing", Warning),
        ("/services/x/1/config/gogeta", "[1", &[PLACE], "config", Error),
        ("/services/x/1/config/gogeta", r#"{"weight":-1}"#, &[PLACE], "weight", Error),
        ("/services/x/1/config/gogeta", r#"{"weight":101}"#, &[PLACE], "weight", Error),
        ("/services/x/1/config/gogeta", r#"{"weight":0}"#, &[PLACE], "weight-zero", Warning),
        ("/services/x/1/config/gogeta", r#"{"wieght":1}"#, &[PLACE], "config-field", Warning),
        ("/services/x/1/config/gogeta", r#"{"splice":"wires"}"#, &[PLACE], "splice", Error),
        ("/services/x/1/lastAccess", "yesterday", &[PLACE], "last-access", Warning),
    ];
    for (key, value, beside, kind, severity) in rows {
        let mut pairs = beside.to_vec();
        pairs.push((key, value));
        assert_eq!(found(&pairs), [((*key).to_owned(), *kind, *severity)], "{key} = {value}");
    }
    let kinds: std::collections::BTreeSet<_> = rows.iter().map(|(.., kind, _)| kind).collect();
    assert!(kinds.len() >= 20, "{}", kinds.len());
}

#[test]
fn two_spellings_of_a_host() {
    let rows = [("/domains/A.test/type", "service"), ("/domains/A.test/value", "web")];
    let both = [rows[0], rows[1], ("/domains/a.test/type", "service"), ("/domains/a.test/value", "web")];
    let kinds: Vec<_> = found(&both).into_iter().map(|(_, kind, _)| kind).collect();
    assert_eq!(kinds, ["host-spelling", "host-twice"]);
}

#[test]
fn what_is_not_utf_8() {
    let entry = |key: &[u8], value: &[u8]| Entry { key: key.to_vec(), value: value.to_vec(), line: None };
    let found = look_at(&[entry(b"/services/x/1/domain", b"\xff"), entry(b"/domains/\xff/type", b"uri")]);
    let kinds: Vec<_> = found.into_iter().map(|(_, kind, _)| kind).collect();
    assert_eq!(kinds, ["key-encoding", "value-encoding"]);
}

#[test]
fn what_is_good() {
    let good = [
        ("/domains/a.test/type", "service"),
        ("/domains/a.test/value", "web"),
        ("/domains/*.b.test/type", "uri"),
        ("/domains/*.b.test/value", "https://c.test/base?x=1"),
        ("/domains/a.test/config", r#"{"forceSsl":true,"splice":"off"}"#),
        ("/domains/*.b.test/config", r#"{"splice":"sockmap"}"#),
        ("/services/web/2/location", r#"{"host":"::1","port":"8080"}"#),
        ("/services/web/2/status/current", "stopping"),
        ("/services/web/2/status/expected", "passivated"),
        ("/services/web/2/config/gogeta", r#"{"robots":"x","splice":"auto","weight":100}"#),
        ("/services/web/2/domain", "a.test"),
        ("/services/web/2/lastAccess", "2014-01-02 03:04:05"),
        ("/services/other/1/location", r#"{"host":"10.0.0.9","port":7777}"#),
    ];
    assert_eq!(found(&good), []);
}
