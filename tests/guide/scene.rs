//! Where a chapter is played: a directory, a network that /sys knows of, and a list of processes of its own, so that the
//! guide's ports are free and all that it has started is gone with its shell.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::etcd::{folder, skip};
use crate::support::wait::within;

use super::chapter::{Manner, What};
use super::likeness::is_like;

/// Runs what it is told in one shell, so that directory, variables and jobs stay. Each command says what it says into
/// a file of its own: one in the background may go on with that.
const SHELL: &str = r#"
ip link set lo up && mount -t sysfs sysfs /sys || exit 1
code=0 count=0
while IFS= read -r -d '' command; do
    count=$((count + 1))
    { (exit "$code"); eval "$command"; } >"$said/$count" 2>&1 </dev/null
    code=$?
    printf '%s\n' "$code"
done
"#;

/// How long anything may take: many programs are started, and gogeta's engine is loaded each time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A place for one chapter; all is gone when it is dropped.
pub(super) struct Scene {
    directory: TempDir,
    /// Of the kernel's, for what is in a namespace of processes: its first one takes the others along.
    _shell: Child,
    orders: ChildStdin,
    codes: Lines<BufReader<ChildStdout>>,
    count: usize,
}

impl Scene {
    /// A new one; none where there cannot be, which is an error if `GOGETA_TEST_REQUIRE` says so.
    pub(super) async fn set() -> Option<Self> {
        let unshare = ["--net", "--pid", "--fork", "--mount-proc", "--kill-child"];
        let tried = Command::new("unshare").args(unshare).args(["ip", "link"]).output().await;
        if !tried.is_ok_and(|tried| tried.status.success()) {
            skip("namespaces of network and processes need root, unshare of util-linux, and iproute2");
            return None;
        }
        for program in ["etcd", "etcdctl", "curl", "python3"] {
            let mut find = Command::new("sh");
            find.args(["-c", &format!("command -v {program}")]).env("PATH", path(None));
            if !find.output().await.is_ok_and(|found| found.status.success()) {
                skip(&format!("{program} is not installed"));
                return None;
            }
        }
        // etcd waits for the disk with each write.
        let directory =
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        for folder in ["bin", "said", "tmp", "here"] {
            std::fs::create_dir(directory.path().join(folder)).expect("it is made");
        }
        let binary = directory.path().join("bin/gogeta");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gogeta"), binary).expect("it is linked");
        // In a terminal it would show no progress either.
        std::fs::write(directory.path().join(".curlrc"), "silent\nshow-error\n").expect("it is written");
        let here = directory.path().join("here");
        let mut command = Command::new("unshare");
        command.args(unshare).args(["bash", "-c", SHELL]).current_dir(&here).kill_on_drop(true);
        command.env_clear().env("PATH", path(Some(directory.path().join("bin"))));
        command.env("HOME", &here).env("TMPDIR", directory.path().join("tmp")).env("LANG", "C.UTF-8");
        command.env("said", directory.path().join("said")).env("CURL_HOME", directory.path());
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell starts");
        let orders = shell.stdin.take().expect("it listens");
        let codes = BufReader::new(shell.stdout.take().expect("it answers")).lines();
        Some(Self { directory, _shell: shell, orders, codes, count: 0 })
    }

    /// Does one thing, and wants it to be as it is told. `place` is where that is.
    pub(super) async fn play(&mut self, place: &str, what: &What) {
        match what {
            What::Write { name, text } => {
                let file = self.directory.path().join("here").join(name);
                std::fs::create_dir_all(file.parent().expect("a folder")).expect("it is made");
                // In one step: somebody may watch it.
                let fresh = self.directory.path().join("tmp/fresh");
                std::fs::write(&fresh, text).expect("it is written");
                std::fs::rename(fresh, file).expect("it is moved");
            }
            What::Append { name, text } => {
                let file = self.directory.path().join("here").join(name);
                let before = std::fs::read_to_string(&file).expect(place);
                std::fs::write(file, before + text).expect("it is written");
            }
            What::Hidden { command } => {
                let code = self.run(command).await;
                assert_eq!(code, 0, "{place}: {command}\n{}", self.said());
            }
            What::Run { command, says, manner: Manner::Beside, .. } => {
                self.run(&format!("{command} &")).await;
                self.has_said(place, command, says).await;
            }
            What::Run { command, says, manner, next_asks } => {
                let is_beside = command.ends_with('&');
                let begun = Instant::now();
                loop {
                    let code = self.run(command).await;
                    if is_beside {
                        return self.has_said(place, command, says).await;
                    }
                    let said = self.said();
                    let is_right = is_like(says, &said) && (*next_asks || code == 0);
                    if is_right {
                        return;
                    }
                    assert!(
                        *manner == Manner::Until && begun.elapsed() < PATIENCE,
                        "{place}: {command}\nends with {code}, and says\n{said}\nnot\n{}",
                        says.join("\n")
                    );
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Waits until something in the background has said what it should; what the guide does not tell may be anything.
    async fn has_said(&self, place: &str, command: &str, says: &[String]) {
        if says.is_empty() {
            return;
        }
        let what = format!("{place}: {command}\nsays\n{}", says.join("\n"));
        within(PATIENCE, &what, async || is_like(says, &self.said()).then_some(())).await;
    }

    /// Runs a command; gives its exit code.
    async fn run(&mut self, command: &str) -> i32 {
        self.count += 1;
        self.orders.write_all(format!("{command}\0").as_bytes()).await.expect("the shell listens");
        let code = tokio::time::timeout(PATIENCE, self.codes.next_line()).await;
        let code = code.unwrap_or_else(|_| panic!("{command} does not end:\n{}", self.said()));
        let code = code.expect("it can be read").unwrap_or_else(|| panic!("{command} ended the shell"));
        code.parse().expect("a number")
    }

    /// What the last command has said so far.
    fn said(&self) -> String {
        let file = self.directory.path().join("said").join(self.count.to_string());
        String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()
    }
}

/// Where programs are: `first`, then the etcd that is tested with, then where they are for all.
fn path(first: Option<PathBuf>) -> std::ffi::OsString {
    let usual = std::env::var_os("PATH").unwrap_or_default();
    let folders = first.into_iter().chain(folder()).chain(std::env::split_paths(&usual));
    std::env::join_paths(folders).expect("a path")
}
