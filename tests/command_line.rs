//! What gogeta is told by flags, environment and file, in the original's spelling too; and mistakes in it.

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use rustix::process::Signal;

use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::etcd::{Etcd, free_port};
use crate::support::gogeta::{Builder, Gogeta};
use crate::support::wait::until;

const STOPPED: &str = "[domains.\"a.test\"]\ntype = \"service\"\nvalue = \"web\"\n\
    [services.web.1]\nstatus = { current = \"stopped\", expected = \"stopped\" }\n";

/// The status of a stopped service: 500 with legacy codes, else 503.
async fn stopped(gogeta: &Gogeta) -> u16 {
    get(gogeta.proxy, "a.test", "/").await.status
}

/// A start that fails with this code, saying all of this on standard error, and nothing else anywhere.
async fn fails(builder: Builder, code: i32, says: &[&str]) {
    let Output { status, stdout, stderr } = builder.run().await;
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(code), "{said}");
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    for text in says {
        assert!(said.contains(text), "{text:?} is not in:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn the_originals_example() {
    let Some(etcd) = Etcd::start().await else { return };
    let web = Backend::named("web").await;
    etcd.put("/services/myservice/1/location", &format!("{{\"host\":\"127.0.0.1\",\"port\":{}}}", web.port))
        .await;
    etcd.put("/domains/mycustomdomain.com/type", "service").await;
    etcd.put("/domains/mycustomdomain.com/value", "myservice").await;
    let port = free_port();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let gogeta = Gogeta::bare()
        .within(root)
        .arg(format!("-etcdAddress={}", etcd.url()))
        .args(["-domainDir=/domains", "-serviceDir=/services", "-templateDir=./templates"])
        .args(["-port", &port.to_string(), "-lastAccessInterval", "10", "-logtostderr=true", "-v=1"])
        .start()
        .await;
    assert_eq!(gogeta.proxy, ([0, 0, 0, 0], port).into());
    let proxy = ([127, 0, 0, 1], port).into();
    until("mycustomdomain.com is routed", async || {
        (get(proxy, "mycustomdomain.com", "/").await.text() == "web").then_some(())
    })
    .await;
    assert_eq!(get(proxy, "nobody.com", "/").await.header("x-gogeta-page"), Some("notfound"));
}

#[tokio::test]
async fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let builder = || {
        let builder = Gogeta::routes(STOPPED);
        let file = builder.file("gogeta.toml", "legacy-codes = true\nthreads = 3\n");
        (builder, file)
    };
    assert_eq!(stopped(&Gogeta::routes(STOPPED).start().await).await, 503, "the default");
    let (with_file, file) = builder();
    assert_eq!(stopped(&with_file.arg("--config").arg(file).start().await).await, 500, "the file");
    let (with_env, file) = builder();
    let with_env = with_env.env("GOGETA_CONFIG", file).env("GOGETA_LEGACY_CODES", "false");
    assert_eq!(stopped(&with_env.start().await).await, 503, "the environment");
    let (with_flag, file) = builder();
    let with_flag = with_flag.arg("--config").arg(file).env("GOGETA_LEGACY_CODES", "false");
    assert_eq!(stopped(&with_flag.arg("--legacy-codes").start().await).await, 500, "the flag");
}

/// What a changed config file has that waits for a restart.
async fn waits(builder: Builder, file: &Path, text: &str) -> String {
    let gogeta = builder.arg("--config").arg(file).start().await;
    std::fs::write(file, text).expect("it is written");
    gogeta.signal(Signal::HUP);
    gogeta.log_has("the configuration is read anew").await;
    gogeta.lines_with("wait for a restart").concat()
}

#[tokio::test]
async fn splice_by_flag_environment_and_file() {
    let builder = || {
        let builder = Gogeta::routes(STOPPED);
        let file = builder.file("gogeta.toml", "splice = \"off\"\nsplice-max-requests = 5\n");
        (builder, file)
    };
    let new =
        "splice = \"sockmap\"\nsplice-max-requests = 0\nsplice-max-age = \"1m\"\nsplice-max-pairs = 7\n";
    let (file_alone, file) = builder();
    let said = waits(file_alone, &file, new).await;
    assert!(said.contains("\"options\":\"splice, splice-max-pairs\""), "{said}");
    let (with_flag, file) = builder();
    let said = waits(with_flag.arg("--splice=off"), &file, new).await;
    assert!(said.contains("\"options\":\"splice-max-pairs\""), "{said}");
    let (with_env, file) = builder();
    let with_env = with_env.env("GOGETA_SPLICE", "off").env("GOGETA_SPLICE_MAX_PAIRS", "9");
    assert_eq!(waits(with_env, &file, new).await, "");
}

#[tokio::test]
async fn everything_by_the_environment() {
    let web = Backend::named("web").await;
    let builder = Gogeta::bare();
    let routes = builder.file(
        "routes.toml",
        &format!("[domains.\"a.test\"]\ntype = \"uri\"\nvalue = \"http://127.0.0.1:{}\"\n", web.port),
    );
    let gogeta = builder
        .env("GOGETA_ROUTES", routes)
        .env("GOGETA_LISTEN", "127.0.0.1:0,[::1]:0")
        .env("GOGETA_ADMIN", "127.0.0.1:0")
        .env("GOGETA_THREADS", "1")
        .env("GOGETA_LOG_FORMAT", "json")
        .start()
        .await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
    let up = gogeta.lines_with("gogeta is up").pop().expect("a line");
    assert!(up.contains("\"threads\":1") && up.contains("[::1]:"), "{up}");
}

