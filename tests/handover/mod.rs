//! A new gogeta takes the sockets of the running one over, which finishes what it has in hand: nobody is refused, and
//! no request fails. Where the new one does not come so far, the running one goes on.

mod asked;
mod failures;
mod load;
mod overlap;
mod places;

use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::etcd::Etcd;
use crate::support::gogeta::{Builder, Gogeta};

/// Where gogetas meet.
struct Meeting(TempDir);

impl Meeting {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("upgrade")
    }

    fn meets(&self, builder: Builder) -> Builder {
        builder.arg("--upgrade-socket").arg(self.path())
    }

    /// One that is to take over from that one, everywhere.
    fn after(&self, old: &Gogeta, builder: Builder) -> Builder {
        self.meets(builder).args([format!("--listen={}", old.proxy), format!("--admin={}", old.admin)])
    }

    /// The first, without the kernel's help: what takes long to load says nothing here.
    fn routes(&self, toml: &str) -> Builder {
        self.meets(Gogeta::routes(toml)).args(["--splice", "off"])
    }

    /// The next one, likewise.
    fn next(&self, old: &Gogeta, toml: &str) -> Builder {
        self.after(old, Gogeta::routes(toml)).args(["--splice", "off"])
    }

    /// The same, with routes from etcd.
    fn etcd(&self, old: &Gogeta, etcd: &Etcd) -> Builder {
        self.after(old, Gogeta::etcd(etcd)).args(["--splice", "off"])
    }
}

/// It has been taken over from, and ends by itself.
async fn is_over(mut old: Gogeta) {
    assert_eq!(old.wait().await.code(), Some(0), "{}", old.log());
    assert!(old.log().contains("another gogeta has taken over"), "{}", old.log());
    assert!(!old.log().contains("the drain time-out has passed"), "{}", old.log());
}
