//! What is taken over: by address, whatever the number of threads.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::process::Signal;

use super::{Meeting, is_over};
use crate::support::backend::{Backend, service};
use crate::support::client::{Client, get};
use crate::support::etcd::{Etcd, free_port};
use crate::support::gogeta::Gogeta;
use crate::support::netns::Namespace;
use crate::support::wait::until;

fn free() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

/// So many connections, one after the other, are answered.
async fn all_are_served(proxy: SocketAddr, count: usize) {
    for _ in 0..count {
        assert_eq!(get(proxy, "a.test", "/").await.text(), "a");
    }
}

async fn is_closed(address: SocketAddr) {
    until("connections to be refused", async || {
        let error = TcpStream::connect(address).err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    })
    .await;
}

#[tokio::test]
async fn fewer_threads_and_more_take_over_all_queues() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let mut old = meeting.routes(&routes).args(["--threads", "4"]).start().await;
    for threads in ["1", "6", "2"] {
        let new = meeting.next(&old, &routes).args(["--threads", threads]).start().await;
        is_over(old).await;
        // The kernel spreads them over all sockets that there are: one without a thread would not answer.
        all_are_served(new.proxy, 40).await;
        old = new;
    }
    let proxy = old.proxy;
    old.signal(Signal::TERM);
    assert_eq!(old.wait().await.code(), Some(0));
    is_closed(proxy).await;
}

#[tokio::test]
async fn what_the_new_one_does_not_listen_to_is_closed_and_what_is_new_is_opened() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let [both, before, after] = [free(), free(), free()];
    let old = meeting.routes(&routes).arg(format!("--listen={both},{before}")).start().await;
    let admin = old.admin;
    let new = meeting.routes(&routes).arg(format!("--listen={after},{both}")).start().await;
    assert_ne!(new.admin, admin, "it has asked for another one");
    is_over(old).await;
    for address in [both, after] {
        all_are_served(address, 8).await;
    }
    is_closed(before).await;
    is_closed(admin).await;
}

#[tokio::test]
async fn an_inherited_socket_is_taken_over_and_left_open() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let inherited = listener.try_clone().expect("a copy");
    let old = meeting.meets(Gogeta::routes(&routes).inherits(inherited, "exec \"$@\"").arg("--listen=fd:0"));
    let old = old.start().await;
    let mut new = meeting.next(&old, &routes).start().await;
    is_over(old).await;
    all_are_served(new.proxy, 8).await;
    new.signal(Signal::TERM);
    assert_eq!(new.wait().await.code(), Some(0));
    // Whoever opened it still has it, and it lets people in.
    let mut client = Client::connect(new.proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let inherited = listener.try_clone().expect("a copy");
    let next = Gogeta::routes(&routes).inherits(inherited, "exec \"$@\"").arg("--listen=fd:0").start().await;
    assert_eq!(client.reply().await.text(), "a");
    assert_eq!(next.proxy, new.proxy);
}

#[tokio::test]
async fn whoever_waits_in_a_queue_is_served_by_the_new_one() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let old = meeting.routes(&routes).args(["--max-connections", "1", "--threads", "1"]).start().await;
    let mut first = Client::connect(old.proxy).await;
    assert_eq!(first.get("a.test", "/").await.status, 200);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(old.proxy).await;
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        waiting.push(client);
    }
    assert!(waiting.iter_mut().all(|client| !client.has_something()), "there is no place for them");
    let _new = meeting.next(&old, &routes).start().await;
    for client in &mut waiting {
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.keeps()), (200, true), "it is not one that ends who serves them");
    }
    is_over(old).await;
}

#[tokio::test]
async fn a_gogeta_in_another_network_namespace_is_told_that_it_would_hear_nobody() {
    let Some(elsewhere) = Namespace::new() else { return };
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let old = meeting.routes(&routes).start().await;
    let new = meeting.next(&old, &routes).on(&elsewhere);
    new.said().await.badly(1, &["--upgrade-socket", "another network namespace"]);
    all_are_served(old.proxy, 2).await;
}

#[tokio::test]
async fn a_new_one_that_dies_before_it_is_ready_takes_nobody_along_who_waits() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let Some(absent) = Etcd::absent() else { return };
    let routes = service("a.test", &[backend.port]);
    let old = meeting.routes(&routes).args(["--threads", "1"]).start().await;
    // It has more threads, and so sockets of its own at the same address: nobody may be in their queues yet.
    let mut new = meeting.etcd(&old, &absent).args(["--threads", "8"]).spawn();
    old.log_has("another gogeta is about to take over").await;
    new.log_has("this one is ready to take over").await;
    all_are_served(old.proxy, 40).await;
    new.signal(Signal::KILL);
    new.wait().await;
    all_are_served(old.proxy, 40).await;
}
