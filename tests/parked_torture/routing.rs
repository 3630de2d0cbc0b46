//! Routes that change all the time, and who was routed when.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::support::backend::{Backend, service_at, uri};
use crate::support::client::get;
use crate::support::gogeta::Gogeta;
use crate::support::random::Random;
use crate::support::wait::until;

/// How long a parked connection may go on to where it went before: until the change has been looked at.
const GRACE: Duration = Duration::from_secs(1);

/// A domain, and the names and addresses of those who may serve it.
pub(super) type Service = (&'static str, Vec<(&'static str, SocketAddr)>);

#[derive(Debug)]
struct Period {
    from: Instant,
    to: Option<Instant>,
    domain: &'static str,
    name: &'static str,
}

/// When whom the domains led to.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Vec<Period>>);

impl History {
    /// Panics if the domain did not lead to `name` at any time since then.
    pub(super) fn assert_led(&self, domain: &str, name: &str, since: Instant) {
        let periods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_both = periods.iter().filter(|period| period.domain == domain && period.name == name);
        let led = of_both.any(|period| period.to.is_none_or(|to| to + GRACE > since));
        assert!(led, "{name} answered for {domain}, which did not lead there since {:?}", since.elapsed());
    }

    fn begin(&self, domain: &'static str, name: &'static str) {
        let mut periods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What is long over, nobody asks for.
        periods.retain(|period| period.to.is_none_or(|to| to.elapsed() < Duration::from_secs(120)));
        periods.push(Period { from: Instant::now(), to: None, domain, name });
    }

    /// All that began before are over.
    fn end_before(&self, from: Instant) {
        let mut periods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for period in periods.iter_mut().filter(|period| period.to.is_none() && period.from < from) {
            period.to = Some(Instant::now());
        }
    }

    /// Changes the routes at random, for ever.
    pub(super) async fn go_on(
        &self,
        gogeta: &Gogeta,
        services: &[Service],
        all: &[Backend],
        mut random: Random,
    ) {
        for number in 1.. {
            tokio::time::sleep(Duration::from_millis(random.below(400) as u64)).await;
            let from = Instant::now();
            gogeta.edit_routes(&self.routes(number, services, &mut random));
            let marker = mark(number);
            until("the routes are there", async || {
                (get(gogeta.proxy, &marker, "/").await.status != 404).then_some(())
            })
            .await;
            self.end_before(from);
            all.iter().for_each(Backend::forget);
        }
    }

    /// Routes that lead each domain to some of those who may serve it.
    pub(super) fn routes(&self, number: u32, services: &[Service], random: &mut Random) -> String {
        let mut routes = uri(&mark(number), "http://elsewhere.test/");
        for (domain, all) in services {
            let mut some = all.clone();
            some.retain(|_| !random.once_in(2));
            if some.is_empty() {
                some.push(all[random.below(all.len())]);
            }
            for (name, _) in &some {
                self.begin(domain, name);
            }
            let addresses: Vec<_> = some.iter().map(|(_, address)| *address).collect();
            routes += &service_at(domain, &addresses);
        }
        routes
    }
}

/// A domain that tells that the routes of that number are there.
fn mark(number: u32) -> String {
    format!("routes{number}.test")
}
