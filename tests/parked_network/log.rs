//! The access log's lines of carried requests, where nobody takes them from the kernel for a while.

use gogeta::splice::Kind;
use rustix::process::Signal;

use super::talk::is_told;
use super::world::World;
use crate::support::backend::service_at;
use crate::support::gogeta::Gogeta;
use crate::support::parking::{carried, parked, parking_by};
use crate::support::truth::metric;
use crate::support::wait::until;

/// Requests while gogeta stands still: more than the kernel's buffer (1 MB) has room for, at this length of a head.
const REQUESTS: usize = 1500;
const LONG: usize = 1000;

#[tokio::test]
async fn requests_go_on_while_gogeta_stands_still_and_each_is_logged_or_counted_as_lost() {
    let Some(world) = World::new().await else { return };
    let (_web, at_web) = world.backend("web", world.back);
    let builder = Gogeta::routes(&service_at("a.test", &[at_web]));
    let log = builder.file("access.log", "");
    let builder = world.place(builder).args(["--access-log-format", "json"]).arg("--access-log").arg(&log);
    let Some(gogeta) = parking_by(Kind::Wire, builder).await else { return };
    let mut client = world.client(world.front()).await;
    let request = format!("GET /x HTTP/1.1\r\nHost: a.test\r\nX-Long: {}\r\n\r\n", "x".repeat(LONG));
    for number in 0..=REQUESTS {
        client.send(&request).await;
        is_told(&mut client, "web", "GET /x HTTP/1.1", b"").await;
        if number == 0 {
            parked(&gogeta, 1.0).await;
            gogeta.signal(Signal::STOP);
        }
    }
    gogeta.signal(Signal::CONT);
    assert_eq!(carried(&gogeta).await, REQUESTS as f64, "gogeta has nothing to do with them");
    let lost = metric(&gogeta, "gogeta_splice_log_lost_total").await;
    assert!(lost > 0.0 && lost < REQUESTS as f64, "{lost}");
    until("the others are logged", async || {
        let lines = std::fs::read_to_string(&log).expect("the log").lines().count();
        (lines as f64 + lost == (REQUESTS + 1) as f64).then_some(())
    })
    .await;
}
