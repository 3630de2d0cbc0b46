//! The results as tables.

use std::fmt::Write as _;

use crate::contender::Kind;
use crate::plan::{Load, Scenario};
use crate::results::{Results, Spread};

/// All tables, as Markdown.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = String::from("# The data plane, side by side\n\n");
    text += &results.preamble();
    text += "How, and what the words mean: [README.md](README.md).\n\n";
    let most = results.rows(|row| !matches!(row.load, Load::Share(_)) && !row.watched);
    text += "## Requests per second\n\n![Requests per second](throughput.svg)\n\nMedians.\n\n";
    table(&mut text, results, &most, |row, kind| {
        results.of(&row.title, kind, |measure| Some(measure.rate)).map(|spread| rate(spread.middle))
    });
    text +=
        "\n## Against nginx\n\nRatios of requests per second within a round: the median, and the range.\n\n";
    table(&mut text, results, &most, |row, kind| results.ratio(&row.title, kind, Kind::Nginx).map(range));
    text += "\n## Parked connections against userspace\n\nWhat `--splice sockmap` and `--splice wire` do beside `--splice off`, and the latter \
             beside plain IP forwarding, as above.\n\n";
    let pairs = [
        ("sockmap / off", Kind::GogetaSockmap, Kind::GogetaOff),
        ("wire / off", Kind::GogetaWire, Kind::GogetaOff),
        ("wire / direct", Kind::GogetaWire, Kind::Direct),
    ];
    let _ = writeln!(text, "| | {} | {} | {} |", pairs[0].0, pairs[1].0, pairs[2].0);
    text += "| --- | --: | --: | --: |\n";
    for row in &most {
        let ratios = pairs.map(|(_, one, other)| {
            results.ratio(&row.title, one, other).map_or_else(|| "–".to_owned(), range)
        });
        let _ = writeln!(text, "| {} | {} |", row.title, ratios.join(" | "));
    }
    text += &watched(results);
    let rates = results.at_a_rate();
    if !rates.is_empty() {
        text += "\n## Latency at a fixed rate\n\n![Latency](latency.svg)\n\nOf what the slowest can, 64 connections; p50 / p99 / p99.9 in \
                 microseconds, from when each request was due.\n\n";
        table(&mut text, results, &rates, |row, kind| {
            let all = [
                results.of(&row.title, kind, |measure| Some(measure.p50))?,
                results.of(&row.title, kind, |measure| Some(measure.p99))?,
                results.of(&row.title, kind, |measure| measure.p999)?,
            ];
            Some(all.map(|spread| format!("{:.0}", spread.middle)).join(" / "))
        });
        text += "\n## CPU for a request, at the same rates\n\n![CPU time](cpu.svg)\n\nMicroseconds of the whole machine, with load and server \
                 in them; in brackets what the kernel counts as the contender's own.\n\n";
        table(&mut text, results, &rates, |row, kind| {
            let machine = results.of(&row.title, kind, |measure| Some(measure.machine))?.middle;
            let own = results.of(&row.title, kind, |measure| measure.own);
            Some(
                own.map_or_else(
                    || format!("{machine:.1}"),
                    |own| format!("{machine:.1} ({:.1})", own.middle),
                ),
            )
        });
    }
    text += "\n## Memory\n\nMiB held at the end of each of these.\n\n";
    let largest = results.rows(|row| matches!(row.load, Load::Most(_)) && !row.watched);
    table(&mut text, results, &largest, |row, kind| {
        let held = results.of(&row.title, kind, |measure| measure.memory.map(|kib| kib as f64 / 1024.0))?;
        Some(format!("{:.0}", held.largest))
    });
    let failures = results.failures();
    if !failures.is_empty() {
        text += "\n## What went wrong\n\n";
        for failure in failures {
            let _ = writeln!(text, "- {failure}");
        }
    }
    text
}

/// What it costs to have more told of gogeta, or less.
fn watched(results: &Results) -> String {
    let mut text = String::new();
    for row in results.rows(|row| row.watched) {
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_watched());
        let lines: Vec<_> = kinds
            .filter_map(|kind| {
                let rates = results.of(&row.title, kind, |measure| Some(measure.rate))?;
                let ratio = results.ratio(&row.title, kind, Kind::GogetaOff)?;
                let machine = results.of(&row.title, kind, |measure| Some(measure.machine))?;
                let (rate, machine) = (rate(rates.middle), machine.middle);
                Some(format!("| {} | {rate} | {} | {machine:.1} |\n", kind.title(), range(ratio)))
            })
            .collect();
        if !lines.is_empty() {
            text += "\n## What watching costs\n\n12 B over 64 connections, in userspace: requests per second, their ratio to \
                     gogeta's as it is by default (services counted, no access log, no traces) within a round, and the \
                     machine's CPU time for a request in microseconds. Traces go to a collector on the server's host \
                     that takes them all.\n\n| | requests/s | ratio | CPU |\n| --- | --: | --: | --: |\n";
            text += &lines.concat();
        }
    }
    text
}

fn table(
    text: &mut String,
    results: &Results,
    rows: &[&Scenario],
    cell: impl Fn(&Scenario, Kind) -> Option<String>,
) {
    let kinds = results.kinds();
    let titles: Vec<_> = kinds.iter().map(|kind| kind.title()).collect();
    let _ = writeln!(text, "| | {} |\n| --- |{}", titles.join(" | "), " --: |".repeat(kinds.len()));
    for row in rows {
        let cells: Vec<_> =
            kinds.iter().map(|kind| cell(row, *kind).unwrap_or_else(|| "–".to_owned())).collect();
        let _ = writeln!(text, "| {} | {} |", row.title, cells.join(" | "));
    }
}

fn range(Spread { least, middle, largest }: Spread) -> String {
    format!("{middle:.2} ({least:.2}–{largest:.2})")
}

/// Requests per second, in three digits.
fn rate(value: f64) -> String {
    match value {
        100_000.0.. => format!("{:.0}k", value / 1e3),
        1_000.0.. => format!("{:.1}k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn a_rate_has_three_digits() {
        assert_eq!([123_456.0, 12_345.0, 123.4, 1.234].map(rate), ["123k", "12.3k", "123", "1.23"]);
    }
}
