//! `gogeta status`: what a running gogeta does, and what is wrong, on one screen.

use std::collections::BTreeMap;

use serde::Deserialize as _;

use super::Failure;
use super::client::Client;
use super::client::answers::{Engine, Status};
use super::measures::{bytes, count, number, percent, seconds, span};
use super::output::{Tone, clean, coloured, paint, say, say_json};
use crate::cli::{Cli, StatusOptions};

pub(super) async fn run(cli: &Cli, options: &StatusOptions) -> Result<u8, Failure> {
    let mut client = Client::of(cli, &options.at)?;
    let answer: serde_json::Value = client.get("/api/status").await?;
    let status = Status::deserialize(&answer).map_err(|error| {
        Failure::Away(format!("{} (--admin) is not what gogeta says: {error}", client.url()))
    })?;
    if options.json {
        say_json(&answer)?;
    } else {
        say(&shown(&status, coloured()))?;
    }
    Ok(u8::from(!status.ready.ready))
}

/// All of it as text.
fn shown(status: &Status, coloured: bool) -> String {
    let mut lines = vec![title(status)];
    let mut line = |name: &str, text: String, tone: Tone| {
        lines.push(format!(
            "{}  {}",
            paint(&format!("{name:<11}"), Tone::Faint, coloured),
            paint(&text, tone, coloured)
        ));
    };
    let (word, tone) = match (status.ready.ready, status.ready.draining) {
        (true, _) => ("yes", Tone::Good),
        (false, true) => ("no, on its way out", Tone::Bad),
        (false, false) => ("no", Tone::Bad),
    };
    line("ready", format!("{word}: {}", clean(&status.ready.detail)), tone);
    line("store", store(status), if status.store.connected { Tone::Plain } else { Tone::Bad });
    let counts = &status.counts;
    line("domains", states(counts.domains, &counts.domains_by_state), Tone::Plain);
    line("services", states(counts.services, &counts.services_by_state), Tone::Plain);
    let resting = match counts.resting {
        0 => String::new(),
        resting => format!("; {} cannot be connected to", count(resting)),
    };
    line("instances", states(counts.instances, &counts.instances_by_state) + &resting, Tone::Plain);
    let traffic = &status.traffic;
    let errors = if traffic.error_ratio > 0.0 { Tone::Bad } else { Tone::Plain };
    line(
        "requests",
        format!(
            "{}/s, {} of them errors ({}/s), {}/s retried",
            number(traffic.requests_per_second),
            percent(traffic.error_ratio),
            number(traffic.errors_per_second),
            number(traffic.retries_per_second)
        ),
        errors,
    );
    let times = [traffic.p50_seconds, traffic.p90_seconds, traffic.p99_seconds].map(seconds);
    line("latency", format!("p50 {}, p90 {}, p99 {}", times[0], times[1], times[2]), Tone::Plain);
    let most =
        status.limits.max_connections.map_or_else(String::new, |most| format!(" of {}", count(most as u64)));
    line(
        "connections",
        format!(
            "{}{most} from clients, {} idle to instances",
            count(traffic.connections_open as u64),
            count(traffic.connections_idle_upstream as u64)
        ),
        Tone::Plain,
    );
    let engines: Vec<String> = status.engines.iter().map(engine).collect();
    line("bytes", format!("{}/s: {}", bytes(traffic.bytes_per_second), engines.join(", ")), Tone::Plain);
    if !status.sandbox.detail.is_empty() {
        line("sandbox", clean(&status.sandbox.detail).into_owned(), Tone::Plain);
    }
    let mut text = lines.join("\n") + "\n\n";
    if status.worst.is_empty() {
        text += &paint("nothing is wrong\n", Tone::Good, coloured);
    }
    for worst in &status.worst {
        let name = format!("{} {}", clean(&worst.kind), clean(&worst.name));
        text += &format!("{}: {}\n", paint(&name, Tone::Bad, coloured), clean(&worst.what));
    }
    let told = status.worst.iter().filter(|worst| worst.kind == "key").count() as u64;
    if counts.problems > told {
        text += &format!("{} keys have wrong values; gogeta check lists them\n", count(counts.problems));
    }
    text
}

