//! The counts that are kept in the repository, and what a run says against them.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};

/// Where they are kept, seen from the repository's root.
pub(crate) const FILE: &str = "benches/micro/counts.toml";

/// A change is told of when it is more than so many percent.
const NOTABLE: f64 = 5.0;
/// And fails, where another compiler counted: its code may be other code by a few percent.
const NOTABLE_OF_ANOTHER_COMPILER: f64 = 10.0;

/// What is counted of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Instructions,
    Allocations,
    /// That are allocated.
    Bytes,
}

impl Unit {
    pub(crate) const ALL: [Self; 3] = [Self::Instructions, Self::Allocations, Self::Bytes];

    /// In the record and for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Allocations => "allocations",
            Self::Bytes => "bytes",
        }
    }
}

/// Counts, and who made the code that was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// rustc's version.
    pub(crate) rustc: String,
    /// The triple of the machine.
    pub(crate) host: String,
    /// Per request, by the scenario's name.
    pub(crate) counts: Vec<(Unit, String, u64)>,
}

/// What a comparison came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What is well to know.
    pub(crate) notes: Vec<String>,
    /// What must not be.
    pub(crate) failures: Vec<String>,
}

impl Record {
    /// Reads what [`Record::render`] wrote.
    ///
    /// # Errors
    /// When a line is something else.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut record = Self { rustc: String::new(), host: String::new(), counts: Vec::new() };
        let mut unit = None;
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(section) = line.strip_prefix('[') {
                unit = Unit::ALL.into_iter().find(|unit| section.strip_suffix(']') == Some(unit.name()));
                continue;
            }
            let (name, value) = line.split_once(" = ").with_context(|| format!("{FILE}: `{line}`"))?;
            match name {
                "rustc" => record.rustc = value.trim_matches('"').to_owned(),
                "host" => record.host = value.trim_matches('"').to_owned(),
                _ => {
                    let count = unit.and_then(|unit| Some((unit, name.to_owned(), parse(value)?)));
                    record.counts.push(count.with_context(|| format!("{FILE}: `{line}`"))?);
                }
            }
        }
        if record.rustc.is_empty() || record.host.is_empty() {
            bail!("{FILE} does not say what it was counted with");
        }
        Ok(record)
    }

    /// The file's text.
    pub(crate) fn render(&self) -> String {
        let mut text = format!(
            "# What a request takes in userspace, built with `--profile counts`: instructions, as valgrind counts them, \
             and\n# allocations and their bytes. `cargo xtask ci` compares; `cargo xtask bench micro --update` counts anew.\n\
             rustc = \"{}\"\nhost = \"{}\"\n",
            self.rustc, self.host
        );
        for unit in Unit::ALL {
            writeln!(text, "\n[{}]", unit.name()).expect("text can be written");
            for (_, name, count) in self.counts.iter().filter(|(of, ..)| *of == unit) {
                writeln!(text, "{name} = {}", show(*count, '_')).expect("text can be written");
            }
        }
        text
    }

    /// Whether counts by the other can be compared with these at all.
    pub(crate) fn is_of_the_host_of(&self, other: &Self) -> bool {
        self.host == other.host
    }

    /// What `now` says against these.
    pub(crate) fn compare(&self, now: &Self) -> Outcome {
        let mut outcome = Outcome::default();
        let mut limit = NOTABLE;
        if self.rustc != now.rustc {
            limit = NOTABLE_OF_ANOTHER_COMPILER;
            outcome.notes.push(format!(
                "the counts in {FILE} are of rustc {}, and this is {}: up to {limit} % more may be the compiler's",
                self.rustc, now.rustc
            ));
        }
        for (unit, name, count) in &now.counts {
            let what = unit.name();
            let Some(before) = self.count(*unit, name) else {
                outcome.failures.push(format!("{name}: not in the record, {} {what} now", show(*count, ',')));
                continue;
            };
            let percent = percent(before, *count);
            let text = format!(
                "{name}: {} {what} a request before, {} now ({percent:+.1} %)",
                show(before, ','),
                show(*count, ',')
            );
            if percent > limit {
                outcome.failures.push(text);
            } else if percent.abs() > NOTABLE {
                outcome.notes.push(text);
            }
        }
        let gone = self.counts.iter().filter(|(unit, name, _)| now.count(*unit, name).is_none());
        outcome.failures.extend(gone.map(|(unit, name, _)| {
            format!("{name}: its {} are in the record, and not counted any more", unit.name())
        }));
        outcome
    }

    /// The count of that scenario.
    pub(crate) fn count(&self, unit: Unit, name: &str) -> Option<u64> {
        self.counts.iter().find(|(of, known, _)| *of == unit && known == name).map(|(.., count)| *count)
    }
}