#[tokio::test]
async fn help_and_version() {
    let help = Gogeta::bare().arg("--help").run().await;
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(
        help.status.success() && text.contains("--etcd-address") && text.contains("GOGETA_ROUTES"),
        "{text}"
    );
    let version = Gogeta::bare().arg("--version").run().await;
    assert!(version.status.success() && version.stdout.starts_with(b"gogeta "));
}

#[tokio::test]
async fn a_wrong_flag() {
    fails(Gogeta::bare().arg("--lisen=x"), 2, &["--lisen", "--listen"]).await;
    fails(Gogeta::bare().arg("--listen=nowhere"), 2, &["nowhere", "--listen"]).await;
    fails(Gogeta::bare().arg("--admin=nowhere"), 2, &["nowhere", "--admin"]).await;
    fails(Gogeta::bare().arg("--threads=0"), 2, &["--threads"]).await;
    fails(Gogeta::bare().arg("--resolver-type=x"), 2, &["--resolver-type", "Dummy"]).await;
    fails(Gogeta::bare().arg("--idle-timeout=soon"), 2, &["--idle-timeout", "500ms"]).await;
    fails(Gogeta::bare().args(["--listen=127.0.0.1:0", "--port=1"]), 2, &["--listen", "--port"]).await;
    fails(Gogeta::routes("").arg("--etcd-address=x"), 2, &["--routes", "--etcd-address"]).await;
    fails(Gogeta::bare().arg("--etcd-address=ftp://x"), 2, &["ftp://x", "--etcd-address"]).await;
    fails(Gogeta::bare().arg("--etcd-ca=/no/such.pem"), 2, &["/no/such.pem", "--etcd-ca"]).await;
    fails(Gogeta::bare().arg("--splice=on"), 2, &["--splice", "auto, wire, sockmap, off"]).await;
    fails(Gogeta::bare().arg("--splice-max-requests=-1"), 2, &["--splice-max-requests"]).await;
    fails(Gogeta::bare().arg("--splice-max-age=0"), 2, &["--splice-max-age", "more than 0"]).await;
    fails(Gogeta::bare().arg("--splice-max-pairs=65537"), 2, &["--splice-max-pairs", "65536"]).await;
    fails(Gogeta::bare().env("GOGETA_SPLICE_MAX_PAIRS", "0"), 2, &["--splice-max-pairs", "1 to 65536"]).await;
    fails(Gogeta::bare().env("GOGETA_THREADS", "many"), 2, &["many", "--threads"]).await;
    fails(Gogeta::routes("").arg("--log=gogeta=nonsense"), 2, &["--log", "nonsense"]).await;
}

#[tokio::test]
async fn a_bad_config_file() {
    for (text, says) in [
        ("port = 1\nprot = 2\n", ["line 2", "prot"]),
        ("\n\nthreads = \"many\"\n", ["line 3", "threads"]),
        ("port =\n", ["line 1", "port"]),
        ("threads = 0\n", ["--threads", "0"]),
        ("splice = \"off\"\nsplice-max-age = \"soon\"\n", ["line 2", "soon"]),
        ("splice = \"wires\"\n", ["line 1", "`auto`, `wire`, `sockmap`, `off`"]),
    ] {
        let builder = Gogeta::bare();
        let file = builder.file("gogeta.toml", text);
        let name = if text.starts_with("threads") { "" } else { "gogeta.toml" };
        fails(builder.arg("--config").arg(file), 2, &[says[0], says[1], name]).await;
    }
    fails(Gogeta::bare().arg("--config=/no/such.toml"), 2, &["/no/such.toml", "--config"]).await;
}

#[tokio::test]
async fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let listen = format!("--listen={address}");
    fails(Gogeta::routes("").args([&*listen, "--admin=off"]), 1, &[&address, "--listen", "another process"])
        .await;
    let admin = format!("--admin={address}");
    fails(Gogeta::routes("").args(["--listen=127.0.0.1:0", &admin]), 1, &[&address, "--admin"]).await;
}

#[tokio::test]
async fn bad_routes() {
    fails(Gogeta::bare().arg("--routes=/no/such.toml"), 2, &["/no/such.toml", "--routes"]).await;
    fails(Gogeta::bare().arg("--routes=/"), 2, &["--routes"]).await;
    let broken = "[domains.\"a.test\"]\ntype = \"uri\"\nvalue = \n";
    fails(Gogeta::routes(broken), 2, &["routes.toml", "line 3"]).await;
}

#[tokio::test]
async fn bad_templates() {
    let with = |name: &str, text: &str| {
        let builder = Gogeta::routes("");
        let file = builder.file(&format!("templates/{name}"), text);
        builder.arg("--template-dir").arg(file.parent().expect("a folder"))
    };
    fails(with("stopped.html", "{% if %}"), 2, &["stopped.html"]).await;
    fails(with("stopped.html", "{{ nonsense }}"), 2, &["stopped.html", "nonsense"]).await;
    let old = with("body_stopped.tpl", "{{define \"body\"}}");
    fails(old, 2, &["body_stopped.tpl", "original gogeta", "--template-dir"]).await;
    fails(Gogeta::routes("").arg("--template-dir=/no/such"), 2, &["/no/such", "--template-dir"]).await;
}

#[tokio::test]
async fn an_access_log_that_cannot_be_opened() {
    fails(
        Gogeta::routes("").args(["--listen=127.0.0.1:0", "--admin=off", "--access-log=/no/such/log"]),
        1,
        &["/no/such/log", "access log"],
    )
    .await;
}
