//! A terminal that a test looks at and types into, played by tmux.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::etcd::skip;
use super::wait::until;

/// A terminal; it is gone with all that runs in it when dropped.
pub(crate) struct Terminal {
    directory: TempDir,
}

impl Terminal {
    /// One of so many columns and lines that runs this in a shell; none where there is no tmux.
    pub(crate) fn run((columns, lines): (u16, u16), script: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            skip("tmux is not installed");
            return None;
        }
        let terminal = Self { directory: tempfile::tempdir().expect("a directory") };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let mut start = terminal.tmux();
        start.args(["new-session", "-d", "-x", &columns, "-y", &lines, "sh", "-c", script]);
        start.envs([("LC_ALL", "C.UTF-8"), ("TERM", "xterm-256color"), ("SHELL", "/bin/sh")]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GOGETA_") {
                start.env_remove(name);
            }
        }
        let started = start.env_remove("NO_COLOR").env_remove("TMUX").output().expect("tmux runs");
        assert!(started.status.success(), "{started:?}");
        Some(terminal)
    }

    /// A command for its tmux, which is nobody else's.
    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(self.directory.path().join("socket")).args(["-f", "/dev/null"]);
        command
    }

    fn told(&self, arguments: &[&str]) -> String {
        let output = self.tmux().args(arguments).output().expect("tmux runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Presses keys, by their names for tmux.
    pub(crate) fn press(&self, keys: &[&str]) {
        self.told(&[&["send-keys", "-t", "0"], keys].concat());
    }

    /// What it shows, a line each, without white space at their ends.
    pub(crate) fn shows(&self) -> String {
        self.told(&["capture-pane", "-p", "-t", "0"])
    }

    /// The same, with the sequences that make colours.
    pub(crate) fn shows_coloured(&self) -> String {
        self.told(&["capture-pane", "-e", "-p", "-t", "0"])
    }

    /// Gives it another size.
    pub(crate) fn resize(&self, (columns, lines): (u16, u16)) {
        self.told(&["resize-window", "-t", "0", "-x", &columns.to_string(), "-y", &lines.to_string()]);
    }

    /// Waits until it shows all of these; gives what it shows.
    pub(crate) async fn until_it_shows(&self, texts: &[&str]) -> String {
        self.until(&format!("{texts:?} on the screen"), |shown| texts.iter().all(|text| shown.contains(text)))
            .await
    }

    /// Waits until what it shows is so; gives that.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let last = std::cell::RefCell::new(String::new());
        let told = Told(&last);
        let shown = until(what, async || {
            let shown = self.shows();
            last.replace(shown.clone());
            is_so(&shown).then_some(shown)
        })
        .await;
        drop(told);
        shown
    }

    /// The program that its shell runs.
    pub(crate) async fn program(&self) -> Pid {
        let shell = self.told(&["list-panes", "-t", "0", "-F", "#{pane_pid}"]);
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        until("the shell has a child", async || {
            let children = std::fs::read_to_string(&children).ok()?;
            children.split_whitespace().next()?.parse().ok().and_then(Pid::from_raw)
        })
        .await
    }

    /// Sends a signal to that.
    pub(crate) async fn signal(&self, signal: Signal) {
        kill_process(self.program().await, signal).expect("the signal is sent");
    }
}

/// Shows what was on the screen where a wait was in vain.
struct Told<'a>(&'a std::cell::RefCell<String>);

impl Drop for Told<'_> {
    #[expect(clippy::print_stderr, reason = "a failed test shows what it saw")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the terminal shows:\n{}", self.0.borrow());
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Where it is gone already, so much the better.
        let _ = self.tmux().arg("kill-server").output();
    }
}
