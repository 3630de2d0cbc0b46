//! What gogeta may do, and what it does where it may not: the engine is loaded by whoever may load it, tried before it
//! is trusted, and then there is nothing left that anybody else could not do.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;

use rustix::process::{Signal, geteuid};

use gogeta::splice::Kinds;

use crate::support::backend::{Backend, service};
use crate::support::client::{Client, get};
use crate::support::etcd::skip;
use crate::support::gogeta::{Builder, Gogeta};
use crate::support::netns::Namespace;
use crate::support::parking::{Beyond, carried, carries, parked, parking};
use crate::support::truth::metric;
use crate::support::wait::until;

/// Somebody without privileges, but for those that are named.
macro_rules! nobody {
    ($($with:literal),*) => {
        &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", $($with),*]
    };
}

const NOBODY: &[&str] = nobody!();

/// What loading takes. That `CAP_PERFMON` is not among it is up to the program: without that the verifier is stricter.
const NOBODY_WHO_MAY: &[&str] =
    nobody!("--inh-caps=-all,+bpf,+net_admin", "--ambient-caps=-all,+bpf,+net_admin");

const NOBODY_WITH_BPF: &[&str] = nobody!("--inh-caps=-all,+bpf", "--ambient-caps=-all,+bpf");

const NOBODY_WITH_NET_ADMIN: &[&str] =
    nobody!("--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin");

const ROOT_WHO_MAY_NOT: &[&str] = &["setpriv", "--bounding-set=-bpf,-sys_admin"];

/// The variable that makes each trial fail.
const FAIL: &str = "GOGETA_FAIL_TRIAL";

/// Whether this is root, who may start others by that command, and load the engine.
fn may(command: &[&str]) -> bool {
    let becomes = || {
        let mut all = command.iter().chain(&["true"]);
        all.next().is_none_or(|program| {
            std::process::Command::new(program).args(all).output().is_ok_and(|out| out.status.success())
        })
    };
    if !geteuid().is_root() || !becomes() {
        skip("it takes root, and setpriv of util-linux");
        return false;
    }
    if let Err(why) = gogeta::splice::Engine::load(1, false, Kinds { sockmap: true, wire: false }) {
        skip(&why.to_string());
        return false;
    }
    true
}

/// `kernel.unprivileged_bpf_disabled`, which is as before when this goes. 0 lets anybody load some programs, 2 nobody
/// until it is 0 again, and 1 the same until the system is started anew: so that is only looked at where it is so.
struct UnprivilegedBpf {
    file: std::fs::File,
    before: u8,
}

impl UnprivilegedBpf {
    fn take() -> Option<Self> {
        let path = "/proc/sys/kernel/unprivileged_bpf_disabled";
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path);
        let Ok(file) = file else {
            skip("this kernel has no kernel.unprivileged_bpf_disabled that could be set");
            return None;
        };
        // Another run of the tests must not take our value for the system's.
        file.lock().expect("it can be locked");
        let before = std::fs::read_to_string(path).expect("it is there").trim().parse();
        Some(Self { file, before: before.expect("a number") })
    }

    fn values(&self) -> impl Iterator<Item = u8> + use<> {
        let before = self.before;
        [0, 1, 2].into_iter().filter(move |value| if before == 1 { *value == 1 } else { *value != 1 })
    }

    fn set(&self, value: u8) {
        // Where it is 1 it takes no other value.
        if value != 1 {
            self.file.write_all_at(format!("{value}\n").as_bytes(), 0).expect("root may");
        }
    }
}

impl Drop for UnprivilegedBpf {
    fn drop(&mut self) {
        self.set(self.before);
    }
}

/// Serves a request, and says on one line why the kernel serves none.
async fn serves_in_userspace(builder: impl Fn() -> Builder, reason: &str) {
    let gogeta = builder().start().await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
    let lines = gogeta.lines_with("userspace carries all connections; the kernel cannot");
    assert!(lines.len() == 1 && lines[0].contains("INFO") && lines[0].contains(reason), "{lines:?}");
    assert_eq!(gogeta.lines_with("the program failed").len(), usize::from(reason.contains("trial")));
    gogeta.has_nothing_left();

    let listen = ["--listen", "127.0.0.1:0", "--admin", "off", "--splice", "sockmap"];
    builder().args(listen).said().await.badly(1, &["--splice sockmap cannot be: ", reason]);
}

