//! What `cargo xtask dist` has made: the Debian package installed on a clean Debian, used, and removed; the tarball,
//! the list of what is in them, and the checksums.
//!
//! `GOGETA_TEST_DIST` names their folder. Making them takes a tool that takes minutes to compile, and Debian one that
//! has to be downloaded: `cargo xtask torture` does both.

mod booted;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use super::{read, repository};

/// The folder of what is tested; none where nobody asks for it.
fn dist() -> Option<PathBuf> {
    std::env::var_os("GOGETA_TEST_DIST").map(PathBuf::from)
}

/// The one file there whose name ends so.
#[track_caller]
fn file(folder: &Path, end: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let mut files = files.filter(|path| path.to_string_lossy().ends_with(end));
    let file = files.next().unwrap_or_else(|| panic!("no {end} in {}", folder.display()));
    assert_eq!(files.next(), None, "one {end}");
    file
}

/// Runs it, and gives what it says.
async fn run(command: &mut Command) -> String {
    let output = command.output().await.expect("it starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

/// A Debian of the test's own, in a folder.
struct Debian(TempDir);

impl Debian {
    /// As that one of `cargo xtask torture`'s is.
    async fn new(tree: &str) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let tree = repository("target/debootstrap").join(tree);
        assert!(tree.join("etc").is_dir(), "{} is not there; see cargo xtask torture", tree.display());
        run(Command::new("cp").arg("-a").arg(tree.join(".")).arg(folder.path())).await;
        Self(folder)
    }

    /// Its own path of a file.
    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    /// Has its shell do this.
    async fn shell(&self, script: &str) -> String {
        let mut chroot = Command::new("chroot");
        chroot.arg(self.0.path()).args(["/bin/sh", "-ec", script]).env_clear();
        chroot.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut chroot).await
    }

    /// All its files, but those that dpkg keeps for itself, logs of the installation, and what no start survives.
    async fn files(&self) -> BTreeSet<String> {
        let prune = "-path /proc -o -path /sys -o -path /dev -o -path /run -o -path /var/lib/dpkg -o -path /var/log/dpkg.log \
            -o -path /var/cache/ldconfig";
        let all = self.shell(&format!("find / '(' {prune} ')' -prune -o -print")).await;
        // Their copies from before.
        all.lines()
            .filter(|line| !(line.starts_with("/etc/") && line.ends_with('-')))
            .map(str::to_owned)
            .collect()
    }

    async fn install(&self, package: &Path) {
        std::fs::copy(package, self.at("/gogeta.deb")).expect("a file");
        self.shell("dpkg --install /gogeta.deb >/dev/null; rm /gogeta.deb").await;
    }
}

#[tokio::test]
async fn the_package_is_installed_used_upgraded_removed_and_purged() {
    let Some(dist) = dist() else { return };
    let package = file(&dist, ".deb");
    let debian = Debian::new("minbase").await;
    let before = debian.files().await;
    debian.install(&package).await;
    let there = debian.files().await;
    for path in [
        "/usr/bin/gogeta",
        "/usr/lib/systemd/system/gogeta.service",
        "/usr/lib/systemd/system/gogeta.socket",
        "/usr/share/man/man1/gogeta.1.gz",
        "/usr/share/man/man1/gogeta-register.1.gz",
        "/usr/share/bash-completion/completions/gogeta",
        "/usr/share/zsh/vendor-completions/_gogeta",
        "/usr/share/fish/vendor_completions.d/gogeta.fish",
        "/usr/share/doc/gogeta/README.md",
        "/usr/share/doc/gogeta/copyright",
        "/usr/share/doc/gogeta/systemd/unprivileged.conf",
        "/usr/share/doc/gogeta/templates/passivated.html",
        "/etc/gogeta/gogeta.toml",
        "/var/lib/gogeta",
    ] {
        assert!(there.contains(path), "{path}");
    }
    // Each directory of its own is one that the system had, or named after it.
    for path in there.difference(&before) {
        assert!(path.contains("gogeta") || debian.at(path).is_dir(), "{path}");
    }
    for name in ["gogeta.service", "gogeta.socket"] {
        let installed =
            std::fs::read_to_string(debian.at("/usr/lib/systemd/system").join(name)).expect("a file");
        assert_eq!(installed, read(&format!("deploy/systemd/{name}")));
        assert!(!there.iter().any(|path| path.contains(".wants/gogeta")), "nothing is enabled");
    }

    // The user, and what is its own.
    let [_, _, uid, _, _, home, shell] = passwd(&debian).await;
    assert!((100..1000).contains(&uid.parse::<u32>().expect("a number")), "{uid} is a system's user");
    assert_eq!((home.as_str(), shell.as_str()), ("/var/lib/gogeta", "/usr/sbin/nologin"));
    let owned = debian.shell("stat -c '%U:%G %a' /var/lib/gogeta /var/log/gogeta").await;
    assert_eq!(owned, "gogeta:gogeta 750\n".repeat(2));
    let kept = debian.shell("dpkg-query --show --showformat '${Conffiles}' gogeta").await;
    assert!(kept.contains("/etc/gogeta/gogeta.toml") && kept.trim().lines().count() == 1, "{kept}");
    let depends = debian.shell("dpkg-query --show --showformat '${Depends}' gogeta").await;
    for name in ["libc6 (>= 2.", "adduser", "procps"] {
        assert!(depends.contains(name), "{name} in {depends}");
    }

    // It runs there, as that user, by the files that came with it.
    assert!(debian.shell("gogeta --version").await.starts_with("gogeta "));
    let routes = "[domains.\\\"a.test\\\"]\\ntype = \\\"uri\\\"\\nvalue = \\\"http://localhost:1\\\"\\n";
    debian.shell(&format!("printf \"{routes}\" >/etc/gogeta/routes.toml")).await;
    let checked =
        debian.shell("gogeta check --routes /etc/gogeta/routes.toml --config /etc/gogeta/gogeta.toml");
    checked.await;
    debian
        .shell("setpriv --reuid gogeta --regid gogeta --clear-groups touch /var/lib/gogeta/routes.state")
        .await;

    // An upgrade leaves alone what somebody has changed.
    debian.shell("echo 'admin = \"off\"' >>/etc/gogeta/gogeta.toml").await;
    debian.install(&package).await;
    assert!(debian.shell("cat /etc/gogeta/gogeta.toml").await.ends_with("admin = \"off\"\n"));

    debian.shell("rm /etc/gogeta/routes.toml; dpkg --remove gogeta >/dev/null").await;
    let left = debian.files().await;
    // Debian remembers whether it was enabled.
    let is_memory = |path: &&str| path.starts_with("/var/lib/systemd/deb-systemd-helper-");
    let left: Vec<&str> =
        left.difference(&before).map(String::as_str).filter(|path| !is_memory(path)).collect();
    let state = ["/etc/gogeta", "/etc/gogeta/gogeta.toml", "/var/lib/gogeta", "/var/lib/gogeta/routes.state"];
    assert_eq!(left, [&state[..], &["/var/log/gogeta"]].concat());

    debian.shell("dpkg --purge gogeta >/dev/null").await;
    assert_eq!(debian.files().await, before);
    // But for the user, whose number is nobody else's.
    assert_eq!(passwd(&debian).await[2], uid);
}

