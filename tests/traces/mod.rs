//! Traces: what a collector gets to see of requests, and that no request waits for it.

mod collector;

use std::time::{Duration, Instant};

use collector::{CLIENT, Collector, SERVER, Seen};
use rustix::process::Signal;

use crate::support::backend::{Backend, refusing, service};
use crate::support::client::{Client, get, request};
use crate::support::gogeta::{Builder, Gogeta};
use crate::support::parking::{carried, parked, parking_with};
use crate::support::truth::metric;
use crate::support::wait::until;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// One that traces what belongs to a trace already, and nothing else.
fn traced(routes: &str, collector: &Collector) -> Builder {
    Gogeta::routes(routes).args(collector.flags()).arg("--trace-ratio=0")
}

/// A request of that trace, sampled or not.
fn within(line: &str, host: &str, flags: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: probe\r\ntraceparent: 00-{TRACE}-{PARENT}-{flags}\r\n\
         tracestate: vendor=x,other=y\r\n\r\n"
    )
}

/// The span of that kind; there is one.
#[track_caller]
fn only(spans: &[Seen], kind: i32) -> &Seen {
    let [one] = spans.iter().filter(|span| span.kind == kind).collect::<Vec<_>>()[..] else {
        panic!("not one of kind {kind}: {spans:?}");
    };
    one
}

#[track_caller]
fn says(span: &Seen, attributes: &[(&str, &str)]) {
    for (name, value) in attributes {
        assert_eq!(span.attributes.get(*name).map(String::as_str), Some(*value), "{name} of {span:?}");
    }
}

