//! Who is compared: each as fast as its documentation knows to make it, with the same number of workers, keep-alive on
//! both sides, and the forwarding fields that gogeta adds where it speaks HTTP at all.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, getrlimit};

use crate::hosts::{Host, PROXY, SERVER};
use crate::process::{Process, takes_connections};

/// Workers, threads or processes of each contender: as many as this machine has CPUs.
pub(crate) fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How many connections each of them can have with the descriptors that this machine gives a process. HAProxy wants
/// five for every two, and does not start with fewer.
pub(crate) fn connections() -> usize {
    let most = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
    most.map_or(CONNECTIONS, |most| (most.saturating_sub(100) * 2 / 5).min(CONNECTIONS))
}

/// More than anybody needs here.
const CONNECTIONS: usize = 32_768;

/// Who runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// gogeta, as a userspace proxy
    GogetaOff,
    /// gogeta, with connections parked by the sockmap engine
    GogetaSockmap,
    /// gogeta, with connections parked by the wire engine
    GogetaWire,
    /// gogeta in userspace that counts nothing of single services
    GogetaUncounted,
    /// And one that writes an access log
    GogetaLogged,
    /// And one that traces what belongs to a trace already, of which there is nothing
    GogetaTracing,
    /// And one that traces one in a hundred requests
    GogetaTracingFew,
    /// And one that traces each
    GogetaTracingAll,
    Nginx,
    Haproxy,
    /// HAProxy as a proxy of TCP: it knows nothing of requests
    HaproxyTcp,
    Caddy,
    BareHyper,
    /// No proxy: IP forwarding
    Direct,
}

impl Kind {
    /// All, in the order of the tables.
    pub(crate) const ALL: [Self; 14] = [
        Self::GogetaOff,
        Self::GogetaSockmap,
        Self::GogetaWire,
        Self::Nginx,
        Self::Haproxy,
        Self::HaproxyTcp,
        Self::Caddy,
        Self::BareHyper,
        Self::Direct,
        Self::GogetaUncounted,
        Self::GogetaLogged,
        Self::GogetaTracing,
        Self::GogetaTracingFew,
        Self::GogetaTracingAll,
    ];

    /// As in the tables.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::GogetaOff => "gogeta",
            Self::GogetaSockmap => "gogeta, sockmap",
            Self::GogetaWire => "gogeta, wire",
            Self::GogetaUncounted => "gogeta, --metrics-per-service=false",
            Self::GogetaLogged => "gogeta, --access-log FILE",
            Self::GogetaTracing => "gogeta, --trace-ratio 0",
            Self::GogetaTracingFew => "gogeta, --trace-ratio 0.01",
            Self::GogetaTracingAll => "gogeta, --trace-ratio 1",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::HaproxyTcp => "HAProxy, TCP",
            Self::Caddy => "Caddy",
            Self::BareHyper => "bare hyper",
            Self::Direct => "direct",
        }
    }

    /// The program that it needs, which may be missing.
    const fn program(self) -> Option<&'static str> {
        match self {
            Self::Nginx => Some("nginx"),
            Self::Haproxy | Self::HaproxyTcp => Some("haproxy"),
            Self::Caddy => Some("caddy"),
            _ => None,
        }
    }

    /// Whether it is gogeta watched more or less closely than the one that is compared with others.
    pub(crate) const fn is_watched(self) -> bool {
        self.flags().is_some()
    }

    /// What such a gogeta is started with.
    const fn flags(self) -> Option<&'static [&'static str]> {
        match self {
            Self::GogetaUncounted => Some(&["--metrics-per-service=false"]),
            Self::GogetaLogged => Some(&[]),
            Self::GogetaTracing => Some(&["--trace-ratio", "0"]),
            Self::GogetaTracingFew => Some(&["--trace-ratio", "0.01"]),
            Self::GogetaTracingAll => Some(&["--trace-ratio", "1"]),
            _ => None,
        }
    }
}

