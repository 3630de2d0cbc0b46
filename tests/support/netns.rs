//! Hosts of their own on this machine, as network namespaces, with cables between them that can be pulled.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpListener, TcpSocket};
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

    /// Runs ip(8) on it.
    fn ip(&self, line: &[&str]) -> Result<(), String> {
        let name = self.0.as_ref().map(|name| ["-n", name]);
        ip(&[name.as_ref().map_or(&[][..], |name| name), line].concat())
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

    /// The one that this process has.
    pub(crate) fn of(pid: &str) -> Self {
        let name = format!("gogeta-{}-{}", std::process::id(), number());
        ip(&["netns", "attach", &name, pid]).expect("it is there");
        Self { place: Place(Some(name)), cables: Mutex::default() }
    }

    /// Its file, which is not there for the one that the tests run in.
    pub(crate) fn file(&self) -> PathBuf {
        Path::new("/run/netns").join(self.place.0.as_deref().unwrap_or_default())
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
            if self.place.0.is_some() {
                let file = File::open(self.file()).expect("it is there");
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), network).expect("it is entered");
            }
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().expect("the work is done"))
    }

    /// A socket in here, for connections of this family. From where it is used does not matter.
    pub(crate) fn socket(&self, family: IpAddr) -> TcpSocket {
        self.enter(|| if family.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() })
            .expect("a socket")
    }

    /// A listener in here, at some port of this address.
    pub(crate) fn listener(&self, address: IpAddr) -> TcpListener {
        let socket = self.socket(address);
        socket.bind(SocketAddr::new(address, 0)).expect("a port");
        socket.listen(128).expect("a listener")
    }

    /// Packets that have come by its cables.
    pub(crate) fn packets(&self) -> u64 {
        let table = self.enter(|| std::fs::read_to_string("/proc/thread-self/net/dev")).expect("it is there");
        let cables = self.cables.lock().expect("it is whole");
        let count = |[end, _]: &[End; 2]| {
            let line = table.lines().find_map(|line| line.trim().strip_prefix(&end.name)?.strip_prefix(':'));
            let number = line.and_then(|line| line.split_whitespace().nth(1)).expect("its line");
            number.parse::<u64>().expect("a number")
        };
        cables.iter().map(count).sum()
    }

    /// How many of its connections of IPv4 to that address are over and only waited for (TIME_WAIT).
    pub(crate) fn waiting_to(&self, far: IpAddr) -> usize {
        let IpAddr::V4(far) = far else { panic!("{far} is not of IPv4") };
        let table = self.enter(|| std::fs::read_to_string("/proc/thread-self/net/tcp")).expect("it is there");
        let far = format!("{:08X}:", u32::from_ne_bytes(far.octets()));
        let is_one = |line: &&str| {
            let mut fields = line.split_whitespace().skip(2);
            fields.next().is_some_and(|address| address.starts_with(&far)) && fields.next() == Some("06")
        };
        table.lines().filter(is_one).count()
    }

    /// Whoever sends by its cables cuts segments itself from now on: without that, tens of KB go in one packet.
    pub(crate) fn segment(&self) {
        for [end, _] in &*self.cables.lock().expect("it is whole") {
            self.ip(&["link", "set", &end.name, "gso_max_segs", "1"]);
        }
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

    /// Runs a script of sh(1) in here, and gives what it says; wants each of its commands to succeed.
    pub(crate) async fn shell(&self, script: &str) -> String {
        let output = self.place.command("sh").args(["-euc", script]).output().await.expect("a shell");
        let says = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{script}: {}{}", says(&output.stdout), says(&output.stderr));
        says(&output.stdout)
    }

    /// The device in here that has this address.
    pub(crate) async fn device(&self, address: IpAddr) -> String {
        let shown = self.shell(&format!("ip -o address show to {address}")).await;
        shown.split_whitespace().nth(1).expect("a device").to_owned()
    }

    /// Runs ip(8) on it, and wants it to succeed.
    pub(crate) fn ip(&self, line: &[&str]) {
        self.place.ip(line).unwrap_or_else(|reason| panic!("{line:?}: {reason}"));
    }

    /// One of the numbers that its TCP counts, as `/proc/net/netstat` names it.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        let table =
            self.enter(|| std::fs::read_to_string("/proc/thread-self/net/netstat")).expect("it is there");
        let [names, numbers] = [0, 1].map(|line| table.lines().nth(line).expect("a line").split(' '));
        let number = names.zip(numbers).find(|(its, _)| *its == name).expect("it is counted").1;
        number.parse().expect("a number")
    }

    /// Sets one of its `net.` variables of sysctl(8), given as a path.
    pub(crate) fn set_variable(&self, name: &str, value: &str) {
        // Whose it is depends on the thread.
        self.enter(|| std::fs::write(format!("/proc/sys/net/{name}"), value)).expect("it is set");
    }

    /// Its way to that address is by way of this one.
    pub(crate) fn lead(&self, to: IpAddr, by: IpAddr) {
        self.ip(&["route", "add", &to.to_string(), "via", &by.to_string()]);
    }

    /// Gives a device of its own its address, the one of IPv6 beside that ([`v6`]), and plugs it in.
    pub(crate) fn equip(&self, device: &str, address: Ipv4Addr) {
        self.ip(&["address", "add", &format!("{address}/30"), "dev", device]);
        // What needs it, asks for it.
        let six = format!("{}/126", beside(address.into()));
        let _ = self.place.ip(&["address", "add", &six, "dev", device, "nodad"]);
        self.ip(&["link", "set", device, "up"]);
    }
}