async fn both_sides_are_told(collector: Collector) {
    let web = Backend::named("web").await;
    let gogeta = traced(&service("a.test", &[web.port]), &collector).start().await;
    assert_eq!(request(gogeta.proxy, &within("GET /x/y?z=1", "a.test:80", "01")).await.text(), "web");
    let spans = collector.has(2).await;
    let (server, client) = (only(&spans, SERVER), only(&spans, CLIENT));
    assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, PARENT));
    assert_eq!((client.trace.as_str(), &client.parent), (TRACE, &server.id));
    assert_eq!((server.name.as_str(), client.name.as_str()), ("GET", "GET"));
    assert_eq!((server.of.as_str(), server.state.as_str()), ("gogeta", "vendor=x,other=y"));
    assert!(
        !server.is_error && !client.is_error && server.took >= client.took && client.took > 0,
        "{spans:?}"
    );
    says(
        server,
        &[
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("http.response.body.size", "3"),
            ("url.scheme", "http"),
            ("url.path", "/x/y"),
            ("url.query", "z=1"),
            ("server.address", "a.test"),
            ("server.port", "80"),
            ("client.address", "127.0.0.1"),
            ("network.protocol.version", "1.1"),
            ("user_agent.original", "probe"),
            ("gogeta.service", "a-test"),
        ],
    );
    let port = web.port.to_string();
    says(
        client,
        &[
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
            ("url.full", &format!("http://127.0.0.1:{port}/x/y?z=1")),
        ],
    );
    // The upstream's own span is a part of ours, in the state that the client gave.
    let asked = web.request();
    assert_eq!(asked.header("traceparent"), Some(&*format!("00-{TRACE}-{}-01", client.id)));
    assert_eq!(asked.header("tracestate"), Some("vendor=x,other=y"));
    // It is counted when the collector has answered.
    until("they are counted", async || {
        (metric(&gogeta, "gogeta_trace_spans_exported_total").await == 2.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn both_sides_of_a_request_are_told_by_http() {
    both_sides_are_told(Collector::http().await).await;
}

#[tokio::test]
async fn both_sides_of_a_request_are_told_by_grpc() {
    both_sides_are_told(Collector::grpc().await).await;
}

#[tokio::test]
async fn who_is_not_sampled_is_passed_on_as_such_and_not_told_of() {
    let (web, collector) = (Backend::named("web").await, Collector::http().await);
    let gogeta = traced(&service("a.test", &[web.port]), &collector).start().await;
    request(gogeta.proxy, &within("GET /", "a.test", "00")).await;
    let asked = web.request();
    let parent = asked.header("traceparent").expect("it is passed on");
    assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-00"), "{parent}");
    assert!(!parent.contains(PARENT), "{parent}");
    web.forget();
    // Nor is one that belongs to no trace, of which none are asked for; and a broken one is none.
    let lines = "Host: a.test\r\ntraceparent: nonsense\r\ntracestate: vendor=x";
    request(gogeta.proxy, &format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n")).await;
    let asked = web.request();
    let parent = asked.header("traceparent").expect("it gets one");
    assert!(parent.starts_with("00-") && parent.ends_with("-00") && !parent.contains(TRACE), "{parent}");
    assert_eq!(asked.header("tracestate"), None);
    // One that is sampled is told of behind them, alone.
    request(gogeta.proxy, &within("GET /", "a.test", "01")).await;
    assert_eq!(collector.has(1).await.iter().filter(|span| span.kind == SERVER).count(), 1);
}

#[tokio::test]
async fn where_nothing_is_traced_fields_pass_as_they_are() {
    let web = Backend::named("web").await;
    let gogeta = Gogeta::routes(&service("a.test", &[web.port])).start().await;
    request(gogeta.proxy, &within("GET /", "a.test", "01")).await;
    let asked = web.request();
    assert_eq!(asked.header("traceparent"), Some(&*format!("00-{TRACE}-{PARENT}-01")));
    assert_eq!(asked.header("tracestate"), Some("vendor=x,other=y"));
    web.forget();
    get(gogeta.proxy, "a.test", "/").await;
    assert_eq!(web.request().header("traceparent"), None);
}

#[tokio::test]
async fn a_share_of_those_that_belong_to_no_trace_begin_one() {
    let (web, collector) = (Backend::named("web").await, Collector::http().await);
    let builder = Gogeta::routes(&service("a.test", &[web.port])).args(collector.flags());
    let mut gogeta = builder.arg("--trace-ratio=1").start().await;
    get(gogeta.proxy, "a.test", "/").await;
    // At the end what is left is told, too.
    get(gogeta.proxy, "nobody.test", "/").await;
    gogeta.signal(Signal::TERM);
    gogeta.wait().await;
    let spans = collector.spans();
    let servers: Vec<&Seen> = spans.iter().filter(|span| span.kind == SERVER).collect();
    let [first, second] = servers[..] else { panic!("{spans:?}") };
    assert!(first.parent.is_empty() && second.parent.is_empty() && first.trace != second.trace, "{spans:?}");
    let asked = web.request();
    let parent = asked.header("traceparent").expect("it gets one");
    assert!(parent.starts_with(&format!("00-{}-", first.trace)) && parent.ends_with("-01"), "{parent}");
    // That nobody has such a domain is its client's mistake.
    says(second, &[("http.response.status_code", "404")]);
    assert!(!second.is_error, "{second:?}");
}

#[tokio::test]
async fn what_goes_wrong_is_told_with_its_reason() {
    let (_held, port) = refusing();
    let collector = Collector::http().await;
    let failing = Backend::replying("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").await;
    let sleeping = "[domains.\"c.test\"]\ntype = \"service\"\nvalue = \"c\"\n\
                    [services.c.1]\nlocation = { host = \"127.0.0.1\", port = 1 }\n\
                    status = { current = \"passivated\", expected = \"passivated\" }\n";
    let routes = service("a.test", &[port]) + &service("b.test", &[failing.port]) + sleeping;
    let gogeta = traced(&routes, &collector).start().await;
    for (host, status) in [("a.test", 502), ("b.test", 503), ("c.test", 503)] {
        assert_eq!(request(gogeta.proxy, &within("GET /", host, "01")).await.status, status);
    }
    let spans = collector.has(5).await;
    let of = |host: &str, kind| {
        let of_host = |span: &&Seen| span.attributes.get("server.address").is_some_and(|at| at == host);
        let server = spans.iter().find(of_host).unwrap_or_else(|| panic!("{host}: {spans:?}"));
        match kind {
            SERVER => Some(server),
            _ => spans.iter().find(|span| span.parent == server.id),
        }
    };
    for (host, reason) in [("a.test", "connect"), ("b.test", "503"), ("c.test", "not_started")] {
        let server = of(host, SERVER).expect("it is there");
        assert!(server.is_error, "{server:?}");
        says(server, &[("error.type", reason)]);
    }
    let refused = of("a.test", CLIENT).expect("somebody was asked");
    assert!(refused.is_error && !refused.attributes.contains_key("http.response.status_code"), "{refused:?}");
    says(of("b.test", CLIENT).expect("somebody was asked"), &[("http.response.status_code", "503")]);
    assert!(of("c.test", CLIENT).is_none(), "nobody was asked: {spans:?}");
    assert_eq!(of("c.test", SERVER).expect("it is there").events, ["gogeta.wake"]);
}

#[tokio::test]
async fn no_request_waits_for_a_collector_that_is_not_there() {
    let web = Backend::named("web").await;
    // One refuses connections, one takes them and says nothing.
    let (_held, refusing) = refusing();
    let silent = Backend::scripted(async |mut peer| peer.ended().await).await;
    for port in [refusing, silent.port] {
        let endpoint = format!("--otlp-endpoint=http://127.0.0.1:{port}");
        let builder = Gogeta::routes(&service("a.test", &[web.port])).arg(endpoint).arg("--trace-ratio=1");
        let mut gogeta = builder.start().await;
        let mut client = Client::connect(gogeta.proxy).await;
        let begun = Instant::now();
        // More than the queue holds.
        for _ in 0..3000 {
            assert_eq!(client.get("a.test", "/").await.text(), "web");
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        until("some are dropped", async || {
            let dropped = async |reason: &str| {
                metric(&gogeta, &format!("gogeta_trace_spans_dropped_total{{reason=\"{reason}\"}}")).await
            };
            (dropped("queue_full").await + dropped("export_failed").await > 0.0).then_some(())
        })
        .await;
        if port == refusing {
            gogeta.log_has("takes no spans").await;
        }
        gogeta.signal(Signal::TERM);
        assert!(gogeta.wait().await.success());
    }
}

#[tokio::test]
async fn a_connection_whose_requests_belong_to_a_trace_is_not_parked() {
    let (web, collector) = (Backend::named("web").await, Collector::http().await);
    let builder = traced(&service("a.test", &[web.port]), &collector);
    let Some(gogeta) = parking_with(builder).await else { return };
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..3 {
        client.send(within("GET /", "a.test", "01")).await;
        client.reply().await;
    }
    let servers = collector.has(6).await.into_iter().filter(|span| span.kind == SERVER);
    assert_eq!((servers.count(), metric(&gogeta, "gogeta_splice_parked_total").await), (3, 0.0));
    // One whose requests do not is.
    client.get("a.test", "/").await;
    parked(&gogeta, 1.0).await;
    client.get("a.test", "/").await;
    assert_eq!(carried(&gogeta).await, 1.0);
}