fn title(status: &Status) -> String {
    let commit = status.build.commit.as_deref().map_or_else(String::new, |commit| {
        let short: String = commit.chars().take(9).collect();
        format!(" ({})", clean(&short))
    });
    let listen: Vec<_> = status.listen.iter().map(|place| clean(place)).collect();
    format!(
        "gogeta {}{commit} on {}, up {}, pid {}",
        clean(&status.version),
        listen.join(", "),
        span(status.uptime_seconds),
        status.pid
    )
}

fn store(status: &Status) -> String {
    let store = &status.store;
    let how = match (store.connected, store.from_disk) {
        (true, false) => "connected",
        (true, true) => "connected, routes from disk",
        (false, true) => "away, routes from disk",
        (false, false) => "away",
    };
    let age = store
        .config_age_seconds
        .map_or_else(|| "no routes have been read".to_owned(), |age| format!("routes {} old", span(age)));
    format!("{}, {how}, revision {}, {age}", clean(&store.kind), store.revision)
}

/// A number of things, and how many of them are in each state.
fn states(all: u64, by_state: &BTreeMap<String, u64>) -> String {
    let part = |(state, number): (&String, &u64)| format!("{} {}", count(*number), clean(state));
    let mut parts: Vec<(&String, &u64)> = by_state.iter().filter(|(_, number)| **number > 0).collect();
    parts.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
    let parts: Vec<String> = parts.into_iter().map(part).collect();
    if parts.is_empty() { count(all) } else { format!("{}: {}", count(all), parts.join(", ")) }
}

fn engine(engine: &Engine) -> String {
    let name = clean(&engine.engine);
    match (engine.loaded, engine.pairs) {
        (false, _) => format!("no {name}"),
        (true, 0) => format!("{name} {}", percent(engine.share_of_bytes)),
        (true, pairs) => format!("{name} {} ({} parked)", percent(engine.share_of_bytes), count(pairs)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = include_str!("client/status.json");

    #[test]
    fn one_screenful() {
        let status: Status = serde_json::from_str(ANSWER).expect("an answer");
        let text = shown(&status, false);
        assert_eq!(
            text,
            "gogeta 0.1.0 (012345678) on 0.0.0.0:7777, up 4h 12m, pid 4711\n\
             ready        yes: the routes are current\n\
             store        etcd, connected, revision 8123, routes 2s old\n\
             domains      1,003: 900 started, 60 uri, 40 pending, 3 error\n\
             services     42: 41 started, 1 error\n\
             instances    87: 84 started, 2 error, 1 stopped; 1 cannot be connected to\n\
             requests     12.3k/s, 0.4 % of them errors (49.4/s), 0.2/s retried\n\
             latency      p50 0.85 ms, p90 2.4 ms, p99 18.2 ms\n\
             connections  1,204 of 10,000 from clients, 310 idle to instances\n\
             bytes        48.2 MB/s: userspace 12 %, no sockmap, wire 88 % (1,024 parked)\n\
             sandbox      system calls (seccomp), files (Landlock 6), uid 998\n\n\
             service shop: instance 2 cannot be connected to\n\
             key /domains/a.test/type: the type must be service or uri, not \"servcie\"\n"
        );
        assert!(text.lines().count() < 24 && text.lines().all(|line| line.chars().count() <= 80));
        assert!(shown(&status, true).contains("\x1b[32myes: the routes are current\x1b[0m"));
    }

    #[test]
    fn another_versions_answer_is_shown_as_far_as_it_goes() {
        let status: Status = serde_json::from_str("{\"version\": \"9\", \"new\": {}}").expect("an answer");
        assert!(shown(&status, false).contains("ready        no: "));
    }
}
