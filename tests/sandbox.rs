//! What gogeta can still do once it is up: to serve, with all that belongs to it, and nothing else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use gogeta::cli::{Options, ResolverType, SandboxMode};
use gogeta::config::Config;
use gogeta::privilege;
use gogeta::sandbox::{self, Holds, Needs};
use gogeta::splice::{Engine, Kinds};

use crate::support::backend::Backend;
use crate::support::client::{Client, get, request};
use crate::support::etcd::{Etcd, skip};
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_with};
use crate::support::wait::until;

/// Makes a process of these tests the prisoner, who tries to get out: the folder that is open to him.
const PRISONER: &str = "GOGETA_TEST_PRISONER";

/// Enters the sandbox of a gogeta that may write in this folder.
fn enter(folder: &Path, mode: SandboxMode) -> Result<Holds, String> {
    let options = Options {
        resolver_type: Some(ResolverType::Dummy),
        state_dir: Some(folder.to_owned()),
        cpu_profile: Some(folder.join("profile")),
        sandbox: Some(mode),
        ..Options::default()
    };
    let config = Config::try_from(options).expect("good options");
    let process = std::process::id();
    sandbox::enter(&config, Needs { process, local: false, maps: true, links: true })
}

/// That something failed for the sandbox, and not for want of what it is about.
#[track_caller]
fn refused<T>(what: &str, outcome: Result<T, impl Into<io::Error>>) {
    match outcome.map_err(Into::into) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => panic!("{what}: another error: {error}"),
        Ok(_) => panic!("{what} can be done"),
    }
}

fn nix<T>(outcome: nix::Result<T>) -> io::Result<T> {
    outcome.map_err(io::Error::from)
}

/// Says that the kernel does not keep anybody in.
const FREE: &str = "there is no prison";

/// In a process of his own.
fn prisoner(folder: &Path) {
    // What could be done before, so that what fails then fails for the sandbox.
    let outside = tempfile::tempdir().expect("a folder");
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").expect("it is written");
    let program = folder.join("program");
    fs::write(&program, "#!/bin/sh\n").expect("it is written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    assert!(Command::new("true").status().is_ok_and(|status| status.success()));
    let parent =
        Pid::from_raw(i32::try_from(std::os::unix::process::parent_id()).expect("a pid")).expect("a pid");
    rustix::process::test_kill_process(parent).expect("it can be signalled");

    privilege::give_up().expect("anybody may");
    let holds = match enter(folder, SandboxMode::On) {
        Ok(holds) => holds,
        #[expect(clippy::print_stdout, reason = "the test that has started this one reads it")]
        Err(why) => return println!("{FREE}: {why}"),
    };
    assert!(holds.seccomp && holds.landlock.is_some(), "{holds}");

    refused("a process", Command::new("true").status());
    refused("a process", Command::new(&program).status());
    refused("another program", Err::<(), _>(Command::new("true").exec()));
    refused("reading a file", File::open(&secret));
    refused("reading the users' secrets", File::open("/etc/shadow"));
    refused("listing a folder", fs::read_dir(outside.path()));
    refused("writing a file", File::options().append(true).open(&secret));
    refused("making a file", File::create(outside.path().join("new")));
    refused("removing a file", fs::remove_file(&secret));
    refused("renaming a file", fs::rename(&secret, folder.join("mine")));
    refused("cutting a file", File::options().write(true).truncate(true).open(&secret));
    refused("opening a file to others", fs::set_permissions(&secret, fs::Permissions::from_mode(0o777)));
    refused("giving a file away", std::os::unix::fs::chown(&program, Some(1), None));
    refused("a link", std::os::unix::fs::symlink(&secret, folder.join("link")));
    refused("a hard link", fs::hard_link(&program, folder.join("link")));
    refused("the memory of another process", File::open(format!("/proc/{}/mem", parent.as_raw_nonzero())));
    refused("a signal", kill_process(parent, Signal::CONT));
    refused("a trace", nix(nix::sys::ptrace::traceme()));
    let (mut here, address) = ([0_u8; 1], nix::sys::uio::RemoteIoVec { base: 0x1000, len: 1 });
    let own = nix::unistd::Pid::this();
    let local = &mut [io::IoSliceMut::new(&mut here)];
    refused("memory by its address", nix(nix::sys::uio::process_vm_readv(own, local, &[address])));
    let none: Option<&str> = None;
    let flags = nix::mount::MsFlags::MS_BIND;
    refused("a mount", nix(nix::mount::mount(Some(folder), outside.path(), none, flags, none)));
    refused("a namespace", nix(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)));
    for family in [AddressFamily::PACKET, AddressFamily::VSOCK, AddressFamily::from_raw(38)] {
        refused("a socket of another family", rustix::net::socket(family, SocketType::STREAM, None));
    }
    let local = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None);
    assert_eq!(local.expect_err("it has a path"), rustix::io::Errno::NOSYS);
    let why = Engine::load(1, false, Kinds { sockmap: true, wire: false }).expect_err("no map can be made");
    assert!(why.to_string().contains("not permitted"), "{why}");

    // And this can be done.
    let mine = folder.join("mine");
    fs::write(&mine, "mine").expect("it is written");
    fs::rename(&mine, folder.join("other")).expect("it is renamed");
    assert_eq!(fs::read_to_string(folder.join("other")).expect("it is there"), "mine");
    fs::remove_file(folder.join("other")).expect("it is removed");
    std::thread::spawn(|| File::open(secret).expect_err("nor by a thread")).join().expect("it ends");
    rustix::process::test_kill_process(rustix::process::getpid()).expect("oneself can be signalled");
    assert!(std::net::ToSocketAddrs::to_socket_addrs("localhost:80").expect("a name").next().is_some());
}

