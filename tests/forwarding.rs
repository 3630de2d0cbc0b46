//! A request reaches its backend as it was meant, and so does the response its client.

use crate::support::backend::{Backend, ok, refusing, service, uri};
use crate::support::client::{Client, get, request};
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

/// A gogeta with one service at `a.test`.
async fn before(backend: &Backend) -> Gogeta {
    Gogeta::routes(&service("a.test", &[backend.port])).start().await
}

#[tokio::test]
async fn the_target_goes_on_byte_for_byte() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend).await;
    let targets = [
        "/x%2f..%2f",
        "//b.test/x",
        "/a/../b/./c",
        "/?",
        "/p?q=/%2F&r=a+b",
        "/;p=1?x?y",
        "/%7e~|'!$()*,@:",
        "/a//b/",
    ];
    for target in targets {
        assert_eq!(get(gogeta.proxy, "a.test", target).await.status, 200, "{target}");
    }
    let lines: Vec<String> = backend.requests().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(lines, targets.map(|target| format!("GET {target} HTTP/1.1")));
}

#[tokio::test]
async fn an_absolute_target_names_the_host_and_goes_on_as_a_path() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend).await;
    for (target, path) in [
        ("http://a.test/x?y", "/x?y"),
        ("http://A.test:81/", "/"),
        ("http://a.test", "/"),
        ("http://a.test?y=1", "/?y=1"),
        ("HTTP://a.test/z", "/z"),
    ] {
        let before = backend.requests().len();
        let reply = request(
            gogeta.proxy,
            &format!("GET {target} HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n"),
        )
        .await;
        assert_eq!(reply.status, 200, "{target}");
        let seen = &backend.requests()[before];
        assert_eq!(seen.line(), format!("GET {path} HTTP/1.1"));
        let authority = target[7..].split(['/', '?']).next();
        assert_eq!(seen.header("host"), authority, "{target}");
    }
}

#[tokio::test]
async fn a_service_gets_the_host_that_was_asked_for() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend).await;
    for host in ["a.test", "A.Test", "a.test:8080", "www.a.test", "a.test."] {
        assert_eq!(get(gogeta.proxy, host, "/").await.text(), "a", "{host}");
    }
    let hosts: Vec<String> =
        backend.requests().iter().filter_map(|seen| seen.header("host").map(str::to_owned)).collect();
    assert_eq!(hosts, ["a.test", "A.Test", "a.test:8080", "www.a.test", "a.test."]);
}

#[tokio::test]
async fn what_is_meant_for_one_hop_goes_no_further() {
    let reply = "HTTP/1.1 200 OK\r\nConnection: X-Mine, keep-alive\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nX-Kept: 1\r\nContent-Length: 1\r\n\r\na";
    let backend = Backend::replying(reply).await;
    let gogeta = before(&backend).await;
    let reply = request(
        gogeta.proxy,
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: X-Mine\r\nConnection: close, X-Forwarded-For\r\nX-Mine: 1\r\n\
         Keep-Alive: 300\r\nProxy-Connection: x\r\nProxy: http://evil.test\r\nTE: gzip, trailers\r\nX-Kept: 1\r\n\r\n",
    )
    .await;
    let seen = backend.request();
    for gone in ["x-mine", "keep-alive", "proxy-connection", "proxy", "upgrade"] {
        assert_eq!(seen.header(gone), None, "{}", seen.head);
    }
    assert_eq!((seen.header("te"), seen.header("connection")), (Some("trailers"), Some("te")));
    assert_eq!(seen.header("x-kept"), Some("1"));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    for gone in ["x-mine", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(reply.header(gone), None, "{reply:?}");
    }
    assert_eq!((reply.header("x-kept"), reply.header("connection")), (Some("1"), Some("close")));
}

