//! The results as pictures, which are in the dark where their page is.

use std::fmt::Write as _;

use crate::contender::Kind;
use crate::plan::{Load, Scenario, bytes};
use crate::results::{Results, Spread};
use crate::wrk::Asked;

const STYLE: &str = "<style>text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-size:16px;font-weight:600}\
     .head{font-weight:600}.note,.value{fill:#57606a;font-size:12px}.bar{fill:#8c959f}.ours{fill:#0969da}\
     .limit{fill:#d0d7de}.spread{stroke:#24292f;stroke-width:1.5;opacity:.6}\
     @media(prefers-color-scheme:dark){text{fill:#e6edf3}.note,.value{fill:#9198a1}.bar{fill:#6e7681}\
     .ours{fill:#4493f8}.limit{fill:#3d444d}.spread{stroke:#f0f6fc}}</style>";

const WIDTH: f64 = 860.0;
/// A line of text, or a bar.
const LINE: f64 = 20.0;
/// Where bars begin: contenders' names are left of it.
const LEFT: f64 = 130.0;

/// Requests per second of plain requests over 64 connections: a panel for each size.
pub(crate) fn throughput(results: &Results) -> String {
    let rows = results.rows(|row| {
        row.load == Load::Most(Asked::Plain) && row.connections == 64 && !row.logs && !row.watched
    });
    let heading = Heading {
        title: "Requests per second, 64 connections",
        note: "longer is better; thin lines: the range of the rounds; × is against nginx in the same round; “direct” is no proxy, the limit",
    };
    let bar = |row: &Scenario, kind| {
        let spread = results.of(&row.title, kind, |measure| Some(measure.rate))?;
        let ratio = results.ratio(&row.title, kind, Kind::Nginx).map(|ratio| ratio.middle);
        let against = ratio.map(|ratio| format!("  ×{ratio:.2}")).unwrap_or_default();
        Some((spread, format!("{}{against}", thousands(spread.middle))))
    };
    panels(results, &heading, &rows, |row| format!("{} bodies", bytes(row.body)), bar)
}

/// The 99th percentile of latency at half load.
pub(crate) fn latency(results: &Results) -> String {
    let rows = results.rows(|row| row.load == Load::Share(50));
    let heading = Heading {
        title: "Latency at half load, p99",
        note: "shorter is better; thin lines: the range of the rounds; the same rate for all, half of what the slowest can",
    };
    let bar = |row: &Scenario, kind| {
        let spread = results.of(&row.title, kind, |measure| Some(measure.p99))?;
        let median = results.of(&row.title, kind, |measure| Some(measure.p50))?.middle;
        Some((spread, format!("{} µs  (p50 {median:.0} µs)", thousands(spread.middle))))
    };
    panels(results, &heading, &rows, |row| format!("{} bodies", bytes(row.body)), bar)
}

/// What a request costs at half load.
pub(crate) fn cpu(results: &Results) -> String {
    let rows = results.rows(|row| row.load == Load::Share(50));
    let heading = Heading {
        title: "CPU time of the whole machine for a request, at half load",
        note: "shorter is better; thin lines: the range of the rounds; load and server are in it, and are the same for all",
    };
    let bar = |row: &Scenario, kind| {
        let spread = results.of(&row.title, kind, |measure| Some(measure.machine))?;
        Some((spread, format!("{:.1} µs", spread.middle)))
    };
    panels(results, &heading, &rows, |row| format!("{} bodies", bytes(row.body)), bar)
}

struct Heading {
    title: &'static str,
    note: &'static str,
}

/// A panel of bars for each row, one under the other; each has its own scale.
fn panels(
    results: &Results,
    heading: &Heading,
    rows: &[&Scenario],
    name: impl Fn(&Scenario) -> String,
    bar: impl Fn(&Scenario, Kind) -> Option<(Spread, String)>,
) -> String {
    let mut shapes = String::new();
    let mut y = 26.0;
    text(&mut shapes, 10.0, y, "title", heading.title);
    y += LINE;
    text(&mut shapes, 10.0, y, "note", heading.note);
    for row in rows {
        y += LINE * 1.8;
        text(&mut shapes, 10.0, y, "head", &name(row));
        y += 8.0;
        let bars: Vec<_> =
            results.kinds().into_iter().filter_map(|kind| Some((kind, bar(row, kind)?))).collect();
        let most = bars.iter().map(|(_, (spread, _))| spread.largest).fold(f64::MIN_POSITIVE, f64::max);
        // The values' text is right of the longest bar.
        let scale = (WIDTH - LEFT - 170.0) / most;
        for (kind, (spread, label)) in bars {
            text(&mut shapes, 10.0, y + 14.0, "", kind.title());
            let length = spread.middle * scale;
            let _ = write!(
                shapes,
                "<rect class=\"{}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"14\" rx=\"2\"/>",
                class(kind),
                y + 3.0
            );
            let (least, largest) = (LEFT + spread.least * scale, LEFT + spread.largest * scale);
            let _ = write!(
                shapes,
                "<line class=\"spread\" x1=\"{least:.1}\" x2=\"{largest:.1}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>",
                y + 10.0
            );
            text(&mut shapes, LEFT + length.max(largest - LEFT) + 8.0, y + 14.0, "value", &label);
            y += LINE;
        }
    }
    let height = y + 14.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" role=\"img\"><title>{}</title>{STYLE}\n{}</svg>\n",
        heading.title,
        shapes.replace("/><", "/>\n<").replace("</text><", "</text>\n<")
    )
}

fn text(shapes: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = write!(
        shapes,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" xml:space=\"preserve\">{text}</text>"
    );
}

const fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::GogetaOff | Kind::GogetaSockmap | Kind::GogetaWire => "ours",
        Kind::Direct => "limit",
        _ => "bar",
    }
}

/// With commas between thousands.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_apart() {
        assert_eq!([1.0, 999.0, 1_000.0, 1_234_567.0].map(thousands), ["1", "999", "1,000", "1,234,567"]);
    }
}
