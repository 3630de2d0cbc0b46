//! The last known routes on disk: gogeta starts without etcd.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::etcd::{Etcd, skip};
use crate::support::gogeta::{Builder, Gogeta};
use crate::support::truth::{agrees, metric, resyncs};
use crate::support::wait::until;

fn keeping(etcd: &Etcd, directory: &Path) -> Builder {
    Gogeta::etcd(etcd).arg("--state-dir").arg(directory)
}

fn state(directory: &Path) -> PathBuf {
    directory.join("routes.state")
}

/// A directory in which a gogeta left one route, that route's backend, and the etcd, which is away.
async fn left() -> Option<(tempfile::TempDir, Backend, Etcd)> {
    let mut etcd = Etcd::start().await?;
    let web = Backend::named("web").await;
    etcd.locate("web", "1", web.port).await;
    etcd.route("a.test", "web").await;
    // A mistake, behind which a good value stays in force.
    etcd.route("b.test", "web").await;
    etcd.put("/domains/a.test/config", "{\"splice\":\"off\"}").await;
    etcd.put("/services/web/1/config/gogeta", "{\"splice\":\"on\"}").await;
    let directory = tempfile::tempdir().expect("a directory");
    let mut gogeta = keeping(&etcd, directory.path()).start().await;
    gogeta.ready().await;
    etcd.put("/domains/b.test/type", "servcie").await;
    gogeta.log_has("a value is wrong").await;
    gogeta.signal(Signal::TERM);
    gogeta.wait().await;
    etcd.kill().await;
    Some((directory, web, etcd))
}

#[tokio::test]
async fn a_start_without_etcd() {
    let Some((directory, _web, mut etcd)) = left().await else { return };
    let gogeta = keeping(&etcd, directory.path()).start().await;
    // From the first request on.
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
    assert_eq!(get(gogeta.proxy, "b.test", "/").await.text(), "web");
    let api = get(gogeta.admin, "localhost", "/api/routes").await.text();
    assert!(api.contains("{\"splice\":\"off\"}") && api.contains("sockmap or off, not \\\"on\\\""), "{api}");
    let ready = get(gogeta.admin, "admin", "/readyz").await;
    assert_eq!((ready.status, ready.text().contains("from disk")), (200, true), "{}", ready.text());
    assert_eq!(gogeta.lines_with("starting from the routes kept on disk").len(), 1);
    until("the routes grow old", async || {
        (metric(&gogeta, "gogeta_config_age_seconds").await >= 1.0).then_some(())
    })
    .await;
    etcd.restart().await;
    etcd.route("c.test", "web").await;
    etcd.put("/domains/b.test/type", "service").await;
    agrees(&gogeta, &etcd).await;
    // It went on from what was on disk.
    assert_eq!(resyncs(&gogeta, "first").await, 0.0);
    assert_eq!(gogeta.lines_with("watching etcd from where it was left").len(), 1);
    until("the routes are current", async || {
        let ready = get(gogeta.admin, "admin", "/readyz").await.text();
        (ready.contains("are current") && metric(&gogeta, "gogeta_config_age_seconds").await == 0.0)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_start_from_what_another_cluster_left() {
    let Some((directory, web, mut etcd)) = left().await else { return };
    etcd.wipe();
    etcd.restart().await;
    etcd.locate("web", "1", web.port).await;
    for turn in 0..20 {
        etcd.route(&format!("d{turn}.test"), "web").await;
    }
    let gogeta = keeping(&etcd, directory.path()).start().await;
    agrees(&gogeta, &etcd).await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 404);
}

#[tokio::test]
async fn a_change_is_on_disk_soon() {
    let Some(etcd) = Etcd::start().await else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let gogeta = keeping(&etcd, directory.path()).start().await;
    gogeta.ready().await;
    etcd.route("a.test", "web").await;
    until("the change is on disk", async || {
        let text = std::fs::read_to_string(state(directory.path())).ok()?;
        text.contains("/domains/a.test/type").then_some(())
    })
    .await;
    // Whoever dies at any moment leaves a whole file.
    drop(gogeta);
    let names: Vec<_> = std::fs::read_dir(directory.path()).expect("it is there").collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test]
async fn a_damaged_file_is_set_aside() {
    let Some((directory, _web, etcd)) = left().await else { return };
    let path = state(directory.path());
    let whole = std::fs::read(&path).expect("it was kept");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 4;
    let of_later =
        String::from_utf8(whole.clone()).expect("it is text").replace("\"version\":1", "\"version\":2");
    let damages = [
        ("its end is missing", whole[..whole.len() - 10].to_vec()),
        ("its end is missing", Vec::new()),
        ("its checksum is wrong", flipped),
        ("its checksum is wrong", of_later.into_bytes()),
        ("its end is missing", b"something else\n".repeat(3)),
        ("its end is missing", vec![0xff; 5000]),
    ];
    for (why, bytes) in &damages {
        std::fs::write(&path, bytes).expect("it is damaged");
        let gogeta = keeping(&etcd, directory.path()).start().await;
        let told = gogeta.lines_with("cannot be used (--state-dir)");
        assert!(told.len() == 1 && told[0].contains(why), "{why}: {told:?}");
        assert_eq!(get(gogeta.admin, "admin", "/readyz").await.status, 503);
        assert!(!path.exists(), "it is set aside");
    }
    let aside = std::fs::read_dir(directory.path()).expect("it is there").count();
    assert_eq!(aside, 5, "not for ever more");
    // Another key space is no damage of the bytes.
    std::fs::write(&path, whole).expect("it is mended");
    let gogeta = keeping(&etcd, directory.path()).arg("--domain-dir=/elsewhere").start().await;
    assert!(gogeta.lines_with("cannot be used")[0].contains("other directories"));
}

#[tokio::test]
async fn a_directory_that_cannot_be_written() {
    let Some(etcd) = Etcd::start().await else { return };
    // A file in its place: root may write everywhere else.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("it is written");
    let gogeta = keeping(&etcd, &file.join("state")).start().await;
    gogeta.ready().await;
    gogeta.log_has("cannot keep the routes on disk").await;
    etcd.route("a.test", "web").await;
    agrees(&gogeta, &etcd).await;
    assert_eq!(gogeta.lines_with("cannot keep the routes on disk").len(), 1);
}

/// A directory that nobody may write to, for as long as this lives.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn new(directory: &Path) -> Option<Self> {
        let mount = |line: &[&str]| {
            Command::new("mount").args(line).arg(directory).status().is_ok_and(|status| status.success())
        };
        let source = directory.to_str()?;
        if !mount(&["--bind", source]) {
            return None;
        }
        let mounted = Self(directory.to_owned());
        mount(&["-o", "remount,ro,bind"]).then_some(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_directory_that_is_read_only() {
    let Some((directory, _web, mut etcd)) = left().await else { return };
    let Some(_mount) = ReadOnly::new(directory.path()) else {
        return skip("a read-only mount needs root");
    };
    let gogeta = keeping(&etcd, directory.path()).start().await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
    etcd.restart().await;
    etcd.route("c.test", "web").await;
    agrees(&gogeta, &etcd).await;
    gogeta.log_has("cannot keep the routes on disk").await;
}

#[tokio::test]
async fn an_etcd_that_hangs_does_not_keep_the_start() {
    let Some((directory, _web, mut etcd)) = left().await else { return };
    etcd.restart().await;
    etcd.stop();
    let begun = std::time::Instant::now();
    let gogeta = keeping(&etcd, directory.path()).start().await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    etcd.cont();
    agrees(&gogeta, &etcd).await;
}