/// One that runs.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    /// None for the way without a proxy.
    pub(crate) process: Option<Process>,
    /// Where it is asked by HTTP.
    pub(crate) web: SocketAddr,
    /// Where it is asked for a tunnel, if it can.
    pub(crate) echo: Option<SocketAddr>,
    /// What it has to say for itself.
    pub(crate) log: PathBuf,
}

/// How they are started.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    /// gogeta's program.
    pub(crate) gogeta: &'a Path,
    /// For configurations and logs.
    pub(crate) folder: &'a Path,
    /// Whether they write access logs.
    pub(crate) logs: bool,
}

impl Setup<'_> {
    /// Starts one on a port of its own; none if its program is not installed.
    ///
    /// # Errors
    /// When it does not start, or takes no connections.
    pub(crate) fn start(&self, kind: Kind) -> Result<Option<Contender>> {
        if kind.program().is_some_and(|program| !is_installed(program)) {
            return Ok(None);
        }
        let place = Kind::ALL.iter().position(|other| *other == kind).unwrap_or_default();
        let port = 8000 + 500 * u16::from(self.logs) + 10 * u16::try_from(place)?;
        let log = self.folder.join(format!("{port}.out"));
        let (at, beside) = (SocketAddr::from((PROXY, port)), SocketAddr::from((PROXY, port + 1)));
        let (web, echo) = match kind {
            Kind::Direct => ((SERVER, 8000).into(), Some((SERVER, 8001).into())),
            Kind::BareHyper => (at, None),
            Kind::HaproxyTcp => (beside, Some((PROXY, port + 2).into())),
            _ => (at, Some(at)),
        };
        let process = match self.command(kind, port)? {
            Some(command) => Some(Process::start(command, &log).with_context(|| kind.title())?),
            None => None,
        };
        let contender = Contender { kind, process, web, echo, log };
        contender.is_there().with_context(|| kind.title())?;
        Ok(Some(contender))
    }

    fn command(&self, kind: Kind, port: u16) -> Result<Option<Command>> {
        let mut command;
        match kind {
            Kind::Direct => return Ok(None),
            Kind::GogetaOff
            | Kind::GogetaSockmap
            | Kind::GogetaWire
            | Kind::GogetaUncounted
            | Kind::GogetaLogged
            | Kind::GogetaTracing
            | Kind::GogetaTracingFew
            | Kind::GogetaTracingAll => {
                let routes = self.folder.join("routes.toml");
                fs::write(&routes, routes_file())?;
                command = Host::Proxy.command(self.gogeta);
                command.arg("--routes").arg(routes).args(["--listen", &format!("{PROXY}:{port}")]);
                command.args(["--admin", "off", "--threads", &workers().to_string()]);
                // All clients are one host, which would get 429s beyond a thousand; and each worker keeps a place free
                // for who comes next.
                let most = CONNECTIONS.to_string();
                command.args(["--max-connections", &most, "--max-connections-per-client", &most]);
                let splice = match kind {
                    Kind::GogetaSockmap => "sockmap",
                    Kind::GogetaWire => "wire",
                    _ => "off",
                };
                command.args(["--splice", splice]);
                let access = self.folder.join(format!("{port}.access"));
                command.args(kind.flags().unwrap_or_default());
                if matches!(kind, Kind::GogetaTracing | Kind::GogetaTracingFew | Kind::GogetaTracingAll) {
                    let collector = format!("http://{SERVER}:8002");
                    command.args(["--otlp-endpoint", &collector, "--otlp-protocol", "http/protobuf"]);
                }
                command.arg("--access-log");
                if self.logs || kind == Kind::GogetaLogged {
                    command.arg(access)
                } else {
                    command.arg("off")
                };
            }
            Kind::Nginx => {
                let log = if self.logs {
                    format!("{}/{port}.access", self.folder.display())
                } else {
                    "off".to_owned()
                };
                let file = self.filled("nginx.conf", include_str!("../../peers/nginx.conf"), port, &log)?;
                command = Host::Proxy.command("nginx");
                command.arg("-c").arg(file).arg("-e").arg(self.folder.join(format!("{port}.errors")));
            }
            Kind::Haproxy | Kind::HaproxyTcp => {
                let log = if self.logs { "log global\n    option httplog" } else { "" };
                let file = self.filled("haproxy.cfg", include_str!("../../peers/haproxy.cfg"), port, log)?;
                command = Host::Proxy.command("haproxy");
                command.arg("-db").arg("-f").arg(file);
            }
            Kind::Caddy => {
                let file = self.filled("Caddyfile", include_str!("../../peers/Caddyfile"), port, "")?;
                command = Host::Proxy.command("caddy");
                command.env("GOMAXPROCS", workers().to_string()).env("HOME", self.folder);
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
            }
            Kind::BareHyper => {
                command = Host::Proxy.command(std::env::current_exe()?);
                command.args(["bare-hyper", &format!("{PROXY}:{port}"), &format!("{SERVER}:8000")]);
            }
        }
        Ok(Some(command))
    }

    /// Starts what all of them are in front of.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn servers(&self) -> Result<[Process; 3]> {
        let bodies = self.folder.join("bodies");
        fs::create_dir_all(&bodies)?;
        for size in [1 << 10, 16 << 10, 64 << 10, 1 << 20] {
            fs::write(bodies.join(size.to_string()), vec![b'b'; size])?;
        }
        // Nothing of it is on the disk: it is one hole.
        fs::File::create(bodies.join((1 << 30).to_string()))?.set_len(1 << 30)?;
        let file = self.filled("server.conf", include_str!("../../peers/server.conf"), 0, "")?;
        let mut nginx = Host::Server.command("nginx");
        nginx.arg("-c").arg(file).arg("-e").arg(self.folder.join("server.errors"));
        let nginx = Process::start(nginx, &self.folder.join("server.out"))?;
        let mut echo = Host::Server.command(std::env::current_exe()?);
        echo.args(["echo", &format!("{SERVER}:8001")]);
        let echo = Process::start(echo, &self.folder.join("echo.out"))?;
        let mut collector = Host::Server.command(std::env::current_exe()?);
        collector.args(["collector", &format!("{SERVER}:8002")]);
        let collector = Process::start(collector, &self.folder.join("collector.out"))?;
        for port in [8000, 8001, 8002] {
            from_the_client((SERVER, port).into())?;
        }
        Ok([nginx, echo, collector])
    }

    /// Writes a configuration of which the {words} are filled in.
    fn filled(&self, name: &str, template: &str, port: u16, log: &str) -> Result<PathBuf> {
        let text = template
            .replace("{workers}", &workers().to_string())
            .replace("{folder}", &self.folder.display().to_string())
            .replace("{server}", &SERVER.to_string())
            .replace("{port}", &port.to_string())
            .replace("{tcp}", &(port + 1).to_string())
            .replace("{tcp_echo}", &(port + 2).to_string())
            .replace("{connections}", &connections().to_string())
            .replace("{log}", log);
        let file = self.folder.join(format!("{port}-{name}"));
        fs::write(&file, text).with_context(|| file.display().to_string())?;
        Ok(file)
    }
}

impl Contender {
    /// Waits until it takes connections.
    fn is_there(&self) -> Result<()> {
        for address in [Some(self.web), self.echo].into_iter().flatten() {
            from_the_client(address).with_context(|| fs::read_to_string(&self.log).unwrap_or_default())?;
        }
        Ok(())
    }
}

fn from_the_client(address: SocketAddr) -> Result<()> {
    Host::Client.enter(|| takes_connections(address))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where only root looks.
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).any(|folder| folder.join(program).is_file())
}

/// gogeta's routes: the two hosts, and a thousand more.
fn routes_file() -> String {
    let domain =
        |host: &str, service: &str| format!("[domains.{host:?}]\ntype = \"service\"\nvalue = {service:?}\n");
    let mut text = domain("web.test", "web") + &domain("echo.test", "echo");
    for host in 0..crate::plan::HOSTS {
        text += &domain(&format!("h{host}.test"), "web");
    }
    for (service, port) in [("web", 8000), ("echo", 8001)] {
        text += &format!("[services.{service}.1]\nlocation = {{ host = \"{SERVER}\", port = {port} }}\n");
    }
    text
}