/// Names and addresses for the two ends of a new cable.
pub(crate) fn ends() -> [(String, Ipv4Addr); 2] {
    let pid = std::process::id();
    loop {
        let number = number();
        // 198.18.0.0/15 is for tests of networks (RFC 2544): networks of four addresses, some for each process.
        // They are used again, which must not be while another test still has them.
        let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + ((pid << 8 | number & 0xff) & 0x7fff) * 4;
        if !is_here(Ipv4Addr::from(network)) {
            // A name of an interface has 15 letters at most.
            let end = |side, host| (format!("g{pid}{side}{number}"), Ipv4Addr::from(network + host));
            return [end("a", 1), end("b", 2)];
        }
    }
}

/// Whether a cable of the host that the tests run in has addresses of that network.
fn is_here(network: Ipv4Addr) -> bool {
    let mut list = std::process::Command::new("ip");
    let shown = list.args(["-o", "-4", "address", "show", "to", &format!("{network}/30")]).output();
    shown.is_ok_and(|shown| !shown.stdout.is_empty())
}

/// A cable between two of them; gives the addresses of its ends, which have others of IPv6, too ([`v6`]).
pub(crate) async fn connect(one: &Namespace, other: &Namespace) -> (IpAddr, IpAddr) {
    let [(a, near), (b, far)] = ends();
    ip(&["link", "add", &a, "type", "veth", "peer", "name", &b]).expect("a cable");
    let ends = [End { place: one.place.clone(), name: a }, End { place: other.place.clone(), name: b }];
    for ((side, end), address) in [one, other].into_iter().zip(&ends).zip([near, far]) {
        if let Some(name) = &side.place.0 {
            ip(&["link", "set", &end.name, "netns", name]).expect("it is moved");
        }
        side.equip(&end.name, address);
    }
    for end in &ends {
        end.is_up().await;
    }
    let [a, b] = ends;
    one.cables.lock().expect("it is whole").push([a.clone(), b.clone()]);
    other.cables.lock().expect("it is whole").push([b, a]);
    (near.into(), far.into())
}

/// The address of IPv6 that the end of a cable has beside this one; none where there is no IPv6, which is an error if
/// nothing may be skipped.
pub(crate) fn v6(address: IpAddr) -> Option<IpAddr> {
    if !Path::new("/proc/net/if_inet6").exists() {
        skip("there is no IPv6");
        return None;
    }
    Some(beside(address))
}

fn beside(address: IpAddr) -> IpAddr {
    match address {
        // 2001:2::/48 is for tests of networks (RFC 5180).
        IpAddr::V4(address) => {
            Ipv6Addr::from((0x2001_0002_u128 << 96) | u128::from(u32::from(address))).into()
        }
        IpAddr::V6(_) => address,
    }
}

/// A router between two of them.
pub(crate) struct Router(Namespace);

impl Router {
    /// Puts one between them, and gives their addresses; none where namespaces cannot be made.
    pub(crate) async fn between(one: &Namespace, other: &Namespace) -> Option<(Self, IpAddr, IpAddr)> {
        let router = Namespace::new()?;
        let (near, to_near) = connect(one, &router).await;
        let (far, to_far) = connect(other, &router).await;
        one.lead(far, to_near);
        other.lead(near, to_far);
        Some((Self::of(router), near, far))
    }

    /// Makes a router of it.
    pub(crate) fn of(namespace: Namespace) -> Self {
        let router = Self(namespace);
        router.pass();
        router
    }

    /// As [`Namespace::segment`].
    pub(crate) fn segment(&self) {
        self.0.segment();
    }

    /// Itself.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.0
    }

    /// Loses every packet from now on, in both directions. Unlike behind a cable that is pulled, a sender does not
    /// even learn that its own packets did not leave.
    pub(crate) fn lose(&self) {
        self.set("0");
    }

    /// Packets that have come to it, be they lost.
    pub(crate) fn packets(&self) -> u64 {
        self.0.packets()
    }

    /// Passes packets on.
    pub(crate) fn pass(&self) {
        self.set("1");
    }

    fn set(&self, forward: &str) {
        self.0.set_variable("ipv4/ip_forward", forward);
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