#[test]
fn who_is_within_gets_at_nothing_that_he_was_not_given() {
    if let Some(folder) = std::env::var_os(PRISONER) {
        return prisoner(Path::new(&folder));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let own = "sandbox::who_is_within_gets_at_nothing_that_he_was_not_given";
    let mut again = Command::new(std::env::current_exe().expect("it has a name"));
    let outcome =
        again.args(["--exact", own, "--nocapture"]).env(PRISONER, folder.path()).output().expect("it runs");
    let [out, err] = [&outcome.stdout, &outcome.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(outcome.status.success() && out.contains("1 passed"), "{out}{err}");
    if out.contains(FREE) {
        skip(&out);
    }
}

#[tokio::test]
async fn all_that_belongs_to_serving_goes_on_within_it() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let [web, other] = [Backend::named("web").await, Backend::named("other").await];
    etcd.locate("web", "1", web.port).await;
    etcd.route("a.test", "web").await;
    let builder = Gogeta::bare().args(["--etcd-address", &format!("http://localhost:{}", etcd.port())]);
    let page = builder.file("templates/notfound.html", "first");
    let log = builder.file("logs/access.log", "");
    let profile = builder.file("profiles/cpu.pb", "");
    let state = page.with_file_name("../state");
    let builder =
        builder.arg("--template-dir").arg(page.parent().expect("a folder")).arg("--state-dir").arg(&state);
    let builder = builder.arg("--access-log").arg(&log).arg("--cpu-profile").arg(&profile);
    // It profiles from the start.
    let Some(mut gogeta) = parking_with(builder).await else { return };
    gogeta.has_nothing_left();
    gogeta.ready().await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.get("a.test", "/").await;
    parked(&gogeta, 1.0).await;
    assert_eq!(client.get("a.test", "/").await.text(), "web");

    // etcd, by its name; an instance that was not there before, and its pairs.
    etcd.kill().await;
    gogeta.log_has("etcd").await;
    etcd.restart().await;
    etcd.locate("other", "1", other.port).await;
    etcd.route("b.test", "other").await;
    until("the new route is served", async || {
        (get(gogeta.proxy, "b.test", "/").await.text() == "other").then_some(())
    })
    .await;
    let mut client = Client::connect(gogeta.proxy).await;
    client.get("b.test", "/").await;
    parked(&gogeta, 2.0).await;
    assert_eq!(client.get("b.test", "/").await.text(), "other");
    assert_eq!(carried(&gogeta).await, 2.0);
    until("the routes are kept", async || {
        fs::read_to_string(state.join("routes.state")).is_ok_and(|text| text.contains("b.test")).then_some(())
    })
    .await;

    // What operators ask for.
    gogeta.signal(Signal::USR1);
    gogeta.log_has("the state of every task").await;
    fs::rename(&log, log.with_extension("old")).expect("it is moved");
    gogeta.signal(Signal::HUP);
    until("the access log is opened anew", async || log.exists().then_some(())).await;
    fs::write(&page, "second").expect("it is written");
    until("the page is the new one", async || {
        let raw = "GET / HTTP/1.1\r\nHost: nobody.test\r\nAccept: text/html\r\nConnection: close\r\n\r\n";
        (request(gogeta.proxy, raw).await.text() == "second").then_some(())
    })
    .await;
    gogeta.signal(Signal::USR2);
    gogeta.log_has("the CPU profile is written").await;
    assert!(fs::metadata(&profile).is_ok_and(|profile| profile.len() > 0));
    gogeta.has_nothing_left();
    gogeta.signal(Signal::TERM);
    assert!(gogeta.wait().await.success());
    let refused = gogeta.lines_with("denied").into_iter().chain(gogeta.lines_with("not permitted"));
    assert_eq!(refused.collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test]
async fn files_that_are_replaced_are_read_anew_and_what_was_not_named_is_told_by_its_flag() {
    let builder = Gogeta::bare().args(["--resolver-type", "Dummy"]);
    // As Kubernetes does it: a link to a folder of this version, which a link leads to.
    let one = builder.file("told/..1/gogeta.toml", "via = \"one\"\n");
    let told = one.parent().and_then(Path::parent).expect("a folder").to_owned();
    let link = |version: &str| {
        let fresh = told.join("..fresh");
        std::os::unix::fs::symlink(version, &fresh).expect("it is made");
        fs::rename(fresh, told.join("..data")).expect("it is replaced");
    };
    link("..1");
    std::os::unix::fs::symlink("..data/gogeta.toml", told.join("gogeta.toml")).expect("it is made");
    let page = builder.file("elsewhere/templates/notfound.html", "new");
    let token = builder.file("elsewhere/token", "0123456789abcdef0123456789abcdef");
    let profile = builder.file("profiles/cpu.pb", "");
    let builder = builder.arg("--config").arg(told.join("gogeta.toml")).arg("--cpu-profile").arg(profile);
    let gogeta = builder.args(["--sandbox", "auto"]).start().await;
    let version = |name: &str, text: &str| {
        fs::create_dir(told.join(name)).expect("it is made");
        fs::write(told.join(name).join("gogeta.toml"), text).expect("it is written");
        link(name);
        gogeta.signal(Signal::HUP);
    };
    let shows = async |name: &str, value: &str| {
        let flags = get(gogeta.admin, "localhost", "/api/config").await.text();
        flags.contains(&format!("\"{name}\":\"{value}\""))
    };
    version("..2", "via = \"two\"\n");
    until("the new file is in force", async || shows("via", "two").await.then_some(())).await;

    version("..3", &format!("via = \"three\"\nadmin-token-file = {token:?}\n"));
    gogeta.log_has("the configuration stays as it was").await;
    let folder = page.parent().expect("a folder");
    version("..4", &format!("via = \"four\"\ntemplate-dir = {folder:?}\n"));
    until("both are told", async || {
        (gogeta.lines_with("the configuration stays as it was").len() == 2).then_some(())
    })
    .await;
    for (flag, path) in [("--admin-token-file", token.as_path()), ("--template-dir", folder)] {
        let lines = gogeta.lines_with(flag);
        let path = path.to_str().expect("a name");
        assert!(
            lines.len() == 1 && lines[0].contains(path) && lines[0].contains("restart gogeta"),
            "{lines:?}"
        );
    }
    assert!(shows("via", "two").await, "nothing is lost");
}

/// Becomes another program, to which the kernel says that it does not know this system call.
const WITHOUT: &str = "
import ctypes, os, struct, sys
number, error = int(sys.argv[1]), 38
code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | error), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in code))
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('steps', ctypes.c_void_p)]
call = ctypes.CDLL(None, use_errno=True).prctl
if call(38, 1, 0, 0, 0) or call(22, 2, ctypes.byref(Program(4, ctypes.addressof(code)))):
    sys.exit('no filter')