#[tokio::test]
async fn a_stranger_cannot_say_who_he_is() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend).await;
    let forged = "GET / HTTP/1.1\r\nHost: a.test:8080\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 6.6.6.6\r\n\
        Forwarded: for=6.6.6.6\r\nConnection: close\r\n\r\n";
    request(gogeta.proxy, forged).await;
    let seen = backend.request();
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("a.test:8080"));
    assert_eq!(seen.header("x-forwarded-port"), Some("8080"));
    assert_eq!(seen.header("forwarded"), None);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_appended_to() {
    let backend = Backend::named("a").await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port]))
        .args(["--trusted-proxies", "10.0.0.0/8,127.0.0.0/8"])
        .start()
        .await;
    let said = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Host: outer.test\r\nX-Real-IP: 1.1.1.1\r\nConnection: close\r\n\r\n";
    request(gogeta.proxy, said).await;
    let seen = backend.request();
    assert_eq!(seen.header("x-forwarded-for"), Some("1.1.1.1, 2.2.2.2, 127.0.0.1"));
    assert_eq!(seen.header("x-real-ip"), Some("1.1.1.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.header("x-forwarded-host"), Some("outer.test"));
    assert_eq!(seen.header("x-forwarded-port"), Some("443"));
}

#[tokio::test]
async fn repeated_fields_keep_their_order() {
    let reply = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX: 1\r\nSet-Cookie: b=2\r\nX: 2\r\nSet-Cookie: c=3\r\n\
        Content-Length: 0\r\n\r\n";
    let backend = Backend::replying(reply).await;
    let gogeta = before(&backend).await;
    let raw = "GET / HTTP/1.1\r\nHost: a.test\r\nAccept: x/1\r\nCookie: a=1\r\nAccept: x/2\r\nCookie: b=2\r\n\
        Accept: x/3\r\nConnection: close\r\n\r\n";
    let reply = request(gogeta.proxy, raw).await;
    assert_eq!(reply.all("set-cookie"), ["a=1", "b=2", "c=3"]);
    assert_eq!(reply.all("x"), ["1", "2"]);
    let seen = backend.request();
    assert_eq!(seen.all("accept"), ["x/1", "x/2", "x/3"]);
    assert_eq!(seen.all("cookie"), ["a=1", "b=2"]);
}

#[tokio::test]
async fn any_method_passes_and_keeps_its_letters() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    let methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "M-SEARCH", "get", "BREW"];
    for method in methods {
        client.send(format!("{method} /m HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        assert_eq!(client.reply().await.status, 200, "{method}");
    }
    let lines: Vec<String> = backend.requests().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(lines, methods.map(|method| format!("{method} /m HTTP/1.1")));
    for seen in backend.requests().iter().filter(|seen| seen.line().starts_with("POST")) {
        assert_eq!(seen.header("transfer-encoding"), None, "a body that nobody sent:\n{}", seen.head);
    }
}

#[tokio::test]
async fn responses_without_a_body_have_none() {
    let backend = Backend::scripted(|mut peer| async move {
        while let Some(seen) = peer.request().await {
            let reply = match seen.line().split(' ').nth(1) {
                Some("/head") => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX: head\r\n\r\n",
                Some("/chunked-head") => {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: chunked-head\r\n\r\n"
                }
                Some("/204") => "HTTP/1.1 204 No Content\r\nX: 204\r\n\r\n",
                Some("/304") => {
                    "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nContent-Length: 99\r\nX: 304\r\n\r\n"
                }
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: empty\r\n\r\n",
            };
            if peer.send(reply).await.is_err() {
                break;
            }
        }
    })
    .await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).args(["--threads", "1"]).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    // On one connection: a byte too many or too few would be taken for the next reply's.
    for (method, path, status, length) in [
        ("HEAD", "/head", 200, Some("1234")),
        ("HEAD", "/chunked-head", 200, None),
        ("GET", "/204", 204, None),
        // hyper does not send the length that a 304 may have (RFC 9110, 8.6).
        ("GET", "/304", 304, None),
        ("HEAD", "/304", 304, None),
        ("GET", "/empty", 200, Some("0")),
    ] {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        let reply = client.bodiless_reply().await;
        assert_eq!((reply.status, reply.header("x")), (status, Some(&path[1..])), "{method} {path}");
        let told = reply.header("content-length");
        assert!(told == length || (status, told) == (304, Some("99")), "{method} {path}: {reply:?}");
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::scripted(|mut peer| async move {
        while let Some(seen) = peer.request().await {
            let path = seen.line().split(' ').nth(1).unwrap_or("").to_owned();
            if peer.send(ok(&format!("{path}={}", String::from_utf8_lossy(&seen.body)))).await.is_err() {
                break;
            }
        }
    })
    .await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    let requests: String = (0..20)
        .map(|turn| format!("POST /{turn} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\n{turn:02}"))
        .collect();
    client.send(requests).await;
    for turn in 0..20 {
        assert_eq!(client.reply().await.text(), format!("/{turn}={turn:02}"));
    }
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let backend = Backend::named("a").await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).args(["--threads", "1"]).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    for turn in 0..100 {
        let reply = client.get("a.test", "/").await;
        assert!(reply.status == 200 && reply.keeps(), "request {turn}: {reply:?}");
    }
    // Connection: close is the client's affair: the upstream's connection stays.
    for _ in 0..10 {
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "a");
    }
    assert_eq!((backend.requests().len(), backend.connections()), (110, 1));
}

