//! Verdicts and their reasons, over tables made of keys.

use super::*;
use crate::cli::Options;
use crate::routes::key::KeySpace;
use crate::routes::parse;
use crate::routes::registry::{Change, Registry};
use crate::routes::table::Resolver;

/// Keys of a domain in each state, and of a service that takes requests with two instances of five.
const KEYS: &[(&str, &str)] = &[
    ("/domains/a.test/type", "service"),
    ("/domains/a.test/value", "web"),
    ("/domains/*.a.test/type", "uri"),
    ("/domains/*.a.test/value", "https://b.test:8443/base?k=v"),
    ("/domains/half.a.test/type", "service"),
    ("/domains/wrong.test/type", "servcie"),
    ("/domains/wrong.test/value", "web"),
    ("/domains/nowhere.test/type", "service"),
    ("/domains/nowhere.test/value", "gone"),
    ("/domains/safe.test/type", "service"),
    ("/domains/safe.test/value", "web"),
    ("/domains/safe.test/config", r#"{"forceSsl": true}"#),
    ("/domains/slow.test/type", "service"),
    ("/domains/slow.test/value", "web"),
    ("/domains/slow.test/config", r#"{"splice": "off"}"#),
    ("/domains/asleep.test/type", "service"),
    ("/domains/asleep.test/value", "asleep"),
    ("/domains/stopped.test/type", "service"),
    ("/domains/stopped.test/value", "stopped"),
    ("/domains/robots.test/type", "service"),
    ("/domains/robots.test/value", "robots"),
    ("/services/web/1/location", r#"{"host":"10.0.0.1","port":80}"#),
    ("/services/web/2/location", r#"{"host":"10.0.0.2","port":80}"#),
    ("/services/web/3/location", r#"{"host":"10.0.0.3","port":80}"#),
    ("/services/web/3/status/current", "started"),
    ("/services/web/3/status/expected", "started"),
    ("/services/web/4/status/current", "starting"),
    ("/services/web/4/status/expected", "started"),
    ("/services/web/5/location", r#"{"host":"10.0.0.5","port":80}"#),
    ("/services/web/5/config/gogeta", r#"{"weight": 0}"#),
    ("/services/asleep/1/status/current", "passivated"),
    ("/services/asleep/1/status/expected", "passivated"),
    ("/services/stopped/1/status/current", "stopped"),
    ("/services/stopped/1/status/expected", "stopped"),
    ("/services/robots/1/location", r#"{"host":"10.0.0.1","port":80}"#),
    ("/services/robots/1/config/gogeta", r#"{"robots": "none"}"#),
];

fn space() -> KeySpace {
    KeySpace::new("/domains", "/services")
}

fn table(resolver: Resolver) -> RouteTable {
    let entries =
        KEYS.iter().map(|(key, value)| (space().parse(key).expect("a key"), value.as_bytes().to_vec()));
    let mut registry = Registry::new(resolver);
    registry.apply(Change::Snapshot { revision: 7, entries: entries.collect() });
    registry.table()
}

fn asked(line: &str) -> Question {
    let (line, fields) = line.split_once(" | ").unwrap_or((line, ""));
    let words: Vec<&str> = line.split(' ').collect();
    let headers = fields.split("; ").filter_map(|field| field.split_once(": "));
    Question {
        method: words[0].to_owned(),
        host: words[1].to_owned(),
        path: words.get(2).copied().unwrap_or("/").to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ..Question::default()
    }
}

fn told(options: &str, resolver: Resolver, loaded: bool, line: &str) -> Explanation {
    let options: Options = toml::from_str(options).expect("options");
    let config = Config::try_from(options).expect("a configuration");
    let pages = Pages::embedded().expect("the pages");
    let around = Circumstances {
        table: &table(resolver),
        config: &config,
        pages: &pages,
        names: &Names::Keys(space()),
        loaded,
        engines: Some(Kinds { wire: true, sockmap: false }),
        now: 1,
    };
    explain(&asked(line), around)
}

/// All steps as text, a line each.
fn text(explanation: &Explanation) -> String {
    let line = |step: &Step| {
        format!("{:?} {}: {} [{}]\n", step.outcome, step.step, step.text, step.key.as_deref().unwrap_or(""))
    };
    explanation.steps.iter().map(line).collect()
}

#[test]
fn verdicts_and_their_reasons() {
    // Options, the request, the status (0: a backend's), what it goes to or a page, and what must be said.
    #[rustfmt::skip]
    let rows: &[(&str, &str, u16, &str, &[&str])] = &[
        ("", "GET a.test /x?q=1", 0, "http://10.0.0.1:80/x?q=1", &[
            "Ok domain: a.test matches exactly [/domains/a.test/type]",
            "Ok target: its type is service, its value web [/domains/a.test/value]",
            "Ok instance: 1 at 10.0.0.1:80 is a candidate: started",
            "1 of 2 turns [/services/web/1/location]",
            "Info instance: 3 at 10.0.0.3:80 is skipped: error", "heartbeat is gone) [/services/web/3/status/alive]",
            "Info instance: 4 is skipped: starting", "[/services/web/4/status/current]",
            "its weight is 0) [/services/web/5/config/gogeta]",
            "round robin goes 1, 2; the next request goes to 1",
            "wire carries GET and HEAD",
            "x-forwarded-for: 127.0.0.1", "x-forwarded-host: a.test", "via: 1.1 gogeta",
        ]),
        ("", "GET WWW.A.Test.:8080", 0, "http://10.0.0.1:80/", &["is the host www.a.test, port 8080", "a.test matches www.a.test without its www."]),
        ("", "GET half.a.test", 0, "https://b.test:8443/base/?k=v", &[
            "Warn domain: half.a.test matches, but is pending, and passed over: its value is not set [/domains/half.a.test/value]",
            "*.a.test matches half.a.test as a wildcard [/domains/*.a.test/type]",
            "by TLS", "host: b.test:8443", "x-forwarded-host: half.a.test",
        ]),
        ("", "GET wrong.test", 404, "notfound", &["problem: the type must be service or uri", "[/domains/wrong.test/type]", "Stop domain"]),
        ("", "GET nobody.test", 404, "notfound", &["Stop domain: no domain that is complete matches nobody.test"]),
        ("", "GET nowhere.test", 500, "error", &["Stop service", "the service gone, which does not exist [/domains/nowhere.test/value]"]),
        ("", "GET asleep.test", 503, "passivated", &["Info wake: the request wakes it", "[/services/asleep/1/status/expected]", "Retry-After: 5"]),
        ("", "HEAD asleep.test", 503, "passivated", &["Info wake: the request does not wake it"]),
        ("", "GET asleep.test / | User-Agent: kube-probe/1", 503, "passivated", &["does not wake it"]),
        ("wake-hold = 20", "GET asleep.test", 503, "passivated", &["waits up to 20s"]),
        ("", "GET stopped.test", 503, "stopped", &["the best state is stopped"]),
        ("legacy-codes = true", "GET stopped.test", 500, "stopped", &[]),
        ("", "GET safe.test /x", 301, "", &["Stop https", "[/domains/safe.test/config]"]),
        ("", "GET safe.test /x | X-Forwarded-Proto: https", 0, "http://10.0.0.1:80/x", &["not parked: each request has to be looked at for https [/domains/safe.test/config]"]),
        ("force-fw-ssl = true", "GET nobody.test /x", 301, "", &["--force-fw-ssl"]),
        ("", "GET slow.test", 0, "http://10.0.0.1:80/", &["not parked: splice is off", "[/domains/slow.test/config]"]),
        ("splice = \"off\"", "GET a.test", 0, "http://10.0.0.1:80/", &["splice is off", "(--splice)"]),
        ("splice = \"sockmap\"", "GET a.test", 0, "http://10.0.0.1:80/", &["no sockmap engine"]),
        ("otlp-endpoint = \"http://127.0.0.1:4317\"", "GET a.test / | traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 0, "http://10.0.0.1:80/", &["not parked: it has a traceparent", "(--otlp-endpoint)"]),
        ("otlp-endpoint = \"http://127.0.0.1:4317\"", "GET a.test", 0, "http://10.0.0.1:80/", &["wire carries GET and HEAD that follow; nothing of that is traced"]),
        ("", "GET a.test / | traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 0, "http://10.0.0.1:80/", &["wire carries GET and HEAD"]),
        ("request-id = true", "GET a.test", 0, "http://10.0.0.1:80/", &["X-Request-Id is kept", "--request-id"]),
        ("", "GET robots.test /robots.txt", 200, "", &["Stop robots", "[/services/robots/1/config/gogeta]"]),
        ("", "GET a.test /robots.txt", 0, "http://10.0.0.1:80/robots.txt", &[]),
        ("default-robots = \"disallow\"", "GET a.test /robots.txt", 200, "", &["--default-robots"]),
        ("", "GET a.test /__static__/nothing.svg", 404, "", &["Stop picture"]),
        ("", "GET a..test", 400, "badrequest", &["Stop host: the host is empty"]),
        ("", "TRACE a.test", 405, "badrequest", &["Stop host"]),
        ("", "CONNECT a.test:443", 405, "badrequest", &[]),
        ("connect = [\"a.test:443\"]", "CONNECT a.test:443", 0, "10.0.0.1:80", &["turn"]),
        ("connect = [\"b.test:443\"]", "CONNECT a.test:443", 403, "badrequest", &[]),
        ("", "GET a.test / | Host: b.test", 400, "badrequest", &["Stop"]),
        ("", "POST a.test / | Expect: tea", 417, "badrequest", &["Stop host"]),
        ("", "GET a.test / | Via: 1.1 gogeta, 1.1 gogeta", 508, "badrequest", &["Stop host"]),
        ("", "GET a.test / | Content-Length: 1; Transfer-Encoding: chunked", 400, "badrequest", &["Stop gate"]),
        ("max-target = 64", "GET a.test /0123456789012345678901234567890123456789012345678901234567890123456789", 414, "badrequest", &["Stop gate: the target is too long"]),
        ("", "GET a.test /\r\nX", 400, "", &["an end of line"]),
        ("", "GET a.test / | Connection: close, X-Own; X-Own: 1", 0, "http://10.0.0.1:80/", &["taken away: connection, x-own", "its Connection says close"]),
        ("trusted-proxies = [\"127.0.0.0/8\"]", "GET a.test / | X-Forwarded-For: 192.0.2.1", 0, "http://10.0.0.1:80/", &["x-forwarded-for: 192.0.2.1, 127.0.0.1"]),
        ("url-header-param = \"x-root\"", "GET a.test", 0, "http://10.0.0.1:80/", &["x-root: http://a.test/"]),
    ];
    for (options, line, status, to, said) in rows {
        let explanation = told(options, Resolver::Domains, true, line);
        let verdict = &explanation.verdict;
        let seen = text(&explanation);
        assert_eq!(verdict.status.unwrap_or(0), *status, "{line}: {verdict:?}\n{seen}");
        assert_eq!(verdict.forwarded, *status == 0, "{line}");
        let goes = verdict.goes_to.as_deref().or(verdict.page.as_deref()).unwrap_or("");
        assert_eq!(goes, *to, "{line}: {verdict:?}\n{seen}");
        for text in *said {
            assert!(seen.contains(text), "{line}: no {text:?} in\n{seen}");
        }
        let stops = explanation.steps.iter().filter(|step| step.outcome == Outcome::Stop).count();
        assert_eq!(stops, usize::from(!verdict.forwarded), "it stops once, or not at all: {line}\n{seen}");
        assert_eq!(explanation.revision, 7);
    }
}

#[test]
fn other_resolvers_and_no_routes() {
    let to = |resolver, loaded, line| {
        let verdict = told("", resolver, loaded, line).verdict;
        verdict.goes_to.or(verdict.page).unwrap_or_default()
    };
    assert_eq!(to(Resolver::Env, true, "GET www.web.example.com"), "http://10.0.0.1:80/");
    assert_eq!(to(Resolver::Env, true, "GET nobody.example.com"), "notfound");
    assert_eq!(to(Resolver::Domains, false, "GET nobody.test"), "unavailable");
    let target = std::sync::Arc::new(parse::uri_target("http://localhost:8080/").expect("a URI"));
    assert_eq!(to(Resolver::Fixed(target), true, "GET any.test /x"), "http://localhost:8080/x");
}

#[test]
fn who_rests_is_passed_over_and_looking_changes_nothing() {
    let table = table(Resolver::Domains);
    let config = Config::try_from(Options::default()).expect("a configuration");
    let pages = Pages::embedded().expect("the pages");
    let upstream = |at: usize| {
        let web = table.service("web").expect("a service");
        web.instances[at].upstream.clone().expect("a location")
    };
    let told = |now| {
        let names = &Names::Keys(space());
        let around = Circumstances {
            table: &table,
            config: &config,
            pages: &pages,
            names,
            loaded: true,
            engines: None,
            now,
        };
        explain(&asked("GET a.test"), around)
    };
    assert!(upstream(0).rest.begin(1));
    let seen = told(501);
    assert_eq!(seen.verdict.goes_to.as_deref(), Some("http://10.0.0.2:80/"), "{}", text(&seen));
    assert!(text(&seen).contains("Warn instance: 1 at 10.0.0.1:80 rests for 0.5 s more"), "{}", text(&seen));
    assert!(text(&seen).contains("if the running gogeta has that engine"), "{}", text(&seen));
    for _ in 0..3 {
        assert_eq!(told(1001).verdict.goes_to.as_deref(), Some("http://10.0.0.1:80/"));
    }
    assert!(upstream(0).rest.lets_through(1001), "the turn is still there to be taken");
}
