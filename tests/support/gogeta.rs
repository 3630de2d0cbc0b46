//! The real binary: started, asked, signalled, and gone with its owner.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::client;
use super::etcd::Etcd;
use super::netns::{Namespace, Place};
use super::wait::{DEADLINE, until};

const BINARY: &str = env!("CARGO_BIN_EXE_gogeta");

/// A running gogeta; killed on drop.
pub(crate) struct Gogeta {
    /// Where it takes requests.
    pub(crate) proxy: SocketAddr,
    /// Its admin listener; 0.0.0.0:0 where it has none.
    pub(crate) admin: SocketAddr,
    child: Child,
    pid: u32,
    directory: TempDir,
}

/// A gogeta on its way.
pub(crate) struct Builder {
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    here: PathBuf,
    inherited: Option<(OwnedFd, &'static str)>,
    by: Vec<OsString>,
    place: Place,
    directory: TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// It did what it was asked to, and said this on standard output.
    #[track_caller]
    pub(crate) fn well(self, says: &[&str]) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        for text in says {
            assert!(self.out.contains(text), "{text:?} is not in {self:?}");
        }
        self
    }

    /// It failed with this code, and said this on standard error.
    #[track_caller]
    pub(crate) fn badly(self, code: i32, says: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for text in says {
            assert!(self.err.contains(text), "{text:?} is not in {self:?}");
        }
        self
    }

    /// What it said, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON, {error}: {self:?}"))
    }
}

impl Gogeta {
    /// One with a routes file, in a directory of its own.
    pub(crate) fn routes(toml: &str) -> Builder {
        let builder = Self::bare();
        let file = routes_file(&builder.directory);
        std::fs::create_dir(file.parent().expect("a folder")).expect("the folder is made");
        std::fs::write(&file, toml).expect("the routes are written");
        builder.arg("--routes").arg(file)
    }

    /// One with etcd.
    pub(crate) fn etcd(etcd: &Etcd) -> Builder {
        Self::bare().args(["--etcd-address", &etcd.url()])
    }

    /// One that is told nothing about where routes come from.
    pub(crate) fn bare() -> Builder {
        let directory = tempfile::tempdir().expect("a directory");
        let here = directory.path().to_owned();
        let (arguments, variables, place) = Default::default();
        Builder { arguments, variables, here, inherited: None, by: Vec::new(), place, directory }
    }

    /// Writes new routes in the place of the old ones, in one step.
    pub(crate) fn edit_routes(&self, toml: &str) {
        let fresh = self.routes_file().with_extension("new");
        std::fs::write(&fresh, toml).expect("the routes are written");
        std::fs::rename(fresh, self.routes_file()).expect("the routes are replaced");
    }

    /// The routes file of [`Gogeta::routes`].
    pub(crate) fn routes_file(&self) -> PathBuf {
        routes_file(&self.directory)
    }

    /// A directory of its own, the one it was started in.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until the log has the text. Where it never has, the drop shows what it has.
    pub(crate) async fn log_has(&self, text: &str) {
        until(&format!("{text:?} is logged"), async || self.log().contains(text).then_some(())).await;
    }

    /// Waits until its first routes are served. (A line in the log comes before what it tells of.)
    pub(crate) async fn ready(&self) {
        let is_ready =
            async || (client::get(self.admin, "admin", "/readyz").await.status == 200).then_some(());
        until("gogeta is ready", is_ready).await;
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        read_log(&self.directory)
    }

    /// What a command that goes on has said on standard output so far, in whole lines.
    pub(crate) fn said(&self) -> String {
        whole_lines(&out_file(&self.directory))
    }

    /// What it said, as JSON.
    #[track_caller]
    pub(crate) fn said_json(&self) -> serde_json::Value {
        serde_json::from_str(&self.said()).unwrap_or_else(|error| panic!("no JSON, {error}: {}", self.said()))
    }