#[tokio::test]
async fn whoever_may_not_load_the_engine_is_served_without_and_told_so_where_it_was_asked_for() {
    for who in [NOBODY, ROOT_WHO_MAY_NOT, NOBODY_WITH_BPF, NOBODY_WITH_NET_ADMIN] {
        if !may(who) {
            return;
        }
        let web = Backend::named("web").await;
        let routes = service("a.test", &[web.port]);
        serves_in_userspace(|| Gogeta::routes(&routes).by(who), "Operation not permitted").await;
    }
}

#[tokio::test]
async fn what_the_system_lets_anybody_do_with_bpf_makes_no_difference() {
    if !may(NOBODY) {
        return;
    }
    let Some(switch) = UnprivilegedBpf::take() else { return };
    let web = Backend::named("web").await;
    let routes = service("a.test", &[web.port]);
    for value in switch.values() {
        switch.set(value);
        for who in [NOBODY, ROOT_WHO_MAY_NOT] {
            serves_in_userspace(|| Gogeta::routes(&routes).by(who), "Operation not permitted").await;
        }
    }
}

#[tokio::test]
async fn an_engine_that_fails_its_trial_serves_nobody() {
    if !may(&[]) {
        return;
    }
    let web = Backend::named("web").await;
    let routes = service("a.test", &[web.port]);
    let builder = || Gogeta::routes(&routes).env(FAIL, "1");
    serves_in_userspace(builder, "trial: requests and their responses: nothing comes").await;
}

#[tokio::test]
async fn two_capabilities_are_enough() {
    if !may(NOBODY_WHO_MAY) {
        return;
    }
    let web = Backend::named("web").await;
    // What the kernel's part may say is more for the verifier to judge.
    for log in ["info", "debug"] {
        let builder = Gogeta::routes(&service("a.test", &[web.port])).by(NOBODY_WHO_MAY);
        let gogeta = builder.args(["--splice", "sockmap", "--log", log]).start().await;
        assert_eq!(gogeta.of_threads("Uid"), BTreeSet::from(["65534\t65534\t65534\t65534".to_owned()]));
        gogeta.has_nothing_left();
        carries(&gogeta, "web").await;
    }
}

#[tokio::test]
async fn two_capabilities_are_enough_for_the_wire_engine() {
    if !may(NOBODY_WHO_MAY) {
        return;
    }
    let Some(beyond) = Beyond::new("web").await else { return };
    for log in ["info", "debug"] {
        let gogeta = beyond.gogeta(NOBODY_WHO_MAY).args(["--splice", "wire", "--log", log]).start().await;
        gogeta.has_nothing_left();
        carries(&gogeta, "web").await;
    }
}

#[tokio::test]
async fn devices_of_another_namespace_are_not_taken_for_this_ones() {
    if !may(&[]) {
        return;
    }
    let Some(host) = Namespace::new() else { return };
    // Unlike ip(8), it leaves /sys as it is.
    let command = ["nsenter".to_owned(), format!("--net={}", host.file().display())];
    let web = Backend::named("web").await;
    let builder = Gogeta::routes(&service("a.test", &[web.port])).by(&command);
    let said = builder.args(["--listen", "127.0.0.1:0", "--admin", "off", "--splice", "wire"]).said().await;
    said.badly(1, &["--splice wire cannot be: ", "/sys/class/net is of another network namespace"]);
}

