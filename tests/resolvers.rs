//! How a host becomes a target, other than by domains.

use std::net::Ipv4Addr;

use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::echo::Echo;
use crate::support::etcd::{Etcd, skip};
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

#[tokio::test]
async fn env_takes_the_first_label() {
    let Some(etcd) = Etcd::start().await else { return };
    let (one, two) = (Backend::named("one").await, Backend::named("two").await);
    etcd.locate("nxio-001", "1", one.port).await;
    etcd.locate("nxio-002", "1", two.port).await;
    etcd.status("asleep", "1", ["stopped", "passivated", "-"]).await;
    // Domains say nothing here.
    etcd.route("nxio-001.example.com", "nxio-002").await;
    for spelling in ["Env", "env", "ENV"] {
        let gogeta = Gogeta::etcd(&etcd).args(["-resolverType", spelling]).start().await;
        until("the routes are read", async || {
            (get(gogeta.proxy, "nxio-001.example.com", "/").await.text() == "one").then_some(())
        })
        .await;
        assert_eq!(get(gogeta.proxy, "nxio-002.elsewhere.test:8080", "/").await.text(), "two");
        assert_eq!(get(gogeta.proxy, "www.nxio-002.test", "/").await.text(), "two");
        assert_eq!(get(gogeta.proxy, "NXIO-001", "/").await.text(), "one");
        assert_eq!(
            get(gogeta.proxy, "nobody.example.com", "/").await.header("x-gogeta-page"),
            Some("notfound")
        );
    }
    let gogeta = Gogeta::etcd(&etcd).arg("--resolver-type=Env").start().await;
    gogeta.ready().await;
    assert_eq!(get(gogeta.proxy, "asleep.test", "/").await.header("x-gogeta-page"), Some("passivated"));
    until("it is woken", async || {
        (etcd.get("/services/asleep/1/status/expected").await? == "started").then_some(())
    })
    .await;
}

#[tokio::test]
async fn dummy_takes_everything_to_one_place() {
    let echo = Echo::on((Ipv4Addr::LOCALHOST, 8080).into()).await;
    for spelling in ["Dummy", "dummy", "DUMMY"] {
        // No etcd, no file: it is ready at once.
        let gogeta = Gogeta::bare().args(["-resolverType", spelling]).start().await;
        assert_eq!(get(gogeta.admin, "admin", "/readyz").await.status, 200);
        if echo.is_ok() {
            for host in ["a.test", "b.test:1234"] {
                let reply = get(gogeta.proxy, host, "/x?y").await;
                assert_eq!(reply.status, 200);
                let head = reply.text().to_lowercase();
                assert!(head.starts_with("get /x?y ") && head.contains("host: localhost:8080\r\n"), "{head}");
                assert!(head.contains(&format!("x-forwarded-host: {host}\r\n")), "{head}");
            }
        }
    }
    if echo.is_err() {
        skip("something else listens on port 8080");
    }
}

#[tokio::test]
async fn io_etcd_is_the_default_and_has_a_name() {
    let web = Backend::named("web").await;
    let routes = format!("[domains.\"a.test\"]\ntype = \"uri\"\nvalue = \"http://127.0.0.1:{}\"\n", web.port);
    for spelling in ["IoEtcd", "ioetcd", "IOETCD"] {
        let gogeta = Gogeta::routes(&routes).args(["--resolver-type", spelling]).start().await;
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
    }
}
