//! The access log: a request is one line in either form, and both tell what was asked, whatever was asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use gogeta::access_log::{Line, combined, json, text};
use serde_json::Value;
use time::OffsetDateTime;

/// Stands between the input's parts; no text has it.
const BETWEEN: u8 = 0xff;

/// The input is the texts of a line: target, agent, referer, host, method, id, instance. Its length makes the
/// numbers.
pub(crate) fn check(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == BETWEEN).map(String::from_utf8_lossy);
    let [target, agent, referer, host, method, id, upstream] =
        std::array::from_fn(|_| parts.next().unwrap_or_default());
    let number = bytes.len() as u64;
    let line = Line {
        client: if number.is_multiple_of(2) {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            IpAddr::V6(Ipv6Addr::from(u128::from(number) << 64 | 1))
        },
        host: &host,
        method: &method,
        target: &target,
        version: "HTTP/1.1",
        status: 100 + (number % 500) as u16,
        sent: number << 20,
        received: number,
        took: Duration::from_micros(number * 1001),
        upstream_took: (!number.is_multiple_of(3)).then(|| Duration::from_millis(number)),
        retries: (number % 3) as u8,
        id: &id,
        upstream: &upstream,
        referer: &referer,
        agent: &agent,
        cut: number.is_multiple_of(5),
        engine: "relay",
    };
    let now = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(number * 86_399);
    as_json(&line, &json(&line, now));
    as_combined(&line, &combined(&line, now));
    as_text(&line, &text(&line, now));
}

fn is_one_line(text: &str, is_control: fn(char) -> bool) -> &str {
    let line = text.strip_suffix('\n').expect("a line ends");
    assert!(!line.contains(is_control), "{line:?} has control characters");
    line
}

fn as_json(line: &Line<'_>, text: &str) {
    let value: Value = serde_json::from_str(is_one_line(text, |letter| letter < ' ')).expect("JSON");
    let is = |name: &str, expected: Value| assert_eq!(value[name], expected, "{name}");
    // serde_json reads the last digit of a fraction as it likes.
    let took = |name: &str, expected: Option<Duration>| match (value[name].as_f64(), expected) {
        (Some(seconds), Some(expected)) => assert!((seconds - expected.as_secs_f64()).abs() < 1e-9, "{name}"),
        (seconds, expected) => {
            assert!(seconds.is_none() && expected.is_none() && value[name].is_null(), "{name}")
        }
    };
    is("client", line.client.to_string().into());
    is("host", line.host.into());
    is("method", line.method.into());
    is("target", line.target.into());
    is("status", line.status.into());
    is("bytes_sent", line.sent.into());
    is("bytes_received", line.received.into());
    took("duration", Some(line.took));
    took("upstream_duration", line.upstream_took);
    is("retries", line.retries.into());
    is("request_id", line.id.into());
    is("upstream", line.upstream.into());
    is("referer", line.referer.into());
    is("user_agent", line.agent.into());
    is("cut", line.cut.into());
    assert!(value["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{value}");
}

/// Takes the line apart as a program does that splits it at quotes and spaces, and knows no more.
fn as_combined(line: &Line<'_>, text: &str) {
    let parts: Vec<&str> = is_one_line(text, char::is_control).split('"').collect();
    let [before, request, numbers, referer, _, agent, ""] = *parts else {
        panic!("{} quotes in {text:?}", parts.len() - 1);
    };
    told(line, before, request, numbers);
    assert_eq!((plain(referer), plain(agent)), (or_dash(line.referer), or_dash(line.agent)));
}

fn as_text(line: &Line<'_>, text: &str) {
    let parts: Vec<&str> = is_one_line(text, char::is_control).split('"').collect();
    let [before, request, numbers, referer, _, agent, _, host, behind] = *parts else {
        panic!("{} quotes in {text:?}", parts.len() - 1);
    };
    told(line, before, request, numbers);
    assert_eq!((plain(referer), plain(agent)), (or_dash(line.referer), or_dash(line.agent)));
    assert_eq!(plain(host), or_dash(line.host));
    let words: Vec<&str> = behind.split(' ').collect();
    let ["", upstream, seconds] = *words else { panic!("{behind:?} is an instance and a time") };
    assert_eq!(plain(upstream), or_dash(line.upstream));
    assert!(seconds.parse::<f64>().is_ok(), "{seconds:?}");
}

/// What stands before the Referer.
fn told(line: &Line<'_>, before: &str, request: &str, numbers: &str) {
    let (client, time) = before.split_once(" - - [").expect("who, and when");
    assert_eq!(client, line.client.to_string());
    assert!(time.ends_with(" +0000] "), "{time:?}");
    let asked = format!("{} {} {}", line.method, line.target, line.version);
    assert_eq!(plain(request), if line.method.is_empty() { "-".to_owned() } else { asked });
    assert_eq!(numbers, format!(" {} {} ", line.status, line.sent));
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

/// The text before it was escaped.
fn plain(escaped: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = escaped;
    while let Some((before, behind)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let (digits, after) = behind.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).expect("a byte"));
        rest = after;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).expect("text")
}
