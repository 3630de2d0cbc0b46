//! While both are there.

use std::sync::Arc;

use rustix::process::Signal;
use tokio::sync::Semaphore;

use super::{Meeting, is_over};
use crate::support::backend::{Backend, service};
use crate::support::client::{Client, get};
use crate::support::etcd::Etcd;
use crate::support::gogeta::Gogeta;
use crate::support::tunnel::echo;
use crate::support::wait::until;

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n";

#[tokio::test]
async fn a_long_download_comes_to_its_end() {
    let permits = Arc::new(Semaphore::new(0));
    let backend = Backend::halting(&permits).await;
    let meeting = Meeting::new();
    let routes = service("a.test", &[backend.port]);
    let old = meeting.routes(&routes).start().await;
    let mut client = Client::connect(old.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.head().await.expect("a head").status, 200);
    let new = meeting.next(&old, &routes).start().await;
    old.log_has("another gogeta has taken over").await;
    assert_eq!(get(new.admin, "admin", "/readyz").await.status, 200);
    permits.add_permits(1);
    assert_eq!(client.take(8).await, b"halfrest");
    is_over(old).await;
}

#[tokio::test]
async fn a_tunnel_goes_on_until_the_drain_time_out() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.head().await;
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n";
        peer.send(switch).await.expect("to switch");
        echo(peer).await;
    })
    .await;
    let meeting = Meeting::new();
    let routes = service("a.test", &[backend.port]);
    let mut old = meeting.routes(&routes).args(["--drain-timeout", "2s"]).start().await;
    let mut client = Client::connect(old.proxy).await;
    client.send(ASK).await;
    assert_eq!(client.head().await.expect("a head").status, 101);
    let _new = meeting.next(&old, &routes).start().await;
    old.log_has("another gogeta has taken over").await;
    client.send("still there").await;
    assert_eq!(client.take(11).await, b"still there");
    assert_eq!(client.rest().await, b"");
    assert_eq!(old.wait().await.code(), Some(0));
    old.log_has("the drain time-out has passed").await;
}

#[tokio::test]
async fn a_request_on_an_idle_connection_to_the_old_one_is_still_answered() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let old = meeting.routes(&routes).start().await;
    let mut client = Client::connect(old.proxy).await;
    assert!(client.get("a.test", "/").await.keeps());
    let _new = meeting.next(&old, &routes).start().await;
    old.log_has("another gogeta has taken over").await;
    // Until it is told to go.
    loop {
        let reply = client.get("a.test", "/").await;
        assert_eq!(reply.status, 200);
        if !reply.keeps() {
            break;
        }
    }
    is_over(old).await;
}

#[tokio::test]
async fn the_old_one_can_still_be_stopped_at_once() {
    let backend = Backend::scripted(|mut peer| async move {
        peer.request().await;
        peer.ended().await;
    })
    .await;
    let meeting = Meeting::new();
    let routes = service("a.test", &[backend.port]);
    let mut old = meeting.routes(&routes).start().await;
    let mut client = Client::connect(old.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    backend.seen(1).await;
    let new = meeting.next(&old, &routes).start().await;
    old.log_has("another gogeta has taken over").await;
    old.signal(Signal::TERM);
    assert_eq!(old.wait().await.code(), Some(0));
    assert_eq!(client.rest().await, b"");
    new.ready().await;
}

#[tokio::test]
async fn both_write_to_one_access_log_and_no_line_is_lost_or_torn() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let log = meeting.0.path().join("access.log");
    let routes = service("a.test", &[backend.port]);
    let logs = |builder: crate::support::gogeta::Builder| {
        builder.args(["--access-log-format", "json"]).arg("--access-log").arg(&log)
    };
    let mut old = logs(meeting.routes(&routes)).start().await;
    let mut kept = Client::connect(old.proxy).await;
    let mut asked = 0;
    for _ in 0..2 {
        kept.get("a.test", "/kept").await;
        let new = logs(meeting.next(&old, &routes)).start().await;
        for _ in 0..50 {
            get(new.proxy, "a.test", "/new").await;
        }
        kept.get("a.test", "/kept").await;
        asked += 52;
        is_over(old).await;
        kept = Client::connect(new.proxy).await;
        old = new;
    }
    old.signal(Signal::TERM);
    assert_eq!(old.wait().await.code(), Some(0));
    let text = std::fs::read_to_string(log).expect("it is there");
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect();
    assert_eq!(lines.len(), asked);
}

#[tokio::test]
async fn the_kept_routes_are_the_new_ones_and_what_was_drained_by_hand_stays_so() {
    const TOKEN: &str = "0123456789abcdef";
    let Some(etcd) = Etcd::start().await else { return };
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let state = meeting.0.path().join("state");
    etcd.route("a.test", "a").await;
    etcd.locate("a", "1", backend.port).await;
    etcd.status("a", "1", ["started", "started", "1"]).await;
    let keeps = |builder: crate::support::gogeta::Builder| {
        builder.arg("--state-dir").arg(&state).args(["--admin-token", TOKEN])
    };
    let old = keeps(meeting.meets(Gogeta::etcd(&etcd))).start().await;
    old.ready().await;
    assert_eq!(get(old.proxy, "a.test", "/").await.status, 200);
    let drain = format!(
        "POST /api/services/a/instances/1/drain HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n",
        old.admin
    );
    let reply = crate::support::client::request(old.admin, &drain).await;
    assert!(reply.status < 300, "{reply:?}");
    let mut new = keeps(meeting.etcd(&old, &etcd)).start().await;
    assert_ne!(get(new.proxy, "a.test", "/").await.status, 200, "it is drained here, too");
    new.log_has("it was drained by hand, and stays so").await;
    is_over(old).await;

    etcd.route("b.test", "a").await;
    let is_kept = |name: &str| {
        std::fs::read_to_string(state.join("routes.state")).is_ok_and(|text| text.contains(name))
    };
    until("the new one keeps what it knows", async || is_kept("b.test").then_some(())).await;
    new.signal(Signal::TERM);
    assert_eq!(new.wait().await.code(), Some(0));
    assert!(is_kept("a.test") && is_kept("b.test"));
}

#[tokio::test]
async fn the_admin_listener_is_the_new_ones_at_once() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let old = meeting.routes(&routes).start().await;
    let mut kept = Client::connect(old.admin).await;
    assert_eq!(kept.get("admin", "/healthz").await.status, 200);
    let new = meeting.next(&old, &routes).start().await;
    // Whoever has a connection to the old one is sent on.
    assert_eq!(kept.rest().await, b"");
    for _ in 0..20 {
        assert_eq!(get(new.admin, "admin", "/readyz").await.status, 200);
    }
    is_over(old).await;
}

#[tokio::test]
async fn systemd_is_told_which_process_goes_on_and_only_in_one_unit() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let path = meeting.0.path().join("notify");
    let supervisor = tokio::net::UnixDatagram::bind(&path).expect("a socket");
    let old = meeting.routes(&routes).env("NOTIFY_SOCKET", &path).start().await;
    let new = meeting.next(&old, &routes).start().await;
    let main = format!("MAINPID={}", new.pid());
    until("it is told", async || {
        let mut bytes = [0; 500];
        let length = supervisor.try_recv(&mut bytes).ok()?;
        String::from_utf8_lossy(&bytes[..length]).lines().any(|line| line == main).then_some(())
    })
    .await;
    is_over(old).await;
}
