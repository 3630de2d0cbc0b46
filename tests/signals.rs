//! What gogeta does when it is told something by a signal.

use rustix::process::Signal;

use crate::support::backend::Backend;
use crate::support::client::get;
use crate::support::echo::Echo;
use crate::support::gogeta::Gogeta;
use crate::support::wait::until;

fn uri(port: u16) -> String {
    format!("[domains.\"a.test\"]\ntype = \"uri\"\nvalue = \"http://127.0.0.1:{port}\"\n")
}

const STOPPED: &str = "[domains.\"a.test\"]\ntype = \"service\"\nvalue = \"web\"\n\
    [services.web.1]\nstatus = { current = \"stopped\", expected = \"stopped\" }\n";

#[tokio::test]
async fn usr1_logs_the_stacks_of_all_tasks() {
    let echo = Echo::shut().await;
    let gogeta = Gogeta::routes(&uri(echo.port)).start().await;
    let proxy = gogeta.proxy;
    let waiting: Vec<_> = (0..8).map(|_| tokio::spawn(get(proxy, "a.test", "/"))).collect();
    until("the requests are in flight", async || {
        let metrics = get(gogeta.admin, "admin", "/metrics").await.text();
        metrics.contains("gogeta_connections_open 8").then_some(())
    })
    .await;
    for dump in 1..=3 {
        gogeta.signal(Signal::USR1);
        until("the dump is logged", async || {
            (gogeta.lines_with("the state of every task").len() == dump).then_some(())
        })
        .await;
    }
    let dumps = gogeta.lines_with("the state of every task");
    for runtime in ["=== worker-0: ", "=== worker-1: ", "=== control: "] {
        assert!(dumps.iter().all(|dump| dump.contains(runtime)), "{runtime} is not in {}", dumps[0]);
    }
    assert!(!dumps.iter().any(|dump| dump.contains("did not answer")), "{dumps:?}");
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        // Real stacks: the requests wait for their backend, and the controller for the store.
        for frame in ["src/proxy/forward.rs", "src/control.rs"] {
            assert!(dumps.iter().all(|dump| dump.contains(frame)), "{frame} is not in {}", dumps[0]);
        }
    }
    // Nobody was hurt.
    echo.open();
    for request in waiting {
        assert_eq!(request.await.expect("an answer").status, 200);
    }
    assert_eq!(get(proxy, "a.test", "/").await.status, 200);
}

/// How much CPU time it has taken, in ticks (of which a second has 100).
fn ticks(gogeta: &Gogeta) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gogeta.pid())).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
}

#[tokio::test]
async fn usr2_starts_and_writes_a_profile() {
    let web = Backend::named("web").await;
    let builder = Gogeta::routes(&uri(web.port));
    let file = builder.file("cpu.prof", "");
    let flames = file.with_extension("svg");
    let gogeta = builder.arg("--cpu-profile").arg(&file).start().await;
    // The flag profiles from the start: the first signal writes that one, and two more another.
    gogeta.log_has("profiling").await;
    for written in 1..=2 {
        let before = ticks(&gogeta);
        until("there is something to profile", async || {
            for _ in 0..20 {
                assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 200);
            }
            (ticks(&gogeta) > before + 15).then_some(())
        })
        .await;
        gogeta.signal(Signal::USR2);
        until("the profile is written", async || {
            (gogeta.lines_with("the CPU profile is written").len() == written).then_some(())
        })
        .await;
        let profile = std::fs::read(&file).expect("it is there");
        let has = |text: &[u8]| profile.windows(text.len()).any(|window| window == text);
        assert!(has(b"cpu") && has(b"gogeta"), "{} bytes", profile.len());
        let picture = std::fs::read_to_string(&flames).expect("it is there");
        assert!(picture.contains("<svg") && picture.contains("gogeta"));
        std::fs::remove_file(&flames).expect("it is gone");
        if written == 1 {
            gogeta.signal(Signal::USR2);
            until("it profiles again", async || {
                (gogeta.lines_with("once more writes the profile").len() == 2).then_some(())
            })
            .await;
        }
    }
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
}

#[tokio::test]
async fn hup_reads_the_config_file_anew() {
    let builder = Gogeta::routes(STOPPED);
    let file = builder.file("gogeta.toml", "");
    let gogeta = builder.arg("--config").arg(&file).start().await;
    let write = |text: &str| {
        std::fs::write(&file, text).expect("it is written");
        gogeta.signal(Signal::HUP);
    };
    let gives = async |status: u16| {
        until(&format!("a stopped service gives {status}"), async || {
            (get(gogeta.proxy, "a.test", "/").await.status == status).then_some(())
        })
        .await;
    };
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 503);
    write("legacy-codes = true\n");
    gives(500).await;
    // A mistake is told with its line, and changes nothing.
    write("legacy-codes = false\nprot = 1\n");
    gogeta.log_has("the configuration stays as it was").await;
    let said = gogeta.lines_with("the configuration stays as it was").pop().expect("a line");
    assert!(said.contains("gogeta.toml") && said.contains("line 2"), "{said}");
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.status, 500);
    // What cannot change while it runs is told, and the rest is done.
    write("legacy-codes = false\nlast-access-interval = 5\nupstream-idle-max = 1\nlog = \"debug\"\n");
    gives(503).await;
    let said = gogeta.lines_with("wait for a restart").pop().expect("a line");
    assert!(said.contains("\"options\":\"last-access-interval, upstream-idle-max\""), "{said}");
    // The log's filter is not among them.
    gogeta.log_has("\"DEBUG\"").await;
}

#[tokio::test]
async fn hup_reads_the_templates_anew() {
    let builder = Gogeta::routes(STOPPED);
    let file = builder.file("templates/stopped.html", "mine");
    let gogeta = builder.arg("--template-dir").arg(file.parent().expect("a folder")).start().await;
    assert!(gogeta.lines_with("the templates are read anew").is_empty());
    gogeta.signal(Signal::HUP);
    gogeta.log_has("the templates are read anew").await;
    assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "mine");
}

#[tokio::test]
async fn hup_and_usr1_in_a_burst_do_no_harm() {
    let web = Backend::named("web").await;
    let gogeta = Gogeta::routes(&uri(web.port)).start().await;
    for _ in 0..50 {
        gogeta.signal(Signal::HUP);
        gogeta.signal(Signal::USR1);
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
    }
}

#[tokio::test]
async fn term_and_int_end_it_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let web = Backend::named("web").await;
        let mut gogeta = Gogeta::routes(&uri(web.port)).start().await;
        assert_eq!(get(gogeta.proxy, "a.test", "/").await.text(), "web");
        gogeta.signal(signal);
        assert_eq!(gogeta.wait().await.code(), Some(0), "{signal:?}");
        gogeta.log_has("gogeta is down").await;
        assert!(tokio::net::TcpStream::connect(gogeta.proxy).await.is_err(), "nobody listens any more");
    }
}