#[tokio::test]
async fn an_http_1_0_client_gets_what_it_understands() {
    let backend = Backend::replying(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    )
    .await;
    let gogeta = before(&backend).await;
    let reply = request(gogeta.proxy, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    assert_eq!((reply.status, &*reply.text()), (200, "abcde"));
    assert_eq!(reply.header("transfer-encoding"), None);
    assert_eq!(backend.request().line(), "GET / HTTP/1.1");

    let sized = Backend::named("sized").await;
    gogeta.edit_routes(&service("b.test", &[sized.port]));
    until("the new route", async || (get(gogeta.proxy, "b.test", "/").await.status == 200).then_some(()))
        .await;
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: b.test\r\nConnection: keep-alive\r\n\r\n").await;
        let reply = client.reply().await;
        assert_eq!((&*reply.text(), reply.header("connection")), ("sized", Some("keep-alive")));
    }
}

#[tokio::test]
async fn requests_of_one_connection_go_round_the_instances() {
    let (one, two, three) = (Backend::named("1").await, Backend::named("2").await, Backend::named("3").await);
    let gogeta = Gogeta::routes(&service("a.test", &[one.port, two.port, three.port])).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    let mut turns = String::new();
    for _ in 0..9 {
        turns += &client.get("a.test", "/").await.text();
    }
    assert!(["123123123", "231231231", "312312312"].contains(&&*turns), "{turns}");
}

#[tokio::test]
async fn a_uri_domain_leads_to_its_target() {
    let backend = Backend::named("target").await;
    let target = format!("http://127.0.0.1:{}/base/?k=v", backend.port);
    let gogeta = Gogeta::routes(&uri("u.test", &target)).start().await;
    for path in ["/x/y?a=b", "/", "/%2f?", "//z"] {
        assert_eq!(get(gogeta.proxy, "u.test:81", path).await.text(), "target", "{path}");
    }
    let requests = backend.requests();
    let lines: Vec<&str> = requests.iter().map(|seen| seen.line()).collect();
    assert_eq!(lines[..2], ["GET /base/x/y?k=v&a=b HTTP/1.1", "GET /base/?k=v HTTP/1.1"]);
    assert!(lines[2].starts_with("GET /base/%2f?k=v"), "{lines:?}");
    let own = format!("127.0.0.1:{}", backend.port);
    for seen in &requests {
        assert_eq!(seen.header("host"), Some(&*own));
        assert_eq!(seen.header("x-forwarded-host"), Some("u.test:81"));
    }
}

#[tokio::test]
async fn a_wrong_host_goes_nowhere() {
    let backend = Backend::named("a").await;
    let gogeta = before(&backend).await;
    let requests = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nhost: b.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test:70000\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test:x\r\n\r\n",
        "GET http://u@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET http://a.test/ HTTP/1.1\r\n\r\n",
    ];
    for raw in requests {
        let mut client = Client::connect(gogeta.proxy).await;
        client.send(raw).await;
        let reply = client.reply().await;
        assert!(reply.status == 400 && reply.whole && !reply.keeps(), "{raw:?}: {reply:?}");
        assert_eq!(client.rest().await, b"", "{raw:?}");
    }
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn a_request_goes_to_another_instance_where_one_refuses() {
    let (_socket, dead) = refusing();
    let alive = Backend::named("alive").await;
    let gogeta = Gogeta::routes(&service("a.test", &[dead, alive.port])).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    for turn in 0..4 {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody").await;
        let reply = client.reply().await;
        assert_eq!((reply.status, &*reply.text()), (200, "alive"), "request {turn}");
    }
    assert_eq!(alive.requests().len(), 4);
    assert!(alive.requests().iter().all(|seen| seen.body == b"body"));
    gogeta.log_has("cannot be connected to and rests").await;
}

#[tokio::test]
async fn a_dead_instance_is_nobodys_misfortune_under_load() {
    let (_socket, dead) = refusing();
    let alive = Backend::named("alive").await;
    let gogeta = Gogeta::routes(&service("a.test", &[dead, alive.port])).start().await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let proxy = gogeta.proxy;
        clients.spawn(async move {
            let mut client = Client::connect(proxy).await;
            for _ in 0..50 {
                let reply = client.get("a.test", "/").await;
                assert_eq!((reply.status, &*reply.text()), (200, "alive"));
            }
        });
    }
    clients.join_all().await;
}

