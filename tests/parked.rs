//! Parked connections: what the kernel carries, what comes back to userspace, and that nobody can tell.

use std::time::Duration;

use tokio::net::TcpSocket;

use super::support::backend::{Backend, Peer, ok, service};
use super::support::client::{Client, get};
use super::support::gogeta::Gogeta;
use super::support::parking::{carried, carried_to, parked, parking, parking_with};
use super::support::truth::metric;
use super::support::wait::{until, within};

/// Answers each request with its own target and method, by a simple response.
async fn mirror(mut peer: Peer) {
    while let Some(request) = peer.request().await {
        let body = request.line().to_owned();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let is_head = request.line().starts_with("HEAD");
        if peer.send(if is_head { head } else { head + &body }).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_connection_for_one_request_is_not_parked_and_its_upstreams_is_used_again() {
    let web = Backend::scripted(mirror).await;
    // Each worker has connections of its own.
    let builder = Gogeta::routes(&service("a.test", &[web.port])).args(["--threads", "1"]);
    let Some(gogeta) = parking_with(builder).await else { return };
    for number in 0..5 {
        let mut client = Client::connect(gogeta.proxy).await;
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: a.test\r\nConnection: x, Close\r\n\r\n")).await;
        assert_eq!(client.reply().await.text(), format!("GET /{number} HTTP/1.1"));
        assert!(client.rest().await.is_empty(), "it is closed");
    }
    assert_eq!((metric(&gogeta, "gogeta_splice_parked_total").await, web.connections()), (0.0, 1));
}

#[tokio::test]
async fn one_connection_with_everything_on_it() {
    let (web, other) = (Backend::scripted(mirror).await, Backend::named("other").await);
    let routes = service("a.test", &[web.port]) + &service("b.test", &[other.port]);
    let Some(gogeta) = parking(&routes).await else { return };
    let mut client = Client::connect(gogeta.proxy).await;
    let mut expected = 0.0;
    let odd: [(&str, &str); 8] = [
        ("POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc", "POST /p HTTP/1.1"),
        ("GET /o HTTP/1.1\r\nHost: b.test\r\n\r\n", "other"),
        ("GET /c HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\n\r\n", "GET /c HTTP/1.1"),
        (
            "PUT /e HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            "PUT /e HTTP/1.1",
        ),
        ("OPTIONS /f HTTP/1.1\r\nHost: a.test\r\n\r\n", "OPTIONS /f HTTP/1.1"),
        ("GET /g HTTP/1.1\r\nhost: A.TEST\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n", "GET /g HTTP/1.1"),
        ("DELETE /h HTTP/1.1\r\nHost: a.test\r\n\r\n", "DELETE /h HTTP/1.1"),
        ("GET /i HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi", "GET /i HTTP/1.1"),
    ];
    for (raw, body) in odd {
        client.send(raw).await;
        assert_eq!(client.reply().await.text(), body);
        let reply = client.get("a.test", "/first").await;
        assert_eq!(reply.text(), "GET /first HTTP/1.1", "behind {raw:?}");
        for number in 0..5 {
            parked(&gogeta, 1.0).await;
            let reply = client.get("a.test", &format!("/{number}")).await;
            assert_eq!((reply.status, reply.text()), (200, format!("GET /{number} HTTP/1.1")));
        }
        expected += 5.0;
        until("each of them was carried", async || (carried(&gogeta).await >= expected).then_some(())).await;
    }
}

#[tokio::test]
async fn answers_that_are_not_simple() {
    let web = Backend::scripted(|mut peer: Peer| async move {
        while let Some(request) = peer.request().await {
            let response = match request.line().split(' ').nth(1) {
                Some("/chunked") => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                Some("/early") => {
                    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
                }
                Some("/close") => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc",
                Some("/old") => "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            let closes = ["/close", "/old"].iter().any(|target| request.line().contains(target));
            if peer.send(response).await.is_err() || closes {
                return;
            }
        }
    })
    .await;
    let Some(gogeta) = parking(&service("a.test", &[web.port])).await else { return };
    let mut client = Client::connect(gogeta.proxy).await;
    for target in ["/chunked", "/early", "/close", "/old", "/chunked"] {
        client.get("a.test", "/").await;
        parked(&gogeta, 1.0).await;
        let reply = client.get("a.test", target).await;
        assert_eq!((reply.status, reply.text()), (200, "abc".to_owned()), "{target}");
    }
    let asked =
        |target: &str| web.requests().iter().filter(|request| request.line().contains(target)).count();
    assert_eq!(["/chunked", "/early", "/close", "/old"].map(asked), [2, 1, 1, 1], "each was sent once");
    assert_eq!(metric(&gogeta, "gogeta_splice_unparked_total{reason=\"answer\"}").await, 5.0);
}

#[tokio::test]
async fn a_route_that_changes_takes_the_next_request_along() {
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    let Some(gogeta) = parking(&service("a.test", &[one.port])).await else { return };
    let mut client = Client::connect(gogeta.proxy).await;
    for turn in 0..6 {
        let (backend, name) = if turn % 2 == 0 { (&one, "one") } else { (&two, "two") };
        gogeta.edit_routes(&service("a.test", &[backend.port]));
        until("the route is there", async || {
            (get(gogeta.proxy, "a.test", "/").await.text() == name).then_some(())
        })
        .await;
        until("nothing else is parked", async || {
            (client.get("a.test", "/").await.text() == name).then_some(())
        })
        .await;
        parked(&gogeta, 1.0).await;
        assert_eq!(client.get("a.test", "/").await.text(), name);
    }
}

#[tokio::test]
async fn the_end_of_gogeta_ends_parked_connections_between_two_requests() {
    let web = Backend::named("web").await;
    let Some(mut gogeta) = parking(&service("a.test", &[web.port])).await else { return };
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(gogeta.proxy).await;
        client.get("a.test", "/").await;
        clients.push(client);
    }
    parked(&gogeta, 20.0).await;
    gogeta.signal(rustix::process::Signal::TERM);
    for client in &mut clients {
        // What is on its way when the end begins is served.
        let reply = client.get("a.test", "/").await;
        assert_eq!(reply.text(), "web");
    }
    assert!(gogeta.wait().await.success());
}

#[tokio::test]
async fn a_backend_that_goes_and_a_client_that_goes_leave_nothing_behind() {
    let web = Backend::named("web").await;
    let Some(gogeta) = parking(&service("a.test", &[web.port])).await else { return };
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(gogeta.proxy).await;
        client.get("a.test", "/").await;
        clients.push(client);
    }
    parked(&gogeta, 10.0).await;
    clients.truncate(4);
    parked(&gogeta, 4.0).await;
    drop(web);
    parked(&gogeta, 0.0).await;
    for client in &mut clients {
        assert_eq!(client.get("a.test", "/").await.status, 502);
    }
}

#[tokio::test]
async fn each_parked_request_is_logged() {
    let web = Backend::named("web").await;
    let builder = Gogeta::routes(&service("a.test", &[web.port]));
    let log = builder.file("access.log", "");
    let builder = builder.args(["--access-log-format", "json"]).arg("--access-log").arg(&log);
    let Some(gogeta) = parking_with(builder).await else { return };
    let mut client = Client::connect(gogeta.proxy).await;
    client.get("a.test", "/").await;
    parked(&gogeta, 1.0).await;
    client
        .send("GET /parked?q=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test/1\r\nReferer: http://r/\r\n\r\n")
        .await;
    client.reply().await;
    let line = until("it is logged", async || {
        let text = std::fs::read_to_string(&log).expect("the log is there");
        text.lines().find(|line| line.contains("/parked")).map(str::to_owned)
    })
    .await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    for (field, value) in [
        ("method", "GET"),
        ("host", "a.test"),
        ("user_agent", "test/1"),
        ("referer", "http://r/"),
        ("engine", "sockmap"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!((line["status"].as_u64(), line["bytes_sent"].as_u64()), (Some(200), Some(3)), "{line}");
}

#[tokio::test]
async fn an_instance_whose_answers_cannot_be_carried_is_left_to_userspace() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let web = Backend::replying(chunked).await;
    let Some(gogeta) = parking(&service("a.test", &[web.port])).await else { return };
    let mut client = Client::connect(gogeta.proxy).await;
    for _ in 0..30 {
        assert_eq!(client.get("a.test", "/").await.text(), "abc");
    }
    let parked = metric(&gogeta, "gogeta_splice_parked_total").await;
    assert!((1.0..=8.0).contains(&parked), "{parked} times");
    assert_eq!(web.count(), 30, "each was sent once");
}

#[tokio::test]
async fn the_admin_listener_shows_each_pair() {
    let web = Backend::named("web").await;
    let Some(gogeta) = parking(&service("a.test", &[web.port])).await else { return };
    let mut client = Client::connect(gogeta.proxy).await;
    client.get("a.test", "/").await;
    parked(&gogeta, 1.0).await;
    client.get("a.test", "/").await;
    let shown = get(gogeta.admin, "localhost", "/api/pairs").await;
    let shown: serde_json::Value = serde_json::from_slice(&shown.body).expect("JSON");
    let engines = shown["engines"].as_array().expect("a list");
    assert!(engines.contains(&"sockmap".into()), "{engines:?}");
    assert_eq!(shown["pairs"].as_array().map(Vec::len), Some(1));
    let pair = &shown["pairs"][0];
    assert_eq!(
        (&pair["engine"], &pair["host"], &pair["requests"], &pair["busy"]),
        (&"sockmap".into(), &"a.test".into(), &1.into(), &false.into())
    );
    assert!(
        pair["upstream"].as_str().is_some_and(|place| place.ends_with(&format!(":{}", web.port))),
        "{pair}"
    );
}

#[tokio::test]
async fn a_kernel_that_carries_leaves_userspace_alone() {
    let web = Backend::named("web").await;
    let Some(gogeta) = parking(&service("a.test", &[web.port])).await else { return };
    let mut client = Client::connect(gogeta.proxy).await;
    client.get("a.test", "/").await;
    parked(&gogeta, 1.0).await;
    // Threads that serve: what they were scheduled for.
    let switches = || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", gogeta.pid())).expect("it runs");
        let mut sum = 0_u64;
        for thread in threads.flatten() {
            let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            if name.starts_with("worker") {
                sum += count.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
            }
        }
        sum
    };
    let before = switches();
    let begun = std::time::Instant::now();
    for _ in 0..1000 {
        assert_eq!(client.get("a.test", "/").await.text(), "web");
    }
    // The workers' clocks tick all the same.
    let ticks = 2 * 5 * (begun.elapsed() + Duration::from_secs(1)).as_secs();
    let woken = switches() - before;
    assert!(woken <= 2 * ticks + 20, "{woken} times for 1000 requests");
    assert_eq!(carried(&gogeta).await, 1000.0);
}

#[tokio::test]
async fn a_client_that_resets_before_it_has_all_that_the_kernel_carried_is_gone_at_once() {
    let large = ok(&"x".repeat(300_000));
    let web = Backend::replying(&large).await;
    let Some(gogeta) = parking(&service("a.test", &[web.port])).await else { return };
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("SO_RCVBUF");
    let mut client = Client::new(socket.connect(gogeta.proxy).await.expect("a connection"));
    client.get("a.test", "/").await;
    parked(&gogeta, 1.0).await;
    let request = "GET /unread HTTP/1.1\r\nHost: a.test\r\n\r\n";
    client.send(request).await;
    until("it is carried", async || {
        let bytes = carried_to(&gogeta, "sent").await;
        (bytes == large.len() as f64).then_some(())
    })
    .await;
    // Both are more than may be under way: this one is userspace's, and waits until the other has got out.
    client.send(request).await;
    web.seen(3).await;
    parked(&gogeta, 0.0).await;
    client.reset();
    let open = async || metric(&gogeta, "gogeta_connections_open").await;
    within(Duration::from_secs(1), "it is gone", async || (open().await == 0.0).then_some(())).await;
}
