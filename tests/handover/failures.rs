//! Where the new one does not come so far, and where the old one does not.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::{Signal, geteuid};

use super::{Meeting, is_over};
use crate::support::backend::{Backend, service};
use crate::support::client::{Client, get};
use crate::support::etcd::{Etcd, skip};
use crate::support::gogeta::Gogeta;

/// It runs, as if nothing had been, and the next upgrade is well.
async fn goes_on(meeting: &Meeting, mut old: Gogeta, routes: &str) {
    old.ready().await;
    assert_eq!(get(old.proxy, "a.test", "/").await.text(), "a");
    let new = meeting.next(&old, routes).start().await;
    assert_eq!(old.wait().await.code(), Some(0));
    assert_eq!(get(new.proxy, "a.test", "/").await.text(), "a");
}

#[tokio::test]
async fn a_new_one_that_cannot_start_changes_nothing() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let old = meeting.routes(&routes).start().await;
    let mut kept = Client::connect(old.proxy).await;
    assert!(kept.get("a.test", "/").await.keeps());
    // What is wrong before it asks, and behind that.
    let wrong = meeting.next(&old, "[[domain]\n");
    wrong.said().await.badly(2, &["routes.toml"]);
    assert!(!old.log().contains("take over"), "{}", old.log());
    let wrong = meeting.next(&old, &routes).args(["--access-log", "/nowhere/at/all"]);
    wrong.said().await.badly(1, &["/nowhere/at/all"]);
    old.log_has("has gone before it was ready; this one goes on").await;
    assert!(kept.get("a.test", "/").await.keeps(), "nobody was told to go");
    goes_on(&meeting, old, &routes).await;
}

#[tokio::test]
async fn a_new_one_without_routes_gives_up_in_time() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let Some(absent) = Etcd::absent() else { return };
    let routes = service("a.test", &[backend.port]);
    let old = meeting.routes(&routes).start().await;
    let new = meeting.etcd(&old, &absent).args(["--upgrade-timeout", "300ms"]);
    new.said().await.badly(
        1,
        &["cannot take over", "--upgrade-socket", "this one has no routes yet", "--upgrade-timeout"],
    );
    old.log_has("this one goes on").await;
    goes_on(&meeting, old, &routes).await;
}

#[tokio::test]
async fn a_new_one_that_takes_too_long_is_not_waited_for() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let Some(absent) = Etcd::absent() else { return };
    let routes = service("a.test", &[backend.port]);
    let old = meeting.routes(&routes).args(["--upgrade-timeout", "2s"]).start().await;
    let mut late = meeting.etcd(&old, &absent).spawn();
    old.log_has("it was not ready within 2 s (--upgrade-timeout)").await;
    // It has its own time, and ends with it. The next one does not wait for that.
    goes_on(&meeting, old, &routes).await;
    late.signal(Signal::KILL);
    late.wait().await;
}

#[tokio::test]
async fn a_new_one_that_is_killed_before_it_is_ready_changes_nothing() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let Some(absent) = Etcd::absent() else { return };
    let routes = service("a.test", &[backend.port]);
    let old = meeting.routes(&routes).start().await;
    let mut new = meeting.etcd(&old, &absent).spawn();
    old.log_has("another gogeta is about to take over").await;
    new.signal(Signal::KILL);
    new.wait().await;
    old.log_has("has gone before it was ready; this one goes on").await;
    goes_on(&meeting, old, &routes).await;
}

/// An etcd that has routes, and does not run.
async fn with_routes_and_away(port: u16) -> Option<Etcd> {
    let mut etcd = Etcd::start().await?;
    etcd.locate("a", "1", port).await;
    etcd.status("a", "1", ["started", "started", "1"]).await;
    etcd.route("a.test", "a").await;
    etcd.kill().await;
    Some(etcd)
}

/// A client that waits in the queue, which is the new one's, and then etcd, which that one waits for.
async fn early(etcd: &mut Etcd, proxy: SocketAddr) -> Client {
    let mut client = Client::connect(proxy).await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    etcd.restart().await;
    client
}

#[tokio::test]
async fn an_old_one_that_is_killed_in_the_midst_is_succeeded_all_the_same() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let Some(mut etcd) = with_routes_and_away(backend.port).await else { return };
    let mut old = meeting.routes(&service("a.test", &[backend.port])).start().await;
    // It has no routes until there is etcd.
    let new = meeting.etcd(&old, &etcd).start();
    let dies = async {
        old.log_has("another gogeta is about to take over").await;
        old.signal(Signal::KILL);
        old.wait().await;
        early(&mut etcd, old.proxy).await
    };
    let (new, mut early) = tokio::join!(new, dies);
    assert_eq!(early.reply().await.status, 200);
    new.log_has("the other gogeta has ended by itself").await;
}