#[tokio::test]
async fn a_connection_that_died_in_the_pool_is_nobodys_concern() {
    // Each connection answers one request, says that it stays, and goes.
    let backend = Backend::scripted(|mut peer| async move {
        if peer.request().await.is_some() {
            let _ = peer.send(ok("a")).await;
        }
    })
    .await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    for turn in 0..50 {
        let reply = client.get("a.test", "/").await;
        assert_eq!((reply.status, &*reply.text()), (200, "a"), "request {turn}");
    }
    assert_eq!(backend.connections(), 50);
}

#[tokio::test]
async fn a_connection_that_dies_on_a_reused_request_costs_a_get_nothing_and_a_post_is_never_repeated() {
    // The first request of a connection is answered, the second is read and then the connection is reset:
    // what a server does that gives idle connections up just then.
    let backend = Backend::scripted(|mut peer| async move {
        if peer.request().await.is_some()
            && peer.send(ok("a")).await.is_ok()
            && peer.request().await.is_some()
        {
            peer.reset();
        }
    })
    .await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).args(["--threads", "1"]).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    assert_eq!(client.get("a.test", "/1").await.status, 200);
    assert_eq!(client.get("a.test", "/2").await.status, 200);
    let count = |line: &str| backend.requests().iter().filter(|seen| seen.line().starts_with(line)).count();
    assert_eq!((count("GET /2 "), backend.connections()), (2, 2));

    client.send("POST /3 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx").await;
    assert_eq!(client.reply().await.status, 502);
    assert_eq!(count("POST /3 "), 1);
    client.send("POST /4 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 200, "a fresh connection");
    client.send("POST /5 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 502, "no body makes it no safer");
    assert_eq!(count("POST /5 "), 1);
}

#[tokio::test]
async fn a_failing_backend_is_a_502_and_the_client_keeps_its_connection() {
    for (what, reply) in [
        ("close", ""),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le"),
        ("garbage", "\0\x01nonsense\r\n\r\n"),
        ("HTTP/0.9", "<html>hello</html>\r\n\r\n"),
        ("a bad status", "HTTP/1.1 2x0 OK\r\n\r\n"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        ("no length", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab"),
    ] {
        let backend = Backend::scripted(move |mut peer| async move {
            peer.request().await;
            let _ = peer.send(reply).await;
        })
        .await;
        let gogeta = before(&backend).await;
        let mut client = Client::connect(gogeta.proxy).await;
        for turn in 0..2 {
            let reply = client.get("a.test", "/").await;
            assert_eq!((reply.status, reply.whole), (502, true), "{what}, request {turn}: {reply:?}");
            assert_eq!(reply.header("x-gogeta-page"), Some("badgateway"), "{what}");
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{what}");
            assert!(reply.keeps() && !reply.body.is_empty(), "{what}: {reply:?}");
        }
        assert_eq!((backend.requests().len(), backend.connections()), (2, 2), "{what}");
        gogeta.log_has("the upstream failed").await;
    }
}

#[tokio::test]
async fn a_refused_connection_and_a_reset_are_a_502() {
    let (_socket, dead) = refusing();
    let backend = Backend::scripted(|mut peer| async move {
        peer.request().await;
        peer.reset();
    })
    .await;
    let gogeta = Gogeta::routes(&(service("dead.test", &[dead]) + &service("reset.test", &[backend.port])))
        .start()
        .await;
    let mut client = Client::connect(gogeta.proxy).await;
    for host in ["dead.test", "reset.test", "dead.test"] {
        let reply = client.get(host, "/").await;
        assert_eq!((reply.status, reply.header("x-gogeta-page")), (502, Some("badgateway")), "{host}");
    }
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn what_follows_a_response_is_nobodys_reply() {
    // A second reply that nobody asked for must not meet the next request (CVE-2025-4366).
    let surplus = ok("first") + &ok("smuggled");
    let backend = Backend::scripted(move |mut peer| {
        let surplus = surplus.clone();
        async move {
            if peer.request().await.is_some() && peer.send(surplus).await.is_ok() {
                peer.ended().await;
            }
        }
    })
    .await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port])).args(["--threads", "1"]).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    for turn in 0..5 {
        assert_eq!(client.get("a.test", "/").await.text(), "first", "request {turn}");
    }
    assert_eq!(backend.connections(), 5);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let backend = Backend::scripted(|mut peer| async move {
        if peer.request().await.is_some() {
            peer.ended().await;
        }
    })
    .await;
    let gogeta = before(&backend).await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    backend.seen(1).await;
    drop(client);
    backend.open(0).await;
}