/// The user's line, by its fields.
async fn passwd(debian: &Debian) -> [String; 7] {
    let line = debian.shell("getent passwd gogeta").await;
    let fields: Vec<String> = line.trim().split(':').map(str::to_owned).collect();
    fields.try_into().unwrap_or_else(|_| panic!("{line}"))
}

#[tokio::test]
async fn lintian_finds_no_error_in_the_package() {
    let Some(dist) = dist() else { return };
    let mut lintian = Command::new("lintian");
    // As root it warns of that.
    lintian.args(["--allow-root", "--fail-on", "error"]).arg(file(&dist, ".deb"));
    println!("{}", run(&mut lintian).await);
}

#[tokio::test]
async fn the_tarball_has_what_runs_elsewhere_and_the_checksums_are_right() {
    let Some(dist) = dist() else { return };
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    run(Command::new("sha256sum").current_dir(&dist).args(["--check", "--strict", "SHA256SUMS"])).await;
    let sums = std::fs::read_to_string(dist.join("SHA256SUMS")).expect("a file");
    assert_eq!(names(&sums).len(), 2 * 3, "{sums}");

    let tarball = file(&dist, ".tar.gz");
    let list =
        run(Command::new("tar").args(["--list", "--verbose", "--numeric-owner", "-f"]).arg(&tarball)).await;
    assert!(list.lines().all(|line| line.contains(" 0/0 ")), "nobody of this machine owns it: {list}");
    let folder = tempfile::tempdir().expect("a directory");
    run(Command::new("tar").arg("-C").arg(folder.path()).arg("-xf").arg(&tarball)).await;
    let top = std::fs::read_dir(folder.path()).expect("a folder").next().expect("one").expect("entry").path();
    for path in [
        "man/gogeta.1.gz",
        "completions/bash/gogeta",
        "deploy/systemd/gogeta.service",
        "deploy/compose.yaml",
        "templates/wake.html",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-GPL2",
    ] {
        assert!(top.join(path).is_file(), "{path}");
    }
    let version = run(Command::new(top.join("gogeta")).arg("--version")).await;
    let name = top.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(name.starts_with(&version.trim().replace(' ', "-")), "{name} is not of {version}");
}

/// By the schema of CycloneDX, strictly.
const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
sys.exit(str(error) if error else 0)
";

#[tokio::test]
async fn the_list_of_what_is_in_it_is_valid_and_names_what_is_linked() {
    let Some(dist) = dist() else { return };
    let file = file(&dist, ".cdx.json");
    let python = repository("target/cyclonedx/bin/python3");
    run(Command::new(python).args(["-c", VALIDATE]).arg(&file)).await;
    let text = std::fs::read_to_string(&file).expect("a file");
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let components = document["components"].as_array().expect("a list");
    let named = |name: &str| components.iter().find(|component| component["name"] == name);
    for name in ["hyper", "tokio", "etcd-client", "ring", "gogeta-common", "gogeta-ebpf", "aya-ebpf"] {
        assert!(named(name).is_some(), "{name}");
    }
    for name in ["criterion", "proptest", "xtask", "serde_derive"] {
        assert!(named(name).is_none(), "{name} is in no binary");
    }
    let hyper = named("hyper").expect("it is there");
    assert_eq!(hyper["licenses"][0]["expression"], "MIT");
    assert_eq!(hyper["hashes"][0]["content"].as_str().map(str::len), Some(64));
    assert!(components.iter().all(|component| component["licenses"].is_array()), "each has a licence");
    let root = std::env::current_dir().expect("a folder");
    assert!(
        !text.contains(root.parent().expect("a root").to_str().expect("text")),
        "no path of this machine"
    );
}