/// How much more `now` is than `before`, in percent.
#[expect(clippy::cast_precision_loss, reason = "instructions of a request are far below 2^52")]
pub(crate) fn percent(before: u64, now: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

fn parse(value: &str) -> Option<u64> {
    value.replace('_', "").parse().ok()
}

/// A number in groups of three digits.
pub(crate) fn show(number: u64, between: char) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(between);
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(rustc: &str, counts: &[(&str, u64)]) -> Record {
        let counts =
            counts.iter().map(|(name, count)| (Unit::Instructions, (*name).to_owned(), *count)).collect();
        Record { rustc: rustc.to_owned(), host: "x86_64-unknown-linux-gnu".to_owned(), counts }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut record = record("1.95.0", &[("get", 31_234), ("page", 999), ("large", 1_234_567)]);
        record.counts.push((Unit::Allocations, "get".to_owned(), 12));
        assert!(record.render().contains("\nlarge = 1_234_567\n"), "{}", record.render());
        assert_eq!(Record::parse(&record.render()).unwrap(), record);
        assert!(Record::parse("get = 1\n").is_err(), "by which compiler?");
        assert!(Record::parse("rustc = \"1\"\nhost = \"h\"\nget = 1\n").is_err(), "one what?");
        assert!(Record::parse("rustc = \"1\"\nhost = \"h\"\n[bytes]\nget = many\n").is_err());
    }

    #[test]
    fn growth_fails_and_names_what_grew() {
        let before = record("1.95.0", &[("get", 30_000), ("post", 40_000)]);
        let outcome = before.compare(&record("1.95.0", &[("get", 31_800), ("post", 41_900)]));
        assert_eq!(outcome.failures, ["get: 30,000 instructions a request before, 31,800 now (+6.0 %)"]);
        assert!(outcome.notes.is_empty());
    }

    #[test]
    fn less_is_told_of_and_does_not_fail() {
        let before = record("1.95.0", &[("get", 30_000)]);
        let outcome = before.compare(&record("1.95.0", &[("get", 27_000)]));
        assert!(outcome.failures.is_empty());
        assert_eq!(outcome.notes, ["get: 30,000 instructions a request before, 27,000 now (-10.0 %)"]);
    }

    #[test]
    fn another_compiler_may_need_a_little_more() {
        let before = record("1.95.0", &[("get", 30_000), ("post", 30_000)]);
        let outcome = before.compare(&record("1.96.0", &[("get", 32_000), ("post", 34_000)]));
        assert_eq!(outcome.failures, ["post: 30,000 instructions a request before, 34,000 now (+13.3 %)"]);
        assert_eq!(outcome.notes.len(), 2, "the compilers, and what grew: {:?}", outcome.notes);
    }

    #[test]
    fn record_and_scenarios_go_together() {
        let before = record("1.95.0", &[("gone", 1)]);
        let outcome = before.compare(&record("1.95.0", &[("new", 1)]));
        assert_eq!(outcome.failures.len(), 2, "{outcome:?}");
    }
}
