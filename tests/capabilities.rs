//! The capabilities that docs/security.md names: each set is enough, and none of it can be left out. And the ways to
//! them: of the service, of the file, of root that becomes another user.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, geteuid};

use gogeta::splice::Kinds;

use crate::support::backend::{Backend, service};
use crate::support::client::get;
use crate::support::etcd::skip;
use crate::support::gogeta::{Builder, Gogeta};
use crate::support::netns::Namespace;
use crate::support::parking::{Beyond, carries};
use crate::support::wait::until;

const DOCUMENT: &str = include_str!("../docs/security.md");

/// A user and a group that nobody has.
const USER: &str = "54321";
const GROUP: &str = "54322";

/// What the document says that this takes, without `CAP_`.
fn taken(row: &str) -> Vec<String> {
    let begin = format!("| {row} | ");
    let line =
        DOCUMENT.lines().find_map(|line| line.strip_prefix(&begin)).expect("the document has that row");
    let names = line.split('`').skip(1).step_by(2);
    names.map(|name| name.strip_prefix("CAP_").expect("a capability").to_lowercase()).collect()
}

/// These capabilities and no others, as setpriv takes it.
fn only(capabilities: &[String]) -> String {
    capabilities.iter().fold("-all".to_owned(), |set, name| format!("{set},+{name}"))
}

/// A command that becomes a user with these capabilities and no others.
fn user_with(capabilities: &[String]) -> Vec<String> {
    let set = only(capabilities);
    let fixed = ["setpriv", "--reuid", USER, "--regid", GROUP, "--clear-groups"].map(str::to_owned);
    let sets = ["inh-caps", "ambient-caps", "bounding-set"].map(|flag| format!("--{flag}={set}"));
    fixed.into_iter().chain(sets).collect()
}

/// A command that stays root, with these capabilities and no others.
fn root_with(capabilities: &[String]) -> Vec<String> {
    vec!["setpriv".to_owned(), format!("--bounding-set={}", only(capabilities))]
}

/// The whole set, and each that lacks one.
fn lacking(all: &[String]) -> impl Iterator<Item = (&String, Vec<String>)> {
    all.iter().map(|one| (one, all.iter().filter(|other| *other != one).cloned().collect()))
}

/// Whether this is root, and the programs are there.
fn can() -> bool {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if geteuid().is_root() && has("setpriv") && has("setcap") {
        return true;
    }
    skip("it takes root, setpriv of util-linux and setcap of libcap2-bin");
    false
}

/// And whether the kernel lets root load an engine.
fn can_load() -> bool {
    if !can() {
        return false;
    }
    let kinds = Kinds { sockmap: true, wire: false };
    gogeta::splice::Engine::load(1, false, kinds).map_err(|why| skip(&why.to_string())).is_ok()
}

#[tokio::test]
async fn userspace_takes_none() {
    if !can() {
        return;
    }
    assert_eq!(taken("serve in userspace: `--splice off`"), ["--splice off"; 0]);
    let web = Backend::named("web").await;
    let builder = Gogeta::routes(&service("a.test", &[web.port])).by(&user_with(&[]));
    let gogeta = builder.args(["--splice", "off", "--sandbox", "on"]).start().await;
    gogeta.has_nothing_left();
    assert_eq!(gogeta.of_threads("CapBnd"), BTreeSet::from(["0000000000000000".to_owned()]));
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
}

#[tokio::test]
async fn sockmap_takes_what_is_written_and_nothing_less() {
    if !can_load() {
        return;
    }
    let all = taken("`--splice sockmap`");
    assert_eq!(all.len(), 2);
    let web = Backend::named("web").await;
    let with = |set: &[String]| {
        let builder = Gogeta::routes(&service("a.test", &[web.port])).by(&user_with(set));
        builder.args(["--splice", "sockmap", "--sandbox", "on"])
    };
    let gogeta = with(&all).start().await;
    gogeta.has_nothing_left();
    carries(&gogeta, "web").await;
    for (one, others) in lacking(&all) {
        let builder = with(&others).args(["--listen", "127.0.0.1:0", "--admin", "off"]);
        let said = builder.said().await.badly(1, &["--splice sockmap cannot be: ", "not permitted"]);
        assert!(!said.err.contains("gogeta is up"), "without {one}: {said:?}");
    }
}

