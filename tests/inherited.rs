//! Sockets that somebody else has opened: served by every thread, shared, and given back with nobody lost.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::support::backend::{Backend, service};
use crate::support::client::{Client, get};
use crate::support::gogeta::{Builder, Gogeta};
use crate::support::wait::until;

/// Shells' words: what is inherited becomes descriptor 3, and gogeta takes the shell's place.
const AS_FD_3: &str = "exec \"$@\" 3<&0 </dev/null";
/// The same, said as systemd says it. The process's number stays when gogeta takes the shell's place.
const AS_SYSTEMD_DOES: &str = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0 </dev/null";

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// A gogeta before the backend, on the socket.
fn on(listener: &TcpListener, backend: &Backend) -> Builder {
    let listener = listener.try_clone().expect("a copy");
    Gogeta::routes(&service("a.test", &[backend.port])).inherits(listener, AS_FD_3).arg("--listen=fd:3")
}

#[tokio::test]
async fn every_thread_serves_an_inherited_socket() {
    let (listener, address) = listener();
    let backend = Backend::named("a").await;
    let gogeta = on(&listener, &backend).start().await;
    assert_eq!(gogeta.proxy, address);
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(address).await;
        assert_eq!(client.get("a.test", "/").await.text(), "a");
        clients.push(client);
    }
    // One request after the other, so that each thread needs one connection.
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn standard_input_and_an_address_go_together() {
    let (listener, address) = listener();
    let backend = Backend::named("a").await;
    let gogeta = Gogeta::routes(&service("a.test", &[backend.port]))
        .inherits(listener, "exec \"$@\"")
        .arg("--listen=127.0.0.1:0,fd:0")
        .start()
        .await;
    assert_ne!(gogeta.proxy, address);
    for proxy in [gogeta.proxy, address] {
        assert_eq!(get(proxy, "a.test", "/").await.text(), "a");
    }
}

#[tokio::test]
async fn sockets_come_from_systemd() {
    let (listener, address) = listener();
    let backend = Backend::named("a").await;
    let routes = service("a.test", &[backend.port]);
    let passed = || Gogeta::routes(&routes).inherits(listener.try_clone().expect("a copy"), AS_SYSTEMD_DOES);
    let gogeta = passed().arg("--listen=systemd").start().await;
    assert_eq!(gogeta.proxy, address);
    assert_eq!(get(address, "a.test", "/").await.text(), "a");
    // The second time the variables are gone.
    fails(passed().arg("--listen=systemd,systemd"), &["systemd", "LISTEN_PID and LISTEN_FDS are not set"])
        .await;
}

#[tokio::test]
async fn what_systemd_says_is_believed_only_if_it_can_be() {
    let none = || Gogeta::routes("").arg("--listen=systemd");
    fails(none(), &["systemd", "LISTEN_FDS are not set"]).await;
    fails(none().env("LISTEN_PID", "1").env("LISTEN_FDS", "1"), &["systemd", "process 1"]).await;
    for (script, reason) in [
        ("LISTEN_PID=$$ LISTEN_FDS=0 exec \"$@\"", "\"0\""),
        ("LISTEN_PID=$$ LISTEN_FDS=many exec \"$@\"", "\"many\""),
        ("LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\" 3<&0", "fd:4 of systemd (--listen): no such descriptor"),
    ] {
        fails(none().inherits(listener().0, script), &["systemd", reason]).await;
    }
}

#[tokio::test]
async fn a_wrong_descriptor_is_told_by_what_is_wrong_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (listener, address) = listener();
    let rows: [(OwnedFd, &str); 5] = [
        (std::fs::File::open("/dev/null").expect("a file").into(), "it is not a socket"),
        (UdpSocket::bind("127.0.0.1:0").expect("a socket").into(), "it is a socket for UDP"),
        (UnixListener::bind(directory.path().join("s")).expect("a socket").into(), "it is a unix socket"),
        (TcpStream::connect(address).expect("a connection").into(), "it is a connection"),
        (bound_only(), "it does not listen"),
    ];
    for (descriptor, reason) in rows {
        let gogeta = Gogeta::routes("").inherits(descriptor, AS_FD_3).arg("--listen=fd:3");
        fails(gogeta, &["fd:3 (--listen)", reason]).await;
    }
    fails(Gogeta::routes("").arg("--listen=fd:77"), &["fd:77 (--listen)", "no such descriptor is open"])
        .await;
    fails(Gogeta::routes("").arg("--listen=fd:0"), &["fd:0 (--listen)", "it is not a socket"]).await;
    let twice = Gogeta::routes("").inherits(listener, AS_FD_3).arg("--listen=fd:3,fd:3");
    fails(twice, &["fd:3 (--listen)", "named twice"]).await;
    fails(Gogeta::routes("").arg("--listen=fd:x"), &["--listen", "\"x\" is no descriptor's number"]).await;
}