    /// The log's lines that have the text.
    pub(crate) fn lines_with(&self, text: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("the signal is sent");
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        match tokio::time::timeout(DEADLINE, self.child.wait()).await {
            Ok(status) => status.expect("it can be waited for"),
            Err(_) => panic!("it does not end:\n{}", self.log()),
        }
    }

    /// How much memory it has.
    pub(crate) fn rss_kib(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// How much of that is its own, and nobody's files or maps.
    pub(crate) fn own_kib(&self) -> u64 {
        self.memory("RssAnon:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The values that a field of `/proc/PID/task/TID/status` has in all threads.
    pub(crate) fn of_threads(&self, field: &str) -> BTreeSet<String> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).expect("it runs");
        let mut values = BTreeSet::new();
        for thread in threads.flatten() {
            // Some end meanwhile.
            let Ok(status) = std::fs::read_to_string(thread.path().join("status")) else { continue };
            let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            values.insert(value.expect("it has that field").trim().to_owned());
        }
        values
    }

    /// No thread has a capability, or can get one, or makes a system call that it does not need.
    #[track_caller]
    pub(crate) fn has_nothing_left(&self) {
        let none = "0000000000000000";
        for (field, value) in [
            ("CapEff", none),
            ("CapPrm", none),
            ("CapInh", none),
            ("CapAmb", none),
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
        ] {
            assert_eq!(self.of_threads(field), BTreeSet::from([value.to_owned()]), "{field}");
        }
    }
}

impl Drop for Gogeta {
    #[expect(clippy::print_stderr, reason = "a failed test shows what gogeta had to say")]
    fn drop(&mut self) {
        // The child is killed by its own drop.
        if std::thread::panicking() {
            eprintln!("gogeta's log:\n{}", self.log());
        }
    }
}

impl Builder {
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts it in this directory instead of its own.
    pub(crate) fn within(mut self, directory: impl Into<PathBuf>) -> Self {
        self.here = directory.into();
        self
    }

    /// Leaves this descriptor open for it, as its standard input. `script` is a shell's and may move it elsewhere,
    /// or set variables; its arguments are gogeta's command line, which it must become.
    pub(crate) fn inherits(mut self, descriptor: impl Into<OwnedFd>, script: &'static str) -> Self {
        self.inherited = Some((descriptor.into(), script));
        self
    }

    /// Starts it by way of this command, which must become it. Its user may be another one then: everybody may read
    /// its directory, and the binary lies there.
    pub(crate) fn by(mut self, command: &[impl AsRef<OsStr>]) -> Self {
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.directory.path(), everybody).expect("everybody may go there");
        // By another process: where this one writes a file, what it starts meanwhile holds that open, and it cannot
        // be executed (ETXTBSY).
        let copied = std::process::Command::new("cp").arg(BINARY).arg(self.directory.path()).status();
        assert!(copied.is_ok_and(|status| status.success()), "the binary is copied");
        self.by = command.iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// Where [`Builder::by`] copies the binary to.
    pub(crate) fn copy(&self) -> PathBuf {
        self.directory.path().join("gogeta")
    }

    /// Starts it in there.
    pub(crate) fn on(mut self, namespace: &Namespace) -> Self {
        self.place = namespace.place().clone();
        self
    }

    /// Writes a file into its directory, and gives the path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
        std::fs::write(&path, text).expect("the file is written");
        path
    }

