//! Nothing that was taken on is lost: not when gogeta ends, not when routes change.

use std::io;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::backend::{Backend, ok, service};
use crate::support::client::{Client, get};
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

/// A backend whose every reply waits for a permit.
async fn waiting(permits: &Arc<Semaphore>) -> Backend {
    let permits = permits.clone();
    Backend::scripted(move |mut peer| {
        let permits = permits.clone();
        async move {
            while peer.request().await.is_some() {
                permits.acquire().await.expect("a permit").forget();
                if peer.send(ok("late")).await.is_err() {
                    break;
                }
            }
        }
    })
    .await
}

/// Tells gogeta to end, and waits until nobody is let in any more.
async fn close_the_door(gogeta: &Gogeta) {
    gogeta.signal(Signal::TERM);
    until("connections to be refused", async || {
        TcpStream::connect(gogeta.proxy).await.err().map(|error| {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        })
    })
    .await;
}

#[tokio::test]
async fn a_request_in_flight_is_answered() {
    let permits = Arc::new(Semaphore::new(0));
    let backend = waiting(&permits).await;
    let mut gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    backend.seen(1).await;
    close_the_door(&gogeta).await;
    permits.add_permits(1);
    let reply = client.reply().await;
    assert_eq!((reply.status, &*reply.text(), reply.keeps()), (200, "late", false));
    assert_eq!(client.rest().await, b"");
    assert_eq!(gogeta.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_response_that_has_begun_comes_to_its_end_and_then_gogeta_ends() {
    let permits = Arc::new(Semaphore::new(0));
    let backend = Backend::halting(&permits).await;
    let mut gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let head = client.head().await.expect("a head");
    assert!(head.status == 200 && head.keeps());
    close_the_door(&gogeta).await;
    permits.add_permits(1);
    assert_eq!(client.take(8).await, b"halfrest");
    // The client was not told, and keeps the connection; gogeta must not wait for it until the drain time-out.
    assert_eq!(gogeta.wait().await.code(), Some(0));
    assert!(!gogeta.log().contains("the drain time-out has passed"), "{}", gogeta.log());
}

#[tokio::test]
async fn a_request_on_an_idle_connection_is_still_answered() {
    let backend = Backend::named("a").await;
    let mut gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    let (mut used, mut fresh) = (Client::connect(gogeta.proxy).await, Client::connect(gogeta.proxy).await);
    assert!(used.get("a.test", "/").await.keeps());
    close_the_door(&gogeta).await;
    for client in [&mut used, &mut fresh] {
        let reply = client.get("a.test", "/").await;
        assert_eq!((reply.status, &*reply.text(), reply.keeps()), (200, "a", false));
        assert_eq!(client.rest().await, b"");
    }
    assert_eq!(gogeta.wait().await.code(), Some(0));
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_gogeta_up() {
    let backend = Backend::named("a").await;
    let mut gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    let (mut used, mut fresh) = (Client::connect(gogeta.proxy).await, Client::connect(gogeta.proxy).await);
    assert!(used.get("a.test", "/").await.keeps());
    gogeta.signal(Signal::TERM);
    assert_eq!((used.rest().await, fresh.rest().await), (vec![], vec![]));
    assert_eq!(gogeta.wait().await.code(), Some(0));
    gogeta.log_has("gogeta is down").await;
}

#[tokio::test]
async fn the_drain_time_out_cuts_what_does_not_end() {
    let backend = waiting(&Arc::new(Semaphore::new(0))).await;
    let mut gogeta =
        Gogeta::routes(&service("a.test", &[backend.port])).args(["--drain-timeout", "1s"]).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    backend.seen(1).await;
    gogeta.signal(Signal::TERM);
    assert_eq!(client.rest().await, b"");
    assert_eq!(gogeta.wait().await.code(), Some(0));
    gogeta.log_has("the drain time-out has passed").await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let backend = waiting(&Arc::new(Semaphore::new(0))).await;
    let mut gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    backend.seen(1).await;
    gogeta.signal(Signal::TERM);
    gogeta.log_has("stopping: what is in flight").await;
    gogeta.signal(Signal::INT);
    assert_eq!(gogeta.wait().await.code(), Some(0));
    gogeta.log_has("stopping at once").await;
    assert_eq!(client.rest().await, b"");
}

/// 64 clients, each of which asks again as soon as it has its answer. Every request must get a whole answer; only
/// a connection may be refused, which ends its client.
struct Load {
    answered: Arc<AtomicUsize>,
    clients: JoinSet<io::Result<()>>,
}

impl Load {
    fn start(proxy: SocketAddr) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let clients = (0..64).map(|_| Self::client(proxy, answered.clone())).collect();
        Self { answered, clients }
    }

    async fn client(proxy: SocketAddr, answered: Arc<AtomicUsize>) -> io::Result<()> {
        while let Some(stream) = connect(proxy).await? {
            let mut client = Client::new(stream);
            loop {
                client.try_send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await?;
                let reply = client.try_reply().await?;
                if reply.status != 200 || !reply.whole {
                    return Err(io::Error::other(format!("{reply:?}")));
                }
                answered.fetch_add(1, Ordering::SeqCst);
                if !reply.keeps() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Waits for so many more answers.
    async fn goes_on(&mut self, count: usize) {
        let goal = self.answered.load(Ordering::SeqCst) + count;
        let what = format!("{count} more answers");
        until(&what, async || {
            if let Some(ended) = self.clients.try_join_next() {
                panic!("a client ended: {ended:?}");
            }
            (self.answered.load(Ordering::SeqCst) >= goal).then_some(())
        })
        .await;
    }

    /// Waits until every client has been refused; fails if one has failed.
    async fn end(mut self) {
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client").unwrap_or_else(|error| panic!("a request was lost: {error}"));
        }
    }
}

async fn connect(proxy: SocketAddr) -> io::Result<Option<TcpStream>> {
    match TcpStream::connect(proxy).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        Err(error) => Err(error),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_when_gogeta_ends_under_load() {
    let backend = Backend::named("a").await;
    for _ in 0..3 {
        let mut gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
        let mut load = Load::start(gogeta.proxy);
        load.goes_on(1000).await;
        gogeta.signal(Signal::TERM);
        load.end().await;
        assert_eq!(gogeta.wait().await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_was_let_in_is_turned_away() {
    // Connections come and go all the time, so some are always on their way in.
    let backend = Backend::named("a").await;
    for _ in 0..5 {
        let mut gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
        let answered = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..64 {
            let (proxy, answered) = (gogeta.proxy, answered.clone());
            clients.spawn(async move {
                while let Some(stream) = connect(proxy).await? {
                    let mut client = Client::new(stream);
                    client.try_send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await?;
                    assert_eq!(client.try_reply().await?.status, 200);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                Ok::<(), io::Error>(())
            });
        }
        until("500 answers", async || (answered.load(Ordering::SeqCst) > 500).then_some(())).await;
        gogeta.signal(Signal::TERM);
        for ended in clients.join_all().await {
            ended.unwrap_or_else(|error| panic!("a connection was lost: {error}\n{}", gogeta.log()));
        }
        assert_eq!(gogeta.wait().await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_can_be_taken_away_under_load() {
    let (stays, goes) = (Backend::named("stays").await, Backend::named("goes").await);
    let mut gogeta = Gogeta::routes(&service("a.test", &[stays.port, goes.port])).start().await;
    let mut load = Load::start(gogeta.proxy);
    load.goes_on(500).await;
    assert!(goes.count() > 0);

    gogeta.edit_routes(&service("a.test", &[stays.port]));
    loop {
        let before = goes.count();
        load.goes_on(500).await;
        if goes.count() == before {
            break;
        }
    }
    drop(goes);
    load.goes_on(1000).await;
    gogeta.signal(Signal::TERM);
    load.end().await;
    assert_eq!(gogeta.wait().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_changes_touches_nobody_else_and_is_followed() {
    let changes = if std::env::var_os("GOGETA_TEST_LONG").is_some() { 3000 } else { 500 };
    let backend = Backend::named("a").await;
    let untouched = service("a.test", &[backend.port]);
    let mut gogeta = Gogeta::routes(&untouched).start().await;
    let mut load = Load::start(gogeta.proxy);
    {
        let storm = async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            for change in 0..changes {
                tick.tick().await;
                let others = service("early.test", &[backend.port])
                    + &service(&format!("s{change}.test"), &[backend.port]);
                gogeta.edit_routes(&(untouched.clone() + &others));
            }
        };
        let followed = until("a change to be seen", async || {
            (get(gogeta.proxy, "early.test", "/").await.status == 200).then_some(())
        });
        tokio::pin!(storm);
        tokio::select! {
            biased;
            () = followed => {}
            () = &mut storm => panic!("no change was applied while the storm went on"),
        }
        storm.await;
    }
    let last = format!("s{}.test", changes - 1);
    until("the last change", async || (get(gogeta.proxy, &last, "/").await.status == 200).then_some(()))
        .await;
    assert_eq!(get(gogeta.proxy, "s0.test", "/").await.status, 404);
    load.goes_on(100).await;
    gogeta.signal(Signal::TERM);
    load.end().await;
    assert_eq!(gogeta.wait().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrk_sees_no_error_when_gogeta_ends() {
    let backend = Backend::named("a").await;
    let mut gogeta = Gogeta::routes(&service("a.test", &[backend.port])).start().await;
    let wrk = tokio::process::Command::new("wrk")
        .args(["-t1", "-c32", "-d3s", "-H", "Host: a.test", &format!("http://{}/", gogeta.proxy)])
        .stdout(Stdio::piped())
        .spawn();
    let Ok(wrk) = wrk else {
        assert!(
            std::env::var_os("GOGETA_TEST_REQUIRE").is_none_or(|what| what != "all"),
            "wrk is not installed"
        );
        return println!("SKIPPED: wrk is not installed");
    };
    until("1000 requests", async || (backend.count() > 1000).then_some(())).await;
    gogeta.signal(Signal::TERM);
    assert_eq!(gogeta.wait().await.code(), Some(0));
    let output = wrk.wait_with_output().await.expect("wrk's output");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("requests in") && !said.contains("Non-2xx"), "{said}");
    if let Some(errors) = said.lines().find_map(|line| line.trim().strip_prefix("Socket errors: ")) {
        // wrk writes at once, and counts a refused connection as an error of connecting or of writing.
        assert!(errors.contains("read 0") && errors.contains("timeout 0"), "{said}");
    }
}