os.execv(sys.argv[2], sys.argv[2:])
";

/// Their numbers are the same on all processors, or not.
const LANDLOCK: &str = "444";
const SECCOMP: &str = if cfg!(target_arch = "aarch64") { "277" } else { "317" };

#[tokio::test]
async fn what_the_kernel_does_not_have_is_said_and_missed_only_where_it_was_asked_for() {
    for (call, name, status) in [
        (LANDLOCK, "no Landlock", "system calls (seccomp), no Landlock"),
        (SECCOMP, "seccomp", "no seccomp, files (Landlock"),
    ] {
        let by = ["python3", "-c", WITHOUT, call];
        let without = || Gogeta::routes("").by(&by).args(["--splice", "off"]);
        let gogeta = without().start().await;
        let said = Gogeta::bare().args(["status", "--admin", &gogeta.admin.to_string()]).said().await;
        said.well(&[&format!("sandbox      {status}")]);
        let none = BTreeSet::from(["0000000000000000".to_owned()]);
        assert_eq!(gogeta.of_threads("CapEff"), none, "that does not depend on it");

        let on = without().args(["--sandbox", "on", "--listen", "127.0.0.1:0", "--admin", "off"]);
        on.said().await.badly(1, &["--sandbox on cannot be: ", name, "--sandbox auto"]);
    }
}

