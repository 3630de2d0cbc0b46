//! How commands speak: aligned tables, colours on a terminal alone, JSON for programs.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use serde::Serialize;

use super::Failure;
use crate::status::State;

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing.
    Plain,
    /// All is well.
    Good,
    /// Wait for it.
    Busy,
    /// Something is wrong.
    Bad,
    /// Of less interest.
    Faint,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Busy => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Faint => "\x1b[2m",
        }
    }

    /// The colour of a state's name.
    pub(super) fn of(state: &str) -> Self {
        match state {
            "uri" => Self::Good,
            state if state == State::Started.as_str() => Self::Good,
            state if state == State::Error.as_str() => Self::Bad,
            _ => Self::Busy,
        }
    }
}

/// Whether standard output takes colours: a terminal, and nobody said no (<https://no-color.org>).
pub(super) fn coloured() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal()
        && !set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A text in a tone, if there are colours.
pub(super) fn paint(text: &str, tone: Tone, coloured: bool) -> String {
    if coloured && tone != Tone::Plain { format!("{}{text}\x1b[0m", tone.code()) } else { text.to_owned() }
}

/// Others' text, safe for a terminal: control characters are shown, not sent.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let shown = |letter: char| -> Box<dyn Iterator<Item = char>> {
        if letter.is_control() {
            Box::new(letter.escape_default())
        } else {
            Box::new(std::iter::once(letter))
        }
    };
    Cow::Owned(text.chars().flat_map(shown).collect())
}

/// Rows below a head, each column as wide as it must be; one that is empty is left out.
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    pub(super) fn new<const N: usize>(head: [&'static str; N]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [(&str, Tone); N]) {
        self.rows.push(cells.map(|(text, tone)| (clean(text).into_owned(), tone)).to_vec());
    }

    /// The table as text.
    pub(super) fn text(&self, coloured: bool) -> String {
        let longest = |column: usize| self.rows.iter().map(|row| row[column].0.chars().count()).max();
        let widths = self.head.iter().enumerate().map(|(column, head)| match longest(column) {
            Some(0) => None,
            width => Some(width.unwrap_or(0).max(head.len())),
        });
        let widths: Vec<Option<usize>> = widths.collect();
        let mut out = String::new();
        let head = self.head.iter().map(|text| ((*text).to_owned(), Tone::Faint)).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            let mut gap = 0;
            for ((text, tone), width) in row.iter().zip(&widths) {
                let Some(width) = width else { continue };
                if !text.is_empty() {
                    let _ = write!(line, "{:gap$}{}", "", paint(text, *tone, coloured));
                    gap = 0;
                }
                gap += width - text.chars().count() + 2;
            }
            out.push_str(&line);
            out.push('\n');
        }
        out
    }
}

/// Says the answer. Whoever stops listening (`| head`) has heard enough.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    heard(text).map(drop)
}

/// Says a part of the answer; false where nobody listens any more.
pub(super) fn heard(text: &str) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::No(format!("cannot write to standard output: {error}"))),
    }
}

/// Says the answer as JSON.
pub(super) fn say_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::No(error.to_string()))?;
    say(&(text + "\n"))
}

/// Says something beside the answer. A note that nobody reads is no reason to end what is under way.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "gogeta: {text}");
}

/// A number of things.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_colours_do_not_count() {
        let mut table = Table::new(["A", "EMPTY", "LONG"]);
        table.row([("first", Tone::Good), ("", Tone::Plain), ("", Tone::Plain)]);
        table.row([("\u{fc}", Tone::Bad), ("", Tone::Plain), ("x\ny", Tone::Plain)]);
        assert_eq!(table.text(false), "A      LONG\nfirst\n\u{fc}      x\\ny\n");
        let plain = table.text(true).replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[2m", "");
        assert_eq!(plain.replace("\x1b[0m", ""), table.text(false));
    }

    #[test]
    fn a_terminal_is_not_written_to_by_strangers() {
        assert_eq!(clean("a\x1b[31mb"), "a\\u{1b}[31mb");
        assert_eq!(clean("caf\u{e9}"), "caf\u{e9}");
    }
}