#[tokio::test]
async fn wire_takes_what_is_written_and_nothing_less() {
    if !can_load() {
        return;
    }
    let Some(beyond) = Beyond::new("web").await else { return };
    let all = taken("`--splice wire`");
    assert_eq!(all.len(), 2);
    let with = |set: &[String]| beyond.gogeta(&user_with(set)).args(["--splice", "wire", "--sandbox", "on"]);
    for (one, others) in lacking(&all) {
        let said = with(&others).said().await.badly(1, &["--splice wire cannot be: ", "not permitted"]);
        assert!(!said.err.contains("gogeta is up"), "without {one}: {said:?}");
    }
    let gogeta = with(&all).start().await;
    gogeta.has_nothing_left();
    carries(&gogeta, "web").await;
}

#[tokio::test]
async fn a_low_port_takes_what_is_written() {
    if !can() {
        return;
    }
    // In a new one the first port that anybody may have is 1024.
    let Some(host) = Namespace::new() else { return };
    let all = taken("listen on a port below 1024");
    let with = |set: &[String]| {
        let builder = Gogeta::routes("").by(&user_with(set)).on(&host).args(["--splice", "off"]);
        builder.args(["--listen", "127.0.0.1:81", "--admin", "off"])
    };
    for (_, others) in lacking(&all) {
        with(&others).said().await.badly(1, &["127.0.0.1:81", "ermission denied"]);
    }
    let gogeta = with(&all).start().await;
    gogeta.has_nothing_left();
}

#[tokio::test]
async fn capabilities_of_the_file_are_enough_for_another_user() {
    if !can_load() {
        return;
    }
    let web = Backend::named("web").await;
    let command: Vec<String> =
        ["setpriv", "--reuid", USER, "--regid", GROUP, "--clear-groups"].map(str::to_owned).into();
    let builder = Gogeta::routes(&service("a.test", &[web.port])).by(&command);
    let set = |what: &str| Command::new("setcap").arg(what).arg(builder.copy()).output().expect("it runs");
    let outcome = set("cap_bpf,cap_net_admin+ep");
    if !outcome.status.success() {
        // Where temporary files are, there are no extended attributes.
        return skip(&String::from_utf8_lossy(&outcome.stderr));
    }
    let gogeta = builder.args(["--splice", "sockmap", "--sandbox", "on"]).start().await;
    assert_eq!(gogeta.of_threads("Uid"), BTreeSet::from([[USER; 4].join("\t")]));
    gogeta.has_nothing_left();
    carries(&gogeta, "web").await;
    // What a process of this kind has of itself is closed to it by others' rules, not by the kernel's.
    gogeta.signal(Signal::HUP);
    gogeta.log_has("the configuration is read anew").await;
}

/// Root's gogeta that becomes the user, with a state directory and an access log in this folder.
fn becoming(builder: Builder, folder: &Path, set: &[String]) -> Builder {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let builder = builder.by(&root_with(set)).args(["--user", &format!("{USER}:{GROUP}"), "--splice", "off"]);
    let builder = builder.arg("--access-log").arg(folder.join("access.log"));
    builder.arg("--state-dir").arg(folder.join("state"))
}