/// Becomes another program, to which a copy of `/etc` in this folder is `/etc`.
const OWN_ETC: &str = "cp -a /etc/. \"$0\" && mount --bind \"$0\" /etc && exec \"$@\"";

#[tokio::test]
async fn that_root_cannot_resolve_names_any_more_is_told() {
    if !geteuid().is_root() {
        return skip("another user reads what is new");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().to_str().expect("a name");
    let by = ["unshare", "--mount", "sh", "-c", OWN_ETC, own];
    let gogeta = Gogeta::routes("").by(&by).args(["--splice", "off"]).start().await;
    assert_eq!(gogeta.lines_with("names are not resolved"), Vec::<String>::new());
    let fresh = folder.path().join("fresh");
    fs::write(&fresh, "nameserver 192.0.2.1\n").expect("it is written");
    fs::rename(fresh, folder.path().join("resolv.conf")).expect("it is replaced");
    gogeta.log_has("names are not resolved any more").await;
}

#[tokio::test]
async fn it_can_be_left_out_and_nothing_else_with_it() {
    let gogeta = Gogeta::routes("").args(["--splice", "off", "--sandbox", "off"]).start().await;
    assert_eq!(gogeta.of_threads("Seccomp"), BTreeSet::from(["0".to_owned()]));
    assert_eq!(gogeta.of_threads("CapEff"), BTreeSet::from(["0000000000000000".to_owned()]));
    assert_eq!(gogeta.of_threads("NoNewPrivs"), BTreeSet::from(["1".to_owned()]));
    let said = Gogeta::bare().args(["status", "--admin", &gogeta.admin.to_string()]).said().await;
    said.well(&["sandbox      off (--sandbox)"]);
}