fn bound_only() -> OwnedFd {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    socket.as_fd().try_clone_to_owned().expect("a copy")
}

async fn fails(gogeta: Builder, words: &[&str]) {
    let output = gogeta.arg("--admin=off").run().await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
}

/// 16 clients, each of which connects anew for each request, until they are told to stop.
struct Crowd {
    answered: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Crowd {
    fn gather(proxy: SocketAddr) -> Self {
        let (answered, enough) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let client = |(answered, enough): (Arc<AtomicUsize>, Arc<AtomicBool>)| async move {
            while !enough.load(Ordering::SeqCst) {
                // Panics where it is refused, reset, or not answered.
                assert_eq!(get(proxy, "a.test", "/").await.status, 200);
                answered.fetch_add(1, Ordering::SeqCst);
            }
        };
        let clients = (0..16).map(|_| client((answered.clone(), enough.clone()))).collect();
        Self { answered, enough, clients }
    }

    async fn goes_on(&self) {
        let goal = self.answered.load(Ordering::SeqCst) + 200;
        until("200 more answers", async || (self.answered.load(Ordering::SeqCst) >= goal).then_some(()))
            .await;
    }

    async fn goes_home(self) {
        self.enough.store(true, Ordering::SeqCst);
        self.clients.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_over_the_same_socket_loses_nobody() {
    let (listener, address) = listener();
    let backend = Backend::named("a").await;
    let mut old = on(&listener, &backend).start().await;
    let crowd = Crowd::gather(address);
    crowd.goes_on().await;
    for _ in 0..3 {
        // As a supervisor does that starts the new one first.
        let new = on(&listener, &backend).start().await;
        old.signal(Signal::TERM);
        assert_eq!(old.wait().await.code(), Some(0));
        crowd.goes_on().await;
        old = new;
        // As systemd does: between the two, the kernel keeps those who come.
        old.signal(Signal::TERM);
        assert_eq!(old.wait().await.code(), Some(0));
        old = on(&listener, &backend).start().await;
        crowd.goes_on().await;
    }
    crowd.goes_home().await;
}

#[tokio::test]
async fn who_cannot_be_taken_in_waits_for_the_next_one() {
    let (listener, address) = listener();
    let backend = Backend::named("a").await;
    let mut full = on(&listener, &backend).args(["--max-connections", "1"]).start().await;
    let mut first = Client::connect(address).await;
    assert_eq!(first.get("a.test", "/").await.status, 200);
    let mut second = Client::connect(address).await;
    second.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    full.signal(Signal::TERM);
    assert_eq!(full.wait().await.code(), Some(0));
    assert!(!second.has_something(), "it is still waiting");
    let _next = on(&listener, &backend).start().await;
    assert_eq!(second.reply().await.status, 200);
}

#[tokio::test]
async fn a_socket_that_nobody_else_has_is_closed() {
    let (listener, address) = listener();
    let backend = Backend::named("a").await;
    let mut gogeta = on(&listener, &backend).start().await;
    drop(listener);
    let mut client = Client::connect(address).await;
    assert_eq!(client.get("a.test", "/").await.status, 200);
    gogeta.signal(Signal::TERM);
    until("connections to be refused", async || {
        let refused = TcpStream::connect(address).err()?;
        (refused.kind() == ErrorKind::ConnectionRefused).then_some(())
    })
    .await;
    assert_eq!(gogeta.wait().await.code(), Some(0));
}