#[tokio::test]
async fn root_becomes_the_user_who_then_owns_what_is_written() {
    if !can() {
        return;
    }
    let web = Backend::named("web").await;
    let all = taken("`--user`, and the state directory or the access log are root's still");
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let builder = || becoming(Gogeta::routes(&service("a.test", &[web.port])), folder.path(), &all);
    let (state, other) = (folder.path().join("state"), folder.path().join("others"));
    std::fs::write(&other, "").expect("it is written");
    // A run as root leaves these.
    let leave = || {
        let _ = std::fs::remove_file(&log);
        let _ = std::fs::remove_dir_all(&state);
        std::fs::write(&log, "").expect("it is written");
        std::fs::create_dir(&state).expect("it is made");
        std::fs::write(state.join("routes.state"), "").expect("it is written");
        std::os::unix::fs::symlink(&other, state.join("link")).expect("it is made");
    };
    for (one, others) in lacking(&all) {
        leave();
        let builder = becoming(Gogeta::routes(""), folder.path(), &others);
        let said = builder.args(["--listen", "127.0.0.1:0", "--admin", "off"]).said().await;
        let said = said.badly(1, &["--user", "not permitted"]);
        assert!(!said.err.contains("gogeta is up"), "without {one}: {said:?}");
    }

    leave();
    let mut gogeta = builder().start().await;
    gogeta.has_nothing_left();
    assert_eq!(gogeta.of_threads("Uid"), BTreeSet::from([[USER; 4].join("\t")]));
    assert_eq!(gogeta.of_threads("Gid"), BTreeSet::from([[GROUP; 4].join("\t")]));
    assert_eq!(gogeta.of_threads("Groups"), BTreeSet::from([GROUP.to_owned()]));
    let owner = |path: &Path| std::fs::symlink_metadata(path).expect("it is there").uid().to_string();
    for path in [&log, &state, &state.join("routes.state")] {
        assert_eq!(owner(path), USER, "{}", path.display());
    }
    assert_eq!(owner(&other), "0", "nothing is given away through a link");
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
    let is_written = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("a.test"));
    until("the request is logged", async || is_written().then_some(())).await;
    gogeta.signal(Signal::HUP);
    gogeta.log_has("the configuration is read anew").await;
    assert_eq!(gogeta.lines_with("cannot"), Vec::<String>::new());
    gogeta.signal(Signal::TERM);
    assert!(gogeta.wait().await.success());
    // And once more, now that it is all given away.
    let again = builder().start().await;
    assert_eq!(again.lines_with("cannot"), Vec::<String>::new());
}

#[tokio::test]
async fn root_becomes_the_user_with_the_two_that_are_written() {
    if !can() {
        return;
    }
    let web = Backend::named("web").await;
    let all = taken("`--user`");
    let with = |set: &[String]| {
        let builder = Gogeta::routes(&service("a.test", &[web.port])).by(&root_with(set));
        builder.args(["--user", USER, "--splice", "off"])
    };
    for (one, others) in lacking(&all) {
        let said = with(&others).args(["--listen", "127.0.0.1:0", "--admin", "off"]).said().await;
        let said = said.badly(1, &["--user 54321 cannot be (it takes root)", "not permitted"]);
        assert!(!said.err.contains("gogeta is up"), "without {one}: {said:?}");
    }
    let gogeta = with(&all).start().await;
    gogeta.has_nothing_left();
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
}

#[tokio::test]
async fn what_the_user_cannot_read_is_an_error_at_start() {
    if !can() {
        return;
    }
    let builder = Gogeta::routes("");
    let token = builder.file("secrets/token", "0123456789abcdef0123456789abcdef");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    let builder = builder.by(&["env"]).args(["--user", USER, "--splice", "off", "--admin", "127.0.0.1:0"]);
    let builder = builder.args(["--listen", "127.0.0.1:0"]).arg("--admin-token-file").arg(&token);
    builder.said().await.badly(2, &["secrets/token", "--admin-token-file", "ermission denied"]);

    let said = Gogeta::routes("").args(["--user", "no-such-user", "--splice", "off"]);
    let said = said.args(["--listen", "127.0.0.1:0", "--admin", "off"]).said().await;
    said.badly(2, &["--user no-such-user", "no user"]);
}