    /// Starts it, and waits until it is up.
    pub(crate) async fn start(mut self) -> Gogeta {
        for (name, value) in
            [("listen", "127.0.0.1:0"), ("admin", "127.0.0.1:0"), ("log-format", "json"), ("threads", "2")]
        {
            // --port is another way to say --listen.
            let given = self.has(name) || (name == "listen" && self.has("port"));
            if !given {
                self.arguments.push(format!("--{name}={value}").into());
            }
        }
        let log = std::fs::File::create(log_file(&self.directory)).expect("the log is made");
        let mut child = self.command().stderr(log).spawn().expect("gogeta starts");
        let up = until("gogeta is up", async || {
            let log = read_log(&self.directory);
            if let Ok(Some(status)) = child.try_wait() {
                panic!("gogeta did not start, {status}:\n{log}");
            }
            log.lines().find(|line| line.contains("gogeta is up")).map(str::to_owned)
        })
        .await;
        let up: serde_json::Value = serde_json::from_str(&up).unwrap_or_default();
        let address = |name: &str| {
            let text = up[name].as_str().unwrap_or("").trim_start_matches("Some(");
            let text = text.trim_start_matches('[').trim_end_matches([')', ']']);
            text.split(", ").next().and_then(|text| text.parse().ok())
        };
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let pid = child.id().expect("it runs");
        Gogeta {
            proxy: address("listen").unwrap_or(nowhere),
            admin: address("admin").unwrap_or(nowhere),
            child,
            pid,
            directory: self.directory,
        }
    }

    /// Starts a command that goes on, and waits for nothing.
    pub(crate) fn spawn(self) -> Gogeta {
        let log = std::fs::File::create(log_file(&self.directory)).expect("the log is made");
        let out = std::fs::File::create(out_file(&self.directory)).expect("the file is made");
        let child = self.command().stdout(out).stderr(log).spawn().expect("gogeta starts");
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let pid = child.id().expect("it runs");
        Gogeta { proxy: nowhere, admin: nowhere, child, pid, directory: self.directory }
    }

    /// Runs it to its end: for starts that must fail, and commands.
    pub(crate) async fn run(self) -> Output {
        let output = self.command().stderr(Stdio::piped()).output();
        tokio::time::timeout(DEADLINE, output).await.expect("it ends").expect("gogeta starts")
    }

    /// Runs a command to its end; `line` is split at white space.
    pub(crate) async fn command_line(self, line: &str) -> Said {
        self.args(line.split_whitespace()).said().await
    }

    /// Runs it to its end, and gives what it said.
    pub(crate) async fn said(self) -> Said {
        let output = self.run().await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) };
        assert!(!said.err.contains("panicked"), "{said:?}");
        said
    }

    /// Whether an option is given, in whatever way.
    pub(crate) fn has(&self, name: &str) -> bool {
        let given = |argument: &OsString| {
            argument
                .to_str()
                .filter(|text| text.starts_with('-'))
                .is_some_and(|text| text.trim_start_matches('-').split('=').next() == Some(name))
        };
        let variable = format!("GOGETA_{}", name.replace('-', "_").to_uppercase());
        self.arguments.iter().any(given) || self.variables.iter().any(|(name, _)| *name == *variable)
    }

    fn command(&self) -> Command {
        let mut command = match (&self.inherited, &*self.by) {
            (None, []) => self.place.command(BINARY),
            (None, [program, arguments @ ..]) => {
                let mut other = self.place.command(program);
                other.args(arguments).arg(self.directory.path().join("gogeta"));
                other
            }
            (Some((_, script)), _) => {
                let mut shell = self.place.command("sh");
                shell.args(["-c", script, "sh", BINARY]);
                shell
            }
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GOGETA_") {
                command.env_remove(name);
            }
        }
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        let descriptor = self.inherited.as_ref().map(|(descriptor, _)| descriptor.try_clone());
        command.stdin(descriptor.map_or_else(Stdio::null, |copy| copy.expect("a copy").into()));
        command.current_dir(&self.here).stdout(Stdio::piped()).kill_on_drop(true);
        command
    }
}

fn routes_file(directory: &TempDir) -> PathBuf {
    directory.path().join("routes/routes.toml")
}

fn log_file(directory: &TempDir) -> PathBuf {
    directory.path().join("gogeta.log")
}

fn out_file(directory: &TempDir) -> PathBuf {
    directory.path().join("out")
}

fn read_log(directory: &TempDir) -> String {
    whole_lines(&log_file(directory))
}

fn whole_lines(file: &Path) -> String {
    std::fs::read(file).map_or_else(
        |_| String::new(),
        |bytes| {
            // The last one may be half written.
            let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        },
    )
}