#[tokio::test]
async fn an_old_one_that_is_stopped_in_the_midst_leaves_its_sockets_open() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let Some(mut etcd) = with_routes_and_away(backend.port).await else { return };
    let mut old = meeting.routes(&service("a.test", &[backend.port])).start().await;
    let new = meeting.etcd(&old, &etcd).start();
    let ends = async {
        old.log_has("another gogeta is about to take over").await;
        old.signal(Signal::TERM);
        assert_eq!(old.wait().await.code(), Some(0));
        early(&mut etcd, old.proxy).await
    };
    let (new, mut early) = tokio::join!(new, ends);
    assert_eq!(early.reply().await.status, 200);
    assert_eq!(get(new.proxy, "a.test", "/").await.text(), "a");
}

#[tokio::test]
async fn a_second_upgrade_at_the_same_time_is_told_so() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let Some(absent) = Etcd::absent() else { return };
    let routes = service("a.test", &[backend.port]);
    let old = meeting.routes(&routes).start().await;
    let mut first = meeting.etcd(&old, &absent).spawn();
    old.log_has("another gogeta is about to take over").await;
    let second = meeting.next(&old, &routes);
    let why = format!("another upgrade is under way, by process {}", first.pid());
    second.said().await.badly(1, &["--upgrade-socket", &why]);
    first.signal(Signal::KILL);
    first.wait().await;
    old.log_has("has gone before it was ready").await;
    goes_on(&meeting, old, &routes).await;
}

#[tokio::test]
async fn what_a_dead_one_has_left_is_no_obstacle() {
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let mut old = meeting.routes(&routes).start().await;
    old.signal(Signal::KILL);
    old.wait().await;
    let new = meeting.next(&old, &routes).start().await;
    assert_eq!(get(new.proxy, "a.test", "/").await.text(), "a");
    let next = meeting.next(&new, &routes).start().await;
    is_over(new).await;
    assert_eq!(get(next.proxy, "a.test", "/").await.text(), "a");
}

#[tokio::test]
async fn a_path_that_cannot_be_is_told_by_the_flag() {
    let meeting = Meeting::new();
    std::fs::write(meeting.path(), "text").expect("it is written");
    meeting
        .routes("")
        .args(["--listen", "127.0.0.1:0", "--admin", "off"])
        .said()
        .await
        .badly(1, &["--upgrade-socket", "is not a socket"]);
    let nowhere = Gogeta::routes("").args(["--upgrade-socket", "/nowhere/at/all"]);
    nowhere
        .args(["--listen", "127.0.0.1:0", "--admin", "off"])
        .said()
        .await
        .badly(1, &["/nowhere/at/all (--upgrade-socket)", "No such file"]);
}

#[tokio::test]
async fn one_that_does_not_answer_is_not_waited_for_for_ever() {
    let meeting = Meeting::new();
    let _mute = std::os::unix::net::UnixListener::bind(meeting.path()).expect("a socket");
    let args = ["--listen", "127.0.0.1:0", "--admin", "off"];
    meeting.routes("").args(args).said().await.badly(1, &["--upgrade-socket", "does not answer within 5 s"]);
}

/// Somebody else.
macro_rules! user {
    ($number:literal) => {
        &["setpriv", "--reuid", $number, "--regid", $number, "--clear-groups"]
    };
}

#[tokio::test]
async fn another_user_gets_nothing() {
    if !geteuid().is_root() {
        return skip("it takes root to be somebody else");
    }
    let (backend, meeting) = (Backend::named("a").await, Meeting::new());
    let routes = service("a.test", &[backend.port]);
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is root's");
    };
    open(meeting.0.path(), 0o777);
    let old = meeting.routes(&routes).start().await;
    let new = meeting.next(&old, &routes).by(user!("65534"));
    new.said().await.badly(1, &["--upgrade-socket", "Permission denied", "as the same user"]);
    // Not even where everybody may connect: the system says who it is.
    open(&meeting.path(), 0o777);
    let new = meeting.next(&old, &routes).by(user!("65534"));
    new.said().await.badly(1, &["it runs as user 0, and does not hand its sockets over to user 65534"]);
    goes_on(&meeting, old, &routes).await;

    // Nor does anybody take sockets of somebody who could listen along.
    let meeting = Meeting::new();
    open(meeting.0.path(), 0o777);
    let mut old = meeting.routes(&routes).by(user!("65534")).start().await;
    open(&meeting.path(), 0o777);
    let new = meeting.next(&old, &routes).by(user!("65533"));
    new.said().await.badly(1, &["it is user 65534's, and this one runs as user 65533"]);
    assert!(!old.log().contains("about to take over"), "{}", old.log());
    // The same user may, and so may root.
    for who in [user!("65534"), &["setpriv"][..]] {
        let new = meeting.next(&old, &routes).by(who).start().await;
        is_over(old).await;
        assert_eq!(get(new.proxy, "a.test", "/").await.text(), "a");
        old = new;
    }
}
