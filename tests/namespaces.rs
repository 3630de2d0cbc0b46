//! The hosts and cables that other tests are made of: they are there, can be pulled, and leave nothing behind.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::support::netns::{Namespace, connect};
use crate::support::wait::until;

#[tokio::test]
async fn hosts_reach_each_other_until_their_cable_is_pulled() {
    let (Some(client), Some(server)) = (Namespace::new(), Namespace::new()) else { return };
    let (_, address) = connect(&client, &server).await;
    let listener = server.enter(|| TcpListener::bind((address, 0))).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let reach = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok();
    assert!(client.enter(reach));
    assert!(!Namespace::host().enter(reach), "nobody else does");
    server.cut();
    assert!(!client.enter(reach));
    server.mend().await;
    // Whoever looked for the other meanwhile looks again after a second (ARP).
    until("they reach each other again", async || client.enter(reach).then_some(())).await;
}

#[tokio::test]
async fn a_test_that_panics_leaves_nothing_behind() {
    let Some(host) = Namespace::new() else { return };
    let (address, _) = connect(&Namespace::host(), &host).await;
    // An address can be bound for as long as it is some cable's.
    let is_linked = || TcpListener::bind((address, 0)).is_ok();
    assert!(is_linked());
    let place = host.place().clone();
    let status = async || place.command("true").status().await.expect("ip runs");
    assert!(status().await.success());
    let panicked = std::thread::spawn(move || {
        let _host = host;
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panicked.join().is_err());
    assert!(!status().await.success());
    assert!(!is_linked(), "its cable is gone, too");
}