#[tokio::test]
async fn no_thread_has_a_capability_while_pairs_are_parked_and_all_goes_on() {
    if !may(&[]) {
        return;
    }
    let web = Backend::named("web").await;
    let builder = Gogeta::routes(&service("a.test", &[web.port]));
    // All that makes threads.
    let page = builder.file("templates/notfound.html", "first");
    let log = builder.file("access.log", "");
    let profile = builder.file("cpu.pb", "");
    let builder = builder.arg("--template-dir").arg(page.parent().expect("a folder"));
    let builder = builder.arg("--access-log").arg(&log).arg("--cpu-profile").arg(&profile);
    let mut gogeta = builder.args(["--splice", "sockmap", "--log", "gogeta=debug"]).start().await;
    gogeta.has_nothing_left();
    assert_eq!(gogeta.of_threads("CapBnd"), BTreeSet::from(["0000000000000000".to_owned()]));
    assert_eq!(metric(&gogeta, "gogeta_splice_parked_total").await, 0.0, "the trial does not count");

    let mut clients = Vec::new();
    for count in 1..=10 {
        let mut client = Client::connect(gogeta.proxy).await;
        client.get("a.test", "/").await;
        clients.push(client);
        parked(&gogeta, f64::from(count)).await;
    }
    for client in &mut clients {
        assert_eq!(client.get("a.test", "/").await.text(), "web");
    }
    until("they were carried", async || (carried(&gogeta).await == 10.0).then_some(())).await;

    std::fs::rename(&log, log.with_extension("old")).expect("it is moved");
    std::fs::write(&page, "second").expect("it is written");
    gogeta.signal(Signal::HUP);
    until("the access log is opened anew", async || log.exists().then_some(())).await;
    until("the page is the new one", async || {
        let raw = "GET / HTTP/1.1\r\nHost: nobody.test\r\nAccept: text/html\r\nConnection: close\r\n\r\n";
        let reply = crate::support::client::request(gogeta.proxy, raw).await;
        (reply.text() == "second").then_some(())
    })
    .await;
    gogeta.signal(Signal::USR2);
    gogeta.log_has("the CPU profile is written").await;
    gogeta.has_nothing_left();

    gogeta.signal(Signal::TERM);
    assert!(gogeta.wait().await.success());
    assert_eq!(gogeta.lines_with("cannot"), Vec::<String>::new(), "nor misses it at the end");
}

/// Asks the kernel for the first maps and programs by their numbers (`BPF_MAP_GET_FD_BY_ID`, `BPF_PROG_GET_FD_BY_ID`).
const REACH: &str = "
import ctypes, os, platform, struct, sys
call = ctypes.CDLL(None, use_errno=True).syscall
bpf = {'x86_64': 321, 'aarch64': 280}[platform.machine()]
for command in (14, 13):
    for number in range(4096):
        if call(bpf, command, struct.pack('IIIIQ', number, 0, 0, 0, 0), 24) >= 0:
            sys.exit('reached')
for name in ('maps', 'mem', 'fd/0', 'map_files'):
    try:
        os.listdir(f'/proc/{sys.argv[1]}/{name}') if name == 'map_files' else open(f'/proc/{sys.argv[1]}/{name}').read(1)
        sys.exit(f'reached {name}')
    except PermissionError:
        pass
";

#[tokio::test]
async fn no_other_user_of_the_machine_reaches_what_the_engine_has() {
    if !may(&[]) {
        return;
    }
    let pinned = || std::fs::read_dir("/sys/fs/bpf").map_or(0, Iterator::count);
    let before = pinned();
    let web = Backend::named("web").await;
    let Some(gogeta) = parking(&service("a.test", &[web.port])).await else { return };
    let mut client = Client::connect(gogeta.proxy).await;
    client.get("a.test", "/").await;
    parked(&gogeta, 1.0).await;
    assert_eq!(pinned(), before, "nothing is where others could find it");
    let reached = std::process::Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/python3", "-c", REACH])
        .arg(gogeta.pid().to_string())
        .output()
        .expect("setpriv runs");
    assert!(reached.status.success(), "{}", String::from_utf8_lossy(&reached.stderr));
    assert_eq!(client.get("a.test", "/").await.text(), "web");
}

#[tokio::test]
async fn without_an_engine_all_is_given_up_as_well() {
    let gogeta = Gogeta::routes("").args(["--splice", "off"]).start().await;
    gogeta.has_nothing_left();
}
