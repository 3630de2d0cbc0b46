//! Hosts of their own on this machine, as network namespaces, with cables between them that can be pulled.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::process::Command;

use super::etcd::skip;
use super::wait::until;

/// A network namespace; it and its cables are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    place: Place,
    /// Of each of its cables this side's end, and the other.
    cables: Mutex<Vec<[End; 2]>>,
}

/// Where a program runs: the name of a namespace, or none for the one that the tests run in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place(Option<String>);

impl Place {
    /// A command that runs there.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(name) = &self.0 else { return Command::new(program) };
        // It becomes the program, so that signals to it reach that.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name]).arg(program);
        command
    }
}

/// An end of a cable.
#[derive(Debug, Clone)]
struct End {
    place: Place,
    name: String,
}

impl End {
    /// Waits until it carries something: the kernel sees to that a while after it was told.
    async fn is_up(&self) {
        until(&format!("{} is up", self.name), async || {
            let shown = self.place.command("ip").args(["link", "show", &self.name]).output().await.ok()?;
            String::from_utf8_lossy(&shown.stdout).contains("state UP").then_some(())
        })
        .await;
    }
}

/// Numbers namespaces and cables of this process.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Namespace {
    /// A new one, with nothing but its loopback; none where namespaces cannot be made, which is an error if
    /// `GOGETA_TEST_REQUIRE` says so.
    pub(crate) fn new() -> Option<Self> {
        let name = format!("gogeta-{}-{}", std::process::id(), number());
        if let Err(reason) = ip(&["netns", "add", &name]) {
            skip(&format!("a network namespace needs root and iproute2: {reason}"));
            return None;
        }
        let namespace = Self { place: Place(Some(name)), cables: Mutex::default() };
        namespace.ip(&["link", "set", "lo", "up"]);
        Some(namespace)
    }

    /// The one that the tests run in.
    pub(crate) fn host() -> Self {
        Self { place: Place::default(), cables: Mutex::default() }
    }

    /// Where programs are started to run in here.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Does this on a thread in here: the sockets that it makes stay in here.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            if let Some(name) = &self.place.0 {
                let file = File::open(format!("/run/netns/{name}")).expect("it is there");
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), network).expect("it is entered");
            }
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().expect("the work is done"))
    }

    /// Pulls its cables: packets vanish, and nobody is told.
    pub(crate) fn cut(&self) {
        self.set("down");
    }

    /// Plugs them in again, and waits until they carry something.
    pub(crate) async fn mend(&self) {
        self.set("up");
        let cables = self.cables.lock().expect("it is whole").clone();
        for end in cables.iter().flatten() {
            end.is_up().await;
        }
    }

    fn set(&self, state: &str) {
        for [end, _] in &*self.cables.lock().expect("it is whole") {
            self.ip(&["link", "set", &end.name, state]);
        }
    }

    /// Runs ip(8) on it, and wants it to succeed.
    fn ip(&self, line: &[&str]) {
        let name = self.place.0.as_ref().map(|name| ["-n", name]);
        let line = [name.as_ref().map_or(&[][..], |name| name), line].concat();
        ip(&line).unwrap_or_else(|reason| panic!("{line:?}: {reason}"));
    }
}

/// A cable between two of them; gives the addresses of its ends.
pub(crate) async fn connect(one: &Namespace, other: &Namespace) -> (IpAddr, IpAddr) {
    let number = number();
    let pid = std::process::id();
    // A name of an interface has 15 letters at most.
    let [a, b] = ["a", "b"].map(|side| format!("g{pid}{side}{number}"));
    ip(&["link", "add", &a, "type", "veth", "peer", "name", &b]).expect("a cable");
    let ends = [End { place: one.place.clone(), name: a }, End { place: other.place.clone(), name: b }];
    // 198.18.0.0/15 is for tests of networks (RFC 2544): networks of four addresses, some for each process.
    let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + ((pid << 5 | number & 31) & 0x7fff) * 4;
    let addresses = [1, 2].map(|host| Ipv4Addr::from(network + host));
    for ((side, end), address) in [one, other].into_iter().zip(&ends).zip(addresses) {
        if let Some(name) = &side.place.0 {
            ip(&["link", "set", &end.name, "netns", name]).expect("it is moved");
        }
        side.ip(&["address", "add", &format!("{address}/30"), "dev", &end.name]);
        side.ip(&["link", "set", &end.name, "up"]);
    }
    for end in &ends {
        end.is_up().await;
    }
    let [a, b] = ends;
    one.cables.lock().expect("it is whole").push([a.clone(), b.clone()]);
    other.cables.lock().expect("it is whole").push([b, a]);
    (addresses[0].into(), addresses[1].into())
}

/// A router between two of them.
pub(crate) struct Router(Namespace);

impl Router {
    /// Puts one between them, and gives their addresses; none where namespaces cannot be made.
    pub(crate) async fn between(one: &Namespace, other: &Namespace) -> Option<(Self, IpAddr, IpAddr)> {
        let router = Namespace::new()?;
        let (near, to_near) = connect(one, &router).await;
        let (far, to_far) = connect(other, &router).await;
        one.ip(&["route", "add", &far.to_string(), "via", &to_near.to_string()]);
        other.ip(&["route", "add", &near.to_string(), "via", &to_far.to_string()]);
        let router = Self(router);
        router.pass();
        Some((router, near, far))
    }

    /// Loses every packet from now on, in both directions. Unlike behind a cable that is pulled, a sender does not
    /// even learn that its own packets did not leave.
    pub(crate) fn lose(&self) {
        self.set("0");
    }

    /// Passes packets on.
    pub(crate) fn pass(&self) {
        self.set("1");
    }

    fn set(&self, forward: &str) {
        // Whose it is depends on the thread.
        self.0.enter(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", forward)).expect("it is set");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let Some(name) = &self.place.0 else { return };
        // Whoever runs in it keeps it, but not its cables. One end takes the other along, so it may be gone.
        for [end, _] in self.cables.get_mut().expect("it is whole") {
            let _ = ip(&["-n", name, "link", "del", &end.name]);
        }
        let _ = ip(&["netns", "del", name]);
    }
}

/// Runs ip(8); gives why it did not succeed.
fn ip(line: &[&str]) -> Result<(), String> {
    let output = std::process::Command::new("ip").args(line).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
