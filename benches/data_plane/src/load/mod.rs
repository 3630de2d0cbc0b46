//! A load of its own making, for what wrk does not do: requests at a fixed rate, each timed from when it was due, and
//! echoes through a tunnel.
//!
//! A generator that waits for the answer before it asks again measures least when the proxy is slowest. Here what is
//! due while nothing is free waits in line, and that time is in its latency.

mod connection;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZero;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::event::{Timespec, epoll};
use serde::{Deserialize, Serialize};

use self::connection::Connection;
pub(crate) use self::connection::{host, read_head};

/// Options of a load, as the benchmark gives them to itself.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Where it goes to
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The path that is asked for
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// How many connections there are
    #[arg(long)]
    pub(crate) connections: usize,
    /// How many requests are due in a second; the next is due as soon as the one before is answered where it is 0
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u32,
    /// How long it lasts
    #[arg(long)]
    pub(crate) seconds: f64,
    /// Send so many bytes through a WebSocket and wait for them, instead of asking by GET
    #[arg(long)]
    pub(crate) echo: Option<usize>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Exchanges that were complete in time.
    pub(crate) count: usize,
    /// How many were due, and not complete at the end.
    pub(crate) late: usize,
    /// Latencies, in nanoseconds from when the exchange was due.
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
}

/// Makes the load.
///
/// # Errors
/// When a connection cannot be made, breaks, or brings an answer that is none.
pub(crate) fn run(args: &Args) -> Result<Outcome> {
    // A timer may come this much late, so that others can be served with it: 50 µs, if nothing is said.
    rustix::thread::set_current_timer_slack(NonZero::new(1)).context("PR_SET_TIMERSLACK")?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::new();
    for index in 0..args.connections {
        let connection = Connection::open(args).with_context(|| format!("connection {index}"))?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&epoll, connection.socket(), data, epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        connections.push(connection);
    }

    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(args.seconds);
    // What is on its way then may come to its end.
    let last = end + Duration::from_secs(1);
    let interval = (args.rate > 0).then(|| Duration::from_secs(1) / args.rate);
    let mut schedule = Schedule { next: begun, interval };
    let mut free: VecDeque<usize> = (0..connections.len()).collect();
    let mut latencies = Vec::new();
    let mut events = Vec::with_capacity(1024);
    loop {
        let now = Instant::now();
        while let Some(&index) = free.front().filter(|_| now < end || interval.is_some()) {
            let Some(due) = schedule.take(now.min(end)) else { break };
            free.pop_front();
            connections[index].ask(due)?;
        }
        let is_over = now >= end && (interval.is_none() || free.len() == connections.len());
        if is_over || now >= last {
            break;
        }
        let until = match free.is_empty() || now >= end {
            true => last,
            false => schedule.next.min(end),
        };
        let pause = until.saturating_duration_since(now);
        let pause = Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: pause.subsec_nanos().into() };
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&pause))?;
        for event in &events {
            let index = usize::try_from(event.data.u64())?;
            if let Some(due) = connections[index].read()? {
                latencies.push(u64::try_from(due.elapsed().as_nanos())?);
                free.push_back(index);
            }
        }
    }
    let busy = connections.len() - free.len();
    outcome(latencies, if interval.is_some() { busy + schedule.missed(end) } else { 0 })
}

fn outcome(mut latencies: Vec<u64>, late: usize) -> Result<Outcome> {
    latencies.sort_unstable();
    if latencies.is_empty() {
        bail!("nothing was answered");
    }
    let at = |thousandth: usize| latencies[(latencies.len() * thousandth).div_ceil(1000).max(1) - 1];
    Ok(Outcome { count: latencies.len(), late, p50: at(500), p90: at(900), p99: at(990), p999: at(999) })
}

/// When the next exchange is due.
struct Schedule {
    next: Instant,
    /// None where each is due when the one before is done.
    interval: Option<Duration>,
}

impl Schedule {
    /// When the one was due that is to be begun now, if there is one.
    fn take(&mut self, now: Instant) -> Option<Instant> {
        let Some(interval) = self.interval else { return Some(now) };
        let due = self.next;
        (due <= now).then(|| {
            self.next += interval;
            due
        })
    }

    /// How many were due before the end, and never begun.
    fn missed(&self, end: Instant) -> usize {
        let Some(interval) = self.interval else { return 0 };
        let behind = end.saturating_duration_since(self.next);
        usize::try_from(behind.as_nanos() / interval.as_nanos().max(1)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_while_nothing_is_free_keeps_its_time() {
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        let mut schedule = Schedule { next: begun, interval: Some(second) };
        assert_eq!(schedule.take(begun), Some(begun));
        assert_eq!(schedule.take(begun), None);
        assert_eq!(schedule.take(begun + second * 5), Some(begun + second));
        assert_eq!(schedule.missed(begun + second * 5), 3);
    }

    #[test]
    fn percentiles_are_of_what_there_was() {
        let outcome = outcome((1..=1000).collect(), 0).expect("there are some");
        assert_eq!((outcome.p50, outcome.p90, outcome.p99, outcome.p999), (500, 900, 990, 999));
        assert_eq!(super::outcome(vec![7], 0).map(|outcome| outcome.p999).ok(), Some(7));
        assert!(super::outcome(vec![], 0).is_err());
    }
}
